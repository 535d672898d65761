/** The record by which an image is paused, in its header object; image-pause.ts says what it means. */
import {
  type ByteReader,
  type ByteWriter,
  type Codec,
  decode,
  type Env,
  emptyBytes,
  encode,
  isClusterError,
  utf8Encode,
  versioned,
} from '@shoal/base'
import type { ObjectOp } from '@shoal/wire'
import type { ObjectIo } from './object-io.ts'
import { omapValue } from './omap.ts'
import { sleep } from './parallel.ts'
import { headerObjectName } from './striping.ts'

/** No pause is waited for longer than this, whatever its record says. */
const pauseMsMax = 30_000
const lookMs = 250

const pauseKey = utf8Encode('pause')

export interface PauseRecord {
  readonly id: string
  /** Session of the client that paused. */
  readonly client: number
  readonly pauseMs: number
}

const pauseCodec: Codec<PauseRecord> = versioned<PauseRecord>(1, 1, 'pause of an image', {
  write(writer: ByteWriter, { id, client, pauseMs }) {
    writer.string(id).u64(client).u32(pauseMs)
  },
  read: (reader: ByteReader) => ({ id: reader.string(), client: reader.u64(), pauseMs: reader.u32() }),
})

function encodePause(record: PauseRecord): Uint8Array {
  return encode(pauseCodec, record)
}

/** The step in front of what must be done during this pause only. */
export function assertPaused(record: PauseRecord): ObjectOp {
  return { kind: 'compare-omap', key: pauseKey, mode: 'equal', value: encodePause(record) }
}

export function setPause(record: PauseRecord): ObjectOp {
  return { kind: 'omap-set', entries: [{ key: pauseKey, value: encodePause(record) }] }
}

/** The step in front of what must not be done while the image is paused. */
export const assertNotPaused: ObjectOp = { kind: 'compare-omap', key: pauseKey, mode: 'equal', value: emptyBytes }

/** Undefined when the image is not paused. */
async function readPause(io: ObjectIo, imageId: string): Promise<PauseRecord | undefined> {
  const value = await omapValue(io, headerObjectName(imageId), pauseKey)
  return value === undefined ? undefined : decode(pauseCodec, value)
}

/** Takes a record away, if it is there still. */
export async function removePause(io: ObjectIo, imageId: string, record: PauseRecord): Promise<void> {
  try {
    await io.execute(headerObjectName(imageId), [assertPaused(record), { kind: 'omap-remove', keys: [pauseKey] }])
  } catch (error) {
    if (!isClusterError(error, 'ECANCELED', 'ENOENT')) throw error
  }
}

/** Waits until the image is not paused; a pause whose time is over by our own clock is taken away. */
export async function waitForPauseEnd(env: Pick<Env, 'timers'>, io: ObjectIo, imageId: string): Promise<void> {
  const record = await readPause(io, imageId)
  if (record === undefined) return
  for (let waitedMs = 0; waitedMs < Math.min(record.pauseMs, pauseMsMax); waitedMs += lookMs) {
    await sleep(env, lookMs)
    if ((await readPause(io, imageId))?.id !== record.id) return
  }
  await removePause(io, imageId, record)
}
