/**
 * Messages to one run of one peer, in order and exactly once while both processes live: each is numbered and kept until
 * the peer acknowledged it; after a reset the next connection goes on with what the peer does not have.
 *
 * Invariants
 * 1. Sequence numbers of queued frames are consecutive; the first is `acknowledged + 1`.
 * 2. A frame is dropped only when acknowledged, or when the peer's process is another one than before.
 * 3. A connection is given frames in order of sequence, beginning with the first that the peer did not have when it said
 *    hello.
 */
import { assert, ClusterError, type EntityName, type Env, type Timer } from '@shoal/base'
import type { Connection } from './connection.ts'
import { frameBytes, type OutgoingFrame } from './frame.ts'

export interface OutboxOptions {
  readonly env: Pick<Env, 'clock' | 'timers' | 'log' | 'random'>
  /** Opens a connection whose events come to the given outbox. */
  readonly connect: (outbox: PeerOutbox) => Connection
  readonly queueBytesMax: number
  readonly highWaterBytes: number
  readonly onPeerReset: () => void
}

const backoffMsMin = 50
const backoffMsMax = 2_000

interface Queued {
  readonly frame: OutgoingFrame
  readonly sequence: number
  readonly bytes: number
}

export class PeerOutbox {
  readonly name: EntityName
  /** Unique within this run of the process: a later outbox to the same peer starts a numbering of its own. */
  readonly stream: number
  /** Connections begun so far. */
  attempt = 0
  /** `send` may go on, after it returned false. */
  onDrain: () => void = () => undefined
  private readonly options: OutboxOptions
  private readonly queue: Queued[] = []
  private queuedBytes = 0
  private nextSequence = 1
  private acknowledged = 0
  /** How many of the queue this connection was given. */
  private given = 0
  private connection: Connection | undefined
  /** The handshake is done and the connection is below its high-water mark. */
  private clear = false
  private drainWanted = false
  private backoffMs = backoffMsMin
  private retry: Timer | undefined
  private peerNonce: number | undefined
  private closed = false

  constructor(name: EntityName, stream: number, options: OutboxOptions) {
    this.name = name
    this.stream = stream
    this.options = options
  }

  /** Sent and not acknowledged. */
  get pendingBytes(): number {
    return this.queuedBytes
  }

  /** False above the high-water mark: wait for `onDrain`. */
  send(frame: OutgoingFrame): boolean {
    if (this.closed) return true
    const bytes = frameBytes(frame)
    this.queuedBytes += bytes
    assert(this.queuedBytes <= this.options.queueBytesMax, `messages to ${this.name} stay within their bound`)
    this.queue.push({ frame, sequence: this.nextSequence++, bytes })
    if (this.connection === undefined && this.retry === undefined) this.open()
    else this.give()
    if (this.queuedBytes < this.options.highWaterBytes) return true
    this.drainWanted = true
    return false
  }

  close(): void {
    this.closed = true
    this.queue.length = 0
    this.queuedBytes = 0
    this.given = 0
    this.retry?.cancel()
    this.connection?.fail(undefined)
  }

  /** The peer's answer to our hello: who it is now, and how far it has come. */
  onHello(peerNonce: number, lastSequence: number): void {
    const sameRun = this.peerNonce === undefined || this.peerNonce === peerNonce
    if (!sameRun || lastSequence < this.acknowledged) {
      this.close()
      this.options.onPeerReset()
      return
    }
    this.peerNonce = peerNonce
    this.given = 0
    this.onAck(lastSequence)
    this.clear = true
    this.give()
  }

  onAck(sequence: number): void {
    if (sequence <= this.acknowledged || this.closed) return
    if (sequence >= this.nextSequence) {
      const text = `${this.name} acknowledges message ${sequence}, which was never sent`
      this.connection?.fail(new ClusterError('EPROTO', text))
      return
    }
    const count = sequence - this.acknowledged
    this.acknowledged = sequence
    for (const { bytes } of this.queue.splice(0, count)) this.queuedBytes -= bytes
    this.given = Math.max(0, this.given - count)
    this.backoffMs = backoffMsMin
    assert((this.queue[0]?.sequence ?? this.nextSequence) === this.acknowledged + 1, 'invariant 1')
    if (!this.drainWanted || this.queuedBytes > this.options.highWaterBytes / 2) return
    this.drainWanted = false
    this.onDrain()
  }

  onConnectionDrain(): void {
    this.clear = true
    this.give()
  }

  onClose(error: Error | undefined): void {
    this.connection = undefined
    this.clear = false
    if (this.closed) return
    const { log, random, timers } = this.options.env
    log.debug('connection to peer lost', { peer: this.name, error: error?.message, queued: this.queue.length })
    const delayMs = this.backoffMs * (0.75 + random.fraction() / 2)
    this.backoffMs = Math.min(backoffMsMax, this.backoffMs * 2)
    this.retry = timers.after(delayMs, () => {
      this.retry = undefined
      if (this.queue.length > 0) this.open()
    })
  }

  private open(): void {
    if (this.closed) return
    this.attempt++
    this.connection = this.options.connect(this)
  }

  private give(): void {
    while (this.clear && this.given < this.queue.length && this.connection !== undefined) {
      const { frame, sequence } = this.queue[this.given++] as Queued
      this.clear = this.connection.send(frame, sequence)
    }
  }
}
