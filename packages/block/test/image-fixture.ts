/** Images in memory, their bytes, and clients that die at each step of what they do. */
import { isClusterError, Prng } from '@shoal/base'
import { type Image, ImageStore } from '@shoal/block'
import { expect } from 'vitest'
import { MemoryObjects } from './memory-objects.ts'
import { SteppedTime } from './stepped-time.ts'

export const objectBytes = 4096

export function storeOn(io: MemoryObjects, seed = 1, time = new SteppedTime()): ImageStore {
  return new ImageStore({ clock: time, timers: time, random: new Prng(seed) }, io)
}

/** All of an image, or of a snapshot; opened anew where it is given by its name. */
export async function bytesOf(from: Image | ImageStore, spec = ''): Promise<Uint8Array> {
  const image = from instanceof ImageStore ? await from.open(spec) : from
  const result = new Uint8Array(image.sizeBytes)
  let at = 0
  for (const piece of await image.read(0, image.sizeBytes)) {
    if (piece.kind === 'data') result.set(piece.data, at)
    at += piece.kind === 'data' ? piece.data.length : piece.length
  }
  expect(at).toBe(image.sizeBytes)
  return result
}

export async function crashed(work: Promise<unknown>): Promise<boolean> {
  return work.then(
    () => false,
    (error: unknown) => {
      if (isClusterError(error, 'ESHUTDOWN')) return true
      throw error
    },
  )
}

/** Runs `command` once for each of its mutations, dying there, and then `afterwards` with a new client. */
export async function dieAtEachStep(
  prepare: (store: ImageStore) => Promise<void>,
  command: (store: ImageStore) => Promise<unknown>,
  afterwards: (store: ImageStore, io: MemoryObjects) => Promise<void>,
): Promise<number> {
  for (let at = 1; ; at++) {
    const io = new MemoryObjects()
    await prepare(storeOn(io))
    io.crashAt = io.mutations + at
    const died = await crashed(command(storeOn(io, 2)))
    io.crashAt = Number.POSITIVE_INFINITY
    await afterwards(storeOn(io, 3), io)
    if (!died) return at - 1
  }
}
