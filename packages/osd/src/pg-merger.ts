/**
 * Merges placement groups in the store: the objects of one go to the collection of another by their onodes, no data is
 * copied. docs/mechanisms/merge.md
 *
 * Durable before what:
 * 1. the mark in the target's collection that says who goes into it;
 * 2. the objects and the records of snapshots, page by page;
 * 3. in one transaction: what the target is from now on, without the mark, and the end of the source's collection.
 * A crash before 3 is undone at the next start: what has moved goes back, and both are as they were.
 */
import { assert, type PgId, pgPool, pgSeed } from '@shoal/base'
import { type DoneMerge, lastMerge, mergeTarget, type OsdMap, type Pool, seedOfHash } from '@shoal/cluster-map'
import {
  clearMergeMark,
  copySnapRecords,
  countObject,
  cutOffMerge,
  type FrozenPg,
  isMergedAlready,
  markMerge,
  mergeCopies,
  type StoredPg,
} from '@shoal/placement-group'
import type { OmapEntry, TransactionOp } from '@shoal/wire'
import type { PgServices } from './pg-services.ts'
import { snapRecords } from './pg-splitter.ts'

const removePerTransaction = 64

/** A target and all that goes into it with a map: one, unless maps between are gone. */
export interface Merge {
  readonly targetId: PgId
  /** Undefined where this OSD has no copy of it: then that of the source goes. */
  readonly target: FrozenPg | undefined
  readonly sources: readonly { readonly id: PgId; readonly frozen: FrozenPg | undefined }[]
  readonly before: Pool
  /** Undefined where maps are gone that would tell, or where it was another merge. */
  readonly done: DoneMerge | undefined
}

/** Which PGs go into which with the next map, by target. */
export function mergesOf(before: OsdMap, after: OsdMap): ReadonlyMap<PgId, readonly PgId[]> {
  const merges = new Map<PgId, PgId[]>()
  for (const pool of after.pools.values()) {
    const old = before.pools.get(pool.id)
    for (let seed = pool.pgNum; seed < (old?.pgNum ?? 0); seed++) {
      const source = `${pool.id}.${seed.toString(16)}` as PgId
      const target = mergeTarget(source, pool, pool.pgNum)
      merges.set(target, [...(merges.get(target) ?? []), source])
    }
  }
  return merges
}

/** What the monitors have noted of the merge in this very map. */
export function doneMerge(source: PgId, after: OsdMap): DoneMerge | undefined {
  const pool = after.pools.get(pgPool(source))
  const done = pool === undefined ? undefined : lastMerge(pool)
  return done?.epoch === after.epoch && done.source === source ? done : undefined
}

type Services = Pick<PgServices, 'env' | 'store' | 'counters'>

/** What the target goes on from; undefined when there is nothing of it. */
export async function mergeCollections(services: Services, merge: Merge): Promise<StoredPg | undefined> {
  const { store, env, counters } = services
  const { targetId, target, sources, before, done } = merge
  const startMs = env.clock.monotonicMs()
  if (target === undefined) {
    for (const { id } of sources) await removeCollection(services, id)
    return undefined
  }
  if (target.steps.length > 0) await store.submit({ ops: target.steps })
  let { stored } = target
  for (const { id, frozen } of sources) {
    const source = frozen?.stored
    if (source === undefined && done !== undefined && isMergedAlready(stored, done)) continue
    const merged = mergeCopies(stored, source, targetId, done)
    const ops = [...merged.steps]
    if (frozen !== undefined) {
      await store.submit({ ops: [...frozen.steps, markMerge(targetId, id, before.pgNum)] })
      await store.moveObjects(id, [targetId], () => 0, countObject)
      for await (const bySeed of snapRecords(store, id, () => 0)) {
        for (const keys of bySeed.values()) await store.submit({ ops: [copySnapRecords(targetId, keys)] })
      }
      ops.push({ kind: 'remove-collection', collection: id })
    }
    await store.submit({ ops })
    stored = merged.stored
    counters.add('pgMerges')
    const exact = stored.record.info.lastBackfill.kind === 'complete'
    env.log.info('merged', { pgId: targetId, source: id, exact, ms: env.clock.monotonicMs() - startMs })
  }
  return stored
}

/** In bounded steps. One that is cut off begins again: until the target has a newer map in the store, the merge does. */
async function removeCollection({ store, env }: Services, id: PgId): Promise<void> {
  if (!store.hasCollection(id)) return
  for (;;) {
    const { objects, more } = await store.list(id, undefined, removePerTransaction)
    const ops: TransactionOp[] = objects.map((object) => ({ kind: 'remove', collection: id, object }))
    if (!more) ops.push({ kind: 'remove-collection', collection: id })
    await store.submit({ ops })
    if (!more) break
  }
  env.log.info('a copy whose placement group was merged elsewhere is dropped', { pgId: id })
}

/** Brings a collection back to what it was before a merge that a crash cut off. */
export async function undoCutOffMerge(
  { env, store }: Services,
  target: PgId,
  records: readonly OmapEntry[],
): Promise<void> {
  const cut = cutOffMerge(records)
  if (cut === undefined) return
  const { source, pgNum } = cut
  assert(store.hasCollection(source), 'a collection that is being merged goes with the mark of it')
  const seedOf = (hash: number): number => seedOfHash({ pgNum }, hash)
  await store.moveObjects(target, [source], ({ hash }) => (seedOf(hash) === pgSeed(source) ? 0 : -1), countObject)
  for await (const bySeed of snapRecords(store, target, seedOf)) {
    const keys = bySeed.get(pgSeed(source))
    if (keys !== undefined) await store.submit({ ops: [{ kind: 'meta-remove', collection: target, keys }] })
  }
  await store.submit({ ops: [clearMergeMark(target)] })
  env.log.info('a merge was cut off: it begins again', { pgId: target, source })
}
