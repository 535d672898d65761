/** `df`: what is stored, and what can be. */
import { type Pool, poolQuotaOf } from '@shoal/cluster-map'
import type { ClusterUsage, PoolUsageRow } from '@shoal/monitor-client'
import { deviceWeight } from '../services/crush-topology.ts'
import type { ClusterView } from './command.ts'
import { dataShardsOf } from './erasure-profiles.ts'
import { pgSummary } from './pgs.ts'
import { poolRow, poolStats } from './pool-rows.ts'

export function clusterUsage(view: ClusterView): ClusterUsage {
  const { totalBytes, usedBytes, bytes, objects } = pgSummary(view)
  const roomBytes = rawRoom(view)
  return {
    totalBytes,
    usedBytes,
    availableBytes: Math.max(0, totalBytes - usedBytes),
    bytes,
    objects,
    pools: [...view.map.pools.values()].map((pool) => poolUsage(pool, roomBytes, view)),
  }
}

function poolUsage(pool: Pool, roomBytes: number, view: ClusterView): PoolUsageRow {
  const { bytes, objects, usedBytes, compression } = poolStats(pool, view)
  const quota = poolQuotaOf(pool)
  const free = Math.floor((roomBytes * dataShardsOf(pool)) / pool.size)
  const left = quota === undefined || quota.maxBytes === 0 ? free : Math.max(0, quota.maxBytes - bytes)
  const availableBytes = Math.min(free, left)
  return { ...poolRow(pool, view.map), objects, bytes, usedBytes, availableBytes, compression }
}

/**
 * Until the first OSD is full, when each gets its share by weight (Ceph's MAX AVAIL, over all OSDs that are in, whatever
 * the pool's rule takes).
 */
function rawRoom({ map, statistics }: ClusterView): number {
  const weights = [...map.osds.values()].map((osd) => ({ osd, weight: deviceWeight(map.crush, osd.id) * osd.weight }))
  const total = weights.reduce((sum, { weight }) => sum + weight, 0)
  let room = Number.POSITIVE_INFINITY
  for (const { osd, weight } of weights) {
    const stats = statistics.osd(osd.id)
    if (weight === 0 || stats === undefined) continue
    room = Math.min(room, (Math.max(0, stats.totalBytes * map.fullRatio - stats.usedBytes) * total) / weight)
  }
  return Number.isFinite(room) ? room : 0
}
