/** A further OSD on this machine: a line in `cluster.json`, a directory, a process. */
import { existsSync } from 'node:fs'
import { ClusterError } from '@shoal/base'
import type { CommandContext } from '../context.ts'
import { parseBytes } from '../output/units.ts'
import { spawnDaemon } from './daemon-spec.ts'
import type { LocalOsd } from './layout.ts'
import { readRunFile } from './process-table.ts'

const startTimeoutMs = 30_000

export interface NewOsd {
  /** As in `100G`; as the first OSD has when left out. */
  readonly capacity: string | undefined
  readonly encrypt: boolean
  readonly location: LocalOsd['location']
}

export async function addLocalOsd(context: CommandContext, { capacity, encrypt, location }: NewOsd): Promise<string> {
  const { layout } = context
  const cluster = layout.read()
  if (encrypt && !existsSync(layout.keyringFile)) throw needsKeyring()
  const taken = new Set(cluster.osds.map((osd) => osd.id))
  let id = 0
  while (taken.has(id)) id++
  const capacityBytes =
    capacity === undefined ? (cluster.osds[0]?.capacityBytes ?? 10 * 1024 ** 3) : parseBytes(capacity)
  const osd: LocalOsd = {
    id,
    capacityBytes,
    ...(encrypt ? { encrypt } : {}),
    ...(location === undefined ? {} : { location }),
  }
  layout.write({ ...cluster, osds: [...cluster.osds, osd].sort((a, b) => a.id - b.id) })
  const name = `osd.${id}`
  // A supervisor sees the new line by itself; without one this command starts the process.
  if (readRunFile(layout, 'up') === undefined) spawnDaemon(layout, { name, kind: 'osd' }).unref()
  await waitForStart(context, name)
  return name
}

function needsKeyring(): ClusterError {
  return new ClusterError('EINVAL', 'an encrypted store needs a cluster with a key: its own is sealed with that', {
    hint: 'shoal down; shoal auth create; shoal up',
  })
}

export async function waitForStart(
  context: CommandContext,
  name: string,
): Promise<{ readonly pid: number; readonly address: string }> {
  const deadlineMs = performance.now() + startTimeoutMs
  for (;;) {
    const run = readRunFile(context.layout, name)
    if (run !== undefined && run.address !== '') return run
    if (performance.now() > deadlineMs) {
      throw new ClusterError('ETIMEDOUT', `${name} did not start within ${startTimeoutMs / 1000} s`, {
        hint: `shoal daemon logs ${name}`,
      })
    }
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
