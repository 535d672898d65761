/**
 * Framing and handshake over one byte stream. Knows nothing of sessions: it turns bytes into a checked hello and then
 * into frames, and ends at the first thing that is wrong.
 */
import { type ByteStream, ClusterError, concatBytes, type Env, type Timer } from '@shoal/base'
import { controlType, encodeFrame, FrameReader, type OutgoingFrame, type ReceivedFrame } from './frame.ts'
import { checkHello, decodeHello, encodeHello, type Hello, helloBytesMax } from './hello.ts'

export const handshakeTimeoutMs = 10_000
/** Something is sent at least this often, and a side that hears nothing for `silenceMsMax` hangs up. */
const keepaliveMs = 20_000
const silenceMsMax = 60_000

export interface ConnectionHandler {
  /** The other side's hello is sound. An accepting side answers with `accept`. */
  onHello(hello: Hello): void
  onFrame(frame: ReceivedFrame, sequence: number): void
  onDrain(): void
  /** Exactly once, last. */
  onClose(error: Error | undefined): void
}

const noBytes = new Uint8Array(0)

export class Connection {
  private readonly env: Pick<Env, 'clock' | 'timers'>
  private readonly stream: ByteStream
  private readonly ours: () => Hello
  private readonly handler: ConnectionHandler
  private readonly reader = new FrameReader()
  private hello: Uint8Array[] | undefined = []
  private timer: Timer
  private heardMs: number
  private sentMs: number
  private closed = false
  /** Nothing more is delivered or sent; `onClose` is still to come. */
  private ending = false
  private failure: Error | undefined

  /** A connecting side passes `greet`: it speaks first. */
  constructor(
    env: Pick<Env, 'clock' | 'timers'>,
    stream: ByteStream,
    options: { readonly ours: () => Hello; readonly greet: boolean; readonly handler: ConnectionHandler },
  ) {
    this.env = env
    this.stream = stream
    this.ours = options.ours
    this.handler = options.handler
    this.heardMs = env.clock.monotonicMs()
    this.sentMs = this.heardMs
    this.timer = env.timers.after(handshakeTimeoutMs, () =>
      this.fail(new ClusterError('ETIMEDOUT', 'no hello in time')),
    )
    stream.attach({
      onOpen: () => {
        if (options.greet) this.greet()
      },
      onData: (chunk) => this.onData(chunk),
      onDrain: () => this.handler.onDrain(),
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
    this.stream.write([encodeHello(this.ours())])
  }

  /** False above the high-water mark. */
  send(frame: OutgoingFrame, sequence: number): boolean {
    if (this.ending || this.closed) return true
    this.sentMs = this.env.clock.monotonicMs()
    return this.stream.write(encodeFrame(frame, sequence))
  }

  sendControl(type: number, sequence: number): void {
    this.send({ type, tid: 0, traceId: 0, header: noBytes, payload: [] }, sequence)
  }

  pause(): void {
    this.stream.pause()
  }

  resume(): void {
    this.heardMs = this.env.clock.monotonicMs()
    this.stream.resume()
  }

  /** Closes at once; `onClose` follows with this error. */
  fail(error: Error | undefined): void {
    if (this.closed || this.ending) return
    this.ending = true
    this.failure = error
    this.stream.destroy()
  }

  end(): void {
    if (!this.closed) this.stream.end()
  }

  private onStreamClose(error: Error | undefined): void {
    if (this.closed) return
    this.closed = true
    this.ending = true
    this.timer.cancel()
    this.handler.onClose(this.failure ?? error)
  }

  private onData(chunk: Uint8Array): void {
    if (this.ending) return
    this.heardMs = this.env.clock.monotonicMs()
    try {
      if (this.hello === undefined) this.reader.push(chunk)
      else this.onHelloBytes(this.hello, chunk)
      this.deliver()
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
      if (received.length > helloBytesMax + 8) throw new ClusterError('EBADMSG', 'no end to the hello')
      return
    }
    checkHello(this.ours(), decoded.hello)
    this.hello = undefined
    if (decoded.rest.length > 0) this.reader.push(decoded.rest)
    this.timer.cancel()
    this.keepAlive()
    this.handler.onHello(decoded.hello)
  }

  private deliver(): void {
    while (!this.ending && this.hello === undefined) {
      const frame = this.reader.next()
      if (frame === undefined) return
      if (frame.type !== controlType.keepalive) this.handler.onFrame(frame, frame.sequence)
    }
  }

  private keepAlive(): void {
    this.timer = this.env.timers.after(keepaliveMs, () => {
      const nowMs = this.env.clock.monotonicMs()
      if (nowMs - this.heardMs > silenceMsMax) {
        this.fail(new ClusterError('ETIMEDOUT', `nothing heard for ${Math.round(nowMs - this.heardMs)} ms`))
        return
      }
      if (nowMs - this.sentMs >= keepaliveMs) this.sendControl(controlType.keepalive, 0)
      this.keepAlive()
    })
  }
}
