/**
 * Splits placement groups in the store: no data is copied, an object's onode goes to another collection.
 * docs/mechanisms/split.md
 *
 * Durable before what, for each PG:
 * 1. the collections of the new parts, marked as cut off;
 * 2. the objects, page by page;
 * 3. each new part's records of snapshots, page by page, then the others, which take its mark away: from now on it is a PG;
 * 4. the old part without what has gone: records of snapshots, page by page, then the others.
 * A crash before 3 is undone at the next start: the objects go back. A crash between 3 and 4 leaves the old part as of before
 * the map: it is split again, and finds these parts made and nothing to move.
 */
import { type PgId, pgId, pgPool, pgSeed } from '@shoal/base'
import { type OsdMap, type Pool, seedOfHash, splitSeeds } from '@shoal/cluster-map'
import type { MovedObjects } from '@shoal/object-store'
import {
  allSnapRecords,
  copySnapRecords,
  countObject,
  cutOffSplit,
  divideSnapRecords,
  type FrozenPg,
  markSplit,
  type SeedOf,
  type StoredPg,
  splitChild,
  splitRemainder,
} from '@shoal/placement-group'
import type { OmapEntry } from '@shoal/wire'
import type { PgServices } from './pg-services.ts'

/** Records of snapshots in one transaction. */
const pageRecords = 128

export interface Split {
  readonly wholeId: PgId
  readonly frozen: FrozenPg
  /** The new ones. */
  readonly parts: readonly PgId[]
  /** As it is from now on. */
  readonly pool: Pool
}

/** The PGs that part of this one's objects go to with the next map. */
export function partsOf(whole: PgId, before: OsdMap, after: OsdMap): readonly PgId[] {
  const id = pgPool(whole)
  const old = before.pools.get(id)
  const now = after.pools.get(id)
  const seed = pgSeed(whole)
  if (old === undefined || now === undefined || now.pgNum <= old.pgNum || seed >= old.pgNum) return []
  return splitSeeds(seed, old.pgNum, now.pgNum).map((part) => pgId(id, part))
}

type Services = Pick<PgServices, 'env' | 'store' | 'counters'>

/** What each PG, old and new, goes on from. */
export async function splitCollections(
  services: Services,
  splits: readonly Split[],
): Promise<ReadonlyMap<PgId, StoredPg>> {
  const { store } = services
  const result = new Map<PgId, StoredPg>()
  const begun: Split[] = []
  for (const split of splits) {
    const { wholeId, frozen } = split
    // Those that an earlier try, before a crash, has finished are PGs by now.
    const parts = split.parts.filter((part) => !store.hasCollection(part))
    const steps = parts.flatMap((part) => [
      { kind: 'create-collection' as const, collection: part },
      markSplit(part, wholeId),
    ])
    await store.submit({ ops: [...frozen.steps, ...steps] })
    begun.push({ ...split, parts })
  }
  // Only now: the store has to write out all that these collections have changed, once for all of them.
  for (const split of begun) for (const [id, stored] of await splitOne(services, split)) result.set(id, stored)
  return result
}

async function splitOne(
  { env, store, counters }: Services,
  { wholeId, frozen, parts, pool }: Split,
): Promise<ReadonlyMap<PgId, StoredPg>> {
  const startMs = env.clock.monotonicMs()
  const seedOf = (hash: number) => seedOfHash(pool, hash)
  const index = new Map(parts.map((part, at) => [pgSeed(part), at]))
  const moved = await store.moveObjects(wholeId, parts, (object) => index.get(seedOf(object.hash)) ?? -1, countObject)
  for await (const bySeed of snapRecords(store, wholeId, seedOf)) {
    const ops = parts.flatMap((id) => {
      const keys = bySeed.get(pgSeed(id))
      return keys === undefined ? [] : [copySnapRecords(id, keys)]
    })
    if (ops.length > 0) await store.submit({ ops })
  }
  const result = new Map<PgId, StoredPg>()
  for (const [at, id] of parts.entries()) {
    const child = splitChild(frozen.stored, { pgId: id, ...(moved[at] as MovedObjects) }, seedOf)
    await store.submit({ ops: child.steps })
    result.set(id, child.stored)
  }
  for await (const bySeed of snapRecords(store, wholeId, seedOf)) {
    const keys = [...bySeed].flatMap(([seed, ofPart]) => (seed === pgSeed(wholeId) ? [] : ofPart))
    if (keys.length > 0) await store.submit({ ops: [{ kind: 'meta-remove', collection: wholeId, keys }] })
  }
  const rest = splitRemainder(frozen.stored, { pgId: wholeId, ...(moved.at(-1) as MovedObjects) }, seedOf)
  await store.submit({ ops: rest.steps })
  result.set(wholeId, rest.stored)
  counters.add('pgSplits')
  env.log.info('split', { pgId: wholeId, parts: parts.length + 1, ms: env.clock.monotonicMs() - startMs })
  return result
}

/** By seed, a page at a time. All of a record is its key: one that fails its checksum is as good as any. */
export async function* snapRecords(
  store: Services['store'],
  whole: PgId,
  seedOf: SeedOf,
): AsyncGenerator<ReadonlyMap<number, readonly Uint8Array[]>> {
  let { from } = allSnapRecords
  for (;;) {
    const page = await store.readableEntries(whole, from, allSnapRecords.to, pageRecords)
    yield divideSnapRecords([...page.entries.map(({ key }) => key), ...page.damaged], seedOf)
    if (!page.more || page.last === undefined) return
    from = new Uint8Array([...page.last, 0])
  }
}

/** Whether the collection was one that a crash left in the middle: then its objects are back where they were, and it is gone. */
export async function undoCutOffSplit(
  { env, store }: Services,
  collection: PgId,
  records: readonly OmapEntry[],
): Promise<boolean> {
  const whole = cutOffSplit(records)
  if (whole === undefined || !store.hasCollection(whole)) return false
  await store.moveObjects(collection, [whole], () => 0, countObject)
  await store.submit({ ops: [{ kind: 'remove-collection', collection }] })
  env.log.info('a split was cut off: it begins again', { pgId: whole, part: collection })
  return true
}
