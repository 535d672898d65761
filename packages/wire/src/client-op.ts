/**
 * The compound operation on one object that a client sends to the primary of its placement group: a list of steps that
 * applies atomically or not at all. Reads in it see the state before the writes in it.
 *
 * Bytes (`data` of writes and of read results) ride in the payload, in the order of the steps.
 */
import {
  array,
  type ByteReader,
  type ByteWriter,
  bytes,
  ClusterError,
  compareBytes,
  type Epoch,
  map,
  type PgId,
  string,
  unreachable,
} from '@shoal/base'
import { type ObjectId, objectIdCodec, objectIdsCodec } from './object-id.ts'
import { type LockOp, type ObjectLock, objectLocksCodec, readLockOp, writeLockOp } from './object-lock.ts'
import {
  type NotifyOutcome,
  type ObjectWatcher,
  objectWatchersCodec,
  readNotifyOutcome,
  readWatchOp,
  type WatchOp,
  writeNotifyOutcome,
  writeWatchOp,
} from './object-watch.ts'
import { type OmapEntry, omapEntryCodec, type PayloadCursor } from './transaction.ts'
import { type RequestId, requestIdCodec, type Version, versionCodec } from './version.ts'

export const compareModes = ['equal', 'not-equal', 'greater', 'greater-or-equal', 'less', 'less-or-equal'] as const
export type CompareMode = (typeof compareModes)[number]

/** Whether `stored` stands to `given` as the mode says, as byte strings: `greater` means that the stored one is greater. */
export function compareHolds(stored: Uint8Array, mode: CompareMode, given: Uint8Array): boolean {
  const order = compareBytes(stored, given)
  switch (mode) {
    case 'equal':
      return order === 0
    case 'not-equal':
      return order !== 0
    case 'greater':
      return order > 0
    case 'greater-or-equal':
      return order >= 0
    case 'less':
      return order < 0
    case 'less-or-equal':
      return order <= 0
    default:
      return unreachable(mode)
  }
}

export type ObjectOp =
  // Reads
  | { readonly kind: 'read'; readonly offset: number; readonly length: number }
  /** Allocated extents only. */
  | { readonly kind: 'sparse-read'; readonly offset: number; readonly length: number }
  /** The allocated extents without their bytes (Ceph's mapext). */
  | { readonly kind: 'map-extents'; readonly offset: number; readonly length: number }
  | { readonly kind: 'stat' }
  | { readonly kind: 'get-xattr'; readonly name: string }
  | { readonly kind: 'get-xattrs' }
  | { readonly kind: 'omap-get-header' }
  | { readonly kind: 'omap-get-keys'; readonly keys: readonly Uint8Array[] }
  | {
      readonly kind: 'omap-get-range'
      readonly after: Uint8Array | undefined
      readonly prefix: Uint8Array
      readonly limit: number
    }
  /** Objects of the whole PG after a cursor; the operation's object id only names the PG. */
  | { readonly kind: 'list-objects'; readonly after: ObjectId | undefined; readonly limit: number }
  // Guards: the operation ends with the code in brackets unless they hold
  /** [ERANGE] The version of the object's last write, as `stat` gives it, counted by `userVersion`. */
  | { readonly kind: 'assert-version'; readonly version: number }
  /** [ENOENT] */
  | { readonly kind: 'assert-exists' }
  /** [ECANCELED] The attribute (missing = empty) compared with the value, bytewise. */
  | { readonly kind: 'compare-xattr'; readonly name: string; readonly mode: CompareMode; readonly value: Uint8Array }
  | { readonly kind: 'compare-omap'; readonly key: Uint8Array; readonly mode: CompareMode; readonly value: Uint8Array }
  /** The bytes at the offset (zeros beyond the end) equal `data`. */
  | { readonly kind: 'compare-extent'; readonly offset: number; readonly data: Uint8Array }
  // Writes
  /** With `exclusive`, EEXIST when it is there already. */
  | { readonly kind: 'create'; readonly exclusive: boolean }
  | { readonly kind: 'write'; readonly offset: number; readonly data: Uint8Array }
  | { readonly kind: 'write-full'; readonly data: Uint8Array }
  | { readonly kind: 'append'; readonly data: Uint8Array }
  | { readonly kind: 'truncate'; readonly sizeBytes: number }
  /** Inside the present size only; it never extends. */
  | { readonly kind: 'zero'; readonly offset: number; readonly length: number }
  /** [ENOENT] */
  | { readonly kind: 'remove' }
  | { readonly kind: 'set-xattr'; readonly name: string; readonly value: Uint8Array }
  /** [ENODATA] */
  | { readonly kind: 'remove-xattr'; readonly name: string }
  | { readonly kind: 'omap-set'; readonly entries: readonly OmapEntry[] }
  | { readonly kind: 'omap-remove'; readonly keys: readonly Uint8Array[] }
  | { readonly kind: 'omap-clear' }
  | { readonly kind: 'omap-set-header'; readonly header: Uint8Array }
  // Locks: some read, some guard, some write
  | LockOp
  // Watches: the same
  | WatchOp

export type ObjectOpKind = ObjectOp['kind']

/** What a step answers; steps without an answer give `none`. */
export type ObjectOpResult =
  | { readonly kind: 'none' }
  | { readonly kind: 'data'; readonly data: Uint8Array }
  | {
      readonly kind: 'extents'
      readonly extents: readonly { readonly offset: number; readonly length: number }[]
      readonly data: Uint8Array
    }
  | { readonly kind: 'stat'; readonly sizeBytes: number; readonly modifiedMs: number; readonly version: number }
  | { readonly kind: 'xattrs'; readonly xattrs: ReadonlyMap<string, Uint8Array> }
  | { readonly kind: 'omap'; readonly entries: readonly OmapEntry[]; readonly more: boolean }
  | { readonly kind: 'objects'; readonly objects: readonly ObjectId[]; readonly more: boolean }
  | { readonly kind: 'locks'; readonly locks: readonly ObjectLock[] }
  | { readonly kind: 'watchers'; readonly watchers: readonly ObjectWatcher[] }
  | ({ readonly kind: 'notified' } & NotifyOutcome)

/** Tags on the wire: never reused, new kinds at the end. */
const opTags = [
  'read',
  'sparse-read',
  'map-extents',
  'stat',
  'get-xattr',
  'get-xattrs',
  'omap-get-header',
  'omap-get-keys',
  'omap-get-range',
  'list-objects',
  'assert-version',
  'assert-exists',
  'compare-xattr',
  'compare-omap',
  'compare-extent',
  'create',
  'write',
  'write-full',
  'append',
  'truncate',
  'zero',
  'remove',
  'set-xattr',
  'remove-xattr',
  'omap-set',
  'omap-remove',
  'omap-clear',
  'omap-set-header',
  'list-locks',
  'assert-locked',
  'lock',
  'unlock',
  'break-lock',
  'list-watchers',
  'watch-ping',
  'notify',
  'notify-ack',
  'watch',
  'unwatch',
] as const satisfies readonly ObjectOpKind[]
const opTagOf = new Map<ObjectOpKind, number>(opTags.map((kind, index) => [kind, index]))
const firstWriteTag = opTags.indexOf('create')
/** Reads and guards that came after the first writes. */
const laterReads: ReadonlySet<ObjectOpKind> = new Set<ObjectOpKind>([
  'list-locks',
  'assert-locked',
  'list-watchers',
  'watch-ping',
  'notify',
  'notify-ack',
])

export function isWriteOp(op: ObjectOp): boolean {
  return (opTagOf.get(op.kind) as number) >= firstWriteTag && !laterReads.has(op.kind)
}

const entriesCodec = array(omapEntryCodec)
const keysCodec = array(bytes())
const xattrsCodec = map(string(), bytes())

function writeData(writer: ByteWriter, data: Uint8Array, payload: Uint8Array[]): void {
  writer.u32(data.length)
  if (data.length > 0) payload.push(data)
}

function writeObjectOp(writer: ByteWriter, op: ObjectOp, payload: Uint8Array[]): void {
  writer.u8(opTagOf.get(op.kind) as number)
  switch (op.kind) {
    case 'stat':
    case 'get-xattrs':
    case 'omap-get-header':
    case 'assert-exists':
    case 'remove':
    case 'omap-clear':
      return
    case 'read':
    case 'sparse-read':
    case 'map-extents':
    case 'zero':
      writer.u64(op.offset).u64(op.length)
      return
    case 'get-xattr':
    case 'remove-xattr':
      writer.string(op.name)
      return
    case 'omap-get-keys':
    case 'omap-remove':
      return keysCodec.write(writer, op.keys)
    case 'omap-get-range':
      writer.boolean(op.after !== undefined)
      if (op.after !== undefined) writer.bytes(op.after)
      writer.bytes(op.prefix).u32(op.limit)
      return
    case 'list-objects':
      writer.boolean(op.after !== undefined)
      if (op.after !== undefined) objectIdCodec.write(writer, op.after)
      writer.u32(op.limit)
      return
    case 'assert-version':
      writer.u64(op.version)
      return
    case 'compare-xattr':
      writer.string(op.name).u8(compareModes.indexOf(op.mode)).bytes(op.value)
      return
    case 'compare-omap':
      writer.bytes(op.key).u8(compareModes.indexOf(op.mode)).bytes(op.value)
      return
    case 'compare-extent':
    case 'write':
      writer.u64(op.offset)
      return writeData(writer, op.data, payload)
    case 'write-full':
    case 'append':
      return writeData(writer, op.data, payload)
    case 'create':
      writer.boolean(op.exclusive)
      return
    case 'truncate':
      writer.u64(op.sizeBytes)
      return
    case 'set-xattr':
      writer.string(op.name).bytes(op.value)
      return
    case 'omap-set':
      return entriesCodec.write(writer, op.entries)
    case 'omap-set-header':
      writer.bytes(op.header)
      return
    case 'list-watchers':
    case 'watch-ping':
    case 'notify':
    case 'notify-ack':
    case 'watch':
    case 'unwatch':
      return writeWatchOp(writer, op, payload)
    default:
      return writeLockOp(writer, op)
  }
}

function readMode(reader: ByteReader): CompareMode {
  const mode = compareModes[reader.u8()]
  if (mode === undefined) throw new ClusterError('EBADMSG', 'unknown comparison')
  return mode
}

function readObjectOp(reader: ByteReader, payload: PayloadCursor): ObjectOp {
  const tag = reader.u8()
  const kind = opTags[tag]
  if (kind === undefined) {
    throw new ClusterError('EOPNOTSUPP', `unknown object operation ${tag}`, {
      hint: 'upgrade the OSDs before the clients',
    })
  }
  switch (kind) {
    case 'stat':
    case 'get-xattrs':
    case 'omap-get-header':
    case 'assert-exists':
    case 'remove':
    case 'omap-clear':
      return { kind }
    case 'read':
    case 'sparse-read':
    case 'map-extents':
    case 'zero':
      return { kind, offset: reader.u64(), length: reader.u64() }
    case 'get-xattr':
    case 'remove-xattr':
      return { kind, name: reader.string() }
    case 'omap-get-keys':
    case 'omap-remove':
      return { kind, keys: keysCodec.read(reader) }
    case 'omap-get-range':
      return { kind, after: reader.boolean() ? reader.bytes() : undefined, prefix: reader.bytes(), limit: reader.u32() }
    case 'list-objects':
      return { kind, after: reader.boolean() ? objectIdCodec.read(reader) : undefined, limit: reader.u32() }
    case 'assert-version':
      return { kind, version: reader.u64() }
    case 'compare-xattr':
      return { kind, name: reader.string(), mode: readMode(reader), value: reader.bytes() }
    case 'compare-omap':
      return { kind, key: reader.bytes(), mode: readMode(reader), value: reader.bytes() }
    case 'compare-extent':
    case 'write':
      return { kind, offset: reader.u64(), data: payload.take(reader.u32()) }
    case 'write-full':
    case 'append':
      return { kind, data: payload.take(reader.u32()) }
    case 'create':
      return { kind, exclusive: reader.boolean() }
    case 'truncate':
      return { kind, sizeBytes: reader.u64() }
    case 'set-xattr':
      return { kind, name: reader.string(), value: reader.bytes() }
    case 'omap-set':
      return { kind, entries: entriesCodec.read(reader) }
    case 'omap-set-header':
      return { kind, header: reader.bytes() }
    case 'list-watchers':
    case 'watch-ping':
    case 'notify':
    case 'notify-ack':
    case 'watch':
    case 'unwatch':
      return readWatchOp(reader, payload, kind)
    default:
      return readLockOp(reader, kind)
  }
}

const resultTags = [
  'none',
  'data',
  'extents',
  'stat',
  'xattrs',
  'omap',
  'objects',
  'locks',
  'watchers',
  'notified',
] as const satisfies readonly ObjectOpResult['kind'][]

function writeResult(writer: ByteWriter, result: ObjectOpResult, payload: Uint8Array[]): void {
  writer.u8(resultTags.indexOf(result.kind))
  switch (result.kind) {
    case 'none':
      return
    case 'data':
      return writeData(writer, result.data, payload)
    case 'extents':
      writer.u32(result.extents.length)
      for (const extent of result.extents) writer.u64(extent.offset).u64(extent.length)
      return writeData(writer, result.data, payload)
    case 'stat':
      writer.u64(result.sizeBytes).f64(result.modifiedMs).u64(result.version)
      return
    case 'xattrs':
      return xattrsCodec.write(writer, result.xattrs)
    case 'omap':
      entriesCodec.write(writer, result.entries)
      writer.boolean(result.more)
      return
    case 'objects':
      objectIdsCodec.write(writer, result.objects)
      writer.boolean(result.more)
      return
    case 'locks':
      return objectLocksCodec.write(writer, result.locks)
    case 'watchers':
      return objectWatchersCodec.write(writer, result.watchers)
    case 'notified':
      return writeNotifyOutcome(writer, result, payload)
  }
}

function readResult(reader: ByteReader, payload: PayloadCursor): ObjectOpResult {
  const kind = resultTags[reader.u8()]
  if (kind === undefined) throw new ClusterError('EBADMSG', 'unknown kind of result')
  switch (kind) {
    case 'none':
      return { kind }
    case 'data':
      return { kind, data: payload.take(reader.u32()) }
    case 'extents': {
      const count = reader.count(16)
      const extents: { offset: number; length: number }[] = []
      for (let i = 0; i < count; i++) extents.push({ offset: reader.u64(), length: reader.u64() })
      return { kind, extents, data: payload.take(reader.u32()) }
    }
    case 'stat':
      return { kind, sizeBytes: reader.u64(), modifiedMs: reader.f64(), version: reader.u64() }
    case 'xattrs':
      return { kind, xattrs: xattrsCodec.read(reader) }
    case 'omap':
      return { kind, entries: entriesCodec.read(reader), more: reader.boolean() }
    case 'objects':
      return { kind, objects: objectIdsCodec.read(reader), more: reader.boolean() }
    case 'locks':
      return { kind, locks: objectLocksCodec.read(reader) }
    case 'watchers':
      return { kind, watchers: objectWatchersCodec.read(reader) }
    case 'notified':
      return { kind, ...readNotifyOutcome(reader, payload) }
  }
}

/** client -> primary. */
export interface ClientOp {
  readonly type: 'client-op'
  readonly request: RequestId
  /** The oldest request to this PG that the client still waits for: this one, if it waits for no other. */
  readonly oldestTid: number
  readonly pgId: PgId
  /** The sender's map; the OSD waits for this epoch before it decides anything. */
  readonly epoch: Epoch
  readonly object: ObjectId
  readonly ops: readonly ObjectOp[]
  /** How often this was sent before. */
  readonly attempt: number
}

/** primary -> client. */
export interface ClientOpReply {
  readonly type: 'client-op-reply'
  readonly request: RequestId
  readonly pgId: PgId
  /** The answering OSD's map. */
  readonly epoch: Epoch
  /** 0, or the errno of the failed step (see base's error table); nothing was applied then. */
  readonly errno: number
  /** Which step failed, and why, for people; empty on success. */
  readonly detail: string
  readonly results: readonly ObjectOpResult[]
  /** Version of the write that this did (or found done by an earlier send); zero for reads. */
  readonly version: Version
  readonly attempt: number
}

export interface MessageCodec<M> {
  write(writer: ByteWriter, payload: Uint8Array[], message: M): void
  read(reader: ByteReader, payload: PayloadCursor): M
}

export const clientOpCodec: MessageCodec<ClientOp> = {
  write(writer, payload, op) {
    requestIdCodec.write(writer, op.request)
    writer.u64(op.oldestTid).string(op.pgId).u32(op.epoch)
    objectIdCodec.write(writer, op.object)
    writer.u32(op.attempt).u16(op.ops.length)
    for (const step of op.ops) writeObjectOp(writer, step, payload)
  },
  read(reader, payload) {
    const request = requestIdCodec.read(reader)
    const oldestTid = reader.u64()
    const pgId = reader.string() as PgId
    const epoch = reader.u32() as Epoch
    const object = objectIdCodec.read(reader)
    const attempt = reader.u32()
    const count = reader.u16()
    const ops: ObjectOp[] = []
    for (let i = 0; i < count; i++) ops.push(readObjectOp(reader, payload))
    return { type: 'client-op', request, oldestTid, pgId, epoch, object, ops, attempt }
  },
}

export const clientOpReplyCodec: MessageCodec<ClientOpReply> = {
  write(writer, payload, reply) {
    requestIdCodec.write(writer, reply.request)
    writer.string(reply.pgId).u32(reply.epoch).u16(reply.errno).string(reply.detail)
    versionCodec.write(writer, reply.version)
    writer.u32(reply.attempt).u16(reply.results.length)
    for (const result of reply.results) writeResult(writer, result, payload)
  },
  read(reader, payload) {
    const request = requestIdCodec.read(reader)
    const pgId = reader.string() as PgId
    const epoch = reader.u32() as Epoch
    const errno = reader.u16()
    const detail = reader.string()
    const version = versionCodec.read(reader)
    const attempt = reader.u32()
    const count = reader.u16()
    const results: ObjectOpResult[] = []
    for (let i = 0; i < count; i++) results.push(readResult(reader, payload))
    return { type: 'client-op-reply', request, pgId, epoch, errno, detail, results, version, attempt }
  },
}

/** Bounds of one operation, checked by the primary (E2BIG, EFBIG) and by the client before it sends. */
export const opLimits: {
  readonly stepsMax: number
  readonly writeBytesMax: number
  readonly objectBytesMax: number
  readonly xattrNameBytesMax: number
  readonly xattrValueBytesMax: number
  readonly omapKeyBytesMax: number
  readonly omapValueBytesMax: number
  readonly omapEntriesMax: number
} = {
  stepsMax: 256,
  writeBytesMax: 32 * 1024 * 1024,
  objectBytesMax: 128 * 1024 * 1024,
  xattrNameBytesMax: 256,
  xattrValueBytesMax: 64 * 1024,
  omapKeyBytesMax: 1024,
  omapValueBytesMax: 1024 * 1024,
  omapEntriesMax: 1024,
}
