/**
 * The records of a placement group in its collection: docs/formats/placement-group.md.
 *
 *     'i'                           info and past intervals, as of the last change that was not a plain write
 *     'l' u32be epoch u64be number  log entry
 *     'm' object id                 missing object
 *     'r'                           requests that are done, have no entry any more and may be sent again
 *     's' u32be epoch u64be number  object of which the state before this version is kept (erasure/rollback-log.ts)
 *     't' object id                 object that is being gathered under a temporary name
 *
 * A plain write adds its log entry and nothing else: head, object count and bytes are read back from the newest entry.
 */
import {
  array,
  type Codec,
  compareBytes,
  decode,
  type Epoch,
  encode,
  type OsdId,
  type PgId,
  struct,
  u32,
  utf8Encode,
  versioned,
} from '@shoal/base'
import { type ObjectId, type OmapEntry, objectIdCodec, type TransactionOp, type Version } from '@shoal/wire'
import { RollbackLog, readStash, type Stash, stashTag } from './erasure/rollback-log.ts'
import { type MissingObject, MissingSet, missingObjectCodec } from './missing-set.ts'
import { backfillStart, type PastInterval, type PgInfo, pastIntervalsCodec, pgInfoCodec } from './pg-info.ts'
import { encodeLogEntry, type LogEntry, logEntryCodec, PgLog } from './pg-log.ts'
import { type DoneRequest, doneRequestsCodec } from './request-table.ts'

/** The interval that a PG was last in, so that a restart goes on from the maps after it. */
export interface IntervalRecord {
  /** Latest map that the record takes into account. */
  readonly mapEpoch: Epoch
  readonly since: Epoch
  readonly up: readonly OsdId[]
  readonly acting: readonly OsdId[]
  readonly upPrimary: OsdId
  readonly actingPrimary: OsdId
  /** Incarnations of the members of acting, then of up: a member that started again starts a new interval. */
  readonly incarnations: readonly number[]
}

export interface PgRecord {
  readonly info: PgInfo
  readonly pastIntervals: readonly PastInterval[]
  readonly interval: IntervalRecord
}

/** What `loadPgState` gives a machine to go on from. */
export interface StoredPg {
  readonly record: PgRecord
  readonly log: PgLog
  readonly missing: MissingSet
  /** Objects whose gathering was cut off. */
  readonly temporaries: readonly ObjectId[]
  /** Of a shard: what it keeps to undo the newest writes. */
  readonly stashes: readonly Stash[]
}

const osdCodec: Codec<OsdId> = { write: (writer, osd) => writer.i32(osd), read: (reader) => reader.i32() as OsdId }
const incarnationsCodec: Codec<readonly number[]> = array({
  write: (writer, value) => writer.u64(value),
  read: (reader) => reader.u64(),
})

const recordCodec: Codec<PgRecord> = versioned<PgRecord>(
  1,
  1,
  'PG record',
  struct<PgRecord>({
    info: pgInfoCodec,
    pastIntervals: pastIntervalsCodec,
    interval: struct<IntervalRecord>({
      mapEpoch: u32(),
      since: u32(),
      up: array(osdCodec),
      acting: array(osdCodec),
      upPrimary: osdCodec,
      actingPrimary: osdCodec,
      incarnations: incarnationsCodec,
    }),
  }),
)

const recordKey = utf8Encode('i')
const requestsKey = utf8Encode('r')
const logTag = 'l'.charCodeAt(0)
const missingTag = 'm'.charCodeAt(0)
const temporaryTag = 't'.charCodeAt(0)

/** Big-endian, so that keys sort as numbers. */
function putU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24
  bytes[at + 1] = value >>> 16
  bytes[at + 2] = value >>> 8
  bytes[at + 3] = value
}

function logKey(version: Version): Uint8Array {
  const key = new Uint8Array(13)
  key[0] = logTag
  putU32(key, 1, version.epoch)
  putU32(key, 5, Math.floor(version.version / 0x1_0000_0000))
  putU32(key, 9, version.version >>> 0)
  return key
}

function objectRecordKey(tag: number, object: ObjectId): Uint8Array {
  const encoded = encode(objectIdCodec, object)
  const key = new Uint8Array(1 + encoded.length)
  key[0] = tag
  key.set(encoded, 1)
  return key
}

/** Every record of a PG lies in this key range of its collection. */
export const pgRecordRange: { readonly from: Uint8Array; readonly to: Uint8Array } = {
  from: utf8Encode('i'),
  to: utf8Encode('u'),
}

/** From all meta entries of the collection in key order; undefined for a collection that was never activated. */
export function loadPgState(entries: readonly OmapEntry[]): StoredPg | undefined {
  let record: PgRecord | undefined
  const log: LogEntry[] = []
  const missing = new MissingSet()
  const temporaries: ObjectId[] = []
  const stashes: Stash[] = []
  let requests: readonly DoneRequest[] = []
  for (const { key, value } of entries) {
    if (compareBytes(key, recordKey) === 0) record = decode(recordCodec, value)
    else if (compareBytes(key, requestsKey) === 0) requests = decode(doneRequestsCodec, value)
    else if (key[0] === logTag) log.push(decode(logEntryCodec, value))
    else if (key[0] === missingTag) missing.set(decode(missingObjectCodec, value))
    else if (key[0] === stashTag) stashes.push(readStash(key, value))
    else if (key[0] === temporaryTag) temporaries.push(decode(objectIdCodec, key.subarray(1)))
  }
  if (record === undefined) return undefined
  return { record, log: new PgLog(record.info.logTail, log, requests), missing, temporaries, stashes }
}

/**
 * A copy whose store has lost acknowledged writes: true, but older than it says. It counts as not filled, so that it is
 * never the one that others believe, and backfill compares every object of it. Store the steps before anything else.
 *
 * Nothing is missing where nothing is filled: what was, is backfilled, too. Counter-example: the log says nothing more of
 * objects that are not filled, so that one that was missing would be asked for in a version that others have no longer,
 * and backfill would wait for that recovery for ever. Its old copy goes, which may be a rotten one of the right version.
 */
export function distrustCopy(
  collection: PgId,
  stored: StoredPg,
): { readonly copy: StoredPg; readonly steps: readonly TransactionOp[] } {
  const info = { ...stored.record.info, lastBackfill: backfillStart, missingCount: 0 }
  const copy = { ...stored, record: { ...stored.record, info }, missing: new MissingSet(), stashes: [] }
  const gone = [...stored.missing.values()].map(({ object }): TransactionOp => ({ kind: 'remove', collection, object }))
  const unstash = new RollbackLog(collection, stored.stashes).clear()
  return { copy, steps: [...gone, ...unstash, clearMissing(collection), setRecord(collection, copy.record)] }
}

// Transaction steps

export function setRecord(collection: PgId, record: PgRecord): TransactionOp {
  return { kind: 'meta-set', collection, entries: [{ key: recordKey, value: encode(recordCodec, record) }] }
}

export function setLogEntries(collection: PgId, entries: readonly LogEntry[]): TransactionOp {
  return {
    kind: 'meta-set',
    collection,
    entries: entries.map((entry) => ({ key: logKey(entry.version), value: encodeLogEntry(entry) })),
  }
}

export function removeLogEntries(collection: PgId, entries: readonly LogEntry[]): TransactionOp {
  return { kind: 'meta-remove', collection, keys: entries.map((entry) => logKey(entry.version)) }
}

/** Written when the log is cut, never with a plain write. */
export function setTrimmedRequests(collection: PgId, requests: readonly DoneRequest[]): TransactionOp {
  if (requests.length === 0) return { kind: 'meta-remove', collection, keys: [requestsKey] }
  return {
    kind: 'meta-set',
    collection,
    entries: [{ key: requestsKey, value: encode(doneRequestsCodec, requests) }],
  }
}

export function clearLog(collection: PgId): TransactionOp {
  return { kind: 'meta-remove-range', collection, from: new Uint8Array([logTag]), to: new Uint8Array([logTag + 1]) }
}

export function setMissing(collection: PgId, missing: Iterable<MissingObject>): TransactionOp {
  const entries = [...missing].map((one) => ({
    key: objectRecordKey(missingTag, one.object),
    value: encode(missingObjectCodec, one),
  }))
  return { kind: 'meta-set', collection, entries }
}

export function removeMissing(collection: PgId, objects: readonly ObjectId[]): TransactionOp {
  return { kind: 'meta-remove', collection, keys: objects.map((object) => objectRecordKey(missingTag, object)) }
}

export function clearMissing(collection: PgId): TransactionOp {
  return {
    kind: 'meta-remove-range',
    collection,
    from: new Uint8Array([missingTag]),
    to: new Uint8Array([missingTag + 1]),
  }
}

export function setTemporary(collection: PgId, object: ObjectId): TransactionOp {
  return {
    kind: 'meta-set',
    collection,
    entries: [{ key: objectRecordKey(temporaryTag, object), value: new Uint8Array(0) }],
  }
}

export function removeTemporary(collection: PgId, object: ObjectId): TransactionOp {
  return { kind: 'meta-remove', collection, keys: [objectRecordKey(temporaryTag, object)] }
}
