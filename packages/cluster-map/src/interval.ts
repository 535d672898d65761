/** When a PG's interval ends: Ceph's PastIntervals::is_new_interval. */
import type { OsdId } from '@shoal/base'
import type { PgMapping, Pool } from './osd-map.ts'

function sameOsds(a: readonly OsdId[], b: readonly OsdId[]): boolean {
  return a.length === b.length && a.every((osd, at) => osd === b[at])
}

/**
 * Whether the PG must peer again between two consecutive maps: its sets, its primaries, or one of the pool's numbers
 * that decide who may serve have changed. A pool that is gone ends every interval.
 */
export function isNewInterval(
  before: { readonly mapping: PgMapping; readonly pool: Pool | undefined },
  after: { readonly mapping: PgMapping; readonly pool: Pool | undefined },
): boolean {
  const { mapping: old, pool: oldPool } = before
  const { mapping: now, pool } = after
  return (
    old.actingPrimary !== now.actingPrimary ||
    old.upPrimary !== now.upPrimary ||
    !sameOsds(old.acting, now.acting) ||
    !sameOsds(old.up, now.up) ||
    oldPool?.size !== pool?.size ||
    oldPool?.minSize !== pool?.minSize ||
    oldPool?.pgNum !== pool?.pgNum
  )
}
