/** Conversations of clients, and of heartbeats. */
import { ClusterError, type EntityName } from '@shoal/base'
import type { Connection } from './connection.ts'
import { frameBytes, type OutgoingFrame, type ReceivedFrame } from './frame.ts'

export interface SessionPeer {
  readonly name: EntityName
  /** Unique to the run of the peer's process. */
  readonly nonce: number
  /** Feature bits that both sides have. */
  readonly features: number
}

/**
 * A conversation in both directions that ends with its connection. Whoever asked for something sends it again on
 * another session.
 */
export class LossySession {
  /** Unique within this messenger. */
  readonly id: number
  /** Undefined until the handshake is done (on the connecting side). */
  peer: SessionPeer | undefined
  /** For whoever owns the session. A thrown ClusterError ends the session with it. */
  onFrame: (frame: ReceivedFrame) => void = () => undefined
  /** Once; also after `close`. */
  onReset: (error: Error | undefined) => void = () => undefined
  /** `send` may go on, after it returned false. */
  onDrain: () => void = () => undefined
  private readonly connection: Connection
  private readonly bufferedBytesMax: number
  private waiting: OutgoingFrame[] | undefined = []
  private waitingBytes = 0
  private drainWanted = false
  private closed = false

  constructor(
    id: number,
    connection: Connection,
    options: { peer: SessionPeer | undefined; bufferedBytesMax: number },
  ) {
    this.id = id
    this.connection = connection
    this.peer = options.peer
    this.bufferedBytesMax = options.bufferedBytesMax
    if (options.peer !== undefined) this.waiting = undefined
  }

  get remote(): string {
    return this.connection.remote
  }

  /** What was sent and has not left: before the handshake, all of it. */
  get bufferedBytes(): number {
    return this.waitingBytes + this.connection.bufferedBytes
  }

  get isClosed(): boolean {
    return this.closed
  }

  /**
   * False above the high-water mark: wait for `onDrain`. A caller that goes on nevertheless loses the session once
   * too much waits. Frames sent on a closed session are dropped.
   */
  send(frame: OutgoingFrame): boolean {
    if (this.closed) return true
    if (this.waiting === undefined) {
      if (this.connection.send(frame, 0)) return true
      this.drainWanted = true
    } else {
      this.waiting.push(frame)
      this.waitingBytes += frameBytes(frame)
    }
    if (this.bufferedBytes > this.bufferedBytesMax) {
      this.connection.fail(
        new ClusterError('EOVERFLOW', `${this.remote} does not read: ${this.bufferedBytes} bytes wait`),
      )
    }
    return this.waiting !== undefined
  }

  /** Stops reading from this peer, from the next frame on: backpressure up to the sender. */
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
    this.waitingBytes = 0
    for (const frame of waiting) this.send(frame)
  }

  /** For the messenger: the connection can take more. */
  drained(): void {
    if (!this.drainWanted) return
    this.drainWanted = false
    this.onDrain()
  }

  /** For the messenger: the connection is gone. */
  reset(error: Error | undefined): void {
    if (this.closed) return
    this.closed = true
    this.waiting = undefined
    this.waitingBytes = 0
    this.onReset(error)
  }
}
