/**
 * Tells the monitors of crashes that this daemon left behind (`DIRECTORY/ID/meta`), and sets each aside (`DIRECTORY/posted/ID`)
 * once they have it. What could not be told waits for the next start: the same report twice is one.
 */
import { type Disk, isClusterError, type Log, utf8Decode } from '@shoal/base'
import type { MonitorClient } from './monitor-client.ts'

/** Of all daemons of the directory. */
const postedMax = 32
const stackCharactersMax = 16_384

interface Meta {
  readonly crash_id: string
  readonly entity_name: string
  readonly timestamp: string
  readonly [more: string]: unknown
}

/** How many the monitors have taken. Never rejects for what is wrong with a report. */
export async function postCrashes(
  env: { readonly disk: Disk; readonly log: Log },
  directory: string,
  entity: string,
  monitor: Pick<MonitorClient, 'command'>,
): Promise<number> {
  const { disk, log } = env
  let posted = 0
  for (const { id, meta } of await unposted(disk, directory, entity)) {
    try {
      await monitor.command({ prefix: 'crash post', ...argumentsOf(meta) })
    } catch (error) {
      log.warn('the monitors did not take the report of a crash', { id, error })
      // A report that they never take is set aside as well; one that could not reach them waits.
      if (!isClusterError(error, 'EINVAL')) continue
    }
    await disk.makeDirectory(`${directory}/posted`)
    await disk.rename(`${directory}/${id}`, `${directory}/posted/${id}`)
    posted++
  }
  if (posted > 0) await removeOldest(disk, `${directory}/posted`)
  return posted
}

/** The reports of one daemon, oldest first. */
async function unposted(
  disk: Disk,
  directory: string,
  entity: string,
): Promise<readonly { readonly id: string; readonly meta: Meta }[]> {
  if (!(await disk.exists(directory))) return []
  const found: { id: string; meta: Meta }[] = []
  for (const id of await disk.list(directory)) {
    const meta = await readMeta(disk, `${directory}/${id}/meta`)
    if (meta?.entity_name === entity && meta.crash_id === id) found.push({ id, meta })
  }
  return found
}

async function readMeta(disk: Disk, path: string): Promise<Meta | undefined> {
  if (!(await disk.exists(path))) return undefined
  try {
    return JSON.parse(utf8Decode(await disk.readFile(path))) as Meta
  } catch {
    return undefined
  }
}

function argumentsOf(meta: Meta): Record<string, unknown> {
  const lines: unknown = meta['backtrace']
  const stack = Array.isArray(lines) ? lines.map(String).join('\n') : ''
  return {
    id: meta.crash_id,
    entity: meta.entity_name,
    wall_ms: Date.parse(meta.timestamp),
    version: String(meta['shoal_version'] ?? ''),
    host: String(meta['utsname_hostname'] ?? ''),
    reason: String(meta['reason'] ?? '').slice(0, 1_024),
    stack: stack.slice(0, stackCharactersMax),
  }
}

async function removeOldest(disk: Disk, directory: string): Promise<void> {
  const names = [...(await disk.list(directory))].sort()
  for (const name of names.slice(0, -postedMax)) await disk.remove(`${directory}/${name}`)
}
