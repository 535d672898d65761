/** When a PG's interval ends: Ceph's PastIntervals::is_new_interval. */
import { type OsdId, type PgId, pgPool, pgSeed } from '@shoal/base'
import { featureOwnIntervals, hasFeatures } from './osd-features.ts'
import type { OsdMap, PgMapping } from './osd-map.ts'
import { splitSeeds } from './placement.ts'

function sameOsds(a: readonly OsdId[], b: readonly OsdId[]): boolean {
  return a.length === b.length && a.every((osd, at) => osd === b[at])
}

/** A PG under a map. */
export interface MappedPg {
  readonly mapping: PgMapping
  readonly map: Pick<OsdMap, 'pools' | 'requiredFeatures'>
}

/**
 * Whether the PG must peer again between two consecutive maps: its sets, its primaries, or one of the pool's numbers
 * that decide who may serve have changed, or it was split or merged. A pool that is gone ends every interval.
 */
export function isNewInterval(id: PgId, before: MappedPg, after: MappedPg): boolean {
  const { mapping: old } = before
  const { mapping: now } = after
  const [oldPool, pool] = [before.map.pools.get(pgPool(id)), after.map.pools.get(pgPool(id))]
  return (
    old.actingPrimary !== now.actingPrimary ||
    old.upPrimary !== now.upPrimary ||
    !sameOsds(old.acting, now.acting) ||
    !sameOsds(old.up, now.up) ||
    oldPool?.size !== pool?.size ||
    oldPool?.minSize !== pool?.minSize ||
    isResized(id, oldPool?.pgNum ?? 0, pool?.pgNum ?? 0, after.map.requiredFeatures)
  )
}

/**
 * Whether a change of pg_num concerns the PG: one that comes or goes, one that is split, one that others go into. All
 * members must judge alike: as long as there may be OSDs that end the intervals of all PGs of the pool, everybody does.
 */
function isResized(id: PgId, oldNum: number, newNum: number, requiredFeatures: number): boolean {
  if (oldNum === newNum) return false
  if (!hasFeatures(requiredFeatures, featureOwnIntervals)) return true
  const seed = pgSeed(id)
  const fewer = Math.min(oldNum, newNum)
  return seed >= fewer || splitSeeds(seed, fewer, Math.max(oldNum, newNum)).length > 0
}
