/**
 * Framing and handshake over one byte stream. Knows nothing of sessions: it turns bytes into a checked hello and then
 * into frames, and ends at the first thing that is wrong.
 *
 * Invariants
 * 1. Nothing is delivered before the other side's hello was checked, nor after `fail`, nor while paused.
 * 2. Until its hello is complete a stranger costs us at most `helloBytesMax` and one chunk, for `handshakeMs`.
 */
import { type ByteStream, ClusterError, concatBytes, type Env, emptyBytes, type Timer } from '@shoal/base'
import { controlType, encodeFrame, FrameReader, type OutgoingFrame, type ReceivedFrame } from './frame.ts'
import { checkHello, decodeHello, encodeHello, type Hello, helloBytesMax } from './hello.ts'
import type { MessengerLimits } from './limits.ts'

export interface ConnectionHandler {
  /** The other side's hello is sound. An accepting side answers with `greet`. */
  onHello(hello: Hello): void
  onFrame(frame: ReceivedFrame, sequence: number): void
  onDrain(): void
  /** Exactly once, last. */
  onClose(error: Error | undefined): void
}

export interface ConnectionOptions {
  readonly ours: () => Hello
  /** A connecting side speaks first. */
  readonly greet: boolean
  readonly limits: MessengerLimits
  readonly handler: ConnectionHandler
}

/** The header of frames that carry none: shared, never written to. */
const keepaliveFrame: OutgoingFrame = {
  type: controlType.keepalive,
  tid: 0,
  traceId: 0,
  header: emptyBytes,
  payload: [],
}

export class Connection {
  private readonly env: Pick<Env, 'clock' | 'timers'>
  private readonly stream: ByteStream
  private readonly options: ConnectionOptions
  private readonly reader: FrameReader
  private hello: Uint8Array[] | undefined = []
  private greeted = false
  private timer: Timer
  private heardMs: number
  private sentMs: number
  private paused = false
  private closed = false
  /** Nothing more is delivered or sent; `onClose` is still to come. */
  private ending = false
  private failure: Error | undefined

  constructor(env: Pick<Env, 'clock' | 'timers'>, stream: ByteStream, options: ConnectionOptions) {
    this.env = env
    this.stream = stream
    this.options = options
    this.reader = new FrameReader(options.limits)
    this.heardMs = env.clock.monotonicMs()
    this.sentMs = this.heardMs
    this.timer = env.timers.after(options.limits.handshakeMs, () => {
      this.fail(new ClusterError('ETIMEDOUT', `no hello within ${options.limits.handshakeMs} ms`, { retry: true }))
      stream.destroy()
    })
    stream.attach({
      onOpen: () => {
        if (options.greet) this.greet()
      },
      onData: (chunk) => this.onData(chunk),
      onDrain: () => {
        if (!this.ending) options.handler.onDrain()
      },
      onClose: (error) => this.onStreamClose(error),
    })
  }

  get remote(): string {
    return this.stream.remote
  }

  get bufferedBytes(): number {
    return this.stream.bufferedBytes
  }

  /** Says who we are: the first word of a connecting side, the answer of an accepting one. */
  greet(): void {
    if (this.greeted || this.ending) return
    this.greeted = true
    this.stream.write([encodeHello(this.options.ours())])
  }

  /** False above the high-water mark. */
  send(frame: OutgoingFrame, sequence: number): boolean {
    if (this.ending) return true
    this.sentMs = this.env.clock.monotonicMs()
    return this.stream.write(encodeFrame(frame, sequence))
  }

  /** Holds back the other side: what has arrived waits here, what has not waits there. */
  pause(): void {
    this.paused = true
    this.stream.pause()
  }

  resume(): void {
    if (!this.paused || this.ending) return
    this.paused = false
    this.heardMs = this.env.clock.monotonicMs()
    this.stream.resume()
    // Never within the caller's turn: it may be in the middle of handling a frame.
    this.env.timers.soon(() => this.deliverChecked())
  }

  /** Closes at once; `onClose` follows with this error. */
  fail(error: Error | undefined): void {
    if (this.ending) return
    this.ending = true
    this.failure = error
    this.stream.destroy()
  }

  private onStreamClose(error: Error | undefined): void {
    if (this.closed) return
    this.closed = true
    this.ending = true
    this.timer.cancel()
    this.options.handler.onClose(this.failure ?? error)
  }

  private onData(chunk: Uint8Array): void {
    if (this.ending) return
    this.heardMs = this.env.clock.monotonicMs()
    this.guarded(() => {
      if (this.hello === undefined) this.reader.push(chunk)
      else this.onHelloBytes(this.hello, chunk)
      this.deliver()
    })
  }

  private deliverChecked(): void {
    this.guarded(() => this.deliver())
  }

  /** What is wrong with the other side's bytes ends the connection; what is wrong with us ends the process. */
  private guarded(work: () => void): void {
    try {
      work()
    } catch (error) {
      if (!(error instanceof ClusterError)) throw error
      this.fail(error)
    }
  }

  private onHelloBytes(gathered: Uint8Array[], chunk: Uint8Array): void {
    gathered.push(chunk)
    const received = concatBytes(gathered)
    const decoded = decodeHello(received)
    if (decoded === undefined) {
      if (received.length > helloBytesMax) throw new ClusterError('EBADMSG', 'no end to the hello')
      this.hello = [received]
      return
    }
    this.hello = undefined
    try {
      checkHello(this.options.ours(), decoded.hello)
    } catch (error) {
      this.refuse(error as Error)
      return
    }
    if (decoded.rest.length > 0) this.reader.push(decoded.rest)
    this.timer.cancel()
    this.keepAlive()
    this.options.handler.onHello(decoded.hello)
  }

  /** Tells who we are before hanging up, so that the other side can say what does not fit. */
  private refuse(error: Error): void {
    this.greet()
    this.ending = true
    this.failure = error
    // The handshake timer is still set: it destroys what the other side does not close.
    this.stream.end()
  }

  private deliver(): void {
    while (!this.ending && !this.paused && this.hello === undefined) {
      const frame = this.reader.next()
      if (frame === undefined) return
      if (frame.type !== controlType.keepalive) this.options.handler.onFrame(frame, frame.sequence)
    }
  }

  private keepAlive(): void {
    const { keepaliveMs, silenceMs } = this.options.limits
    this.timer = this.env.timers.after(keepaliveMs, () => {
      const nowMs = this.env.clock.monotonicMs()
      // Whoever does not listen cannot complain of silence.
      if (!this.paused && nowMs - this.heardMs > silenceMs) {
        this.fail(
          new ClusterError('ETIMEDOUT', `nothing heard for ${Math.round(nowMs - this.heardMs)} ms`, { retry: true }),
        )
        return
      }
      if (nowMs - this.sentMs >= keepaliveMs) this.send(keepaliveFrame, 0)
      this.keepAlive()
    })
  }
}
