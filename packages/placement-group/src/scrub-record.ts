/**
 * What a placement group keeps of its scrubs: when, and which objects were found inconsistent. Record `s` of its
 * collection, docs/formats/placement-group.md. Objects and shards carry errors under Ceph's names
 * (`rados list-inconsistent-obj`), as far as they can occur here.
 */
import {
  array,
  boolean,
  type Codec,
  decode,
  encode,
  f64,
  type OsdId,
  oneOf,
  type PgId,
  struct,
  u32,
  u64,
  utf8Encode,
  versioned,
} from '@shoal/base'
import { type ObjectId, objectIdCodec, type TransactionOp, type Version, versionCodec } from '@shoal/wire'
import { shardOf as memberShard, osdOf } from './member.ts'

/** In storage and on the wire: new ones at the end. */
const scrubErrors = [
  /** The copy is not there. */
  'missing',
  /** The copy should not be there. */
  'unexpected',
  /** Its attributes fail their checksum: nothing is known of it. */
  'info_corrupted',
  /** Data, or the map of its blocks, fails its checksum. */
  'read_error',
  /** An omap entry fails its checksum. */
  'omap_read_error',
  /** It is another version than the copies that are right. */
  'object_info_inconsistency',
  'size_mismatch',
  'attr_value_mismatch',
  'omap_digest_mismatch',
  'data_digest_mismatch',
] as const
export type ScrubError = (typeof scrubErrors)[number]

export interface InconsistentShard {
  readonly osd: OsdId
  readonly errors: readonly ScrubError[]
  readonly sizeBytes: number
  readonly version: Version
  readonly attributesDigest: number
  readonly omapDigest: number
  readonly dataDigest: number
}

export interface InconsistentObject {
  readonly object: ObjectId
  /** The version that the good copies have; zero when there is none, or the object should not be. */
  readonly version: Version
  /** The object should not be there. */
  readonly remove: boolean
  readonly shards: readonly InconsistentShard[]
  /** Whose copies are right; empty when none can be told to be. */
  readonly good: readonly OsdId[]
  /** Whose copies can be replaced by a good one, or removed. */
  readonly bad: readonly OsdId[]
  /** Checksums, or the log, prove which are bad: they may be mended unasked. */
  readonly proven: boolean
  /** Only reading the data shows it: a scrub that is not deep does not clear it. */
  readonly deep: boolean
}

export interface ScrubRecord {
  /** Milliseconds of the wall clock; when the placement group was first clean, until it is scrubbed. */
  readonly scrubbedMs: number
  readonly deepScrubbedMs: number
  readonly inconsistent: readonly InconsistentObject[]
  /** Found inconsistent beyond those listed. */
  readonly unlisted: number
  /** A repair was begun: a deep scrub must show that nothing is left. */
  readonly checkDue: boolean
}

/** So many are listed; a deep scrub after their repair finds the others. */
export const inconsistentMax = 500

const osds = array(u32<OsdId>())

export const scrubRecordCodec: Codec<ScrubRecord> = versioned<ScrubRecord>(
  1,
  1,
  'scrub record',
  struct<ScrubRecord>({
    scrubbedMs: f64(),
    deepScrubbedMs: f64(),
    inconsistent: array(
      struct<InconsistentObject>({
        object: objectIdCodec,
        version: versionCodec,
        remove: boolean(),
        shards: array(
          struct<InconsistentShard>({
            osd: u32<OsdId>(),
            errors: array(oneOf(scrubErrors)),
            sizeBytes: u64(),
            version: versionCodec,
            attributesDigest: u32(),
            omapDigest: u32(),
            dataDigest: u32(),
          }),
        ),
        good: osds,
        bad: osds,
        proven: boolean(),
        deep: boolean(),
      }),
    ),
    unlisted: u32(),
    checkDue: boolean(),
  }),
)

export const scrubRecordKey: Uint8Array = utf8Encode('s')

export function setScrubRecord(collection: PgId, record: ScrubRecord): TransactionOp {
  return {
    kind: 'meta-set',
    collection,
    entries: [{ key: scrubRecordKey, value: encode(scrubRecordCodec, record) }],
  }
}

/** Of a group that counts as never scrubbed from now on. */
export function clearScrubRecord(collection: PgId): TransactionOp {
  return { kind: 'meta-remove', collection, keys: [scrubRecordKey] }
}

export function decodeScrubRecord(value: Uint8Array): ScrubRecord {
  return decode(scrubRecordCodec, value)
}

/** Of all shards, as OSD_SCRUB_ERRORS counts them. */
export function countScrubErrors(record: ScrubRecord | undefined): number {
  let errors = record?.unlisted ?? 0
  for (const { shards } of record?.inconsistent ?? []) for (const shard of shards) errors += shard.errors.length
  return errors
}

/** The answer of `pg list-inconsistent`, in the shape of `rados list-inconsistent-obj`. */
export function describeInconsistent(record: ScrubRecord | undefined, isCoded: boolean): object {
  return {
    unlisted: record?.unlisted ?? 0,
    inconsistents: (record?.inconsistent ?? []).map(({ object, version, remove, shards, good, bad, proven }) => ({
      object: { pool: object.pool, namespace: object.namespace, name: object.name, snap: object.snap },
      version: `${version.epoch}'${version.version}`,
      errors: [...new Set(shards.flatMap((shard) => shard.errors))].sort(),
      good: good.map(osdOf),
      bad: bad.map(osdOf),
      proven,
      should_be_removed: remove,
      shards: shards.map((shard) => ({
        osd: osdOf(shard.osd),
        ...(isCoded ? { shard: memberShard(shard.osd) } : {}),
        errors: shard.errors,
        size: shard.sizeBytes,
        version: `${shard.version.epoch}'${shard.version.version}`,
        attributes_digest: hex(shard.attributesDigest),
        omap_digest: hex(shard.omapDigest),
        data_digest: hex(shard.dataDigest),
      })),
    })),
  }
}

function hex(digest: number): string {
  return `0x${digest.toString(16).padStart(8, '0')}`
}
