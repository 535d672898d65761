/**
 * The lock of an image: one client writes at a time, and whoever wants to asks the one who does. It is an advisory lock on the
 * header object (docs/mechanisms/locks.md), taken and given back by those who have the image open.
 *
 * Order of steps when an owner does not answer:
 * 1. fence: the blocklist has the owner's session, and our map has the epoch of that;
 * 2. break the lock, and in the same operation store the epoch beside it (omap `fence`);
 * 3. take the lock; 4. wait for the stored epoch; 5. read the header; 6. write.
 * Counter-example without 1 before 2: the owner, cut off from the header alone, writes for a moment beside the new one. Without
 * 4: a third client takes the lock between 2 and 3; its map is older than the fence, and an OSD that has not heard of the fence
 * lets a late write of the dead owner land after the new owner's.
 */
import {
  type ByteReader,
  type ByteWriter,
  ClusterError,
  type Codec,
  decode,
  type Env,
  type Epoch,
  encode,
  isClusterError,
  utf8Encode,
  versioned,
} from '@shoal/base'
import type { LockHolder, ObjectOp } from '@shoal/wire'
import type { NoticeReply } from './header-channel.ts'
import type { ChannelIo, Fencer, ObjectIo } from './object-io.ts'
import { sleep } from './parallel.ts'
import { assertNotPaused, waitForPauseEnd } from './pause-record.ts'
import { headerObjectName } from './striping.ts'

const lockName = 'block_lock'
/** Cookies of locks that are taken and given back without people. */
const automaticPrefix = 'auto '
const fenceSeconds = 3_600
/** An owner that has not answered twice, each time for so long, is fenced. */
const answerMs = 3_000
const silencesMax = 2
/** An owner that says that it is none, and stays it by the record, has forgotten its lock. */
const denialsMax = 20
const pollMsMin = 50
const pollMsMax = 1_000

const fenceKey = utf8Encode('fence')
const fenceCodec: Codec<Epoch> = versioned<Epoch>(1, 1, 'fence of an image', {
  write: (writer: ByteWriter, epoch) => void writer.u32(epoch),
  read: (reader: ByteReader) => reader.u32() as Epoch,
})

export interface ImageLockHolder {
  /** Session of its client. */
  readonly client: number
  readonly cookie: string
  readonly description: string
}

export function automaticCookie(id: string): string {
  return `${automaticPrefix}${id}`
}

export function isAutomatic({ cookie }: ImageLockHolder): boolean {
  return cookie.startsWith(automaticPrefix)
}

/** The step that proves in front of others that the lock is held under this cookie. */
export function assertImageLocked(cookie: string): ObjectOp {
  return { kind: 'assert-locked', name: lockName, mode: 'exclusive', cookie, tag: '' }
}

export async function readLockHolder(io: ObjectIo, imageId: string): Promise<LockHolder | undefined> {
  const { results } = await io.execute(headerObjectName(imageId), [{ kind: 'list-locks', name: lockName }])
  return results[0]?.kind === 'locks' ? results[0].locks[0]?.holders[0] : undefined
}

/** EBUSY while somebody else holds it, ECANCELED while the image is paused. */
export async function takeImageLock(io: ObjectIo, imageId: string, cookie: string, description: string): Promise<void> {
  await io.execute(headerObjectName(imageId), [
    // A removed image does not come back as a lock.
    { kind: 'assert-exists' },
    assertNotPaused,
    {
      kind: 'lock',
      name: lockName,
      mode: 'exclusive',
      cookie,
      tag: '',
      description,
      durationMs: 0,
      // The answer to an earlier try may have been lost.
      renew: 'may',
    },
  ])
}

/** Done also when it is not held any more. */
export async function giveImageLock(io: ObjectIo, imageId: string, cookie: string): Promise<void> {
  try {
    await io.execute(headerObjectName(imageId), [{ kind: 'unlock', name: lockName, cookie }])
  } catch (error) {
    if (!isClusterError(error, 'ENOENT')) throw error
  }
}

/** Fences the holder, then takes its lock away. Nothing that it sent lands after a write of the next holder. */
export async function breakImageLock(
  { io, fencer }: { readonly io: ObjectIo; readonly fencer: Fencer },
  imageId: string,
  { client, cookie }: ImageLockHolder,
): Promise<void> {
  const steps: ObjectOp[] = [{ kind: 'break-lock', name: lockName, client, cookie }]
  // What one client sends is done in its order: it needs no fence against itself.
  if (client !== fencer.session) {
    const epoch = await fencer.fence(client, fenceSeconds)
    steps.push({ kind: 'omap-set', entries: [{ key: fenceKey, value: encode(fenceCodec, epoch) }] })
  }
  try {
    await io.execute(headerObjectName(imageId), steps)
  } catch (error) {
    // Given back, or broken by somebody else, meanwhile.
    if (!isClusterError(error, 'ENOENT')) throw error
  }
}

/** Takes a lock away without a fence: of people who hold it by hand. */
export async function removeImageLock(io: ObjectIo, imageId: string, holder: ImageLockHolder): Promise<void> {
  const { client, cookie } = holder
  await io.execute(headerObjectName(imageId), [{ kind: 'break-lock', name: lockName, client, cookie }])
}

/** Step 4: what earlier owners sent is refused from now on wherever we write. */
async function awaitFence(io: ObjectIo, fencer: Fencer, imageId: string): Promise<void> {
  const { results } = await io.execute(headerObjectName(imageId), [{ kind: 'omap-get-keys', keys: [fenceKey] }])
  const entry = results[0]?.kind === 'omap' ? results[0].entries[0] : undefined
  if (entry !== undefined) await fencer.waitForMap(decode(fenceCodec, entry.value))
}

export interface LockWish {
  readonly env: Pick<Env, 'timers' | 'clock'>
  readonly io: ChannelIo
  readonly fencer: Fencer
  readonly imageId: string
  readonly cookie: string
  readonly description: string
  /** After so long without the lock: ETIMEDOUT. */
  readonly timeoutMs: number
  /** Asks all who have the image open to give the lock back. */
  ask(timeoutMs: number): Promise<readonly NoticeReply[]>
  /** Resolves when the lock may have become free, or after the time. */
  nextChance(timeoutMs: number): Promise<void>
  /** Throws when the lock is not wanted any more. */
  check(): void
}

/**
 * Takes the lock, whoever has it: by asking its owner, or by fencing one that does not answer. EROFS when it is kept (an
 * exclusive export, or a lock that people took by hand).
 */
export async function obtainImageLock(wish: LockWish): Promise<void> {
  const { env, io, fencer, imageId } = wish
  const untilMs = env.clock.monotonicMs() + wish.timeoutMs
  let pollMs = pollMsMin
  let patience = freshPatience(undefined)
  for (;;) {
    wish.check()
    try {
      await takeImageLock(io, imageId, wish.cookie, wish.description)
      return await awaitFence(io, fencer, imageId)
    } catch (error) {
      if (!isClusterError(error, 'EBUSY', 'ECANCELED')) throw error
      if (env.clock.monotonicMs() > untilMs) throw noLockInTime(wish, error)
      if (error.code === 'ECANCELED') {
        await waitForPauseEnd(env, io, imageId)
        continue
      }
    }
    const holder = await readLockHolder(io, imageId)
    if (holder === undefined) continue
    if (!isAutomatic(holder)) throw lockIsKept(imageId, holder, 'by hand')
    if (!isSame(patience.holder, holder)) patience = freshPatience(holder)
    const advice = adviceOf(holder, await wish.ask(answerMs), patience)
    if (advice === 'kept') throw lockIsKept(imageId, holder, 'for an exclusive export')
    if (advice === 'fence') {
      await breakImageLock(wish, imageId, holder)
      continue
    }
    if (advice === 'silent') await sleep(env, pollMsMax)
    else await wish.nextChance(pollMs)
    pollMs = Math.min(pollMsMax, pollMs * 2)
  }
}

interface Patience {
  readonly holder: ImageLockHolder | undefined
  silences: number
  denials: number
}

function freshPatience(holder: ImageLockHolder | undefined): Patience {
  return { holder, silences: 0, denials: 0 }
}

function isSame(a: ImageLockHolder | undefined, b: ImageLockHolder): boolean {
  return a?.client === b.client && a.cookie === b.cookie
}

/** What to do about an owner that answered so. */
function adviceOf(
  holder: ImageLockHolder,
  replies: readonly NoticeReply[],
  patience: Patience,
): 'wait' | 'silent' | 'fence' | 'kept' {
  const answers = replies.filter(({ client }) => client === holder.client).map(({ answer }) => answer)
  if (answers.includes('refused')) return 'kept'
  if (answers.includes('uncertain')) return 'fence'
  if (answers.includes('releasing')) {
    patience.silences = 0
    patience.denials = 0
    return 'wait'
  }
  if (answers.length > 0) return ++patience.denials >= denialsMax ? 'fence' : 'wait'
  return ++patience.silences >= silencesMax ? 'fence' : 'silent'
}

function lockIsKept(imageId: string, holder: ImageLockHolder, how: string): ClusterError {
  return new ClusterError(
    'EROFS',
    `image ${imageId} is locked ${how} by client.${holder.client}${holder.description === '' ? '' : ` (${holder.description})`}`,
    { hint: 'shoal block lock ls; if that client is gone: shoal block lock break' },
  )
}

function noLockInTime({ imageId, timeoutMs }: LockWish, cause: unknown): ClusterError {
  return new ClusterError('ETIMEDOUT', `the lock of image ${imageId} was not given back in ${timeoutMs} ms`, {
    cause,
    retry: true,
    hint: 'shoal block lock ls',
  })
}
