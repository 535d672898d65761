/** Pools as commands show them, and how commands find them. */
import { ClusterError } from '@shoal/base'
import { countSnaps, type OsdMap, type Pool, poolByName, snapsToTrim } from '@shoal/cluster-map'
import type { PoolRow } from '@shoal/monitor-client'

export function requirePool(map: OsdMap, name: string): Pool {
  const pool = poolByName(map, name)
  if (pool !== undefined) return pool
  const names = [...map.pools.values()].map((other) => other.name)
  throw new ClusterError('ENOENT', `there is no pool '${name}'`, {
    hint: names.length === 0 ? `shoal pool create ${name}` : `shoal pool ls (there are: ${names.join(', ')})`,
  })
}

export function poolRow(pool: Pool, map: OsdMap): PoolRow {
  return {
    id: pool.id,
    name: pool.name,
    type: pool.type,
    size: pool.size,
    minSize: pool.minSize,
    pgNum: pool.pgNum,
    pgpNum: pool.pgpNum,
    crushRule: map.crush.ruleNames.get(pool.crushRule) ?? String(pool.crushRule),
    applications: pool.applications,
    created: pool.created,
    options: Object.fromEntries(pool.options),
    ...(pool.snapshots === undefined
      ? {}
      : {
          snapshots: {
            mode: pool.snapshots.mode,
            seq: pool.snapshots.seq,
            count: pool.snapshots.snaps.length,
            trimming: countSnaps(snapsToTrim(pool.snapshots)),
          },
        }),
  }
}
