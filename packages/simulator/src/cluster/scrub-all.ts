/** Asks for scrubs as an operator does, and waits until every placement group has read all its copies. */
import { isClusterError, type OsdId } from '@shoal/base'
import type { PgRow } from '@shoal/monitor-client'
import type { Violation } from '../history.ts'
import type { SimCluster } from './sim-cluster.ts'

type ScrubKind = 'scrub' | 'deep-scrub' | 'repair'

const withinMs = 900_000
/** An OSD that had just become primary may have forgotten what it was asked. */
const askEveryMs = 60_000

/** What scrub adds to the states of a placement group, and what makes it no less clean. */
export function withoutScrub(state: string): string {
  return state
    .split('+')
    .filter((word) => word !== 'scrubbing' && word !== 'deep')
    .join('+')
}

/** All that this OSD leads; nothing when it does not run. */
export async function askOsdToScrub(cluster: SimCluster, name: string, kind: ScrubKind): Promise<void> {
  const found = cluster.osds.find((osd) => osd.name === name)
  if (found?.daemon === undefined) return
  await cluster.admin.call(found.daemon.listening.admin, `osd ${kind}`)
}

/** Nothing when its primary does not run, or is another by now. */
async function askToDeepScrub(cluster: SimCluster, { pgId, acting }: PgRow): Promise<void> {
  for (const osd of cluster.osds) {
    if (!acting.includes(osd.id as OsdId) || osd.daemon === undefined) continue
    await cluster.admin.call(osd.daemon.listening.admin, 'pg deep-scrub', { pgid: pgId }).catch(refused)
  }
}

/** By one that is not the primary. */
function refused(error: unknown): void {
  if (!isClusterError(error)) throw error
}

/** Deep-scrubs everything once the faults are over: what is left then was promised not to be. */
export async function scrubAll(cluster: SimCluster): Promise<readonly Violation[]> {
  const before = new Map((await pgRows(cluster)).map((row) => [row.pgId, row.lastDeepScrubMs]))
  const endMs = cluster.time.nowMs + withinMs
  let left: readonly PgRow[] = []
  for (let nextMs = 0; cluster.time.nowMs < endMs; await cluster.time.advance(1_000)) {
    left = (await pgRows(cluster)).filter(
      (row) =>
        !isScrubbedNever(cluster, row) &&
        (row.lastDeepScrubMs === before.get(row.pgId) || row.scrubErrors > 0 || !isQuiet(row.state)),
    )
    if (left.length === 0) return []
    if (cluster.time.nowMs < nextMs) continue
    nextMs = cluster.time.nowMs + askEveryMs
    // Those alone: what is asked for takes the place of what is not, and nothing would ever be done with all.
    for (const row of left) await cluster.time.settle(askToDeepScrub(cluster, row))
  }
  return left.map((row) => ({
    checker: 'scrub',
    object: row.pgId,
    message: `${row.pgId} is ${row.state} with ${row.scrubErrors} scrub errors after deep scrubs, last deep scrub ${row.lastDeepScrubMs}`,
  }))
}

/** The next scrub may have begun: with short intervals and long pauses between chunks one follows the other. */
function isQuiet(state: string): boolean {
  const rest = withoutScrub(state)
  return rest === 'active+clean' || rest === 'active+remapped+clean'
}

/** CRUSH finds it too few OSDs, and only clean groups are scrubbed. */
function isScrubbedNever(cluster: SimCluster, row: PgRow): boolean {
  return cluster.hasWhatCrushFound(row) && !isQuiet(row.state)
}

async function pgRows(cluster: SimCluster): Promise<readonly PgRow[]> {
  return (await cluster.settleCommand({ prefix: 'pg ls' }, 60_000)).data as readonly PgRow[]
}
