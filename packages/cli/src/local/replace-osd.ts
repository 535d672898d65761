/**
 * A new disk under the id of an old one: the OSD keeps its place and its weight in CRUSH, so that placement stays as it is and
 * only what belongs on it is copied, once, from the other members.
 */
import { rmSync, writeFileSync } from 'node:fs'
import { ClusterError } from '@shoal/base'
import type { OsdRow } from '@shoal/monitor-client'
import type { CommandContext } from '../context.ts'
import { parseBytes } from '../output/units.ts'
import { waitForStart } from './add-osd.ts'
import { findSpec, spawnDaemon } from './daemon-spec.ts'
import { readRunFile } from './process-table.ts'
import { stopDaemon } from './supervisor.ts'

export interface ReplaceOptions {
  readonly capacity: string | undefined
  readonly sure: boolean
}

/** A running OSD must be one that may be stopped. EPERM without consent, EBUSY when placement groups would go offline. */
export async function replaceLocalOsd(context: CommandContext, id: number, options: ReplaceOptions): Promise<string> {
  const { layout } = context
  const name = `osd.${id}`
  const cluster = layout.read()
  const spec = findSpec(cluster, name)
  if (!options.sure) {
    throw new ClusterError('EPERM', `everything that is stored in ${layout.dataDirectory(name)} will be removed`, {
      hint: `shoal osd replace ${id} --yes-i-really-mean-it`,
    })
  }
  const capacityBytes = options.capacity === undefined ? undefined : parseBytes(options.capacity)
  if (await isUp(context, id)) await context.command({ prefix: 'osd ok-to-stop', ids: [id] })
  writeFileSync(layout.stoppedFile(name), '')
  await stopDaemon(layout, name)
  await untilDown(context, id)
  await context.command({ prefix: 'osd destroy', id, sure: true })
  rmSync(layout.dataDirectory(name), { recursive: true, force: true })
  if (capacityBytes !== undefined) {
    layout.write({ ...cluster, osds: cluster.osds.map((osd) => (osd.id === id ? { ...osd, capacityBytes } : osd)) })
  }
  rmSync(layout.stoppedFile(name), { force: true })
  // A supervisor sees that the file is gone; without one this command starts the process.
  if (readRunFile(layout, 'up') === undefined) spawnDaemon(layout, spec).unref()
  await waitForStart(context, name)
  return name
}

async function isUp(context: CommandContext, id: number): Promise<boolean> {
  const rows = (await context.command({ prefix: 'osd ls' })).data as readonly OsdRow[]
  return rows.find((row) => row.id === id)?.up === true
}

/** A clean stop says goodbye; one that had to be killed is marked down by its peers. */
async function untilDown(context: CommandContext, id: number): Promise<void> {
  const deadlineMs = performance.now() + context.timeoutMs
  while (await isUp(context, id)) {
    if (performance.now() > deadlineMs) {
      throw new ClusterError('ETIMEDOUT', `osd.${id} is stopped, but not marked down yet; nothing was removed`, {
        hint: `shoal osd tree, then this command again (or shoal daemon start osd.${id})`,
      })
    }
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}
