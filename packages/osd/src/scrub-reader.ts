/** What a placement group asks of the store to scrub a range of its objects. */
import { isClusterError, type PgId, pgShard } from '@shoal/base'
import { linearDigest } from '@shoal/erasure'
import type { ExaminedObject, ObjectDamage, ObjectExaminer, ObjectStore } from '@shoal/object-store'
import {
  type ExaminedCopy,
  isTemporary,
  objectAttributeName,
  type ScrubRange,
  scrubDamage,
} from '@shoal/placement-group'
import type { ObjectId } from '@shoal/wire'

export interface ExaminedCopies {
  readonly objects: readonly ExaminedCopy[]
  readonly through: ObjectId | undefined
  readonly damagedRecords: readonly Uint8Array[]
}

/** Read at a time for a digest. */
const digestBytes = 2 ** 18

const bits: Readonly<Record<ObjectDamage, number>> = {
  attributes: scrubDamage.attributes,
  'block-map': scrubDamage.blockMap,
  data: scrubDamage.data,
  omap: scrubDamage.omap,
}

/** `records`: look at the group's own records, too. Rejects with the store's errors. */
export async function examineCopies(
  store: ObjectExaminer & Pick<ObjectStore, 'read'>,
  collection: PgId,
  range: ScrubRange,
  records: boolean,
): Promise<ExaminedCopies> {
  const damagedRecords = records ? await store.damagedRecords(collection) : []
  const { objects, through } = await store.examine(collection, range)
  const copies: ExaminedCopy[] = []
  for (const object of objects) copies.push(await withDigest(store, collection, range, copyOf(object)))
  return { objects: copies, through, damagedRecords }
}

/** Of a shard the digest must tell whether it fits to the others: it is made from the bytes, a piece at a time. */
async function withDigest(
  store: Pick<ObjectStore, 'read'>,
  collection: PgId,
  { deep }: ScrubRange,
  copy: ExaminedCopy,
): Promise<ExaminedCopy> {
  if (!deep || pgShard(collection) === undefined || copy.damage !== 0 || isTemporary(copy.object)) return copy
  let dataDigest = 0
  try {
    for (let offset = 0; offset < copy.sizeBytes; offset += digestBytes) {
      const length = Math.min(digestBytes, copy.sizeBytes - offset)
      dataDigest = linearDigest(dataDigest, await store.read(collection, copy.object, offset, length))
    }
  } catch (error) {
    if (!isClusterError(error, 'ECHECKSUM')) throw error
    return { ...copy, dataDigest: 0, damage: scrubDamage.data }
  }
  return { ...copy, dataDigest }
}

function copyOf(examined: ExaminedObject): ExaminedCopy {
  const { object, sizeBytes, xattrs, attributesDigest, omapDigest, dataDigest } = examined
  const damage = examined.damage.reduce((sum, each) => sum + bits[each], 0)
  return {
    object,
    attribute: xattrs.get(objectAttributeName),
    sizeBytes,
    attributesDigest,
    omapDigest,
    dataDigest,
    damage,
  }
}
