/**
 * Placement groups as they are by the present map, which may be newer than what their primaries last told. A change of
 * members is a new interval, so the group peers before it serves: until its primary tells how far it is, it peers.
 *
 * Counter-example without it: an OSD boots and the map gives it half of all groups; every one of them was told to be
 * active+clean a second ago, so the cluster is HEALTH_OK until the first report, and nothing serves.
 */
import type { OsdMap, PgState, PlacementCache, Pool } from '@shoal/cluster-map'
import type { PgSummaryRow, Statistics } from './statistics.ts'

interface PgView {
  readonly map: OsdMap
  readonly statistics: Statistics
  placement(): PlacementCache
}

/** What only holds of the interval that is over. */
const ofServing: ReadonlySet<PgState> = new Set(['active', 'clean', 'laggy', 'peered', 'peering', 'wait'])

/** Every PG of the map, or of one pool, by pool and seed. */
export function* pgRows(view: PgView, onlyPool?: Pool['id']): Generator<PgSummaryRow> {
  for (const row of view.statistics.rows(view.map, onlyPool)) {
    const known = row.stats === undefined || row.states.includes('stale') || isCurrent(row, view)
    yield known ? row : { ...row, states: ['peering', ...row.states.filter((state) => !ofServing.has(state))] }
  }
}

/** Whether what the primary told is about the acting set of the map. */
export function isCurrent({ pgId, stats }: PgSummaryRow, view: Pick<PgView, 'placement'>): boolean {
  const { acting, actingPrimary } = view.placement().mapping(pgId)
  if (stats === undefined || stats.actingPrimary !== actingPrimary) return false
  return stats.acting.length === acting.length && stats.acting.every((osd, at) => osd === acting[at])
}
