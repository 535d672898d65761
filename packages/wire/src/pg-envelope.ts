/**
 * What the members of a placement group say to each other, as the messenger and the dispatcher see it. The body is the
 * placement group's own: `placement-group` defines and encodes it, nobody else looks inside.
 */
import type { Epoch, PgId } from '@shoal/base'
import type { MessageCodec } from './client-op.ts'

export interface PgEnvelope {
  readonly type: 'pg'
  readonly pgId: PgId
  /** The sender's map: the receiver waits until it has it. */
  readonly epoch: Epoch
  readonly body: Uint8Array
  /** Payload bytes; received as one chunk. */
  readonly payload: readonly Uint8Array[]
}

export const pgEnvelopeCodec: MessageCodec<PgEnvelope> = {
  write(writer, payload, envelope) {
    writer.string(envelope.pgId).u32(envelope.epoch).bytes(envelope.body)
    let length = 0
    for (const chunk of envelope.payload) {
      if (chunk.length > 0) payload.push(chunk)
      length += chunk.length
    }
    writer.u32(length)
  },
  read(reader, payload) {
    const pgId = reader.string() as PgId
    const epoch = reader.u32() as Epoch
    const body = reader.bytes()
    return { type: 'pg', pgId, epoch, body, payload: [payload.take(reader.u32())] }
  },
}
