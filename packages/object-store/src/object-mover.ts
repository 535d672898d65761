/**
 * Moves objects from one collection to others by their onodes alone: an onode's key names its collection, its block map
 * and omap are filed under a number of its own. Goes straight to `level`, past the journal, which is right only while no
 * record of the journal speaks of these collections any more:
 *
 * Invariant 1: the layers of all collections concerned are clean from beginning to end; their records in the ring are
 *              older than what `level` says it has of them, so that replay skips them.
 * Invariant 2: an object is in exactly one collection at any time, also after a crash: one atomic batch per page.
 */
import { assert, decode, type KeyValueOp } from '@shoal/base'
import type { ObjectId } from '@shoal/wire'
import { headSnap } from '@shoal/wire'
import { bytesToKey, type Key, keys, keyToBytes, prefixEnd } from './layout.ts'
import { type Collection, encodeCollection, type MetaStore } from './meta-store.ts'
import type { MovedObjects } from './object-store.ts'
import { onodeCodec } from './onode.ts'
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
): Promise<readonly MovedObjects[]> {
  const counts = [...targets, from].map(() => ({ objects: 0, bytes: 0 }))
  const end = keyToBytes(prefixEnd(from.objectPrefix) as Key)
  let start = keyToBytes(from.objectPrefix)
  for (;;) {
    assert([from, ...targets].every(isClean), 'Invariant 1 of moving objects')
    const page = await meta.level.entries({ from: start, to: end, limit: pageObjects })
    const ops: KeyValueOp[] = []
    const touched: Key[] = []
    for (const [bytes, sealed] of page) {
      const value = unseal(meta.checksums, bytes, sealed)
      const { id, sizeBytes } = decode(onodeCodec, value)
      const index = choose(id)
      const count = counts[index < 0 ? targets.length : index] as { objects: number; bytes: number }
      if (id.snap === headSnap) count.objects++
      count.bytes += sizeBytes
      if (index < 0) continue
      const key = bytesToKey(bytes)
      const to = (targets[index] as Collection).objectPrefix + key.slice(from.objectPrefix.length)
      ops.push({ kind: 'delete', key: bytes }, meta.sealed(to, value))
      touched.push(key, to)
    }
    await writePage(meta, ops, touched, [from, ...targets])
    const last = page[page.length - 1]
    if (last === undefined || page.length < pageObjects) break
    start = keyToBytes(`${bytesToKey(last[0])}\0`)
  }
  // The same record again: what it is for is the sync, which takes the batches before it along.
  const mark = meta.sealed(keys.collection(from.id), encodeCollection(from.exists, from.applied))
  await meta.level.batch([mark], { sync: true })
  return counts
}

async function writePage(
  meta: MetaStore,
  ops: readonly KeyValueOp[],
  touched: readonly Key[],
  collections: readonly Collection[],
): Promise<void> {
  if (ops.length === 0) return
  await meta.level.batch(ops, { sync: false })
  // Reads that are under way start over, and none of them finds the old place in the cache.
  for (const collection of collections) collection.generation++
  for (const key of touched) meta.forget(key)
}
