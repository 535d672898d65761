/**
 * The table of all messages on OSD sessions: their numbers (never reused) and codecs. A message is a plain object with
 * a `type`; encoded it is a number, a header and payload chunks that travel by reference.
 */
import { ByteReader, ByteWriter, ClusterError } from '@shoal/base'
import { type ClientOp, type ClientOpReply, clientOpCodec, clientOpReplyCodec, type MessageCodec } from './client-op.ts'
import { type Ping, type PingReply, pingCodec, pingReplyCodec } from './heartbeat.ts'
import { type WatchEvent, watchEventCodec } from './object-watch.ts'
import { type PgEnvelope, pgEnvelopeCodec } from './pg-envelope.ts'
import { PayloadCursor } from './transaction.ts'

export type Message = ClientOp | ClientOpReply | WatchEvent | PgEnvelope | Ping | PingReply

export type MessageType = Message['type']

type Registry = {
  readonly [T in MessageType]: readonly [number: number, codec: MessageCodec<Extract<Message, { type: T }>>]
}

const registry: Registry = {
  ping: [1, pingCodec],
  'ping-reply': [2, pingReplyCodec],
  'client-op': [16, clientOpCodec],
  'client-op-reply': [17, clientOpReplyCodec],
  'watch-event': [18, watchEventCodec],
  pg: [32, pgEnvelopeCodec],
}

const codecByNumber = new Map<number, MessageCodec<Message>>(
  Object.values(registry).map(([number, codec]) => [number, codec as MessageCodec<Message>]),
)

export interface EncodedMessage {
  readonly type: number
  readonly header: Uint8Array
  readonly payload: readonly Uint8Array[]
}

export function encodeMessage(message: Message): EncodedMessage {
  const [type, codec] = registry[message.type]
  const writer = new ByteWriter(512)
  const payload: Uint8Array[] = []
  ;(codec as MessageCodec<Message>).write(writer, payload, message)
  return { type, header: writer.finish(), payload }
}

/** Byte fields of the result are views into `header` and `payload`. Throws EBADMSG, or EOPNOTSUPP for an unknown type. */
export function decodeMessage(type: number, header: Uint8Array, payload: Uint8Array): Message {
  const codec = codecByNumber.get(type)
  if (codec === undefined) throw new ClusterError('EOPNOTSUPP', `unknown message type ${type}`)
  const reader = new ByteReader(header)
  const cursor = new PayloadCursor(payload)
  const message = codec.read(reader, cursor)
  reader.end()
  cursor.end()
  return message
}
