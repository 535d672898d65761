/** Commands about placement groups, from the statistics of their primaries. */
import { ClusterError, type OsdId, type PgId } from '@shoal/base'
import { noOsd, type OsdMap, pgStates } from '@shoal/cluster-map'
import type { PgRow, PgSummary } from '@shoal/monitor-client'
import { z } from 'zod'
import { pgRows } from '../services/pg-rows.ts'
import type { PgSummaryRow } from '../services/statistics.ts'
import {
  type ClusterView,
  type Command,
  done,
  noArguments,
  osdArgument,
  readCommand,
  type WriteView,
  writeCommand,
} from './command.ts'
import { requirePool } from './pool-rows.ts'

export function pgSummary(view: ClusterView): PgSummary {
  const states = new Map<string, number>()
  const sum = { objects: 0, bytes: 0, degradedCopies: 0, misplacedCopies: 0, unfoundObjects: 0 }
  let pgs = 0
  let copies = 0
  for (const pool of view.map.pools.values()) {
    for (const { stats, states: words } of pgRows(view, pool.id)) {
      pgs++
      const state = words.join('+')
      states.set(state, (states.get(state) ?? 0) + 1)
      if (stats === undefined) continue
      copies += stats.objects * pool.size
      for (const field of Object.keys(sum) as (keyof typeof sum)[]) sum[field] += stats[field]
    }
  }
  return {
    pgs,
    pools: view.map.pools.size,
    states: [...states]
      .map(([state, count]) => ({ state, count }))
      .sort((a, b) => b.count - a.count || (a.state < b.state ? -1 : 1)),
    ...sum,
    copies,
    ...space(view),
    io: totalRates(view),
  }
}

function space(view: ClusterView): { readonly totalBytes: number; readonly usedBytes: number } {
  let totalBytes = 0
  let usedBytes = 0
  for (const id of view.map.osds.keys()) {
    const stats = view.statistics.osd(id)
    totalBytes += stats?.totalBytes ?? 0
    usedBytes += stats?.usedBytes ?? 0
  }
  return { totalBytes, usedBytes }
}

function totalRates(view: ClusterView): PgSummary['io'] {
  const total = {
    readOpsPerSecond: 0,
    writeOpsPerSecond: 0,
    readBytesPerSecond: 0,
    writeBytesPerSecond: 0,
    recoveredObjectsPerSecond: 0,
    recoveredBytesPerSecond: 0,
  }
  for (const id of view.map.pools.keys()) {
    const rates = view.statistics.rates(id, view.nowMs)
    for (const field of Object.keys(total) as (keyof typeof total)[]) total[field] += rates[field]
  }
  return total
}

function pgRow(row: PgSummaryRow, view: ClusterView): PgRow {
  return {
    pgId: row.pgId,
    state: row.states.join('+'),
    objects: row.stats?.objects ?? 0,
    bytes: row.stats?.bytes ?? 0,
    degradedCopies: row.stats?.degradedCopies ?? 0,
    misplacedCopies: row.stats?.misplacedCopies ?? 0,
    unfoundObjects: row.stats?.unfoundObjects ?? 0,
    version: row.stats?.version ?? '',
    lastEpochClean: row.stats?.lastEpochClean ?? 0,
    lastScrubMs: row.stats?.lastScrubMs ?? 0,
    lastDeepScrubMs: row.stats?.lastDeepScrubMs ?? 0,
    scrubErrors: row.stats?.scrubErrors ?? 0,
    ...view.placement().mapping(row.pgId),
  }
}

const listArguments = z.object({
  states: z.array(z.enum(pgStates)).optional(),
  pool: z.string().optional(),
  osd: osdArgument.optional(),
})

function listPgs(args: z.output<typeof listArguments>, view: ClusterView): readonly PgRow[] {
  const pool = args.pool === undefined ? undefined : requirePool(view.map, args.pool)
  const rows: PgRow[] = []
  for (const row of pgRows(view, pool?.id)) {
    if (args.states?.every((state) => row.states.includes(state)) === false) continue
    const shown = pgRow(row, view)
    if (args.osd !== undefined && !shown.up.includes(args.osd) && !shown.acting.includes(args.osd)) continue
    rows.push(shown)
  }
  return rows
}

function mapPg(map: OsdMap, text: string, view: ClusterView) {
  try {
    return { epoch: map.epoch, pgId: text, ...view.placement().mapping(text as PgId) }
  } catch (cause) {
    throw new ClusterError('ENOENT', `there is no placement group '${text}'`, { hint: 'shoal pg ls', cause })
  }
}

/**
 * Ceph's `pg repeer`: another order of the members, which the primary takes back when it has peered. With two, the other
 * one leads for that long.
 */
function repeer(text: string, view: WriteView) {
  const { acting, pgId } = mapPg(view.map, text, view)
  const members = acting.filter((osd) => osd !== noOsd)
  const [first, ...others] = members
  if (first === undefined || others.length === 0 || members.length !== acting.length) {
    throw new ClusterError('EAGAIN', `${pgId} has ${members.length} members now: too few to peer anew by their order`, {
      hint: `shoal osd down ${first ?? 'N'} makes that OSD begin anew`,
    })
  }
  const last = others.at(-1) as OsdId
  view.draft.osd.setPgTemp(pgId as PgId, members.length === 2 ? [last, first] : [first, last, ...others.slice(0, -1)])
  view.draft.log('info', `pg ${pgId} peers anew`)
  return done(`${pgId} peers anew`)
}

export const pgCommands: readonly Command[] = [
  readCommand('pg stat', noArguments, (_args, view) => {
    const summary = pgSummary(view)
    const states = summary.states.map(({ state, count }) => `${count} ${state}`).join(', ')
    return done(`${summary.pgs} pgs: ${states}`, summary)
  }),
  readCommand('pg ls', listArguments, (args, view) => done('', listPgs(args, view))),
  readCommand('pg dump', noArguments, (_args, view) => done('', { summary: pgSummary(view), pgs: listPgs({}, view) })),
  writeCommand('pg repeer', z.object({ pgid: z.string() }), (args, view) => repeer(args.pgid, view)),
  readCommand('pg map', z.object({ pgid: z.string() }), (args, view) => done('', mapPg(view.map, args.pgid, view))),
]
