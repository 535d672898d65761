/**
 * Framing, sealing and handshake over one byte stream. Knows nothing of sessions: it turns bytes into a checked hello and
 * then into frames, and ends at the first thing that is wrong.
 *
 * Invariants
 * 1. Nothing is delivered before the handshake is done, nor after `fail`, nor while paused.
 * 2. Until its handshake is done a stranger costs us at most the message that is due and one chunk, for `handshakeMs`.
 * 3. With `secure`, every byte after the handshake travels in a sealed record, both ways.
 */
import { type ByteStream, ClusterError, type Env, emptyBytes, type Timer } from '@shoal/base'
import { controlType, encodeFrame, FrameReader, type OutgoingFrame, type ReceivedFrame } from './frame.ts'
import { Handshake } from './handshake.ts'
import type { Hello } from './hello.ts'
import type { MessengerLimits } from './limits.ts'
import { RecordOpener, RecordSealer, recordBytesMax } from './record.ts'
import type { ClusterSecret } from './secret.ts'

export interface ConnectionHandler {
  /** The other side's hello is sound, and proven where that was agreed. An accepting side answers with `greet`. */
  onHello(hello: Hello): void
  onFrame(frame: ReceivedFrame, sequence: number): void
  onDrain(): void
  /** Exactly once, last. */
  onClose(error: Error | undefined): void
}

export interface ConnectionCounters {
  /** Sealed records that were not what the other side sealed next. */
  recordsRefused: number
  /** Connections that ended within a sealed record. */
  recordsTruncated: number
}

type ConnectionEnv = Pick<Env, 'clock' | 'timers' | 'random'>

export interface ConnectionOptions {
  readonly ours: () => Hello
  /** A connecting side speaks first. */
  readonly greet: boolean
  readonly secret: ClusterSecret | undefined
  readonly limits: MessengerLimits
  readonly counters: ConnectionCounters
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

/** Written only to be told of backpressure, and to be among what leaves at the end of this turn. */
const noChunks: readonly Uint8Array[] = []

export class Connection {
  private readonly env: ConnectionEnv
  private readonly stream: ByteStream
  private readonly options: ConnectionOptions
  private reader: FrameReader
  /** Until it is done. */
  private handshake: Handshake | undefined
  /** Both with `secure`, once the handshake is done. */
  private sealer: RecordSealer | undefined
  private opener: RecordOpener | undefined
  /** A seal is due at the end of this turn. */
  private sealing = false
  /** Whether the stream was below its high-water mark when last asked. */
  private clear = true
  private timer: Timer
  private heardMs: number
  private sentMs: number
  private paused = false
  private closed = false
  /** Nothing more is delivered or sent; `onClose` is still to come. */
  private ending = false
  private failure: Error | undefined

  constructor(env: ConnectionEnv, stream: ByteStream, options: ConnectionOptions) {
    this.env = env
    this.stream = stream
    this.options = options
    this.reader = new FrameReader(options.limits)
    const { ours, secret } = options
    this.handshake = new Handshake({
      role: options.greet ? 'connecting' : 'accepting',
      ours,
      secret,
      random: env.random,
    })
    this.heardMs = env.clock.monotonicMs()
    this.sentMs = this.heardMs
    this.timer = env.timers.after(options.limits.handshakeMs, () => {
      this.fail(new ClusterError('ETIMEDOUT', `no handshake within ${options.limits.handshakeMs} ms`, { retry: true }))
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
    return this.stream.bufferedBytes + (this.sealer?.pendingBytes ?? 0)
  }

  /** Says who we are: the first word of a connecting side, the last of the handshake of an accepting one. */
  greet(): void {
    const { handshake } = this
    if (handshake === undefined || this.ending) return
    this.guarded(() => {
      const say = handshake.greet()
      if (say.length > 0) this.stream.write(say)
      this.seal(handshake)
    })
  }

  /** False above the high-water mark. */
  send(frame: OutgoingFrame, sequence: number): boolean {
    if (this.ending) return true
    this.sentMs = this.env.clock.monotonicMs()
    if (this.sealer !== undefined) return this.sendSealed(this.sealer, encodeFrame(frame, sequence, 'sealed'))
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
    const reason = this.failure ?? error ?? this.truncation()
    this.ending = true
    this.timer.cancel()
    this.options.handler.onClose(reason)
  }

  /** An orderly end within a record is not the end that the other side meant. */
  private truncation(): Error | undefined {
    if (this.ending || this.paused || this.opener === undefined || this.opener.bufferedBytes === 0) return undefined
    this.options.counters.recordsTruncated++
    return new ClusterError('ECONNRESET', `${this.remote}: ended within a sealed record`, { retry: true })
  }

  private onData(chunk: Uint8Array): void {
    if (this.ending) return
    if (this.opener === undefined) this.heardMs = this.env.clock.monotonicMs()
    this.guarded(() => {
      if (this.handshake !== undefined) this.onHandshake(this.handshake, chunk)
      else this.onBytes(chunk)
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

  private onHandshake(handshake: Handshake, chunk: Uint8Array): void {
    const { say, peer, refused } = handshake.receive(chunk)
    if (say.length > 0) this.stream.write(say)
    if (refused !== undefined) {
      this.ending = true
      this.failure = refused
      // The handshake timer is still set: it destroys what the other side does not close.
      this.stream.end()
      return
    }
    if (peer === undefined) return
    this.timer.cancel()
    this.keepAlive()
    // A connecting side may receive frames, and send them, from here on; an accepting one has a last word to say first.
    this.seal(handshake)
    if (peer.rest.length > 0) this.onBytes(peer.rest)
    this.options.handler.onHello(peer.hello)
    this.handshake = undefined
  }

  /** From here on, if that was agreed, everything is sealed. */
  private seal({ traffic }: Handshake): void {
    if (traffic === undefined || this.sealer !== undefined) return
    const { limits } = this.options
    this.sealer = new RecordSealer(traffic.sending, limits)
    this.opener = new RecordOpener(traffic.receiving, limits)
    this.reader = new FrameReader(limits, 'sealed')
  }

  /** What is sent in one turn is sealed at its end, as one record if it fits. */
  private sendSealed(sealer: RecordSealer, chunks: readonly Uint8Array[]): boolean {
    const first = !this.sealing
    if (first) {
      this.sealing = true
      // Before the stream hears of it: then what is sealed at the end of this turn also leaves at its end.
      this.env.timers.soon(() => this.flush(sealer))
    }
    sealer.add(chunks)
    if (sealer.pendingBytes >= recordBytesMax) this.clear = this.stream.write(sealer.seal())
    // Asked again only after a no: a yes holds for as long as less than a record waits, a no until the stream drains.
    else if (first || !this.clear) this.clear = this.stream.write(noChunks)
    return this.clear
  }

  private flush(sealer: RecordSealer): void {
    this.sealing = false
    if (this.ending || sealer.pendingBytes === 0) return
    this.stream.write(sealer.seal())
  }

  private onBytes(chunk: Uint8Array): void {
    if (this.opener === undefined) this.reader.push(chunk)
    else this.opener.push(chunk)
  }

  /** Gives the reader what the next record holds; false when that has not arrived. */
  private open(opener: RecordOpener): boolean {
    try {
      const opened = opener.next()
      if (opened === undefined) return false
      // Bytes that make no record are silence: else a false length would keep a connection waiting for ever.
      this.heardMs = this.env.clock.monotonicMs()
      this.reader.push(opened)
      return true
    } catch (error) {
      this.options.counters.recordsRefused++
      throw error
    }
  }

  private deliver(): void {
    while (!this.ending && !this.paused && this.handshake === undefined) {
      const frame = this.reader.next()
      if (frame === undefined) {
        if (this.opener === undefined || !this.open(this.opener)) return
        continue
      }
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
