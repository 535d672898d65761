/**
 * Notes in the map which removed snapshots are gone from every placement group, so that nobody looks for them any more.
 *
 * Invariant 1: a snapshot counts as purged only when every placement group of its pool has told so. They tell until the map
 *              shows it, and what one has told stays true: ids are never given again.
 */
import { intersectSnaps, noSnaps, type OsdMap, type SnapIntervals, snapsToTrim, uniteSnaps } from '@shoal/cluster-map'
import type { ProposalDraft } from '../state/proposal-draft.ts'
import type { Statistics } from './statistics.ts'

/** By pool id: what its placement groups agree on. */
export function purgedSnaps(map: OsdMap, statistics: Statistics): ReadonlyMap<number, SnapIntervals> {
  const purged = new Map<number, SnapIntervals>()
  for (const pool of map.pools.values()) {
    let common = snapsToTrim(pool.snapshots)
    if (common.length === 0) continue
    for (const { stats } of statistics.rows(map, pool.id)) {
      common = intersectSnaps(common, stats?.purgedSnaps ?? noSnaps)
      if (common.length === 0) break
    }
    if (common.length > 0) purged.set(pool.id, common)
  }
  return purged
}

export function notePurged(draft: ProposalDraft, purged: ReadonlyMap<number, SnapIntervals>): void {
  for (const pool of draft.map.pools.values()) {
    const { snapshots } = pool
    if (snapshots === undefined) continue
    // Found against an earlier state: another proposal may have noted the same since.
    const more = intersectSnaps(purged.get(pool.id) ?? noSnaps, snapsToTrim(snapshots))
    if (more.length === 0) continue
    draft.osd.setPool({ ...pool, snapshots: { ...snapshots, purged: uniteSnaps(snapshots.purged, more) } })
  }
}
