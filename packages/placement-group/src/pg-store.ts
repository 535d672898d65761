/**
 * The records of a placement group in its collection: docs/formats/placement-group.md.
 *
 *     'i'                           info and past intervals, as of the last change that was not a plain write
 *     'l' u32be epoch u64be number  log entry
 *     'm' object id                 missing object
 *     'r'                           requests that are done, have no entry any more and may be sent again
 *     'p'                           of which PG it becomes a part: only while its objects are moved here
 *     'q'                           which PG goes into it: only while that one's objects are moved here
 *     's'                           when it was scrubbed, and what was found inconsistent
 *     'k' u32be epoch u64be number  object of which the state before this version is kept (erasure/rollback-log.ts)
 *     't' object id                 object that is being gathered under a temporary name
 *     'x' u64be snapshot, object id a clone that serves it, or did: what is listed more than once is trimmed once
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
  utf8Decode,
  utf8Encode,
  versioned,
} from '@shoal/base'
import type { SnapInterval } from '@shoal/cluster-map'
import {
  compareVersions,
  type ObjectId,
  type OmapEntry,
  objectIdCodec,
  type TransactionOp,
  type Version,
  zeroVersion,
} from '@shoal/wire'
import { RollbackLog, readStash, type Stash, stashTag } from './erasure/rollback-log.ts'
import { type MissingObject, MissingSet, missingObjectCodec } from './missing-set.ts'
import { backfillStart, newPgInfo, type PastInterval, type PgInfo, pastIntervalsCodec, pgInfoCodec } from './pg-info.ts'
import { encodeLogEntry, type LogEntry, logEntryCodec, PgLog } from './pg-log.ts'
import { type DoneRequest, doneRequestsCodec } from './request-table.ts'
import { decodeScrubRecord, type ScrubRecord, scrubRecordKey } from './scrub-record.ts'

/** What `PlacementGroup.freeze` leaves. */
export interface FrozenPg {
  readonly stored: StoredPg
  /** What is to be stored first: objects that were being gathered go. */
  readonly steps: readonly TransactionOp[]
}

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
  /** Undefined until the placement group was clean once. */
  readonly scrub: ScrubRecord | undefined
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
const splitKey = utf8Encode('p')
const mergeKey = utf8Encode('q')
const logTag = 'l'.charCodeAt(0)
const missingTag = 'm'.charCodeAt(0)
const temporaryTag = 't'.charCodeAt(0)
const snapTag = 'x'.charCodeAt(0)

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

/** Every record of a PG that is read at its start lies in this key range of its collection; those of snapshots do not. */
export const pgRecordRange: { readonly from: Uint8Array; readonly to: Uint8Array } = {
  from: utf8Encode('i'),
  to: utf8Encode('u'),
}

/**
 * From all meta entries of the collection in key order; undefined for a collection that was never activated.
 *
 * `damaged`: keys of records that are lost. What is left is a copy that must be distrusted: of its log only what follows
 * the last gap, of objects that it may have missed none.
 */
export function loadPgState(entries: readonly OmapEntry[], damaged: readonly Uint8Array[] = []): StoredPg | undefined {
  let record: PgRecord | undefined
  const log: LogEntry[] = []
  const missing = new MissingSet()
  const temporaries: ObjectId[] = []
  const stashes: Stash[] = []
  let requests: readonly DoneRequest[] = []
  let scrub: ScrubRecord | undefined
  for (const { key, value } of entries) {
    if (compareBytes(key, recordKey) === 0) record = decode(recordCodec, value)
    else if (compareBytes(key, requestsKey) === 0) requests = decode(doneRequestsCodec, value)
    else if (compareBytes(key, scrubRecordKey) === 0) scrub = decodeScrubRecord(value)
    else if (key[0] === logTag) log.push(decode(logEntryCodec, value))
    else if (key[0] === missingTag) missing.set(decode(missingObjectCodec, value))
    else if (key[0] === stashTag) stashes.push(readStash(key, value))
    else if (key[0] === temporaryTag) temporaries.push(decode(objectIdCodec, key.subarray(1)))
  }
  if (damaged.length > 0)
    return despiteDamage(
      { record: record ?? blankRecord, missing, scrub, temporaries, stashes },
      log,
      requests,
      damaged,
    )
  if (record === undefined) return undefined
  return {
    record,
    log: new PgLog(record.info.logTail, log, requests, record.info.lastUpdate),
    missing,
    scrub,
    temporaries,
    stashes,
  }
}

/** The PG whose objects were being moved into this collection; undefined for one that is whole. */
export function cutOffSplit(entries: readonly OmapEntry[]): PgId | undefined {
  const mark = entries.find(({ key }) => compareBytes(key, splitKey) === 0)
  return mark === undefined ? undefined : (utf8Decode(mark.value) as PgId)
}

/** A merge that a crash cut off: the PG whose objects were being moved into this collection, and how many PGs the pool had. */
export function cutOffMerge(
  entries: readonly OmapEntry[],
): { readonly source: PgId; readonly pgNum: number } | undefined {
  const mark = entries.find(({ key }) => compareBytes(key, mergeKey) === 0)
  if (mark === undefined) return undefined
  const [source = '', pgNum = ''] = utf8Decode(mark.value).split(' ')
  return { source: source as PgId, pgNum: Number(pgNum) }
}

/** Of a copy of which nothing is known but that it was there. */
const blankRecord: PgRecord = {
  info: { ...newPgInfo(0 as Epoch), lastBackfill: backfillStart },
  pastIntervals: [],
  interval: {
    mapEpoch: 0 as Epoch,
    since: 0 as Epoch,
    up: [],
    acting: [],
    upPrimary: -1 as OsdId,
    actingPrimary: -1 as OsdId,
    incarnations: [],
  },
}

function despiteDamage(
  { record, missing, scrub, temporaries: known, stashes }: Omit<StoredPg, 'log'>,
  log: readonly LogEntry[],
  requests: readonly DoneRequest[],
  damaged: readonly Uint8Array[],
): StoredPg {
  let tail = record.info.logTail
  const temporaries = [...known]
  for (const key of damaged) {
    if (key[0] === logTag && compareVersions(versionOfLogKey(key), tail) > 0) tail = versionOfLogKey(key)
    const object = key[0] === missingTag || key[0] === temporaryTag ? objectOfKey(key) : undefined
    if (object === undefined) continue
    if (key[0] === temporaryTag) temporaries.push(object)
    else missing.set({ object, need: tail })
  }
  const kept = new PgLog(
    tail,
    log.filter(({ version }) => compareVersions(version, tail) > 0),
    requests,
  )
  const info = { ...record.info, logTail: tail, lastUpdate: kept.head }
  return { record: { ...record, info }, log: kept, missing, scrub, temporaries, stashes }
}

function versionOfLogKey(key: Uint8Array): Version {
  const view = new DataView(key.buffer, key.byteOffset, key.length)
  if (key.length !== 13) return zeroVersion
  return { epoch: view.getUint32(1) as Epoch, version: view.getUint32(5) * 0x1_0000_0000 + view.getUint32(9) }
}

/** Undefined when the key itself is damaged. */
function objectOfKey(key: Uint8Array): ObjectId | undefined {
  try {
    return decode(objectIdCodec, key.subarray(1))
  } catch {
    return undefined
  }
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

export function markSplit(collection: PgId, whole: PgId): TransactionOp {
  return { kind: 'meta-set', collection, entries: [{ key: splitKey, value: utf8Encode(whole) }] }
}

export function clearSplitMark(collection: PgId): TransactionOp {
  return { kind: 'meta-remove', collection, keys: [splitKey] }
}

/** `pgNum`: of the pool before the merge. */
export function markMerge(collection: PgId, source: PgId, pgNum: number): TransactionOp {
  return { kind: 'meta-set', collection, entries: [{ key: mergeKey, value: utf8Encode(`${source} ${pgNum}`) }] }
}

export function clearMergeMark(collection: PgId): TransactionOp {
  return { kind: 'meta-remove', collection, keys: [mergeKey] }
}

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

/** Leaves exactly the entries of this log in the store. */
export function rewriteLog(collection: PgId, log: PgLog): readonly TransactionOp[] {
  return [clearLog(collection), setLogEntries(collection, log.all())]
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

// Which clones serve which snapshot. Nothing is missing from it; a key may be left over until its snapshot is purged.

function snapKey(snap: number): Uint8Array {
  const key = new Uint8Array(9)
  key[0] = snapTag
  putU32(key, 1, Math.floor(snap / 0x1_0000_0000))
  putU32(key, 5, snap >>> 0)
  return key
}

function snapRecordKey(snap: number, clone: ObjectId): Uint8Array {
  const prefix = snapKey(snap)
  const encoded = encode(objectIdCodec, clone)
  const key = new Uint8Array(prefix.length + encoded.length)
  key.set(prefix)
  key.set(encoded, prefix.length)
  return key
}

/** `to` is exclusive. */
export function snapRecordRange(first: number, last: number): { readonly from: Uint8Array; readonly to: Uint8Array } {
  return { from: snapKey(first), to: snapKey(last + 1) }
}

/** Of every snapshot. */
export const allSnapRecords: { readonly from: Uint8Array; readonly to: Uint8Array } = {
  from: new Uint8Array([snapTag]),
  to: new Uint8Array([snapTag + 1]),
}

export function cloneOfSnapRecord(key: Uint8Array): ObjectId {
  return decode(objectIdCodec, key.subarray(9))
}

/** Those of damaged records that say which clone serves a snapshot: all of that is in the key, so they are written again. */
export function rewriteSnapRecords(collection: PgId, damaged: readonly Uint8Array[]): readonly TransactionOp[] {
  const value = new Uint8Array(0)
  const entries = damaged.filter((key) => key[0] === snapTag).map((key) => ({ key, value }))
  return entries.length === 0 ? [] : [{ kind: 'meta-set', collection, entries }]
}

export function setSnapRecords(collection: PgId, clone: ObjectId, snaps: readonly number[]): TransactionOp {
  const value = new Uint8Array(0)
  return { kind: 'meta-set', collection, entries: snaps.map((snap) => ({ key: snapRecordKey(snap, clone), value })) }
}

/** `keys` of another collection of this OSD. */
export function copySnapRecords(collection: PgId, keys: readonly Uint8Array[]): TransactionOp {
  const value = new Uint8Array(0)
  return { kind: 'meta-set', collection, entries: keys.map((key) => ({ key, value })) }
}

export function removeSnapRecords(collection: PgId, clone: ObjectId, snaps: readonly number[]): TransactionOp {
  return { kind: 'meta-remove', collection, keys: snaps.map((snap) => snapRecordKey(snap, clone)) }
}

export function clearSnapRecords(collection: PgId, { first, last }: SnapInterval): TransactionOp {
  return { kind: 'meta-remove-range', collection, ...snapRecordRange(first, last) }
}
