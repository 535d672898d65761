/** Holds the writes of everybody who has an image open, in whatever process, while its header changes. */
import { type Env, isClusterError } from '@shoal/base'
import type { ObjectOp } from '@shoal/wire'
import { tellAll } from './header-channel.ts'
import { encodeNotice } from './header-notice.ts'
import type { ImageHeader } from './image-header.ts'
import { pauseImage } from './image-pause.ts'
import type { ChannelIo, Fencer } from './object-io.ts'

const tellMs = 3_000

/** Nobody writes until `resume`, or until a guard fails. */
export interface Hold {
  /** False: some may not have heard, and go on writing by the header that they know, for as long as its lease. */
  readonly everybody: boolean
  /** In front of the change that is made meanwhile: ECANCELED when somebody has waited too long, and writes again. */
  readonly guards: readonly ObjectOp[]
  /** Everybody reads the header anew and goes on. */
  resume(): Promise<void>
}

export interface Quiescer {
  /** Resolves when no write is under way and none begins. A rejection leaves nobody held. */
  pause(header: ImageHeader): Promise<Hold>
  /** Everybody reads the header anew, soon: nothing depends on it. */
  changed(header: ImageHeader): Promise<void>
}

/** Nobody can be told: all of them learn of a change when they ask again. */
export const nobodyHears: Quiescer = {
  pause: async () => ({ everybody: false, guards: [], resume: async () => undefined }),
  changed: async () => undefined,
}

/** By the channel of the header object: image-pause.ts */
export function channelQuiescer(env: Pick<Env, 'timers' | 'random'>, io: ChannelIo, fencer: Fencer): Quiescer {
  return {
    async pause(header) {
      const pause = await pauseImage({ env, io, fencer }, header.id)
      return { everybody: true, guards: [pause.guard], resume: () => pause.end() }
    },
    async changed(header) {
      try {
        await tellAll(io, header.id, encodeNotice('header-changed'), tellMs)
      } catch (error) {
        // They ask by themselves, too.
        if (!isClusterError(error)) throw error
      }
    },
  }
}
