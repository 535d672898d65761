/** What a placement group asks of the store to scrub a range of its objects. */
import { type PgId, pgShard } from '@shoal/base'
import { linearDigest } from '@shoal/erasure'
import type { ExaminedObject, ObjectDamage, ObjectExaminer } from '@shoal/object-store'
import { type ExaminedCopy, objectAttributeName, type ScrubRange, scrubDamage } from '@shoal/placement-group'
import type { ObjectId } from '@shoal/wire'

export interface ExaminedCopies {
  readonly objects: readonly ExaminedCopy[]
  readonly through: ObjectId | undefined
  readonly damagedRecords: readonly Uint8Array[]
}

const bits: Readonly<Record<ObjectDamage, number>> = {
  attributes: scrubDamage.attributes,
  'block-map': scrubDamage.blockMap,
  data: scrubDamage.data,
  omap: scrubDamage.omap,
}

/** `records`: look at the group's own records, too. Rejects with the store's errors. */
export async function examineCopies(
  store: ObjectExaminer,
  collection: PgId,
  range: ScrubRange,
  records: boolean,
): Promise<ExaminedCopies> {
  const damagedRecords = records ? await store.damagedRecords(collection) : []
  // Of a shard the digest must tell whether it fits to the others: it is made from the bytes, as they are read.
  const digest = pgShard(collection) === undefined ? undefined : linearDigest
  const { objects, through } = await store.examine(collection, { ...range, digest })
  return { objects: objects.map(copyOf), through, damagedRecords }
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
