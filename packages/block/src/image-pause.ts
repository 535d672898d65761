/**
 * A pause of an image: nobody writes to it while its header changes, wherever the writers are.
 *
 * A pause is a record in the header object (omap `pause`), so that everything that depends on it is ordered there:
 * 1. It is stored before any writer is told. While it is there nobody takes the image's lock, so that the only writer is the
 *    one that held the lock then.
 * 2. That writer stops, waits for its writes under way, and says so. One that does not answer is fenced.
 * 3. What was paused for (a new header) asks in the same operation that the record is still there.
 * 4. A writer that has waited long enough removes the record, and only then writes again. So either the change was before that,
 *    and the writer reads the new header, or the change fails: whoever paused learns that it was too slow.
 * A crash after 1 leaves a record that the next who needs the lock, or pauses, removes when its time is over.
 */
import { ClusterError, type Env, hexEncode, isClusterError } from '@shoal/base'
import type { ObjectOp } from '@shoal/wire'
import { tellAll } from './header-channel.ts'
import { encodeNotice } from './header-notice.ts'
import { breakImageLock, isAutomatic, readLockHolder } from './image-lock.ts'
import type { ChannelIo, Fencer } from './object-io.ts'
import {
  assertNotPaused,
  assertPaused,
  type PauseRecord,
  removePause,
  setPause,
  waitForPauseEnd,
} from './pause-record.ts'
import { headerObjectName } from './striping.ts'

/** Writers wait no longer than this for a pause to end. */
export const pauseMsDefault = 5_000
/** A writer has this long to finish what is under way; asked twice it must answer once. */
const answerMs = 2_000
const asksMax = 2
const resumeAnswerMs = 2_000
const takeOverAttemptsMax = 3

export interface PauseOptions {
  readonly env: Pick<Env, 'timers' | 'random'>
  readonly io: ChannelIo
  readonly fencer: Fencer
  readonly pauseMs?: number
}

/** An image that nobody writes to until `end`, or until the guard fails. */
export interface Pause {
  /** In front of the change that the pause is for; ECANCELED when the pause was over before. */
  readonly guard: ObjectOp
  /** Writers go on, with the header as it is now. */
  end(): Promise<void>
}

/** EBUSY when the image is paused by others all the time, or its writer cannot stop. */
export async function pauseImage(options: PauseOptions, imageId: string): Promise<Pause> {
  const { env, io, fencer, pauseMs = pauseMsDefault } = options
  const record: PauseRecord = { id: hexEncode(env.random.bytes(8)), client: fencer.session, pauseMs }
  await storePause(options, imageId, record)
  const pause: Pause = {
    guard: assertPaused(record),
    async end() {
      await removePause(io, imageId, record)
      await tellAll(io, imageId, encodeNotice('unquiesce', record.id), resumeAnswerMs)
    },
  }
  try {
    await quietWriter(options, imageId, encodeNotice('quiesce', record.id, pauseMs))
    return pause
  } catch (error) {
    await pause.end()
    throw error
  }
}

async function storePause({ env, io }: PauseOptions, imageId: string, record: PauseRecord): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await io.execute(headerObjectName(imageId), [{ kind: 'assert-exists' }, assertNotPaused, setPause(record)])
      return
    } catch (error) {
      if (!isClusterError(error, 'ECANCELED')) throw error
      if (attempt === takeOverAttemptsMax) {
        throw new ClusterError('EBUSY', `image ${imageId} is being paused by others`, { retry: true, cause: error })
      }
    }
    await waitForPauseEnd(env, io, imageId)
  }
}

/** Resolves once whoever holds the lock has stopped, or is fenced. */
async function quietWriter(options: PauseOptions, imageId: string, notice: Uint8Array): Promise<void> {
  const { io, fencer } = options
  for (let ask = 1; ; ask++) {
    const replies = await tellAll(io, imageId, notice, answerMs)
    const holder = await readLockHolder(io, imageId)
    // Nobody takes the lock while the record is there. Who holds it by hand writes elsewhere, if at all.
    if (holder === undefined || !isAutomatic(holder)) return
    const answers = replies.filter(({ client }) => client === holder.client).map(({ answer }) => answer)
    if (answers.some((answer) => answer === 'failed' || answer === 'uncertain')) {
      throw new ClusterError('EBUSY', `the writes of client.${holder.client} to image ${imageId} do not end`, {
        hint: 'shoal health detail; then once more',
        retry: true,
      })
    }
    if (answers.length > 0) return
    if (ask === asksMax) return breakImageLock({ io, fencer }, imageId, holder)
  }
}
