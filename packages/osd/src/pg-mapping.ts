import { type OsdId, type PgId, pgPool, pgSeed, pgShard, shardPgId, wholePgId } from '@shoal/base'
import { noPrimary, type PgMapping, type PlacementCache } from '@shoal/cluster-map'
import { memberMapping } from '@shoal/placement-group'

/** Undefined when the pool or the PG does not exist in this map. Of a shard's PG in members, of a whole one in OSDs. */
export function mappingIfPresent(placement: PlacementCache, id: PgId): PgMapping | undefined {
  const pool = placement.map.pools.get(pgPool(id))
  if (pool === undefined || pgSeed(id) >= pool.pgNum) return undefined
  const mapping = placement.mapping(wholePgId(id))
  return pgShard(id) === undefined ? mapping : memberMapping(mapping)
}

/** Of a PG that does not exist (any more). */
export const nowhere: PgMapping = { up: [], upPrimary: noPrimary, acting: [], actingPrimary: noPrimary }

/** What this OSD should have of a PG: the PG itself, or a shard for each place that it has in an erasure-coded one. */
export function sharesOf(placement: PlacementCache, id: PgId, osd: OsdId): readonly PgId[] {
  if (placement.map.pools.get(pgPool(id))?.type !== 'erasure') return [id]
  const { up, acting } = placement.mapping(id)
  const shards = new Set<number>()
  for (const set of [acting, up]) for (const [shard, member] of set.entries()) if (member === osd) shards.add(shard)
  return [...shards].map((shard) => shardPgId(id, shard))
}
