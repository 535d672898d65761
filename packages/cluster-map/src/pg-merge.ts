/**
 * Merging, as the map shows it (docs/mechanisms/merge.md): the last PG of a pool goes into the one that its objects fold to
 * when there is one PG less. Two options of the pool tell it, which older versions keep and do not read:
 *
 *     pg_merge_pending   the epoch since which nothing is written to the two
 *     pg_merge_last      the epoch of the last merge, and what the two had been written up to: "42 1a 2 40'311 41'90"
 */
import { type Epoch, type PgId, pgId, pgSeed } from '@shoal/base'
import { stableMod, stableModMask } from '@shoal/crush'
import type { Pool } from './osd-map.ts'

const pendingOption = 'pg_merge_pending'
const lastOption = 'pg_merge_last'
/** They say how far the monitors are, and are no settings. */
export const mergeOptions: ReadonlySet<string> = new Set([pendingOption, lastOption])

export interface MergingPair {
  readonly source: PgId
  readonly target: PgId
}

export interface PendingMerge extends MergingPair {
  readonly since: Epoch
}

export interface DoneMerge extends MergingPair {
  readonly epoch: Epoch
  /** As `formatVersion` writes them. A copy that was written up to there has everything. */
  readonly sourceVersion: string
  readonly targetVersion: string
}

/** The PG that has the objects of this one when its pool has `pgNum` PGs, of which it is none. */
export function mergeTarget(source: PgId, pool: Pool, pgNum: number): PgId {
  return pgId(pool.id, stableMod(pgSeed(source), pgNum, stableModMask(pgNum)))
}

/** What would be merged next; undefined where there is but one PG. */
export function nextMerge(pool: Pool): MergingPair | undefined {
  if (pool.pgNum < 2) return undefined
  const source = pgId(pool.id, pool.pgNum - 1)
  return { source, target: mergeTarget(source, pool, pool.pgNum - 1) }
}

export function pendingMerge(pool: Pool): PendingMerge | undefined {
  const since = pool.options.get(pendingOption)
  const pair = since === undefined ? undefined : nextMerge(pool)
  return pair === undefined ? undefined : { ...pair, since: Number(since) as Epoch }
}

/** Whether nothing may be written to the PG under this map, because it is about to be merged. */
export function isMerging(pool: Pool | undefined, id: PgId): boolean {
  // Asked with every write.
  if (pool === undefined || !pool.options.has(pendingOption)) return false
  const pending = pendingMerge(pool)
  return pending?.source === id || pending?.target === id
}

/** `since`: the epoch that the pool is changed in; undefined gives it up. */
export function withPendingMerge(pool: Pool, since: Epoch | undefined): Pool {
  const options = new Map(pool.options)
  if (since === undefined) options.delete(pendingOption)
  else options.set(pendingOption, String(since))
  return { ...pool, options }
}

export function withMerge(pool: Pool, { epoch, source, target, sourceVersion, targetVersion }: DoneMerge): Pool {
  const { options } = withPendingMerge(pool, undefined)
  const seeds = [source, target].map((id) => pgSeed(id).toString(16))
  const last = [epoch, ...seeds, sourceVersion, targetVersion].join(' ')
  return { ...pool, pgNum: pool.pgNum - 1, lastChange: epoch, options: new Map(options).set(lastOption, last) }
}

export function lastMerge(pool: Pool): DoneMerge | undefined {
  const [epoch, source, target, sourceVersion, targetVersion] = pool.options.get(lastOption)?.split(' ') ?? []
  if (source === undefined || target === undefined || sourceVersion === undefined || targetVersion === undefined) {
    return undefined
  }
  const idOf = (seed: string) => pgId(pool.id, Number.parseInt(seed, 16))
  return {
    epoch: Number(epoch) as Epoch,
    source: idOf(source),
    target: idOf(target),
    sourceVersion,
    targetVersion,
  }
}

/** The one PG that is to say again how it is since the last change of the pool, a merge: its target. Undefined: all are. */
export function onlyChangedPg(pool: Pool): PgId | undefined {
  const merge = lastMerge(pool)
  return merge?.epoch === pool.lastChange ? merge.target : undefined
}
