/**
 * Moves objects from one collection to others by their onodes alone: an onode's key names its collection, its block map
 * and omap are filed under a number of its own. Goes straight to `level`, past the journal, which is right only while no
 * record of the journal speaks of these collections any more:
 *
 * Invariant 1: the layers of all collections concerned are clean from beginning to end; their records in the ring are
 *              older than what `level` says it has of them, so that replay skips them.
 * Invariant 2: an object is in exactly one collection at any time, also after a crash: one atomic batch per page.
 */
import { assert, decode, isClusterError, type KeyValueOp } from '@shoal/base'
import type { ObjectId } from '@shoal/wire'
import { bytesToKey, type Key, keys, keyToBytes, parseObjectSortKey, prefixEnd } from './layout.ts'
import { type Collection, encodeCollection, type MetaStore } from './meta-store.ts'
import type { CountObject, MovedObjects } from './object-store.ts'
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
  count: CountObject,
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
      ops.push({ kind: 'delete', key: bytes }, moved)
      touched.push(key, to)
    }
    await writePage(meta, ops, touched, [from, ...targets])
    const last = page[page.length - 1]
    if (last === undefined || page.length < pageObjects) break
    start = keyToBytes(`${bytesToKey(last[0])}\0`)
  }
  // The same record again: what it is for is the sync, which takes the batches before it along.
  const mark = meta.sealed(keys.collection(from.id), encodeCollection(from.exists, from.applied, from.compressed))
  await meta.level.batch([mark], { sync: true })
  return counts
}

/** Undefined for a damaged onode: it moves as it is, by its key, and scrub finds it where its object should be. */
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
