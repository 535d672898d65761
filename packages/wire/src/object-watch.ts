/**
 * Watch and notify, as steps of a client's operation and as what the primary tells watchers (Ceph's
 * https://docs.ceph.com/en/latest/rados/api/librados/#c.rados_watch3). docs/mechanisms/watch-notify.md
 *
 * Each of these steps stands alone in its operation.
 */
import {
  array,
  type ByteReader,
  type ByteWriter,
  ClusterError,
  type Codec,
  type PgId,
  struct,
  u32,
  u64,
} from '@shoal/base'
import { type ObjectId, objectIdCodec } from './object-id.ts'
import type { PayloadCursor } from './transaction.ts'

/** A registration: which session of a client, and a number by which it tells its watches apart. */
export interface WatchId {
  readonly client: number
  readonly cookie: number
}

export interface ObjectWatcher extends WatchId {
  /** It is dropped when it is not heard of for so long. */
  readonly timeoutMs: number
}

export type WatchOp =
  /** Read. Who is registered. [ENOENT] */
  | { readonly kind: 'list-watchers' }
  /** Says that the watch lives, and that it is reached by this session. [ENOTCONN] It is not registered (any more). */
  | { readonly kind: 'watch-ping'; readonly cookie: number }
  /** Tells all watchers, and is answered when each has acknowledged, is gone, or the time is over. [ENOENT] */
  | { readonly kind: 'notify'; readonly timeoutMs: number; readonly data: Uint8Array }
  /** [ENOENT] The notify is over, or the caller is not asked. */
  | { readonly kind: 'notify-ack'; readonly notifyId: number; readonly cookie: number; readonly data: Uint8Array }
  /** Registers the caller, or again. [ENOENT] no such object; [EBUSY] too many watchers. */
  | { readonly kind: 'watch'; readonly cookie: number; readonly timeoutMs: number }
  /** [ENOTCONN] Not registered. `client` 0 is the caller; another one only the cluster itself may name. */
  | { readonly kind: 'unwatch'; readonly client: number; readonly cookie: number }

/** What a notify came to. Who gave its watch up meanwhile is in neither list. */
export interface NotifyOutcome {
  /** Unique among those of this object. */
  readonly notifyId: number
  readonly acks: readonly (WatchId & { readonly data: Uint8Array })[]
  /** Did not acknowledge in time, or were dropped: they may have missed it. */
  readonly timedOut: readonly WatchId[]
}

/** primary -> watcher, on the session of its last ping. */
export interface WatchEvent {
  readonly type: 'watch-event'
  readonly pgId: PgId
  readonly object: ObjectId
  readonly cookie: number
  /** `disconnect`: the watch is registered no more, and may have missed something. */
  readonly event: 'notify' | 'disconnect'
  readonly notifyId: number
  /** Session of the client that notifies. */
  readonly notifier: number
  readonly data: Uint8Array
}

export const watchLimits: {
  readonly watchersMax: number
  readonly timeoutMsMin: number
  readonly timeoutMsMax: number
  readonly notifyTimeoutMsMax: number
  readonly notifyBytesMax: number
  readonly ackBytesMax: number
} = {
  /** Of one object: they are one attribute, read and written as a whole. */
  watchersMax: 128,
  timeoutMsMin: 1_000,
  timeoutMsMax: 3_600_000,
  notifyTimeoutMsMax: 60_000,
  notifyBytesMax: 64 * 1024,
  ackBytesMax: 16 * 1024,
}

export const objectWatcherCodec: Codec<ObjectWatcher> = struct<ObjectWatcher>({
  client: u64(),
  cookie: u64(),
  timeoutMs: u32(),
})
export const objectWatchersCodec: Codec<readonly ObjectWatcher[]> = array(objectWatcherCodec)

const watchIdsCodec: Codec<readonly WatchId[]> = array(struct<WatchId>({ client: u64(), cookie: u64() }))

function writeData(writer: ByteWriter, data: Uint8Array, payload: Uint8Array[]): void {
  writer.u32(data.length)
  if (data.length > 0) payload.push(data)
}

export function writeWatchOp(writer: ByteWriter, op: WatchOp, payload: Uint8Array[]): void {
  switch (op.kind) {
    case 'list-watchers':
      return
    case 'watch-ping':
      writer.u64(op.cookie)
      return
    case 'notify':
      writer.u32(op.timeoutMs)
      return writeData(writer, op.data, payload)
    case 'notify-ack':
      writer.u64(op.notifyId).u64(op.cookie)
      return writeData(writer, op.data, payload)
    case 'watch':
      writer.u64(op.cookie).u32(op.timeoutMs)
      return
    case 'unwatch':
      writer.u64(op.client).u64(op.cookie)
      return
  }
}

export function readWatchOp(reader: ByteReader, payload: PayloadCursor, kind: WatchOp['kind']): WatchOp {
  switch (kind) {
    case 'list-watchers':
      return { kind }
    case 'watch-ping':
      return { kind, cookie: reader.u64() }
    case 'notify':
      return { kind, timeoutMs: reader.u32(), data: payload.take(reader.u32()) }
    case 'notify-ack':
      return { kind, notifyId: reader.u64(), cookie: reader.u64(), data: payload.take(reader.u32()) }
    case 'watch':
      return { kind, cookie: reader.u64(), timeoutMs: reader.u32() }
    case 'unwatch':
      return { kind, client: reader.u64(), cookie: reader.u64() }
  }
}

export function writeNotifyOutcome(writer: ByteWriter, outcome: NotifyOutcome, payload: Uint8Array[]): void {
  writer.u64(outcome.notifyId).u32(outcome.acks.length)
  for (const { client, cookie, data } of outcome.acks) {
    writer.u64(client).u64(cookie)
    writeData(writer, data, payload)
  }
  watchIdsCodec.write(writer, outcome.timedOut)
}

export function readNotifyOutcome(reader: ByteReader, payload: PayloadCursor): NotifyOutcome {
  const notifyId = reader.u64()
  const count = reader.count(20)
  const acks: NotifyOutcome['acks'][number][] = []
  for (let i = 0; i < count; i++) {
    acks.push({ client: reader.u64(), cookie: reader.u64(), data: payload.take(reader.u32()) })
  }
  return { notifyId, acks, timedOut: watchIdsCodec.read(reader) }
}

const events = ['notify', 'disconnect'] as const

export const watchEventCodec = {
  write(writer: ByteWriter, payload: Uint8Array[], message: WatchEvent): void {
    writer.string(message.pgId)
    objectIdCodec.write(writer, message.object)
    writer.u64(message.cookie).u8(events.indexOf(message.event)).u64(message.notifyId).u64(message.notifier)
    writeData(writer, message.data, payload)
  },
  read(reader: ByteReader, payload: PayloadCursor): WatchEvent {
    const pgId = reader.string() as PgId
    const object = objectIdCodec.read(reader)
    const cookie = reader.u64()
    const event = events[reader.u8()]
    if (event === undefined) throw new ClusterError('EBADMSG', 'unknown event of a watch')
    const notifyId = reader.u64()
    const notifier = reader.u64()
    return { type: 'watch-event', pgId, object, cookie, event, notifyId, notifier, data: payload.take(reader.u32()) }
  },
}
