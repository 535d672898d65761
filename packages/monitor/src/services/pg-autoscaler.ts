/**
 * How many PGs each pool should have: Ceph's pg_autoscaler. Pools share what their OSDs should carry
 * (`mon_target_pg_per_osd` copies each) by the part of the space that they take, or are said to take one day.
 *
 * The number wanted is a power of two, and nothing is done before it is three times as large or small as what is: each
 * change moves data. Mode `on` does it: growing by doubling, shrinking by one PG after the other.
 */
import type { OsdId, PoolId } from '@shoal/base'
import { type OsdMap, type Pool, ruleShape } from '@shoal/cluster-map'
import type { AutoscaleRow, MonitorSettings } from '@shoal/monitor-client'
import { copiesAllowed, osdThatCannotMerge, targetOf, withPgNumTarget } from './pg-num.ts'
import type { Statistics } from './statistics.ts'

export const autoscaleModes = ['off', 'warn', 'on'] as const
type AutoscaleMode = (typeof autoscaleModes)[number]

/** Ceph's `threshold`. */
const threshold = 3

/** What the leader knows of it; nothing, and so no verdict, elsewhere. */
interface Usage {
  readonly map: OsdMap
  readonly statistics: Pick<Statistics, 'osd' | 'rows'>
  readonly settings: Pick<MonitorSettings, 'mon_target_pg_per_osd' | 'mon_max_pg_per_osd'>
}

const pgNumMax = 65_536

/** Shards of erasure-coded pools are not split yet. */
function autoscaleMode(pool: Pool): AutoscaleMode {
  if (pool.type === 'erasure') return 'off'
  return (pool.options.get('pg_autoscale_mode') ?? 'off') as AutoscaleMode
}

function numberOf(pool: Pool, option: string, standard: number): number {
  return Number(pool.options.get(option) ?? standard)
}

interface Root {
  readonly osds: readonly OsdId[]
  readonly capacityBytes: number
  /** Sum of the wishes of its pools. */
  targetRatio: number
  targetBytes: number
}

export function autoscaleRows(usage: Usage): readonly AutoscaleRow[] {
  const { map, statistics } = usage
  const roots = new Map<string, Root>()
  const rootOf = new Map<Pool, Root>()
  for (const pool of map.pools.values()) {
    const osds = devicesOf(map, pool)
    const key = osds.join(',')
    let root = roots.get(key)
    if (root === undefined) {
      const capacityBytes = osds.reduce((sum, osd) => sum + (statistics.osd(osd)?.totalBytes ?? 0), 0)
      root = { osds, capacityBytes, targetRatio: 0, targetBytes: 0 }
      roots.set(key, root)
    }
    root.targetRatio += numberOf(pool, 'target_size_ratio', 0)
    if (!pool.options.has('target_size_ratio')) root.targetBytes += numberOf(pool, 'target_size_bytes', 0) * pool.size
    rootOf.set(pool, root)
  }
  return [...rootOf].map(([pool, root]) => rowOf(pool, root, bytesOf(usage, pool.id), usage))
}

/** Those that are in. */
function devicesOf(map: OsdMap, pool: Pool): readonly OsdId[] {
  const shape = ruleShape(map.crush, pool.crushRule, pool.size)
  const devices = shape?.takes.flatMap(({ weights }) => [...weights.keys()]) ?? []
  return devices.filter((osd) => (map.osds.get(osd)?.weight ?? 0) > 0).sort((a, b) => a - b)
}

function bytesOf({ map, statistics }: Usage, pool: PoolId): number {
  let bytes = 0
  for (const { stats } of statistics.rows(map, pool)) bytes += stats?.bytes ?? 0
  return bytes
}

function rowOf(pool: Pool, root: Root, bytes: number, { settings }: Usage): AutoscaleRow {
  const { capacityBytes } = root
  const share = (of: number) => (capacityBytes === 0 ? 0 : Math.min(1, of / capacityBytes))
  const wish = numberOf(pool, 'target_size_ratio', 0)
  // What others want in bytes is not there to be shared by ratio.
  const targetRatio = wish === 0 ? 0 : (wish / root.targetRatio) * (1 - share(root.targetBytes))
  const targetBytes = wish === 0 ? numberOf(pool, 'target_size_bytes', 0) : 0
  const ratio = Math.max(share(Math.max(bytes, targetBytes) * pool.size), targetRatio)
  const bias = numberOf(pool, 'pg_autoscale_bias', 1)
  const exact = (ratio * root.osds.length * settings.mon_target_pg_per_osd * bias) / pool.size
  const least = numberOf(pool, 'pg_num_min', 1)
  const wanted = Math.min(pgNumMax, Math.max(least, nearestPowerOfTwo(exact)))
  return {
    pool: pool.id,
    name: pool.name,
    mode: autoscaleMode(pool),
    bytes,
    targetBytes,
    size: pool.size,
    capacityBytes,
    ratio,
    targetRatio,
    bias,
    pgNum: pool.pgNum,
    wanted,
    // An idle cluster says nothing about what its pools will hold.
    verdict: ratio === 0 || capacityBytes === 0 ? 'fine' : verdictOf(pool.pgNum, wanted),
  }
}

function verdictOf(pgNum: number, wanted: number): AutoscaleRow['verdict'] {
  if (wanted >= pgNum * threshold) return 'too-few'
  return pgNum >= wanted * threshold ? 'too-many' : 'fine'
}

function nearestPowerOfTwo(value: number): number {
  if (value <= 1) return 1
  const below = 2 ** Math.floor(Math.log2(value))
  return value - below < 2 * below - value ? below : 2 * below
}

/** The pool that should change by itself, with their wish noted (pg-num.ts). One at a time: each changes what is left for others. */
export function poolToScale(usage: Usage): Pool | undefined {
  for (const row of autoscaleRows(usage)) {
    const pool = usage.map.pools.get(row.pool as PoolId)
    if (pool === undefined || row.mode !== 'on' || row.verdict === 'fine' || targetOf(pool) !== undefined) continue
    if (row.verdict === 'too-many') {
      if (osdThatCannotMerge(usage.map) !== undefined) continue
      return withPgNumTarget(pool, row.wanted)
    }
    let target = row.wanted
    while (target > pool.pgNum && !copiesAllowed(usage.map, usage.settings, pool, target * pool.size)) target /= 2
    if (target >= pool.pgNum * 2) return withPgNumTarget(pool, target)
  }
  return undefined
}
