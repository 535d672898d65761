/**
 * How the number of a pool's PGs changes. It grows in two steps: first they are split where they lie (pg_num), then the parts are placed as the
 * PGs they are (pgp_num follows). One step at a time, each when all of the pool is clean: a split ends the intervals of the
 * PGs that it divides, and data that is on its way already would begin anew. It shrinks the other way round: first pgp_num,
 * so that PGs which become one lie together, then one PG at a time (pg-merges.ts).
 *
 * The wish is the option `pg_num_target` of the pool; it goes when it has come true. A leader that takes over goes on.
 */
import { type PgId, type PoolId, pgId, pgPool } from '@shoal/base'
import {
  featureOwnIntervals,
  featurePgMerge,
  featurePgSplit,
  hasFeatures,
  type OsdInfo,
  type OsdMap,
  onlyChangedPg,
  type PgStats,
  type Pool,
  splitSeeds,
  withPendingMerge,
} from '@shoal/cluster-map'
import type { MonitorSettings } from '@shoal/monitor-client'
import type { OsdMapChange } from '../state/osd-map-change.ts'
import type { ProposalDraft } from '../state/proposal-draft.ts'
import { osdWithout, requireFeatures } from './osd-features.ts'
import type { Statistics } from './statistics.ts'

const targetOption = 'pg_num_target'

/** Of which pools merges are under way, or the next thing to do. */
export function shrinks(pool: Pool): boolean {
  const target = targetOf(pool)
  return target !== undefined && target < pool.pgNum
}

export function withPgNumTarget(pool: Pool, target: number): Pool {
  const options = new Map(pool.options)
  if (target === pool.pgNum && pool.pgpNum === pool.pgNum) options.delete(targetOption)
  else options.set(targetOption, String(target))
  return { ...pool, options }
}

export function targetOf(pool: Pool): number | undefined {
  const target = pool.options.get(targetOption)
  return target === undefined ? undefined : Number(target)
}

/**
 * An OSD whose version knows nothing of splits: it would look for the parts in collections that it does not have, and say
 * that they are empty. From the first split on such OSDs may not boot.
 */
export function osdThatCannotSplit(map: OsdMap): OsdInfo | undefined {
  return osdWithout(map, featurePgSplit)
}

/** The same of merges. */
export function osdThatCannotMerge(map: OsdMap): OsdInfo | undefined {
  return osdWithout(map, featurePgMerge)
}

/** Whether one of the PGs has become what the next step of its pool may wait for. */
export function concernsPgNum(pgs: readonly PgStats[], map: OsdMap): boolean {
  const stepping = new Set<PoolId>()
  for (const pool of map.pools.values()) if (targetOf(pool) !== undefined) stepping.add(pool.id)
  return stepping.size > 0 && pgs.some(({ pgId, states }) => states.includes('clean') && stepping.has(pgPool(pgId)))
}

/** The pools that are on their way and may take their next step. */
export function poolsToStep(map: OsdMap, statistics: Statistics): readonly Pool[] {
  // Once they lie together, merges have a pace of their own.
  const pools = [...map.pools.values()].filter((pool) => {
    const target = targetOf(pool)
    return target !== undefined && !(target < pool.pgNum && pool.pgpNum === target)
  })
  if (pools.length === 0 || osdThatCannotSplit(map) !== undefined) return []
  return pools.filter((pool) => isSettled(map, pool, statistics))
}

/** From now on OSDs need it, and begin new intervals only for the PGs that are split or merged if all of them know how. */
export function requireForPgNum(change: OsdMapChange, feature: number): void {
  const allKnowHow = osdWithout(change.map, featureOwnIntervals) === undefined
  requireFeatures(change, allKnowHow ? [feature, featureOwnIntervals] : [feature])
}

/** Every PG that was concerned by the last change of the pool has said since that it is where it should be; others once. */
export function isSettled(map: OsdMap, pool: Pool, statistics: Pick<Statistics, 'rows'>): boolean {
  const only = hasFeatures(map.requiredFeatures, featureOwnIntervals) ? onlyChangedPg(pool) : undefined
  for (const { pgId, stats, states } of statistics.rows(map, pool.id)) {
    if (stats === undefined) return false
    if ((only === undefined || only === pgId) && stats.reportedEpoch < pool.lastChange) return false
    if (!states.includes('active') || !states.includes('clean') || states.includes('stale')) return false
  }
  return true
}

export function stepPool(draft: ProposalDraft, pool: Pool): void {
  const target = targetOf(pool)
  if (target === undefined) return
  if (target < pool.pgNum) {
    draft.osd.setPool({ ...pool, pgpNum: target, lastChange: draft.osd.epoch })
    draft.log('info', `pool '${pool.name}': its ${pool.pgNum} placement groups are placed as ${target}`)
  } else if (pool.pgpNum < pool.pgNum) {
    draft.osd.setPool(withPgNumTarget({ ...pool, pgpNum: pool.pgNum }, target))
    draft.log('info', `pool '${pool.name}': its placement groups are placed as ${pool.pgNum}`)
  } else if (pool.pgNum < target) {
    // What nobody watches goes by small steps: no more than half of the data of the pool moves at a time.
    const next = pool.options.get('pg_autoscale_mode') === 'on' ? Math.min(target, 2 * pool.pgNum) : target
    growPool(draft.osd, pool, next)
    draft.log('info', `pool '${pool.name}': its ${pool.pgNum} placement groups are split into ${next}`)
  } else {
    draft.osd.setPool(withPgNumTarget(pool, pool.pgNum))
  }
}

/** Ceph's mon_max_pg_per_osd: PG copies of all pools, spread over the OSDs that are in (counted as three at least). */
export function copiesAllowed(
  map: OsdMap,
  { mon_max_pg_per_osd: limit }: Pick<MonitorSettings, 'mon_max_pg_per_osd'>,
  replaced: Pool | undefined,
  copies: number,
): boolean {
  const { total, osds } = copiesWith(map, replaced, copies)
  return total <= osds * limit
}

/** With the pool, if it is one that is there, having so many. */
export function copiesWith(map: OsdMap, replaced: Pool | undefined, copies: number): { total: number; osds: number } {
  let total = copies
  for (const pool of map.pools.values()) if (pool.id !== replaced?.id) total += pool.pgNum * pool.size
  return { total, osds: Math.max(3, [...map.osds.values()].filter((osd) => osd.weight > 0).length) }
}

/**
 * Splits the PGs. Whatever holds a PG elsewhere than CRUSH says holds its parts, too: in this epoch nothing moves. Its
 * exceptions go when pgp_num follows, if they do nothing any more.
 */
export function growPool(change: OsdMapChange, pool: Pool, pgNum: number): void {
  const { map } = change
  change.setPool({ ...withPendingMerge(pool, undefined), pgNum, lastChange: change.epoch })
  requireForPgNum(change, featurePgSplit)
  for (let seed = 0; seed < pool.pgNum; seed++) {
    const whole = pgId(pool.id, seed)
    const upmap = map.upmap.get(whole)
    const items = map.upmapItems.get(whole)
    const primary = map.upmapPrimaries?.get(whole)
    const acting = map.pgTemp.get(whole)
    if ((upmap ?? items ?? primary ?? acting) === undefined) continue
    for (const part of splitSeeds(seed, pool.pgNum, pgNum)) {
      const id: PgId = pgId(pool.id, part)
      if (upmap !== undefined) change.setUpmap(id, upmap)
      if (items !== undefined) change.setUpmapItems(id, items)
      if (primary !== undefined) change.setUpmapPrimary(id, primary)
      if (acting !== undefined) change.setPgTemp(id, acting)
    }
  }
}
