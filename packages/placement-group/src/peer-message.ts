/**
 * The protocol between the members of a placement group. The envelope names the epoch of the sender's map. The receiver
 * waits until it has that map, and drops what was said before its own interval began: then both are in one interval,
 * whatever each of them takes for its first epoch.
 */
import {
  array,
  ByteReader,
  ByteWriter,
  boolean,
  bytes,
  ClusterError,
  type Codec,
  type Epoch,
  f64,
  map,
  type OsdId,
  type PgId,
  pgShard,
  string,
  struct,
  u16,
  u32,
  u64,
} from '@shoal/base'
import {
  decodeTransaction,
  encodeTransaction,
  type ObjectId,
  type OmapEntry,
  objectIdCodec,
  objectIdsCodec,
  omapEntryCodec,
  PayloadCursor,
  type PgEnvelope,
  type Transaction,
  type Version,
  versionCodec,
} from '@shoal/wire'
import type { ObjectPiece } from './effects.ts'
import { memberOf } from './member.ts'
import { type MissingObject, missingObjectsCodec } from './missing-set.ts'
import { type PastInterval, type PgInfo, pastIntervalsCodec, pgInfoCodec } from './pg-info.ts'
import { type LogEntry, type LogSegment, logEntryCodec } from './pg-log.ts'
import { type DoneRequest, doneRequestsCodec } from './request-table.ts'
import { type ScrubMessage, scrubMessageCodec } from './scrub-message.ts'

export type PeerMessage =
  /** primary -> anyone who may have a copy: what do you have? */
  | { readonly kind: 'query-info' }
  /** The answer; also sent unasked by strays to the primary of a new interval. */
  | {
      readonly kind: 'info'
      readonly info: PgInfo
      readonly pastIntervals: readonly PastInterval[]
      /** For how long the sender has promised some other primary not to let anyone else serve. */
      readonly leaseLeftMs: number
    }
  /** primary -> acting: your log after this version, and what you miss. */
  | { readonly kind: 'query-log'; readonly since: Version }
  | {
      readonly kind: 'log'
      readonly info: PgInfo
      /** Undefined when the log does not reach back so far. */
      readonly segment: LogSegment | undefined
      readonly missing: readonly MissingObject[]
    }
  /** primary -> acting and backfill targets: this is the history, begin. */
  | {
      readonly kind: 'activate'
      readonly info: PgInfo
      readonly segment: LogSegment
      /** The copy cannot be brought up to date by log: it starts over from nothing. */
      readonly reset: boolean
      /** With `reset`: the requests that are done and have no entry in the segment. */
      readonly requests: readonly DoneRequest[]
      readonly pastIntervals: readonly PastInterval[]
    }
  | { readonly kind: 'activated'; readonly roomBytes: number }
  /** primary -> acting: started, or clean, in this epoch. */
  | { readonly kind: 'history'; readonly info: PgInfo; readonly clean: boolean }
  | {
      readonly kind: 'replicate'
      readonly tid: number
      readonly entries: readonly LogEntry[]
      /** The log may be cut up to here. */
      readonly trimTo: Version
      readonly transaction: Transaction
    }
  /** `roomBytes`: what the receiver may have under way to the sender from now on. */
  | { readonly kind: 'replicated'; readonly tid: number; readonly roomBytes: number }
  /** primary -> a copy that misses it: fetch this object from the sender. */
  | { readonly kind: 'recover'; readonly object: ObjectId; readonly version: Version }
  | {
      readonly kind: 'recovered'
      readonly object: ObjectId
      readonly version: Version
      readonly errno: number
      readonly bytes: number
    }
  /** Asks for a piece of an object in exactly this version. */
  | {
      readonly kind: 'pull'
      readonly object: ObjectId
      readonly version: Version
      readonly offset: number
      readonly omapAfter: Uint8Array | undefined
    }
  | {
      readonly kind: 'piece'
      readonly object: ObjectId
      readonly version: Version
      readonly offset: number
      readonly errno: number
      readonly piece: ObjectPiece | undefined
    }
  /** primary -> backfill target: what do you have after this object? */
  | { readonly kind: 'scan'; readonly scan: number; readonly after: ObjectId | undefined; readonly limit: number }
  | {
      readonly kind: 'scanned'
      /** Of the question: a listing that was given up may still be answered. */
      readonly scan: number
      readonly objects: readonly { readonly object: ObjectId; readonly version: Version }[]
      readonly more: boolean
    }
  /** primary -> backfill target: everything up to here is filled; these are not part of the PG any more. */
  | { readonly kind: 'backfilled'; readonly info: PgInfo; readonly remove: readonly ObjectId[] }
  | { readonly kind: 'backfill-stored'; readonly info: PgInfo }
  /** primary -> target: a place among those that are recovered or backfilled. */
  | { readonly kind: 'reserve'; readonly backfill: boolean; readonly priority: number; readonly round: number }
  | { readonly kind: 'reserved'; readonly backfill: boolean; readonly round: number }
  /** From the primary: it is not needed any more. From the target: it is taken back, or refused for want of room. */
  | { readonly kind: 'release'; readonly backfill: boolean; readonly round: number; readonly tooFull: boolean }
  /** primary -> stray: every copy is where it belongs, drop yours. */
  | { readonly kind: 'remove' }
  /** All about scrub: scrub-message.ts. */
  | { readonly kind: 'scrub'; readonly message: ScrubMessage }
  /** Of erasure-coded PGs only. primary -> member: its share of a write, or, without entries, what need not be undone. */
  | {
      readonly kind: 'sub-write'
      readonly tid: number
      readonly entries: readonly LogEntry[]
      readonly trimTo: Version
      /** Entries below this version are on every member. */
      readonly settledBelow: Version
      readonly transaction: Transaction
    }
  /** primary -> member: bytes of its shard of an object. */
  | {
      readonly kind: 'sub-read'
      readonly tid: number
      readonly object: ObjectId
      readonly extents: readonly ShardRange[]
    }
  | {
      readonly kind: 'sub-read-reply'
      readonly tid: number
      readonly errno: number
      /** Of the shard that was read. */
      readonly version: Version
      readonly data: readonly Uint8Array[]
    }
  /** primary -> a member that misses it: make your shard of this object from those of the sources. */
  | {
      readonly kind: 'rebuild'
      readonly object: ObjectId
      readonly version: Version
      readonly sources: readonly OsdId[]
    }
  /** A member's shard of an object turned out to be bad; it counts as missing there from now on. */
  | { readonly kind: 'bad-shard'; readonly object: ObjectId; readonly version: Version }
  /** As `activated`, with what could not be undone and is missing. */
  | { readonly kind: 'shard-activated'; readonly roomBytes: number; readonly missing: readonly MissingObject[] }

/** Those of erasure-coded PGs. */
export type ShardMessage = Extract<
  PeerMessage,
  { kind: 'sub-write' | 'sub-read' | 'sub-read-reply' | 'rebuild' | 'bad-shard' | 'shard-activated' }
>

export interface ShardRange {
  readonly offset: number
  readonly length: number
}

type Kind = PeerMessage['kind']
type Body<K extends Kind> = Omit<Extract<PeerMessage, { kind: K }>, 'kind'>

const segmentCodec: Codec<LogSegment> = struct<LogSegment>({
  tail: versionCodec,
  head: versionCodec,
  entries: array(logEntryCodec),
})

function maybe<T>(inner: Codec<T>): Codec<T | undefined> {
  return {
    write(writer, value) {
      writer.boolean(value !== undefined)
      if (value !== undefined) inner.write(writer, value)
    },
    read: (reader) => (reader.boolean() ? inner.read(reader) : undefined),
  }
}

const none: Codec<object> = struct({})
const maybeBytes = maybe(bytes())
const scannedObject = struct<{ object: ObjectId; version: Version }>({ object: objectIdCodec, version: versionCodec })

type PayloadKind = 'replicate' | 'replicated' | 'piece' | 'sub-write' | 'sub-read-reply'

/** Messages without payload. `replicate` and `piece` have theirs apart; so has `replicated`, which comes with every write. */
const codecs: { readonly [K in Exclude<Kind, PayloadKind>]: Codec<Body<K>> } = {
  'query-info': none,
  info: struct<Body<'info'>>({ info: pgInfoCodec, pastIntervals: pastIntervalsCodec, leaseLeftMs: f64() }),
  'query-log': struct<Body<'query-log'>>({ since: versionCodec }),
  log: struct<Body<'log'>>({ info: pgInfoCodec, segment: maybe(segmentCodec), missing: missingObjectsCodec }),
  activate: struct<Body<'activate'>>({
    info: pgInfoCodec,
    segment: segmentCodec,
    reset: boolean(),
    requests: doneRequestsCodec,
    pastIntervals: pastIntervalsCodec,
  }),
  activated: struct<Body<'activated'>>({ roomBytes: f64() }),
  history: struct<Body<'history'>>({ info: pgInfoCodec, clean: boolean() }),
  recover: struct<Body<'recover'>>({ object: objectIdCodec, version: versionCodec }),
  recovered: struct<Body<'recovered'>>({ object: objectIdCodec, version: versionCodec, errno: u16(), bytes: u64() }),
  pull: struct<Body<'pull'>>({ object: objectIdCodec, version: versionCodec, offset: u64(), omapAfter: maybeBytes }),
  scan: struct<Body<'scan'>>({ scan: u32(), after: maybe(objectIdCodec), limit: u32() }),
  scanned: struct<Body<'scanned'>>({ scan: u32(), objects: array(scannedObject), more: boolean() }),
  backfilled: struct<Body<'backfilled'>>({ info: pgInfoCodec, remove: objectIdsCodec }),
  'backfill-stored': struct<Body<'backfill-stored'>>({ info: pgInfoCodec }),
  reserve: struct<Body<'reserve'>>({ backfill: boolean(), priority: u32(), round: u32() }),
  reserved: struct<Body<'reserved'>>({ backfill: boolean(), round: u32() }),
  release: struct<Body<'release'>>({ backfill: boolean(), round: u32(), tooFull: boolean() }),
  remove: none,
  scrub: struct<Body<'scrub'>>({ message: scrubMessageCodec }),
  'sub-read': struct<Body<'sub-read'>>({
    tid: u64(),
    object: objectIdCodec,
    extents: array(struct<ShardRange>({ offset: u64(), length: u32() })),
  }),
  rebuild: struct<Body<'rebuild'>>({ object: objectIdCodec, version: versionCodec, sources: array(u32<OsdId>()) }),
  'bad-shard': struct<Body<'bad-shard'>>({ object: objectIdCodec, version: versionCodec }),
  'shard-activated': struct<Body<'shard-activated'>>({ roomBytes: f64(), missing: missingObjectsCodec }),
}

/** Tags on the wire: never reused, new kinds at the end. */
const kinds = [
  'query-info',
  'info',
  'query-log',
  'log',
  'activate',
  'activated',
  'history',
  'replicate',
  'replicated',
  'recover',
  'recovered',
  'pull',
  'piece',
  'scan',
  'scanned',
  'backfilled',
  'backfill-stored',
  'reserve',
  'reserved',
  'release',
  'remove',
  'scrub',
  'sub-write',
  'sub-read',
  'sub-read-reply',
  'rebuild',
  'bad-shard',
  'shard-activated',
] as const satisfies readonly Kind[]

const xattrsCodec = map(string(), bytes())
const omapCodec: Codec<readonly OmapEntry[]> = array(omapEntryCodec)

function writePiece(writer: ByteWriter, payload: Uint8Array[], piece: ObjectPiece): void {
  writer.u64(piece.sizeBytes)
  xattrsCodec.write(writer, piece.xattrs)
  writer.bytes(piece.omapHeader).u32(piece.extents.length)
  for (const extent of piece.extents) {
    writer.u64(extent.offset).u32(extent.data.length)
    payload.push(extent.data)
  }
  writer.u64(piece.nextOffset).boolean(piece.dataDone)
  omapCodec.write(writer, piece.omap)
  writer.boolean(piece.omapDone)
}

function readPiece(reader: ByteReader, payload: PayloadCursor): ObjectPiece {
  const sizeBytes = reader.u64()
  const xattrs = xattrsCodec.read(reader)
  const omapHeader = reader.bytes()
  const count = reader.count(12)
  const extents: { offset: number; data: Uint8Array }[] = []
  for (let i = 0; i < count; i++) extents.push({ offset: reader.u64(), data: payload.take(reader.u32()) })
  const nextOffset = reader.u64()
  const dataDone = reader.boolean()
  const omap = omapCodec.read(reader)
  return { sizeBytes, xattrs, omapHeader, extents, nextOffset, dataDone, omap, omapDone: reader.boolean() }
}

const entriesCodec = array(logEntryCodec)

function writeBody(writer: ByteWriter, payload: Uint8Array[], message: PeerMessage): void {
  if (message.kind === 'replicate') {
    writer.u64(message.tid)
    entriesCodec.write(writer, message.entries)
    versionCodec.write(writer, message.trimTo)
    encodeTransaction(message.transaction, writer, payload)
  } else if (message.kind === 'sub-write') {
    writer.u64(message.tid)
    entriesCodec.write(writer, message.entries)
    versionCodec.write(writer, message.trimTo)
    versionCodec.write(writer, message.settledBelow)
    encodeTransaction(message.transaction, writer, payload)
  } else if (message.kind === 'sub-read-reply') {
    writer.u64(message.tid).u16(message.errno)
    versionCodec.write(writer, message.version)
    writer.u32(message.data.length)
    for (const data of message.data) {
      writer.u32(data.length)
      payload.push(data)
    }
  } else if (message.kind === 'replicated') {
    writer.u64(message.tid).f64(message.roomBytes)
  } else if (message.kind === 'piece') {
    objectIdCodec.write(writer, message.object)
    versionCodec.write(writer, message.version)
    writer
      .u64(message.offset)
      .u16(message.errno)
      .boolean(message.piece !== undefined)
    if (message.piece !== undefined) writePiece(writer, payload, message.piece)
  } else {
    ;(codecs[message.kind] as Codec<object>).write(writer, message)
  }
}

function readBody(reader: ByteReader, payload: PayloadCursor, kind: Kind): PeerMessage {
  if (kind === 'replicate') {
    const tid = reader.u64()
    const entries = entriesCodec.read(reader)
    const trimTo = versionCodec.read(reader)
    return { kind, tid, entries, trimTo, transaction: decodeTransaction(reader, payload) }
  }
  if (kind === 'sub-write') {
    const tid = reader.u64()
    const entries = entriesCodec.read(reader)
    const trimTo = versionCodec.read(reader)
    const settledBelow = versionCodec.read(reader)
    return { kind, tid, entries, trimTo, settledBelow, transaction: decodeTransaction(reader, payload) }
  }
  if (kind === 'sub-read-reply') {
    const tid = reader.u64()
    const errno = reader.u16()
    const version = versionCodec.read(reader)
    const count = reader.count(4)
    return { kind, tid, errno, version, data: Array.from({ length: count }, () => payload.take(reader.u32())) }
  }
  if (kind === 'replicated') return { kind, tid: reader.u64(), roomBytes: reader.f64() }
  if (kind === 'piece') {
    const object = objectIdCodec.read(reader)
    const version = versionCodec.read(reader)
    const offset = reader.u64()
    const errno = reader.u16()
    return { kind, object, version, offset, errno, piece: reader.boolean() ? readPiece(reader, payload) : undefined }
  }
  return { kind, ...(codecs[kind] as Codec<object>).read(reader) } as PeerMessage
}

/** `shard`: the sender's, in an erasure-coded PG; it stands in front there. */
export function envelope(pgId: PgId, epoch: Epoch, message: PeerMessage, shard?: number): PgEnvelope {
  const payload: Uint8Array[] = []
  const writer = new ByteWriter(512)
  if (shard !== undefined) writer.u8(shard)
  writer.u8(kinds.indexOf(message.kind))
  writeBody(writer, payload, message)
  return { type: 'pg', pgId, epoch, body: writer.finish(), payload }
}

/** Which member of an erasure-coded PG an OSD speaks for. */
export function senderOf(from: OsdId, sealed: PgEnvelope): OsdId {
  return memberOf(from, sealed.body[0] ?? 0)
}

/** Throws EBADMSG; byte fields are views into the envelope. */
export function openEnvelope(sealed: PgEnvelope): PeerMessage {
  const reader = new ByteReader(sealed.body)
  if (pgShard(sealed.pgId) !== undefined) reader.u8()
  const kind = kinds[reader.u8()]
  if (kind === undefined) throw new ClusterError('EBADMSG', 'unknown message between members of a PG')
  const payload = new PayloadCursor(sealed.payload[0] ?? new Uint8Array(0))
  const message = readBody(reader, payload, kind)
  reader.end()
  payload.end()
  return message
}
