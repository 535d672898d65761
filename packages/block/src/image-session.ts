/**
 * An image that somebody has open beside others who have it open elsewhere: reads go through as they are; whoever writes holds
 * the image's lock, and gives it back when asked. docs/mechanisms/image-lock.md
 *
 * Invariant 1: a write begins only while `isOpen`: the lock is held, and there is neither a pause nor a release.
 * Invariant 2: the lock is given back only when every write that was begun has ended, and how each ended is known: one of
 *              which that is not known may land yet, and its client must be fenced instead.
 * Invariant 3: between taking the lock and the first write, the header is read again.
 * Invariant 4: who has lost the lock by force never writes again: neither now, nor when the fence is over.
 *
 * What a write costs: a look at `isOpen`.
 */
import { ClusterError, type Env, hexEncode, isClusterError, type Timer } from '@shoal/base'
import { HeaderChannel } from './header-channel.ts'
import type { HeaderNotice, NoticeAnswer } from './header-notice.ts'
import type { Image, ImageData, ImageExtent } from './image.ts'
import { readImageConfig } from './image-config.ts'
import type { ImageChange } from './image-diff.ts'
import { assertImageLocked, automaticCookie, giveImageLock, obtainImageLock } from './image-lock.ts'
import type { ChannelIo, Fencer } from './object-io.ts'
import { sleep } from './parallel.ts'
import { removePause } from './pause-record.ts'
import { QosGate } from './qos-gate.ts'

/** A lock that was taken is kept this long, so that two who write in turn do not do nothing else. */
const holdMsMin = 100
/** Who gave the lock to somebody else lets it be taken first. */
const yieldMs = 1_000
const tellMs = 3_000
const retryMs = 500
const giveAttemptsMax = 3
const lockTimeoutMsDefault = 60_000

export interface ImageSessionOptions {
  readonly env: Pick<Env, 'clock' | 'timers' | 'random' | 'log'>
  readonly io: ChannelIo
  readonly fencer: Fencer
  /** The lock is taken at once, and kept until the session closes. */
  readonly exclusive?: boolean | undefined
  /** For people who look at locks. */
  readonly description?: string | undefined
  /** A write waits no longer than this for the lock. */
  readonly lockTimeoutMs?: number
}

interface PauseInForce {
  readonly id: string
  readonly from: number
  readonly pauseMs: number
  timer: Timer
}

export class ImageSession {
  readonly image: Image
  private readonly options: ImageSessionOptions
  private readonly env: ImageSessionOptions['env']
  private readonly cookie: string
  private channel: HeaderChannel | undefined
  private isOpen = false
  private lock: 'none' | 'held' | 'releasing' = 'none'
  private heldSinceMs = 0
  private tenures = 0
  private yieldUntilMs = Number.NEGATIVE_INFINITY
  /** Somebody asked for the lock while we were taking it. */
  private isWanted = false
  private pause: PauseInForce | undefined
  /** A write ended without anybody knowing how. */
  private isUncertain = false
  private ended: ClusterError | undefined
  private opening: Promise<void> | undefined
  private closing: Promise<void> | undefined
  /** Writes that wait for the lock, or for the end of a pause. */
  private readonly waiting = new Set<Promise<unknown>>()
  private readonly wakers = new Set<() => void>()
  /** Called once, when the lock was lost by force, or the image is gone: whoever goes on opens it anew. */
  onEnded: (error: ClusterError) => void = () => undefined
  /** Called once, when the session has closed. */
  onClosed: () => void = () => undefined

  /** Undefined while the image has no limits. */
  qos: QosGate | undefined

  private constructor(image: Image, options: ImageSessionOptions) {
    this.image = image
    this.options = options
    this.env = options.env
    this.cookie = automaticCookie(hexEncode(options.env.random.bytes(8)))
    image.onFailedWrite = (error) => this.onFailedWrite(error)
  }

  /** EROFS when `exclusive`, and somebody else is that already. */
  static async open(image: Image, options: ImageSessionOptions): Promise<ImageSession> {
    const session = new ImageSession(image, options)
    session.channel = await HeaderChannel.open(options.env, options.io, image.header.id, {
      onNotice: (notice, from) => session.onNotice(notice, from),
      onRejoined: () => session.look(),
      onEnded: (error) => session.end(error),
    })
    try {
      // What changed before we watched.
      await image.refresh()
      await session.readConfig()
      if (options.exclusive === true) await session.whenOpen(async () => undefined)
    } catch (error) {
      await session.close()
      throw error
    }
    return session
  }

  /** How often it has taken the lock. */
  get tenure(): number {
    return this.tenures
  }

  get holdsLock(): boolean {
    return this.lock !== 'none'
  }

  /** Closed, or lost to somebody else. */
  get isEnded(): boolean {
    return this.ended !== undefined
  }

  read(offset: number, length: number): Promise<readonly ImageData[]> {
    return this.ended === undefined ? this.image.read(offset, length) : Promise.reject(this.ended)
  }

  extents(offset: number, length: number): Promise<readonly ImageExtent[]> {
    return this.ended === undefined ? this.image.extents(offset, length) : Promise.reject(this.ended)
  }

  changes(since: string, offset: number, length: number): Promise<readonly ImageChange[]> {
    return this.ended === undefined ? this.image.changes(since, offset, length) : Promise.reject(this.ended)
  }

  write(offset: number, data: Uint8Array): Promise<void> {
    return this.isOpen ? this.image.write(offset, data) : this.whenOpen(() => this.image.write(offset, data))
  }

  discard(offset: number, length: number): Promise<void> {
    return this.isOpen ? this.image.discard(offset, length) : this.whenOpen(() => this.image.discard(offset, length))
  }

  writeZeroes(offset: number, length: number, punchHole: boolean): Promise<void> {
    const write = (): Promise<void> => this.image.writeZeroes(offset, length, punchHole)
    return this.isOpen ? write() : this.whenOpen(write)
  }

  /** Resolves once every write that was begun before is durable, or has failed. */
  async flush(): Promise<void> {
    if (this.waiting.size > 0) await Promise.allSettled(this.waiting)
    await this.image.flush()
  }

  /** Runs what must not happen beside the writes of others; the lock is held when it begins. */
  whenOpen<T>(task: () => Promise<T>): Promise<T> {
    // A snapshot refuses it.
    if (this.image.readOnly) return task()
    const run = async (): Promise<T> => {
      while (!this.isOpen) await this.becomeOpen()
      return task()
    }
    const running: Promise<T> = run().finally(() => this.waiting.delete(running))
    this.waiting.add(running)
    return running
  }

  /** Waits for the writes under way, and gives the lock back. Once, however often it is called. */
  close(): Promise<void> {
    this.closing ??= this.closeOnce()
    return this.closing
  }

  private async closeOnce(): Promise<void> {
    await this.flush()
    const wasLost = this.ended !== undefined
    const held = this.lock !== 'none' && !wasLost
    this.end(new ClusterError('ESHUTDOWN', `image ${this.image.header.name} was closed`), 'quietly')
    try {
      // Invariant 2: an uncertain lock stays, for whoever wants it to fence us.
      if (held && !this.isUncertain) await this.giveBack()
      await this.channel?.close()
    } catch (error) {
      if (!wasLost) throw error
    } finally {
      this.onClosed()
    }
  }

  // The gate

  private update(): void {
    this.isOpen = this.ended === undefined && this.lock === 'held' && this.pause === undefined
    for (const wake of this.wakers) wake()
  }

  /** Resolves at the next change of anything, or after the time. */
  private change(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.wakers.delete(done)
        timer.cancel()
        resolve()
      }
      const timer = this.env.timers.after(timeoutMs, done)
      this.wakers.add(done)
    })
  }

  private becomeOpen(): Promise<void> {
    this.opening ??= this.openGate().finally(() => {
      this.opening = undefined
    })
    return this.opening
  }

  private async openGate(): Promise<void> {
    this.check()
    if (this.pause !== undefined || this.lock === 'releasing') return this.change(tellMs)
    const yieldLeftMs = this.yieldUntilMs - this.env.clock.monotonicMs()
    // Not less than a timer can tell from nothing.
    if (this.lock === 'none' && yieldLeftMs > 0) return this.change(Math.ceil(yieldLeftMs))
    if (this.lock === 'held') return this.update()
    const { env, io, fencer, description = '', lockTimeoutMs = lockTimeoutMsDefault } = this.options
    await obtainImageLock({
      env,
      io,
      fencer,
      imageId: this.image.header.id,
      cookie: this.cookie,
      description,
      timeoutMs: lockTimeoutMs,
      ask: async (timeoutMs) => (await this.channel?.tell('request-lock', timeoutMs)) ?? [],
      nextChance: (timeoutMs) => this.change(timeoutMs),
      check: () => this.check(),
    })
    await this.onTaken()
  }

  private check(): void {
    if (this.ended !== undefined) throw this.ended
  }

  private async onTaken(): Promise<void> {
    // From here on a look at the header proves that the lock is still held: after a long stop it may not be (invariant 4).
    this.image.guards = [assertImageLocked(this.cookie)]
    try {
      await this.image.refreshAnew()
    } catch (error) {
      this.onLookFailed(error)
      throw error
    }
    this.check()
    this.lock = 'held'
    this.tenures++
    this.heldSinceMs = this.env.clock.monotonicMs()
    this.update()
    this.tell('acquired-lock')
    if (this.isWanted) this.beginRelease()
  }

  private tell(kind: 'acquired-lock' | 'released-lock'): void {
    this.channel?.tell(kind, tellMs).catch((error: unknown) => {
      // Who missed it looks again by itself.
      this.env.log.debug('a notice about the lock of an image was not sent', { kind, error: String(error) })
    })
  }

  // Giving back

  private onRequest(from: number): NoticeAnswer {
    // Our own request comes to us, too.
    if (this.lock === 'none' && (this.opening === undefined || from === this.options.fencer.session)) return 'not-owner'
    if (this.options.exclusive === true) return 'refused'
    if (this.isUncertain) return 'uncertain'
    // The lock may be ours already, though we have not heard of it.
    if (this.lock === 'none') this.isWanted = true
    if (this.lock === 'held') this.beginRelease()
    return 'releasing'
  }

  private beginRelease(): void {
    this.lock = 'releasing'
    this.isWanted = false
    this.release().catch((error: unknown) => this.onLookFailed(error))
  }

  private async release(): Promise<void> {
    const keepMs = this.heldSinceMs + holdMsMin - this.env.clock.monotonicMs()
    if (keepMs > 0) await sleep(this.env, keepMs)
    this.update()
    await this.image.flush()
    // Closing gives it back by itself.
    if (this.ended !== undefined) return
    if (this.isUncertain) {
      this.lock = 'held'
      return this.update()
    }
    await this.giveBack()
    this.yieldUntilMs = this.env.clock.monotonicMs() + yieldMs
    this.update()
  }

  private async giveBack(): Promise<void> {
    this.image.guards = []
    for (let attempt = 1; ; attempt++) {
      try {
        await giveImageLock(this.options.io, this.image.header.id, this.cookie)
        break
      } catch (error) {
        // Whoever wants it fences us.
        if (!isClusterError(error, 'ETIMEDOUT') || attempt === giveAttemptsMax) throw error
      }
    }
    this.lock = 'none'
    this.tell('released-lock')
  }

  // Notices

  private async onNotice({ kind, pauseId, pauseMs }: HeaderNotice, from: number): Promise<NoticeAnswer> {
    switch (kind) {
      case 'request-lock':
        return this.onRequest(from)
      case 'quiesce':
        return this.onQuiesce({ id: pauseId, from, pauseMs })
      case 'unquiesce':
        await this.image.refreshAnew()
        this.endPause(pauseId)
        return 'done'
      case 'header-changed':
        await this.image.refreshAnew()
        await this.readConfig()
        return 'done'
      case 'acquired-lock':
      case 'released-lock':
        if (from === this.options.fencer.session) return 'done'
        this.yieldUntilMs = Number.NEGATIVE_INFINITY
        this.update()
        return 'done'
    }
  }

  private async onQuiesce(pause: {
    readonly id: string
    readonly from: number
    readonly pauseMs: number
  }): Promise<NoticeAnswer> {
    this.pause?.timer.cancel()
    this.pause = { ...pause, timer: this.env.timers.after(pause.pauseMs, () => void this.expirePause(pause.id)) }
    this.update()
    await this.image.flush()
    if (this.isUncertain) return 'uncertain'
    return this.pause?.id === pause.id ? 'done' : 'failed'
  }

  /** The record goes first: what the pause was for fails from then on. */
  private async expirePause(id: string): Promise<void> {
    while (this.pause?.id === id && this.ended === undefined) {
      try {
        await removePause(this.options.io, this.image.header.id, {
          id,
          client: this.pause.from,
          pauseMs: this.pause.pauseMs,
        })
        await this.image.refreshAnew()
        this.endPause(id)
      } catch (error) {
        this.onLookFailed(error)
        await sleep(this.env, retryMs)
      }
    }
  }

  private endPause(id: string): void {
    if (this.pause?.id !== id) return
    this.pause.timer.cancel()
    this.pause = undefined
    this.update()
  }

  // Losing it

  private look(): void {
    this.image
      .refresh()
      .then(() => this.readConfig())
      .catch((error: unknown) => this.onLookFailed(error))
  }

  private async readConfig(): Promise<void> {
    const config = await readImageConfig(this.options.io, this.image.header.id)
    this.qos?.configure(config)
    // Whoever waits in one that is left behind has been let go.
    if (config.size === 0) this.qos = undefined
    else this.qos ??= new QosGate(this.env, config)
  }

  private onFailedWrite(error: unknown): void {
    if (!isClusterError(error)) return
    if (error.outcome === 'unknown') this.isUncertain = true
    this.onLookFailed(error)
  }

  /** EBUSY is the answer of the guard: the lock was broken. */
  private onLookFailed(error: unknown): void {
    if (!isClusterError(error)) throw error
    if (error.code === 'EBUSY' || error.code === 'ESHUTDOWN' || error.code === 'ENOENT') this.end(error)
  }

  private end(cause: ClusterError, how: 'quietly' | 'by force' = 'by force'): void {
    if (this.ended !== undefined) return
    const { name } = this.image.header
    this.ended =
      how === 'quietly'
        ? cause
        : new ClusterError('ESHUTDOWN', `image ${name} was taken by somebody else, or is gone: ${cause.message}`, {
            cause,
            hint: 'open it anew: connect again',
          })
    this.pause?.timer.cancel()
    this.pause = undefined
    this.update()
    if (how === 'by force') {
      this.env.log.warn('an image was lost to this client', { image: name, error: cause.message })
      this.onEnded(this.ended)
    }
  }
}
