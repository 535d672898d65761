/** Pools as commands show them, and how commands find them. */
import { ClusterError } from '@shoal/base'
import {
  countSnaps,
  mergeOptions,
  type OsdMap,
  type Pool,
  poolByName,
  poolQuotaOf,
  quotaOptions,
  snapSeqOption,
  snapsToTrim,
} from '@shoal/cluster-map'
import type { PoolRow, PoolStatsRow } from '@shoal/monitor-client'
import type { ClusterView } from './command.ts'
import { dataShardsOf } from './erasure-profiles.ts'

/** Options of a pool that are no settings. */
export const innerOptions: ReadonlySet<string> = new Set([...quotaOptions, ...mergeOptions, snapSeqOption])

export function requirePool(map: OsdMap, name: string): Pool {
  const pool = poolByName(map, name)
  if (pool !== undefined) return pool
  const names = [...map.pools.values()].map((other) => other.name)
  throw new ClusterError('ENOENT', `there is no pool '${name}'`, {
    hint: names.length === 0 ? `shoal pool create ${name}` : `shoal pool ls (there are: ${names.join(', ')})`,
  })
}

export function poolRow(pool: Pool, map: OsdMap): PoolRow {
  const quota = poolQuotaOf(pool)
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
    quotaMaxBytes: quota?.maxBytes ?? 0,
    quotaMaxObjects: quota?.maxObjects ?? 0,
    options: Object.fromEntries([...pool.options].filter(([name]) => !innerOptions.has(name))),
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

export function poolStats(pool: Pool, view: ClusterView): PoolStatsRow {
  const sum = { objects: 0, bytes: 0, degradedCopies: 0, misplacedCopies: 0, unfoundObjects: 0 }
  for (const { stats } of view.statistics.rows(view.map, pool.id)) {
    if (stats === undefined) continue
    for (const field of Object.keys(sum) as (keyof typeof sum)[]) sum[field] += stats[field]
  }
  const compression = view.statistics.compression(pool.id, view.map)
  return {
    id: pool.id,
    name: pool.name,
    ...sum,
    usedBytes: Math.max(
      0,
      (sum.bytes * pool.size) / dataShardsOf(pool) - compression.originalBytes + compression.allocatedBytes,
    ),
    compression,
    ...view.statistics.rates(pool.id, view.nowMs),
  }
}
