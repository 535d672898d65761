/** The sessions that a messenger hands out: what the OSD and the client library hold on to. */
import { assert, ClusterError, type EntityName, type Env } from '@shoal/base'
import type { Connection } from './connection.ts'
import { controlType, frameBytes, type OutgoingFrame, type ReceivedFrame } from './frame.ts'

export interface SessionPeer {
  readonly name: EntityName
  /** Unique to the run of the peer's process. */
  readonly nonce: number
}

/**
 * A conversation in both directions that ends with its connection: of clients, and of heartbeats. Whoever asked for
 * something sends it again on another session.
 */
export class LossySession {
  /** Unique within this messenger. */
  readonly id: number
  /** Undefined until the handshake is done (on the connecting side). */
  peer: SessionPeer | undefined
  /** For whoever owns the session. */
  onFrame: (frame: ReceivedFrame) => void = () => undefined
  onReset: (error: Error | undefined) => void = () => undefined
  onDrain: () => void = () => undefined
  private readonly connection: Connection
  private waiting: OutgoingFrame[] | undefined = []
  private closed = false

  constructor(id: number, connection: Connection, peer: SessionPeer | undefined) {
    this.id = id
    this.connection = connection
    this.peer = peer
    if (peer !== undefined) this.waiting = undefined
  }

  get remote(): string {
    return this.connection.remote
  }

  get bufferedBytes(): number {
    return this.connection.bufferedBytes
  }

  get isClosed(): boolean {
    return this.closed
  }

  /** False above the high-water mark: wait for `onDrain`. Frames sent on a closed session are dropped. */
  send(frame: OutgoingFrame): boolean {
    if (this.closed) return true
    if (this.waiting === undefined) return this.connection.send(frame, 0)
    this.waiting.push(frame)
    return true
  }

  /** Stops reading from this peer: backpressure up to the sender. */
  pause(): void {
    this.connection.pause()
  }

  resume(): void {
    this.connection.resume()
  }

  close(): void {
    this.connection.fail(undefined)
  }

  /** For the messenger: the handshake is done. */
  established(peer: SessionPeer): void {
    this.peer = peer
    const waiting = this.waiting ?? []
    this.waiting = undefined
    for (const frame of waiting) this.connection.send(frame, 0)
  }

  /** For the messenger: the connection is gone. */
  reset(error: Error | undefined): void {
    if (this.closed) return
    this.closed = true
    this.waiting = undefined
    this.onReset(error)
  }
}

export interface OutboxOptions {
  readonly env: Pick<Env, 'clock' | 'timers' | 'log' | 'random'>
  /** Opens a connection whose events come to the given outbox. */
  readonly connect: (outbox: PeerOutbox) => Connection
  /** Bytes that may wait for one peer. Above that something upstream has failed to bound itself. */
  readonly queueBytesMax: number
  readonly onPeerReset: () => void
}

const backoffMsMin = 50
const backoffMsMax = 2_000

interface Queued {
  readonly frame: OutgoingFrame
  readonly sequence: number
  readonly bytes: number
}

/**
 * Messages to one run of one peer, in order and exactly once while both processes live: each is numbered and kept until
 * the peer acknowledged it; after a reset the next connection starts with what the peer does not have.
 *
 * Invariants
 * 1. Sequence numbers of queued frames are consecutive; the first is `acknowledged + 1`.
 * 2. A frame is dropped only when acknowledged, or when the peer's process is another one than before.
 */
export class PeerOutbox {
  readonly name: EntityName
  /** Unique within this run of the process: a later outbox to the same peer starts a numbering of its own. */
  readonly stream: number
  private readonly options: OutboxOptions
  private readonly queue: Queued[] = []
  private queuedBytes = 0
  private nextSequence = 1
  private acknowledged = 0
  private connection: Connection | undefined
  private ready = false
  private backoffMs = backoffMsMin
  private peerNonce: number | undefined
  private closed = false

  constructor(name: EntityName, stream: number, options: OutboxOptions) {
    this.name = name
    this.stream = stream
    this.options = options
  }

  get pendingBytes(): number {
    return this.queuedBytes
  }

  send(frame: OutgoingFrame): void {
    if (this.closed) return
    const bytes = frameBytes(frame)
    assert(this.queuedBytes + bytes <= this.options.queueBytesMax, `messages to ${this.name} stay within their bound`)
    const queued: Queued = { frame, sequence: this.nextSequence++, bytes }
    this.queue.push(queued)
    this.queuedBytes += bytes
    if (this.ready) this.connection?.send(frame, queued.sequence)
    else if (this.connection === undefined) this.open()
  }

  close(): void {
    this.closed = true
    this.queue.length = 0
    this.queuedBytes = 0
    this.connection?.fail(undefined)
  }

  private open(): void {
    if (!this.closed) this.connection = this.options.connect(this)
  }

  /** The peer's answer to our hello: who it is now, and how far it has come. */
  onHello(peerNonce: number, lastSequence: number): void {
    if (this.peerNonce !== undefined && this.peerNonce !== peerNonce) {
      this.close()
      this.options.onPeerReset()
      return
    }
    this.peerNonce = peerNonce
    this.backoffMs = backoffMsMin
    this.onAck(lastSequence)
    this.ready = true
    for (const { frame, sequence } of this.queue) this.connection?.send(frame, sequence)
  }

  onAck(sequence: number): void {
    if (sequence <= this.acknowledged) return
    if (sequence >= this.nextSequence) {
      this.connection?.fail(
        new ClusterError('EPROTO', `${this.name} acknowledges message ${sequence}, which was never sent`),
      )
      return
    }
    const count = sequence - this.acknowledged
    this.acknowledged = sequence
    for (const { bytes } of this.queue.splice(0, count)) this.queuedBytes -= bytes
    assert((this.queue[0]?.sequence ?? this.nextSequence) === this.acknowledged + 1, 'invariant 1')
  }

  onClose(error: Error | undefined): void {
    this.connection = undefined
    this.ready = false
    if (this.closed) return
    this.options.env.log.debug('connection to peer lost', {
      peer: this.name,
      error: error?.message,
      queued: this.queue.length,
    })
    const delayMs = this.backoffMs * (0.75 + this.options.env.random.fraction() / 2)
    this.backoffMs = Math.min(backoffMsMax, this.backoffMs * 2)
    this.options.env.timers.after(delayMs, () => {
      if (this.connection === undefined && this.queue.length > 0) this.open()
    })
  }
}

/** Acknowledgements are sent for this many messages or bytes, or after this time, whatever comes first. */
const ackEveryMessages = 64
const ackEveryBytes = 1024 * 1024
const ackDelayMs = 50

/** The receiving end of one peer's outbox: lives across its connections, for as long as the peer's process. */
export class PeerInbox {
  readonly peer: SessionPeer
  connection: Connection | undefined
  private readonly env: Pick<Env, 'timers'>
  lastSequence = 0
  private acknowledged = 0
  private unacknowledgedBytes = 0
  private timerSet = false

  constructor(env: Pick<Env, 'timers'>, peer: SessionPeer) {
    this.env = env
    this.peer = peer
  }

  /** True when the frame is new. */
  accept(frame: ReceivedFrame, sequence: number): boolean {
    if (sequence <= this.lastSequence) return false
    assert(sequence === this.lastSequence + 1, 'a sender starts a connection with what we do not have')
    this.lastSequence = sequence
    this.unacknowledgedBytes += frame.payload.length
    if (sequence - this.acknowledged >= ackEveryMessages || this.unacknowledgedBytes >= ackEveryBytes)
      this.acknowledge()
    else if (!this.timerSet) {
      this.timerSet = true
      this.env.timers.after(ackDelayMs, () => {
        this.timerSet = false
        this.acknowledge()
      })
    }
    return true
  }

  private acknowledge(): void {
    if (this.acknowledged === this.lastSequence) return
    this.acknowledged = this.lastSequence
    this.unacknowledgedBytes = 0
    this.connection?.sendControl(controlType.ack, this.lastSequence)
  }
}
