/**
 * Quotas of pools, as they stand in the map, and what primaries and monitors tell each other about them
 * (docs/mechanisms/quotas.md). Ceph: "Set Pool Quotas", `osd pool set-quota`.
 *
 * They are kept among the options of the pool's record, which every version reads: a pool without quotas has the bytes that
 * it had before there were any.
 */
import type { Epoch, PgId } from '@shoal/base'
import type { Pool } from './osd-map.ts'

/** What clients have stored: bytes of object data, once, and objects. */
export interface PoolUse {
  readonly bytes: number
  readonly objects: number
}

export const noUse: PoolUse = { bytes: 0, objects: 0 }

export interface PoolQuota {
  /** 0: no limit. */
  readonly maxBytes: number
  /** 0: no limit. */
  readonly maxObjects: number
  /** When it was set last: what was agreed about another quota does not count for this one. */
  readonly epoch: Epoch
}

const keys = { maxBytes: 'quota_max_bytes', maxObjects: 'quota_max_objects', epoch: 'quota_epoch' } as const

/** Options of a pool that are not settings of `pool set`. */
export const quotaOptions: ReadonlySet<string> = new Set(Object.values(keys))

/** Undefined: the pool may grow without a limit. */
export function poolQuotaOf(pool: Pool | undefined): PoolQuota | undefined {
  const epoch = pool?.options.get(keys.epoch)
  if (pool === undefined || epoch === undefined) return undefined
  return {
    maxBytes: Number(pool.options.get(keys.maxBytes) ?? 0),
    maxObjects: Number(pool.options.get(keys.maxObjects) ?? 0),
    epoch: Number(epoch) as Epoch,
  }
}

/** The pool with this quota; with none when both limits are 0. */
export function withQuota(pool: Pool, quota: PoolQuota): Pool {
  const options = new Map([...pool.options].filter(([name]) => !quotaOptions.has(name)))
  if (quota.maxBytes > 0) options.set(keys.maxBytes, String(quota.maxBytes))
  if (quota.maxObjects > 0) options.set(keys.maxObjects, String(quota.maxObjects))
  if (quota.maxBytes > 0 || quota.maxObjects > 0) options.set(keys.epoch, String(quota.epoch))
  return { ...pool, options }
}

/** A primary tells the leading monitor what its placement group uses and may still use, and how much it would like. */
export interface QuotaAsk {
  readonly pgId: PgId
  /** Begin of the interval in which it leads: a later one replaces what an earlier one held. */
  readonly since: Epoch
  /** Of the quota that it knows. */
  readonly quota: Epoch
  /** Counts the asks of this interval. Only the answer to the last one is taken, so the last one tells all that is held. */
  readonly sequence: number
  /** Ordered, whether it is answered or not. */
  readonly used: PoolUse
  /** Up to where it may order. */
  readonly held: PoolUse
  /** Up to where it wants to; as `held`: it only tells. */
  readonly wanted: PoolUse
}

export interface QuotaAnswer {
  readonly pgId: PgId
  readonly since: Epoch
  readonly sequence: number
  /** `wait`: others may give back what they do not use; ask again a little later. */
  readonly verdict: 'granted' | 'wait' | 'refused'
  /** Of `granted`: up to where it may order now. */
  readonly held: PoolUse
}
