/**
 * Moves objects from one collection to others by their onodes alone: an onode's key names its collection, its block map
 * and omap are filed under a number of its own. Goes straight to `level`, past the journal, which is right only while no
 * record of the journal speaks of these collections any more:
 *
 * Invariant 1: the layers of all collections concerned are clean from beginning to end; their records in the ring are
 *              older than what `level` says it has of them, so that replay skips them.
 * Invariant 2: an object is in exactly one collection at any time, also after a crash: one atomic batch per page.
 * Invariant 3: what a collection counts as compressed is what its objects have in blobs: the counts move in the batch of
 *              the objects. Else a part counts below zero as soon as its blobs are overwritten, and writes that ask it
 *              whether there are blobs leave nearly empty ones lying.
 */
import { assert, decode, isClusterError, type KeyValueOp, must } from '@shoal/base'
import type { ObjectId } from '@shoal/wire'
import { type CompressedSpace, lessSpace, moreSpace, nothingCompressed, spaceOfBlob } from './compressed-space.ts'
import { bytesToKey, type Key, keys, keyToBytes, parseObjectSortKey, prefixEnd } from './layout.ts'
import { type Collection, encodeCollection, type MetaStore } from './meta-store.ts'
import type { CountObject, MovedObjects } from './object-store.ts'
import { decodeShard, type Onode, onodeCodec } from './onode.ts'
import { unseal } from './sealed-value.ts'

/** Objects that are looked at in one turn of the event loop. */
const pageObjects = 128

export function isClean({ active, frozen }: Collection): boolean {
  return !active.dirty && frozen === undefined
}

/**
 * `choose` gives the index of the target, or -1 for an object that stays. Resolves when all is durable: counts of what went
 * to each target, and, last, of what stayed.
 */
export async function moveObjects(
  meta: MetaStore,
  from: Collection,
  targets: readonly Collection[],
  choose: (object: ObjectId) => number,
  count: CountObject,
): Promise<readonly MovedObjects[]> {
  const counts = [...targets, from].map(() => ({ objects: 0, bytes: 0 }))
  const end = keyToBytes(prefixEnd(from.objectPrefix) as Key)
  let start = keyToBytes(from.objectPrefix)
  for (;;) {
    const entries = await meta.level.entries({ from: start, to: end, limit: pageObjects })
    const page: Page = { ops: [], touched: [], compressed: targets.map(() => nothingCompressed) }
    for (const [bytes, sealed] of entries) {
      const key = bytesToKey(bytes)
      const sortKey = key.slice(from.objectPrefix.length)
      const value = intact(meta, bytes, sealed)
      const onode = value === undefined ? undefined : decode(onodeCodec, value)
      const id = onode?.id ?? parseObjectSortKey(sortKey)
      const index = id === undefined ? -1 : choose(id)
      if (onode !== undefined) {
        const total = counts[index < 0 ? targets.length : index] as { objects: number; bytes: number }
        const { objects, bytes: size } = count(onode.id, onode)
        total.objects += objects
        total.bytes += size
      }
      if (index < 0) continue
      const to = (targets[index] as Collection).objectPrefix + sortKey
      const moved: KeyValueOp =
        value === undefined ? { kind: 'put', key: keyToBytes(to), value: sealed } : meta.sealed(to, value)
      page.ops.push({ kind: 'delete', key: bytes }, moved)
      page.touched.push(key, to)
      if (onode !== undefined && from.compressed.units > 0) {
        page.compressed[index] = moreSpace(page.compressed[index] as CompressedSpace, await spaceOf(meta, onode))
      }
    }
    await writePage(meta, page, from, targets)
    const last = entries[entries.length - 1]
    if (last === undefined || entries.length < pageObjects) break
    start = keyToBytes(`${bytesToKey(last[0])}\0`)
  }
  // The same record again: what it is for is the sync, which takes the batches before it along.
  await meta.level.batch([countsOf(meta, from, from.compressed)], { sync: true })
  return counts
}

interface Page {
  readonly ops: KeyValueOp[]
  readonly touched: Key[]
  /** What goes to each target with its objects. */
  readonly compressed: CompressedSpace[]
}

/** A shard that is damaged or missing counts for nothing: its blobs stay counted where they were, as when it is given up. */
async function spaceOf(meta: MetaStore, onode: Onode): Promise<CompressedSpace> {
  let space = nothingCompressed
  const prefix = keys.shards + onode.number
  const end = keyToBytes(must(prefixEnd(prefix), 'end of the shards of an object'))
  for (let start = keyToBytes(prefix); ; ) {
    const page = await meta.level.entries({ from: start, to: end, limit: pageObjects })
    for (const [key, sealed] of page) {
      const value = intact(meta, key, sealed)
      if (value === undefined) continue
      for (const ref of decodeShard(value).blobs) space = moreSpace(space, spaceOfBlob(ref))
    }
    const last = page[page.length - 1]
    if (last === undefined || page.length < pageObjects) return space
    start = keyToBytes(`${bytesToKey(last[0])}\0`)
  }
}

/** Undefined for a damaged record. An onode moves as it is, by its key, and scrub finds it where its object should be. */
function intact(meta: MetaStore, key: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
  try {
    return unseal(meta.checksums, key, sealed)
  } catch (error) {
    if (isClusterError(error, 'ECHECKSUM')) return undefined
    throw error
  }
}

async function writePage(
  meta: MetaStore,
  { ops, touched, compressed }: Page,
  from: Collection,
  targets: readonly Collection[],
): Promise<void> {
  assert([from, ...targets].every(isClean), 'Invariant 1 of moving objects')
  if (ops.length === 0) return
  for (const [at, space] of compressed.entries()) {
    if (space.units === 0) continue
    const target = targets[at] as Collection
    from.compressed = lessSpace(from.compressed, space)
    target.compressed = moreSpace(target.compressed, space)
    ops.push(countsOf(meta, target, target.compressed), countsOf(meta, from, from.compressed))
  }
  await meta.level.batch(ops, { sync: false })
  // Reads that are under way start over, and none of them finds the old place in the cache.
  for (const collection of [from, ...targets]) collection.generation++
  for (const key of touched) meta.forget(key)
}

function countsOf(meta: MetaStore, { id, exists, applied }: Collection, compressed: CompressedSpace): KeyValueOp {
  return meta.sealed(keys.collection(id), encodeCollection(exists, applied, compressed))
}
