/**
 * What an OSD asks of its local store. `FileObjectStore` in this package is the production implementation; the
 * conformance suite runs on every implementation.
 *
 * Order and durability, the two promises:
 * 1. Transactions apply in the order of the `submit` calls. Reads started after `submit` returned see its effect at
 *    once, before it is durable.
 * 2. The promise of `submit` resolves once the transaction is on stable storage; durability is a prefix of the order.
 */
import type { PgId } from '@shoal/base'
import type { ObjectId, OmapEntry, Transaction } from '@shoal/wire'

export interface ObjectStat {
  readonly sizeBytes: number
  /** Bytes of allocated blocks. */
  readonly allocatedBytes: number
}

export interface StoreUsage {
  readonly totalBytes: number
  readonly usedBytes: number
  readonly freeBytes: number
  /** Bytes of `level` and the journal, part of `usedBytes`. */
  readonly metadataBytes: number
}

/** What the blobs of a pool hold here, copies of clones included. */
export interface CompressionUsage {
  /** Of the blocks that are seen in blobs. */
  readonly originalBytes: number
  readonly compressedBytes: number
  /** Units of the blobs. */
  readonly allocatedBytes: number
  /** Blobs made since the mount. */
  readonly operations: number
}

export interface OmapPage {
  readonly entries: readonly OmapEntry[]
  /** More keys follow after the last one given. */
  readonly more: boolean
}

export interface ObjectPage {
  readonly objects: readonly ObjectId[]
  readonly more: boolean
}

export interface Extent {
  readonly offset: number
  readonly length: number
}

export interface MovedObjects {
  readonly objects: number
  readonly bytes: number
}

/** What an object adds to the counts of its collection. */
export type CountObject = (
  object: ObjectId,
  stat: { readonly sizeBytes: number; readonly xattrs: ReadonlyMap<string, Uint8Array> },
) => MovedObjects

export interface ObjectStore {
  /** What of a transaction goes to the journal (metadata and small writes), in bytes; a larger one is refused. */
  readonly transactionBytesMax: number
  /**
   * Rejects with ENOSPC (nothing applied: space is reserved before anything is ordered) and EINVAL (an unknown
   * collection, for instance). Any other failure ends the daemon through `Env.abort`.
   */
  submit(transaction: Transaction): Promise<void>
  /** Resolves once everything submitted before the call is durable. */
  flush(): Promise<void>

  collections(): readonly PgId[]
  hasCollection(collection: PgId): boolean
  /** Records of the collection itself in key order, `from` inclusive, `to` exclusive. */
  metaEntries(collection: PgId, from: Uint8Array, to: Uint8Array, limit: number): Promise<OmapPage>
  metaGet(collection: PgId, key: Uint8Array): Promise<Uint8Array | undefined>

  /** Undefined when the object does not exist. */
  stat(collection: PgId, object: ObjectId): Promise<ObjectStat | undefined>
  /**
   * Bytes from `offset`, at most `length`, short at the end of the object; holes read as zeros. Every block is checked
   * against its checksum: ECHECKSUM names the bad range and nothing of it is returned. ENOENT when missing.
   */
  read(collection: PgId, object: ObjectId, offset: number, length: number): Promise<Uint8Array>
  /** The allocated extents that meet the range, in order, merged. */
  extents(collection: PgId, object: ObjectId, offset: number, length: number): Promise<readonly Extent[]>
  xattrs(collection: PgId, object: ObjectId): Promise<ReadonlyMap<string, Uint8Array>>
  omapHeader(collection: PgId, object: ObjectId): Promise<Uint8Array>
  omapGet(collection: PgId, object: ObjectId, keys: readonly Uint8Array[]): Promise<readonly OmapEntry[]>
  /** Entries with keys after `after` (exclusive) that start with `prefix`. */
  omapEntries(
    collection: PgId,
    object: ObjectId,
    options: { readonly after: Uint8Array | undefined; readonly prefix: Uint8Array; readonly limit: number },
  ): Promise<OmapPage>
  /** Objects in `compareObjectIds` order, strictly after `after` (undefined: from the start). */
  list(collection: PgId, after: ObjectId | undefined, limit: number): Promise<ObjectPage>

  /**
   * Moves objects to other collections, by metadata alone, in steps that each take a moment. `choose` gives the index of the
   * target, or -1 for what stays. The caller submits nothing to any of these collections meanwhile. After a crash some have
   * moved and some have not, each whole and in one collection. Resolves, once all is durable, with what each target was
   * given and, last, what stayed, as `count` has it.
   */
  moveObjects(
    from: PgId,
    targets: readonly PgId[],
    choose: (object: ObjectId) => number,
    count: CountObject,
  ): Promise<readonly MovedObjects[]>

  usage(): StoreUsage
  /** Checkpoints and closes; the next mount replays nothing. */
  close(): Promise<void>
}

/** What of an object fails its checksum, or is not there. */
export type ObjectDamage = 'attributes' | 'block-map' | 'data' | 'omap'

/** An object as stable storage has it. Digests are equal for equal contents, wherever they lie. */
export interface ExaminedObject {
  readonly object: ObjectId
  readonly sizeBytes: number
  /** None when `damage` names the attributes: nothing is known of the object then. */
  readonly xattrs: ReadonlyMap<string, Uint8Array>
  /** Of attributes and omap header. */
  readonly attributesDigest: number
  /** Of all omap entries; 0 unless `deep`. */
  readonly omapDigest: number
  /** Of all bytes, holes as zeros; 0 unless `deep`. */
  readonly dataDigest: number
  readonly damage: readonly ObjectDamage[]
}

export interface ExamineRange {
  /** Exclusive; undefined: from the first object on. */
  readonly after: ObjectId | undefined
  /** Inclusive; undefined: up to the last object. */
  readonly until: ObjectId | undefined
  readonly objectsMax: number
  /** No further object is begun once so many bytes were read. */
  readonly bytesMax: number
  /** Read data and omap, too. */
  readonly deep: boolean
  /** Makes `dataDigest` instead: goes on from the digest so far (0) with the next bytes of the object, holes as zeros. */
  readonly digest?: ((digest: number, bytes: Uint8Array) => number) | undefined
}

export interface ExaminedRange {
  readonly objects: readonly ExaminedObject[]
  /** The last object that was looked at; undefined when the range has no further ones. */
  readonly through: ObjectId | undefined
}

export interface ReadablePage extends OmapPage {
  /** Keys of the page that were left out. */
  readonly damaged: readonly Uint8Array[]
  /** The last key of the page, given or left out. */
  readonly last: Uint8Array | undefined
}

/** For scrub: looks past all caches, and reports damage instead of failing on it. */
export interface ObjectExaminer {
  /** Rejects with EIO when records cannot be read at all. */
  examine(collection: PgId, range: ExamineRange): Promise<ExaminedRange>
  /** As `metaEntries`, without the records that fail their checksum. */
  readableEntries(collection: PgId, from: Uint8Array, to: Uint8Array, limit: number): Promise<ReadablePage>
  /** Keys of the collection's own records that fail their checksum. */
  damagedRecords(collection: PgId): Promise<readonly Uint8Array[]>
}
