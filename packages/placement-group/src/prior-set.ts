/**
 * Whom a new primary must hear from before it may believe that it knows every acknowledged write (Ceph's prior set).
 *
 * For each past interval that may have written since the PG last started, at least one member of its acting set must
 * answer. Counter-example: osd.0 and osd.1 serve, osd.1 dies, osd.0 goes on alone and then dies, osd.1 returns. Without
 * the rule osd.1 would serve without the writes that only osd.0 has.
 *
 * A member that answers that it has nothing does not count: either the interval never began to serve, or the store of that
 * member was lost, and only another member can tell which. Counter-example: three OSDs serve, one gets a new disk, the other
 * two fail; without this rule the empty disk would begin the PG anew.
 *
 * Nor does one whose copy is not whole: its store has lost acknowledged writes, or it is being filled anew. What it had in
 * that interval it cannot tell. Counter-example: osd.0 and osd.2 serve and both fail, osd.2 comes back with a damaged
 * journal; without this rule an osd.3 that knows neither's writes would serve, and fill osd.2.
 */
import type { OsdId } from '@shoal/base'
import type { OsdMap, PgMapping } from '@shoal/cluster-map'
import { osdOf } from './member.ts'
import { isBlank, type PastInterval, type PgHistory, type PgInfo } from './pg-info.ts'

export interface PriorSet {
  /** Up, and to be asked; without this OSD. */
  readonly probe: ReadonlySet<OsdId>
  /** Down, and without one of them nobody can say what was written. */
  readonly blockedBy: ReadonlySet<OsdId>
}

/** Whether a member that has answered knows what was written while it served. */
function vouches(info: PgInfo): boolean {
  return !isBlank(info) && info.lastBackfill.kind === 'complete'
}

export function buildPriorSet(
  map: OsdMap,
  mapping: PgMapping,
  history: PgHistory,
  pastIntervals: readonly PastInterval[],
  /** What has been learnt so far, this OSD's own included. */
  infos: ReadonlyMap<OsdId, PgInfo>,
  whoami: OsdId,
  /** So many members of an interval must tell: as many shards as it takes to read what was written in it. */
  needed = 1,
): PriorSet {
  const probe = new Set([...mapping.up, ...mapping.acting])
  const blockedBy = new Set<OsdId>()
  for (const interval of pastIntervals) {
    if (interval.last < history.lastEpochStarted || !interval.maybeWrote) continue
    const survivors = interval.acting.filter((osd) => map.osds.get(osdOf(osd))?.up === true)
    for (const osd of survivors) probe.add(osd)
    const telling = survivors.map((osd) => infos.get(osd)).filter((info) => info === undefined || vouches(info))
    if (telling.length >= needed) continue
    for (const osd of interval.acting) {
      if (survivors.includes(osd)) continue
      const info = map.osds.get(osdOf(osd))
      // An operator declared the data of that run lost: nothing to wait for.
      if (info !== undefined && info.lostAt <= interval.first) blockedBy.add(osd)
    }
  }
  probe.delete(whoami)
  return { probe, blockedBy }
}
