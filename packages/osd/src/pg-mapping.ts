import { type PgId, pgPool, pgSeed } from '@shoal/base'
import { noPrimary, type PgMapping, type PlacementCache } from '@shoal/cluster-map'

/** Undefined when the pool or the PG does not exist in this map. */
export function mappingIfPresent(placement: PlacementCache, id: PgId): PgMapping | undefined {
  const pool = placement.map.pools.get(pgPool(id))
  return pool === undefined || pgSeed(id) >= pool.pgNum ? undefined : placement.mapping(id)
}

/** Of a PG that does not exist (any more). */
export const nowhere: PgMapping = { up: [], upPrimary: noPrimary, acting: [], actingPrimary: noPrimary }
