/**
 * How a pool's PGs become fewer, one at a time: writes to the last PG and to the one that it goes into are held (`pending`),
 * both say how far they have been written, and with the next map they are one. docs/mechanisms/merge.md
 *
 * Invariant 1: a merge is noted only with what both primaries have said under a map that has it pending: nothing is written
 *              from then on, by any primary, until a map shows that the merge is done or given up.
 * Invariant 2: both lie on the same OSDs, in full number, as they were when they said so.
 * Invariant 3: a merge that is pending is given up as soon as the two are placed apart or lack a member, and after a while:
 *              writes wait for it. It is not begun where it would be given up.
 */
import type { PgId } from '@shoal/base'
import {
  featurePgMerge,
  type MergingPair,
  nextMerge,
  type OsdMap,
  type PgMapping,
  type PgStats,
  PlacementCache,
  type Pool,
  pendingMerge,
  withMerge,
  withPendingMerge,
} from '@shoal/cluster-map'
import type { ProposalDraft } from '../state/proposal-draft.ts'
import { isSettled, osdThatCannotMerge, requireForPgNum, shrinks, targetOf, withPgNumTarget } from './pg-num.ts'
import type { Statistics } from './statistics.ts'

/** Writes are held no longer for a merge that does not come about. */
const pendingMsMax = 10_000
/** After a merge that was given up. */
const pauseMs = 5_000

export type MergeStep =
  | { readonly kind: 'begin'; readonly pool: Pool }
  | { readonly kind: 'give-up'; readonly pool: Pool }
  | { readonly kind: 'merge'; readonly pool: Pool; readonly sourceVersion: string; readonly targetVersion: string }

export class PgMerges {
  /** When this leader saw first that it is pending, by pool and epoch. */
  private readonly pendingMs = new Map<string, number>()
  private readonly pausedUntilMs = new Map<number, number>()

  /** Once a second, and when a report may have made one possible. */
  steps(map: OsdMap, statistics: Pick<Statistics, 'rows' | 'pg'>, nowMs: number): readonly MergeStep[] {
    const steps: MergeStep[] = []
    const seen = new Set<string>()
    for (const pool of map.pools.values()) {
      const pending = pendingMerge(pool)
      if (pending === undefined) {
        if (shrinks(pool) && pool.pgpNum === targetOf(pool) && this.mayBegin(map, pool, statistics, nowMs)) {
          steps.push({ kind: 'begin', pool })
        }
        continue
      }
      const key = `${pool.id} ${pending.since}`
      seen.add(key)
      const sinceMs = this.pendingMs.get(key) ?? nowMs
      this.pendingMs.set(key, sinceMs)
      const late = !shrinks(pool) || nowMs - sinceMs > pendingMsMax
      const step = pendingStep(map, pool, pending, statistics) ?? (late ? { kind: 'give-up', pool } : undefined)
      if (step === undefined) continue
      steps.push(step)
      if (step.kind === 'give-up') this.pausedUntilMs.set(pool.id, nowMs + pauseMs)
    }
    for (const key of this.pendingMs.keys()) if (!seen.has(key)) this.pendingMs.delete(key)
    return steps
  }

  private mayBegin(map: OsdMap, pool: Pool, statistics: Pick<Statistics, 'rows'>, nowMs: number): boolean {
    if (nowMs < (this.pausedUntilMs.get(pool.id) ?? 0) || osdThatCannotMerge(map) !== undefined) return false
    if (!isSettled(map, pool, statistics)) return false
    const pair = nextMerge(pool)
    if (pair === undefined) return false
    // Exceptions go first, and then it is looked at again.
    const excepted = [pair.source, pair.target].some((id) => isException(map, id))
    return excepted || areTogether(new PlacementCache(map), pair, pool)
  }
}

function pendingStep(
  map: OsdMap,
  pool: Pool,
  { source, target, since }: NonNullable<ReturnType<typeof pendingMerge>>,
  statistics: Pick<Statistics, 'pg'>,
): MergeStep | undefined {
  if (!shrinks(pool)) return undefined
  const placement = new PlacementCache(map)
  if (!areTogether(placement, { source, target }, pool)) return { kind: 'give-up', pool }
  const [from, to] = [source, target].map((id) => placement.mapping(id)) as [PgMapping, PgMapping]
  const stats = [source, target].map((id) => statistics.pg(id)) as [PgStats | undefined, PgStats | undefined]
  const [ofSource, ofTarget] = stats
  if (ofSource === undefined || ofTarget === undefined) return undefined
  const isReady = (one: PgStats, { acting, actingPrimary }: PgMapping): boolean =>
    one.reportedEpoch >= since &&
    one.states.includes('premerge') &&
    one.states.includes('active') &&
    one.states.includes('clean') &&
    one.actingPrimary === actingPrimary &&
    sameOsds(one.acting, acting)
  if (!isReady(ofSource, from) || !isReady(ofTarget, to)) return undefined
  return { kind: 'merge', pool, sourceVersion: ofSource.version, targetVersion: ofTarget.version }
}

/** Invariant 2, as far as the map tells. */
function areTogether(placement: PlacementCache, { source, target }: MergingPair, pool: Pool): boolean {
  const [from, to] = [placement.mapping(source), placement.mapping(target)]
  return isWhole(from, pool) && isWhole(to, pool) && sameOsds(from.acting, to.acting)
}

function isWhole({ up, acting }: PgMapping, pool: Pool): boolean {
  return acting.length === pool.size && sameOsds(up, acting)
}

function sameOsds(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((osd, at) => osd === b[at])
}

/** The pool is as it was when the step was planned, and so are both PGs. */
export function takeMergeStep(draft: ProposalDraft, step: MergeStep): void {
  const { pool } = step
  const pair = nextMerge(pool)
  if (draft.map.pools.get(pool.id) !== pool || pair === undefined) return
  if (step.kind === 'begin') return begin(draft, pool, pair)
  if (step.kind === 'give-up') {
    draft.osd.setPool(withPendingMerge(pool, undefined))
    return draft.log('warn', `pool '${pool.name}': ${pair.source} and ${pair.target} are not merged now`)
  }
  const { sourceVersion, targetVersion } = step
  const merged = withMerge(pool, { epoch: draft.osd.epoch, ...pair, sourceVersion, targetVersion })
  for (const id of [pair.source, pair.target]) dropExceptions(draft, id)
  draft.osd.setPool(merged)
  const target = targetOf(merged)
  if (target === merged.pgNum) {
    draft.osd.setPool(withPgNumTarget(merged, target))
    draft.log('info', `pool '${pool.name}': it has ${target} placement groups now`)
  }
}

function begin(draft: ProposalDraft, pool: Pool, pair: MergingPair): void {
  const { map } = draft
  const exceptions = [pair.source, pair.target].filter((id) => isException(map, id))
  if (exceptions.length > 0) {
    // First they have to lie together.
    for (const id of exceptions) dropExceptions(draft, id)
    return draft.osd.setPool({ ...pool, lastChange: draft.osd.epoch })
  }
  draft.osd.setPool(withPendingMerge(pool, draft.osd.epoch))
  requireForPgNum(draft.osd, featurePgMerge)
}

function isException({ upmap, upmapItems, upmapPrimaries }: OsdMap, id: PgId): boolean {
  return upmap.has(id) || upmapItems.has(id) || upmapPrimaries?.has(id) === true
}

function dropExceptions(draft: ProposalDraft, id: PgId): void {
  const { map } = draft
  if (map.upmap.has(id)) draft.osd.setUpmap(id, null)
  if (map.upmapItems.has(id)) draft.osd.setUpmapItems(id, null)
  if (map.upmapPrimaries?.has(id) === true) draft.osd.setUpmapPrimary(id, null)
  if (map.pgTemp.has(id)) draft.osd.setPgTemp(id, null)
}
