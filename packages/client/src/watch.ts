/**
 * One watch of this client: registered, kept alive by pings, and given up as soon as it may have missed something. (Ceph's
 * linger operations.)
 *
 * Invariant 1: `onError` comes, once and last, before the primary drops the watch for want of a ping: this side counts from
 *              when it sent the last ping that was answered.
 * Invariant 2: a notify is handled once, however often it is delivered, and acknowledged with what the handler said.
 */
import { ClusterError, type Env, emptyBytes, isClusterError, type Timer } from '@shoal/base'
import { type ObjectOp, type WatchEvent, watchLimits } from '@shoal/wire'
import type { LingerTable } from './linger-table.ts'

export interface Notification {
  readonly notifyId: number
  /** Session of the client that notifies. */
  readonly notifier: number
  readonly data: Uint8Array
}

export interface WatchHandlers {
  /** What it returns goes back with the acknowledgement, at most 16 KiB. What throws is not acknowledged. */
  readonly onNotify: (notification: Notification) => Promise<Uint8Array | undefined> | Uint8Array | undefined
  /** The watch has ended, and may have missed notifies: look at what it stood for, then watch anew. */
  readonly onError: (error: ClusterError) => void
}

export interface WatchOptions {
  /** After so long without a sign of life the watch is dropped; 30 s when left out. */
  readonly timeoutMs?: number
}

/** What a watch asks of its client. */
export interface WatchPort {
  readonly env: Pick<Env, 'clock' | 'timers' | 'log'>
  readonly lingers: LingerTable
  readonly place: { readonly pool: number; readonly namespace: string; readonly name: string }
  /** An operation on the object that is watched. */
  execute(ops: readonly ObjectOp[], timeoutMs: number): Promise<unknown>
}

const timeoutMsDefault = 30_000
const pingsPerTimeout = 3
/** So many notifies are recognised when they come again. */
const handledMax = 256

export class Watch {
  readonly cookie: number
  private readonly port: WatchPort
  private readonly handlers: WatchHandlers
  private readonly timeoutMs: number
  private readonly handled = new Map<number, Promise<Uint8Array | undefined>>()
  private confirmedMs = 0
  private pinging = false
  private ended = false
  private pingTimer: Timer | undefined
  private expiry: Timer | undefined

  private constructor(port: WatchPort, handlers: WatchHandlers, timeoutMs: number) {
    this.port = port
    this.handlers = handlers
    this.timeoutMs = timeoutMs
    this.cookie = port.lingers.add(port.place, {
      onEvent: (event) => this.onEvent(event),
      onDisturbed: () => this.ping(),
      onClosed: () => this.end(),
    })
  }

  /** Rejects with what `execute` rejects with: ENOENT without the object, EBUSY with too many watchers. */
  static async register(port: WatchPort, handlers: WatchHandlers, options: WatchOptions): Promise<Watch> {
    const timeoutMs = options.timeoutMs ?? timeoutMsDefault
    if (!(timeoutMs >= watchLimits.timeoutMsMin && timeoutMs <= watchLimits.timeoutMsMax)) {
      throw new ClusterError('EINVAL', `a watch cannot time out after ${timeoutMs} ms`, {
        hint: `${watchLimits.timeoutMsMin} to ${watchLimits.timeoutMsMax}`,
      })
    }
    const watch = new Watch(port, handlers, timeoutMs)
    const sentMs = port.env.clock.monotonicMs()
    try {
      await port.execute([{ kind: 'watch', cookie: watch.cookie, timeoutMs }], timeoutMs)
    } catch (error) {
      watch.end()
      throw error
    }
    watch.confirm(sentMs)
    // It may have been registered by a primary that is none any more.
    watch.ping()
    return watch
  }

  /** By the clock: a process that was stopped for long finds out here before it hears of it. */
  get isWatching(): boolean {
    return !this.ended && this.port.env.clock.monotonicMs() < this.confirmedMs + this.timeoutMs
  }

  /** Gives the watch up; no handler is called any more. */
  async close(): Promise<void> {
    if (this.ended) return
    this.end()
    try {
      await this.port.execute([{ kind: 'unwatch', client: 0, cookie: this.cookie }], this.timeoutMs)
    } catch (error) {
      if (!isClusterError(error, 'ENOTCONN', 'ENOENT')) throw error
    }
  }

  private end(): void {
    this.ended = true
    this.port.lingers.delete(this.cookie)
    this.pingTimer?.cancel()
    this.expiry?.cancel()
  }

  private lose(error: ClusterError): void {
    if (this.ended) return
    this.end()
    this.handlers.onError(error)
  }

  // Signs of life

  private confirm(sentMs: number): void {
    if (this.ended) return
    this.confirmedMs = Math.max(this.confirmedMs, sentMs)
    const { clock, timers } = this.port.env
    this.expiry?.cancel()
    // Invariant 1.
    this.expiry = timers.after(this.confirmedMs + this.timeoutMs - clock.monotonicMs(), () =>
      this.lose(
        new ClusterError(
          'ETIMEDOUT',
          `no answer for ${this.timeoutMs} ms: the watch of ${this.name} may have missed something`,
          {
            hint: 'shoal health detail',
          },
        ),
      ),
    )
  }

  private get name(): string {
    return this.port.place.name
  }

  private ping(): void {
    if (this.pinging || this.ended) return
    this.pinging = true
    this.pingTimer?.cancel()
    this.sendPing().then(
      () => this.onPinged(),
      (error: unknown) => {
        this.onPinged()
        const known = isClusterError(error) ? error : new ClusterError('EIO', String(error), { cause: error })
        // Without an answer it is the expiry's to say so.
        if (known.code !== 'ETIMEDOUT') this.lose(known)
      },
    )
  }

  private async sendPing(): Promise<void> {
    const sentMs = this.port.env.clock.monotonicMs()
    await this.port.execute([{ kind: 'watch-ping', cookie: this.cookie }], this.timeoutMs)
    this.confirm(sentMs)
  }

  private onPinged(): void {
    this.pinging = false
    if (this.ended) return
    this.pingTimer = this.port.env.timers.after(this.timeoutMs / pingsPerTimeout, () => this.ping())
  }

  // Events

  private onEvent(event: WatchEvent): void {
    if (this.ended) return
    if (event.event === 'disconnect') {
      return this.lose(new ClusterError('ENOTCONN', `the watch of ${this.name} was ended by its primary`))
    }
    const { notifyId, notifier, data } = event
    let answer = this.handled.get(notifyId)
    if (answer === undefined) {
      // The frame's buffer is not ours to keep.
      answer = Promise.resolve().then(() => this.handlers.onNotify({ notifyId, notifier, data: data.slice() }))
      this.handled.set(notifyId, answer)
      const [oldest] = this.handled.keys()
      if (this.handled.size > handledMax && oldest !== undefined) this.handled.delete(oldest)
    }
    this.acknowledge(notifyId, answer).catch((error: unknown) => {
      // The notify tells its sender who did not answer.
      this.port.env.log.warn('a notify was not acknowledged', { object: this.name, notifyId, error: String(error) })
    })
  }

  private async acknowledge(notifyId: number, answer: Promise<Uint8Array | undefined>): Promise<void> {
    const data = (await answer) ?? emptyBytes
    if (this.ended) return
    try {
      await this.port.execute([{ kind: 'notify-ack', notifyId, cookie: this.cookie, data }], this.timeoutMs)
    } catch (error) {
      // It is over.
      if (!isClusterError(error, 'ENOENT')) throw error
    }
  }
}
