/**
 * The receiving end of one peer's outbox: lives across its connections, for as long as the peer's process.
 *
 * Invariants
 * 1. Frames are passed on in order of sequence, each once.
 * 2. At most one connection, the latest attempt, delivers to an inbox.
 */
import { ClusterError, type EntityName, type Env, emptyBytes, type Timer } from '@shoal/base'
import type { Connection } from './connection.ts'
import { controlType, type ReceivedFrame } from './frame.ts'
import type { SessionPeer } from './session.ts'

/** Who sent a frame, and the way to hold that peer back. */
export interface PeerSource extends SessionPeer {
  /** Nothing more is delivered from this peer until `resume`, over this connection or the next. */
  pause(): void
  resume(): void
}

/** Acknowledgements are sent for this many messages or bytes, or after this time, whatever comes first. */
const ackEveryMessages = 64
const ackEveryBytes = 1024 * 1024
const ackDelayMs = 50

export class PeerInbox implements PeerSource {
  readonly name: EntityName
  readonly nonce: number
  features: number
  lastSequence = 0
  private readonly env: Pick<Env, 'timers'>
  private connection: Connection | undefined
  private attempt = 0
  private acknowledged = 0
  private unacknowledgedBytes = 0
  private ackTimer: Timer | undefined
  private paused = false

  constructor(env: Pick<Env, 'timers'>, peer: SessionPeer) {
    this.env = env
    this.name = peer.name
    this.nonce = peer.nonce
    this.features = peer.features
  }

  get isConnected(): boolean {
    return this.connection !== undefined
  }

  /** Takes over delivery; the connection before it is cut. False for an attempt that a later one has overtaken. */
  adopt(connection: Connection, attempt: number): boolean {
    if (attempt <= this.attempt) return false
    this.attempt = attempt
    this.connection?.fail(undefined)
    this.connection = connection
    // The answer to the hello acknowledges everything.
    this.acknowledged = this.lastSequence
    this.unacknowledgedBytes = 0
    if (this.paused) connection.pause()
    return true
  }

  disconnected(connection: Connection): void {
    if (this.connection === connection) this.connection = undefined
  }

  /** True when the frame is new. Throws EPROTO when frames before it are missing. */
  accept(frame: ReceivedFrame, sequence: number): boolean {
    if (sequence <= this.lastSequence) return false
    if (sequence !== this.lastSequence + 1) {
      throw new ClusterError('EPROTO', `${this.name} sent message ${sequence} after ${this.lastSequence}`)
    }
    this.lastSequence = sequence
    this.unacknowledgedBytes += frame.payload.length
    if (sequence - this.acknowledged >= ackEveryMessages || this.unacknowledgedBytes >= ackEveryBytes) {
      this.acknowledge()
    } else {
      this.ackTimer ??= this.env.timers.after(ackDelayMs, () => this.acknowledge())
    }
    return true
  }

  pause(): void {
    this.paused = true
    this.connection?.pause()
  }

  resume(): void {
    this.paused = false
    this.connection?.resume()
  }

  close(): void {
    this.ackTimer?.cancel()
    this.connection?.fail(undefined)
  }

  private acknowledge(): void {
    this.ackTimer?.cancel()
    this.ackTimer = undefined
    if (this.acknowledged === this.lastSequence || this.connection === undefined) return
    this.acknowledged = this.lastSequence
    this.unacknowledgedBytes = 0
    this.connection.send(
      { type: controlType.ack, tid: 0, traceId: 0, header: emptyBytes, payload: [] },
      this.lastSequence,
    )
  }
}
