/** Reading and writing an image, against an array of bytes that stands for the disk. */
import { ClusterError, Prng } from '@shoal/base'
import { type Image, ImageStore } from '@shoal/block'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { MemoryObjects } from './memory-objects.ts'
import { SteppedTime } from './stepped-time.ts'

const objectBytes = 4096

async function imageOn(io: MemoryObjects, sizeBytes: number): Promise<Image> {
  const time = new SteppedTime()
  const store = new ImageStore({ clock: time, timers: time, random: new Prng(1) }, io)
  await store.create('disk', sizeBytes, objectBytes)
  return store.open('disk')
}

async function readAll(image: Image, offset: number, length: number): Promise<Uint8Array> {
  const result = new Uint8Array(length)
  let at = 0
  for (const piece of await image.read(offset, length)) {
    if (piece.kind === 'data') result.set(piece.data, at)
    at += piece.kind === 'data' ? piece.data.length : piece.length
  }
  expect(at).toBe(length)
  return result
}

test('reads as the last writes, zeroes and discards left it', async () => {
  const sizeBytes = objectBytes * 4 + 1000
  const range = fc.tuple(fc.nat(sizeBytes), fc.nat(objectBytes * 3)).map(([offset, length]) => ({
    offset,
    length: Math.min(length, sizeBytes - offset),
  }))
  const action = fc.record({
    kind: fc.constantFrom('write', 'discard', 'punch', 'zero'),
    range: fc.oneof(
      range,
      fc.nat(4).map((i) => ({ offset: i * objectBytes, length: i === 4 ? 1000 : objectBytes })),
    ),
    byte: fc.integer({ min: 1, max: 255 }),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(action, { maxLength: 25 }), async (actions) => {
      const io = new MemoryObjects()
      const image = await imageOn(io, sizeBytes)
      const disk = new Uint8Array(sizeBytes)
      for (const {
        kind,
        range: { offset, length },
        byte,
      } of actions) {
        if (kind === 'write') await image.write(offset, new Uint8Array(length).fill(byte))
        else if (kind === 'discard') await image.discard(offset, length)
        else await image.writeZeroes(offset, length, kind === 'punch')
        disk.fill(kind === 'write' ? byte : 0, offset, offset + length)
        if (kind === 'zero' && length > 0)
          expect(await image.extents(offset, length)).toEqual([{ length, allocated: true }])
        if (kind === 'discard' && length > 0)
          expect((await image.extents(offset, length)).every((e) => !e.allocated)).toBe(true)
      }
      expect(Buffer.compare(await readAll(image, 0, sizeBytes), disk)).toBe(0)
      const extents = await image.extents(0, sizeBytes)
      expect(extents.reduce((sum, extent) => sum + extent.length, 0)).toBe(sizeBytes)
      let at = 0
      for (const { length, allocated } of extents) {
        if (!allocated) expect(disk.subarray(at, at + length).every((byte) => byte === 0)).toBe(true)
        at += length
      }
    }),
    { numRuns: 100 },
  )
})

describe('an image', () => {
  test('takes no object before it is written, and gives whole ones back', async () => {
    const io = new MemoryObjects()
    const image = await imageOn(io, objectBytes * 3 + 10)
    const objects = io.objects.size
    await image.discard(0, objectBytes * 3 + 10)
    await image.writeZeroes(5, 10, true)
    expect(await readAll(image, 0, 100)).toEqual(new Uint8Array(100))
    expect(io.objects.size).toBe(objects)
    await image.write(0, new Uint8Array(objectBytes * 3 + 10).fill(1))
    expect(io.objects.size).toBe(objects + 4)
    await image.discard(0, objectBytes * 3 + 10)
    // The last object is not a whole one: it becomes a hole, for there may be more of it than we know.
    expect(io.objects.size).toBe(objects + 1)
    const sizeBytes = objectBytes * 3 + 10
    expect(await image.extents(0, sizeBytes)).toEqual([{ length: sizeBytes, allocated: false }])
  })

  test('refuses what lies outside of it', async () => {
    const image = await imageOn(new MemoryObjects(), 1000)
    await expect(image.read(990, 11)).rejects.toMatchObject({ code: 'EINVAL' })
    await expect(image.write(1000, Uint8Array.of(1))).rejects.toMatchObject({ code: 'ENOSPC' })
    await expect(image.discard(-1, 1)).rejects.toMatchObject({ code: 'EINVAL' })
    expect(await image.read(1000, 0)).toEqual([])
  })

  test('asks for a bounded number of objects at once', async () => {
    const io = new MemoryObjects()
    const image = await imageOn(io, objectBytes * 200)
    io.before = () => new Promise((resolve) => setImmediate(resolve))
    io.inFlightMax = 0
    await image.write(0, new Uint8Array(objectBytes * 200).fill(1))
    expect(io.inFlightMax).toBe(16)
    await image.read(0, objectBytes * 200)
    expect(io.inFlightMax).toBe(16)
  })

  test('has a flush that waits for the writes before it', async () => {
    const io = new MemoryObjects()
    const image = await imageOn(io, objectBytes)
    const releases: (() => void)[] = []
    io.before = () => new Promise((resolve) => releases.push(resolve))
    const order: string[] = []
    const write = image.write(0, Uint8Array.of(1)).then(() => order.push('write'))
    const flush = image.flush().then(() => order.push('flush'))
    await new Promise((resolve) => setImmediate(resolve))
    expect(order).toEqual([])
    for (const release of releases) release()
    await Promise.all([write, flush])
    expect(order).toEqual(['write', 'flush'])
  })

  test('fails a write once all of its parts have ended', async () => {
    const io = new MemoryObjects()
    const image = await imageOn(io, objectBytes * 40)
    let calls = 0
    io.before = async () => {
      const call = calls++
      if (call === 3) throw new ClusterError('ENOSPC', 'full')
      await new Promise((resolve) => setImmediate(resolve))
    }
    await expect(image.write(0, new Uint8Array(objectBytes * 40))).rejects.toMatchObject({ code: 'ENOSPC' })
    expect(io.inFlight).toBe(0)
    // The sixteen that were under way; none of the others was begun.
    expect(calls).toBe(16)
    await image.flush()
  })
})
