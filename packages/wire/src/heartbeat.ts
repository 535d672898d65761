/** Pings between OSDs, over connections of their own. */
import { type Epoch, type OsdId } from '@shoal/base'
import type { MessageCodec } from './client-op.ts'

export interface Ping {
  readonly type: 'ping'
  readonly from: OsdId
  readonly incarnation: number
  readonly epoch: Epoch
  /** The sender's monotonic clock; comes back unread. */
  readonly stampMs: number
}

export interface PingReply {
  readonly type: 'ping-reply'
  readonly from: OsdId
  readonly incarnation: number
  readonly epoch: Epoch
  readonly stampMs: number
  /** Bytes that the receiver's clients may have under way to the sender: what it orders beyond that may find no room. */
  readonly roomBytes: number
}

export const pingCodec: MessageCodec<Ping> = {
  write(writer, _payload, ping) {
    writer.u32(ping.from).u64(ping.incarnation).u32(ping.epoch).f64(ping.stampMs)
  },
  read: (reader) => ({
    type: 'ping',
    from: reader.u32() as OsdId,
    incarnation: reader.u64(),
    epoch: reader.u32() as Epoch,
    stampMs: reader.f64(),
  }),
}

export const pingReplyCodec: MessageCodec<PingReply> = {
  write(writer, _payload, reply) {
    writer.u32(reply.from).u64(reply.incarnation).u32(reply.epoch).f64(reply.stampMs).f64(reply.roomBytes)
  },
  read: (reader) => ({
    type: 'ping-reply',
    from: reader.u32() as OsdId,
    incarnation: reader.u64(),
    epoch: reader.u32() as Epoch,
    stampMs: reader.f64(),
    roomBytes: reader.f64(),
  }),
}
