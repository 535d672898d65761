/** What bounds a messenger: each queue, each wait, each count of connections. */
import { defaultKeyUse, type KeyUse } from './record.ts'

export interface MessengerLimits extends KeyUse {
  /** A connection is done with its handshake within this time, connecting included, or is closed. */
  readonly handshakeMs: number
  /** Something is sent at least this often. */
  readonly keepaliveMs: number
  /** A side that hears nothing for this long hangs up. */
  readonly silenceMs: number
  readonly headerBytesMax: number
  readonly payloadBytesMax: number
  /** Connections whose handshake is not done yet; more are refused. */
  readonly strangersMax: number
  /** Accepted connections in all. */
  readonly connectionsMax: number
  /** Bytes that may wait for a client that does not read; its session is closed then. */
  readonly sessionBytesMax: number
  /** Bytes that may wait for the acknowledgement of one peer. More is a bug upstream. */
  readonly outboxBytesMax: number
  /** `PeerOutbox.send` says false from here on. */
  readonly outboxHighWaterBytes: number
  /** Inboxes of peers' runs; beyond this the oldest without a connection are forgotten. */
  readonly inboxesMax: number
}

const mebibyte = 1024 * 1024

export const defaultLimits: MessengerLimits = {
  handshakeMs: 10_000,
  keepaliveMs: 20_000,
  silenceMs: 60_000,
  headerBytesMax: 16 * mebibyte,
  payloadBytesMax: 64 * mebibyte,
  strangersMax: 256,
  connectionsMax: 16_384,
  sessionBytesMax: 256 * mebibyte,
  outboxBytesMax: 1024 * mebibyte,
  outboxHighWaterBytes: 64 * mebibyte,
  inboxesMax: 4096,
  ...defaultKeyUse,
}
