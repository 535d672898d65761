/**
 * The watch that an open image keeps on its header object, and what it says there. A watch that is lost is registered anew for
 * as long as the channel is open; what may have been missed meanwhile, the user of the channel looks up.
 */
import { type ClusterError, type Env, isClusterError, type Timer } from '@shoal/base'
import type { NotifyOutcome } from '@shoal/wire'
import {
  decodeAnswer,
  decodeNotice,
  encodeAnswer,
  encodeNotice,
  type HeaderNotice,
  type NoticeAnswer,
  type NoticeKind,
} from './header-notice.ts'
import type { ChannelIo, HeaderWatch } from './object-io.ts'
import { headerObjectName } from './striping.ts'

/** Whoever is not heard of for so long is no watcher any more. */
const watchTimeoutMs = 10_000
const rejoinMsMin = 100
const rejoinMsMax = 2_000

export interface ChannelHandlers {
  readonly onNotice: (notice: HeaderNotice, from: number) => Promise<NoticeAnswer> | NoticeAnswer
  /** Watching again after a time without: notices may have been missed. */
  readonly onRejoined: () => void
  /** This client is fenced, or the image is gone: there is nothing to watch any more. */
  readonly onEnded: (error: ClusterError) => void
}

export interface NoticeReply {
  readonly client: number
  readonly answer: NoticeAnswer
}

/** Tells all who have the image open; their answers, by client. Who is not named did not answer in `timeoutMs`. */
export async function tellAll(
  io: ChannelIo,
  imageId: string,
  notice: Uint8Array,
  timeoutMs: number,
): Promise<readonly NoticeReply[]> {
  const { acks }: NotifyOutcome = await io.notify(headerObjectName(imageId), notice, timeoutMs)
  return acks.map(({ client, data }) => ({ client, answer: decodeAnswer(data) }))
}

export class HeaderChannel {
  private readonly env: Pick<Env, 'timers'>
  private readonly io: ChannelIo
  private readonly imageId: string
  private readonly handlers: ChannelHandlers
  private watch: HeaderWatch | undefined
  private closed = false
  private rejoinMs = rejoinMsMin
  private rejoinTimer: Timer | undefined

  private constructor(env: Pick<Env, 'timers'>, io: ChannelIo, imageId: string, handlers: ChannelHandlers) {
    this.env = env
    this.io = io
    this.imageId = imageId
    this.handlers = handlers
  }

  /** Resolves once watching. Rejects with ENOENT without the header, EBUSY with too many watchers. */
  static async open(
    env: Pick<Env, 'timers'>,
    io: ChannelIo,
    imageId: string,
    handlers: ChannelHandlers,
  ): Promise<HeaderChannel> {
    const channel = new HeaderChannel(env, io, imageId, handlers)
    await channel.join()
    return channel
  }

  tell(kind: NoticeKind, timeoutMs: number): Promise<readonly NoticeReply[]> {
    return tellAll(this.io, this.imageId, encodeNotice(kind), timeoutMs)
  }

  async close(): Promise<void> {
    this.closed = true
    this.rejoinTimer?.cancel()
    await this.watch?.close()
  }

  private async join(): Promise<void> {
    this.watch = undefined
    const watch = await this.io.watch(
      headerObjectName(this.imageId),
      {
        onNotify: async ({ data, notifier }) => {
          const notice = decodeNotice(data)
          return encodeAnswer(notice === undefined ? 'unknown-notice' : await this.handlers.onNotice(notice, notifier))
        },
        onError: (error) => this.onLost(error),
      },
      { timeoutMs: watchTimeoutMs },
    )
    if (this.closed) return watch.close()
    this.watch = watch
    this.rejoinMs = rejoinMsMin
  }

  private onLost(error: ClusterError): void {
    if (this.closed) return
    if (error.code === 'ESHUTDOWN' || error.code === 'ENOENT') {
      this.closed = true
      return this.handlers.onEnded(error)
    }
    this.rejoinTimer = this.env.timers.after(this.rejoinMs, () => {
      this.rejoinMs = Math.min(rejoinMsMax, this.rejoinMs * 2)
      this.join().then(
        () => {
          if (!this.closed) this.handlers.onRejoined()
        },
        (cause: unknown) => {
          if (!isClusterError(cause)) throw cause
          this.onLost(cause)
        },
      )
    })
  }
}
