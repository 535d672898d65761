/** Clones of snapshots: writers that race, parents that go, and clients that die at each step. */
import { isClusterError, Prng } from '@shoal/base'
import type { Image, ImageStore } from '@shoal/block'
import { describe, expect, test } from 'vitest'
import { bytesOf, dieAtEachStep, objectBytes, storeOn } from './image-fixture.ts'
import { MemoryObjects } from './memory-objects.ts'
import { SteppedTime } from './stepped-time.ts'

const filled = (length: number, byte: number): Uint8Array => new Uint8Array(length).fill(byte)

/** `parent@one`, three objects of ones. */
async function parentOn(store: ImageStore): Promise<void> {
  await store.create('parent', objectBytes * 3, objectBytes)
  await (await store.open('parent')).write(0, filled(objectBytes * 3, 1))
  await store.snapshots.create('parent', 'one')
}

async function cloneOn(store: ImageStore, name = 'child'): Promise<Image> {
  await store.clones.create(name, { image: 'parent', snapshot: 'one' })
  return store.open(name)
}

async function changesOf(store: ImageStore, image: string, from?: string, to?: string): Promise<unknown[]> {
  const changes: unknown[] = []
  for await (const change of store.diff(image, from, to)) changes.push(change)
  return changes
}

const ignore =
  (...codes: Parameters<typeof isClusterError>[1][]) =>
  (error: unknown): undefined => {
    if (!isClusterError(error, ...codes)) throw error
  }

describe('a clone', () => {
  test('takes no space before it is written, and then an object at a time', async () => {
    const io = new MemoryObjects()
    const store = storeOn(io)
    await parentOn(store)
    const objects = io.objects.size
    const child = await cloneOn(store)
    expect(io.objects.size).toBe(objects + 1)
    expect(await bytesOf(child)).toEqual(filled(objectBytes * 3, 1))
    await child.write(objectBytes + 10, filled(5, 2))
    expect(io.objects.size).toBe(objects + 2)
    const bytes = await bytesOf(child)
    expect(bytes.subarray(objectBytes, objectBytes + 10)).toEqual(filled(10, 1))
    expect(bytes.subarray(objectBytes + 10, objectBytes + 15)).toEqual(filled(5, 2))
    expect(bytes.subarray(objectBytes + 15)).toEqual(filled(objectBytes * 2 - 15, 1))
  })

  test('does not show its parent through what was discarded', async () => {
    const store = storeOn(new MemoryObjects())
    await parentOn(store)
    const child = await cloneOn(store)
    await child.discard(0, objectBytes)
    await child.discard(objectBytes, 100)
    await child.writeZeroes(objectBytes * 2, objectBytes, false)
    const expected = new Uint8Array(objectBytes * 3)
    expected.fill(1, objectBytes + 100, objectBytes * 2)
    expect(await bytesOf(child)).toEqual(expected)
    await store.clones.flatten('child')
    expect(await bytesOf(child)).toEqual(expected)
  })

  test('has the bytes of its parent once, however many write at once', async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const io = new MemoryObjects()
      const store = storeOn(io, seed)
      await parentOn(store)
      await cloneOn(store)
      const prng = new Prng(seed)
      const images = await Promise.all([0, 1, 2].map(() => store.open('child')))
      io.before = async () => {
        for (let i = prng.below(6); i > 0; i--) await new Promise((resolve) => setImmediate(resolve))
      }
      const expected = filled(objectBytes * 3, 1)
      const places = Array.from({ length: 24 }, (_, i) => i * 500)
      await Promise.all(
        places.map(async (at, i) => {
          await (images[i % 3] as Image).write(at, filled(300, i + 2))
          expected.fill(i + 2, at, at + 300)
        }),
      )
      expect(await bytesOf(images[0] as Image)).toEqual(expected)
    }
  })

  test('of one process reads the parent once for an object that many write', async () => {
    const io = new MemoryObjects()
    const store = storeOn(io)
    await parentOn(store)
    const child = await cloneOn(store)
    let reads = 0
    io.before = async (_, ops) => {
      if (ops[0]?.kind === 'read') reads++
      await new Promise((resolve) => setImmediate(resolve))
    }
    await Promise.all(Array.from({ length: 16 }, (_, i) => child.write(i * 10, filled(10, i))))
    expect(reads).toBe(1)
  })

  test('is the same in its own older snapshots after it got the bytes of its parent', async () => {
    const store = storeOn(new MemoryObjects())
    await parentOn(store)
    const child = await cloneOn(store)
    await store.snapshots.create('child', 'before')
    await child.refresh()
    await child.write(10, filled(10, 2))
    await child.discard(objectBytes, objectBytes)
    expect(await changesOf(store, 'child', 'before')).toEqual([
      { offset: 10, length: 10, kind: 'data' },
      { offset: objectBytes, length: objectBytes, kind: 'zero' },
    ])
    await store.clones.flatten('child')
    await store.snapshots.remove('parent', 'one')
    expect(await bytesOf(store, 'child@before')).toEqual(filled(objectBytes * 3, 1))
  })

  test('that was not written has no changes, and all of its parent', async () => {
    const store = storeOn(new MemoryObjects())
    await parentOn(store)
    await cloneOn(store)
    await store.snapshots.create('child', 'before')
    expect(await changesOf(store, 'child', 'before')).toEqual([])
    expect(await changesOf(store, 'child')).toEqual([{ offset: 0, length: objectBytes * 3, kind: 'data' }])
  })

  test('reads and writes on while it is flattened, and when its parent is gone', async () => {
    const io = new MemoryObjects()
    const store = storeOn(io)
    await store.create('parent', objectBytes * 3, objectBytes)
    await (await store.open('parent')).write(0, filled(objectBytes, 1))
    await store.snapshots.create('parent', 'one')
    // Its clock stands still, so that it does not hear of anything.
    const child = await cloneOn(store)
    await store.clones.flatten('child')
    await store.snapshots.remove('parent', 'one')
    await store.remove('parent')
    expect((await bytesOf(child)).subarray(objectBytes).every((byte) => byte === 0)).toBe(true)
    await child.write(objectBytes + 5, filled(1, 2))
    expect((await bytesOf(store, 'child')).subarray(0, objectBytes)).toEqual(filled(objectBytes, 1))
  })

  test('never gets old bytes back from a copy that comes late', async () => {
    const io = new MemoryObjects()
    const store = storeOn(io)
    await parentOn(store)
    const slow = await cloneOn(store)
    let late: () => void = () => undefined
    const free = io.before
    const held = new Promise<void>((arrive) => {
      io.before = async (_, ops) => {
        if (ops[0]?.kind !== 'create') return
        io.before = free
        await new Promise<void>((resolve) => {
          late = resolve
          arrive()
        })
      }
    })
    const writing = slow.write(10, filled(10, 2))
    await held
    await store.clones.flatten('child')
    await (await store.open('child')).discard(0, objectBytes)
    late()
    await writing
    const expected = filled(objectBytes, 0)
    expected.fill(2, 10, 20)
    expect((await bytesOf(store, 'child')).subarray(0, objectBytes)).toEqual(expected)
  })

  test('lies over at most fifteen others', async () => {
    const store = storeOn(new MemoryObjects())
    await store.create('c0', objectBytes, objectBytes)
    await (await store.open('c0')).write(0, filled(10, 1))
    for (let i = 0; i < 15; i++) {
      await store.snapshots.create(`c${i}`, 's')
      await store.clones.create(`c${i + 1}`, { image: `c${i}`, snapshot: 's' })
    }
    expect((await bytesOf(store, 'c15'))[0]).toBe(1)
    await store.snapshots.create('c15', 's')
    const more = store.clones.create('c16', { image: 'c15', snapshot: 's' })
    await expect(more).rejects.toMatchObject({ code: 'EOPNOTSUPP' })
    await expect(store.info('c16')).rejects.toMatchObject({ code: 'ENOENT' })
    await store.clones.flatten('c7')
    await store.clones.create('c16', { image: 'c15', snapshot: 's' })
    expect((await bytesOf(store, 'c16'))[0]).toBe(1)
  })
})

test('each layer of a chain of five stays what it is while all are written', async () => {
  const store = storeOn(new MemoryObjects())
  const prng = new Prng(7)
  const sizeBytes = objectBytes * 8
  const frozen = new Map<string, Uint8Array>()
  await store.create('c0', sizeBytes, objectBytes)
  for (let layer = 0; layer < 5; layer++) {
    const image = await store.open(`c${layer}`)
    const disk = await bytesOf(image)
    for (let i = 0; i < 40; i++) {
      const at = prng.below(sizeBytes - 700)
      const length = 1 + prng.below(700)
      const byte = prng.below(255) + 1
      if (byte % 5 === 0) await image.discard(at, length)
      else await image.write(at, filled(length, byte))
      disk.fill(byte % 5 === 0 ? 0 : byte, at, at + length)
    }
    expect(await bytesOf(image)).toEqual(disk)
    await store.snapshots.create(`c${layer}`, 's')
    frozen.set(`c${layer}@s`, disk)
    await store.clones.create(`c${layer + 1}`, { image: `c${layer}`, snapshot: 's' })
  }
  for (let i = 0; i < 300; i++) {
    const image = await store.open(`c${prng.below(6)}`)
    await image.write(prng.below(sizeBytes - 700), filled(1 + prng.below(700), prng.below(256)))
  }
  for (const [spec, bytes] of frozen) expect(await bytesOf(store, spec)).toEqual(bytes)
})

describe('the parent', () => {
  test('may lose a snapshot that has clones; it goes with the last of them', async () => {
    const io = new MemoryObjects()
    const store = storeOn(io)
    await parentOn(store)
    await cloneOn(store, 'child')
    await cloneOn(store, 'other')
    await (await store.open('parent')).write(0, filled(objectBytes * 3, 9))
    expect((await store.clones.children('parent')).map(({ name, snapshot }) => [name, snapshot])).toEqual([
      ['child', 'one'],
      ['other', 'one'],
    ])
    await store.snapshots.remove('parent', 'one')
    expect(await store.snapshots.list('parent')).toEqual([])
    await expect(store.clones.create('third', { image: 'parent', snapshot: 'one' })).rejects.toMatchObject({
      code: 'ENOENT',
    })
    await expect(store.remove('parent')).rejects.toMatchObject({ code: 'EBUSY' })
    // The name is free.
    await store.snapshots.create('parent', 'one')
    await store.snapshots.remove('parent', 'one')
    expect(await bytesOf(store, 'child')).toEqual(filled(objectBytes * 3, 1))
    await store.clones.flatten('child')
    expect(io.snapshots.cloneCount).toBeGreaterThan(0)
    await store.remove('other')
    expect(io.snapshots.cloneCount).toBe(0)
    await store.remove('parent')
    expect(await bytesOf(store, 'child')).toEqual(filled(objectBytes * 3, 1))
  })

  test('is not overlooked by a clone that is made while its snapshot is removed', async () => {
    for (let step = 0; step < 6; step++) {
      const io = new MemoryObjects()
      const store = storeOn(io)
      await parentOn(store)
      // After so many steps of the removal somebody makes a clone.
      let left = step
      let made: Promise<unknown> | undefined
      io.before = async () => {
        if (left-- !== 0) return
        io.before = async () => undefined
        made = storeOn(io, 2).clones.create('child', { image: 'parent', snapshot: 'one' })
        await made.catch(ignore('ENOENT'))
      }
      await store.snapshots.remove('parent', 'one')
      const there = (await store.list()).some(({ name }) => name === 'child')
      if (there) expect(await bytesOf(store, 'child')).toEqual(filled(objectBytes * 3, 1))
      else await expect(made ?? Promise.reject(new Error('never'))).rejects.toBeDefined()
    }
  })

  test('in another pool is found there', async () => {
    const pools = new Map<number, MemoryObjects>()
    for (const id of [1, 2, 3]) pools.set(id, new MemoryObjects(id, pools))
    const [first, second] = [pools.get(1), pools.get(2)] as [MemoryObjects, MemoryObjects]
    await parentOn(storeOn(first))
    const store = storeOn(second)
    await store.clones.create('child', { pool: first, image: 'parent', snapshot: 'one' }, { dataPool: 3 })
    const child = await store.open('child')
    await child.write(0, filled(10, 2))
    expect((await bytesOf(child)).subarray(0, 12)).toEqual(Uint8Array.of(2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1))
    expect(await storeOn(first).clones.children('parent')).toMatchObject([{ name: 'child', poolId: 2 }])
    await storeOn(first).snapshots.remove('parent', 'one')
    await store.remove('child')
    await storeOn(first).remove('parent')
    expect(pools.get(3)?.objects.size).toBe(0)
  })
})

describe('a client that dies', () => {
  const everythingGoes = async (store: ImageStore, io: MemoryObjects): Promise<void> => {
    for (const name of ['child', 'parent']) {
      await store.snapshots.purge(name).catch(ignore('ENOENT'))
      await store.remove(name).catch(ignore('ENOENT'))
    }
    expect([...io.objects.keys()]).toEqual(['block_directory'])
    expect(io.objects.get('block_directory')?.omap.size).toBe(0)
    expect(io.snapshots.cloneCount).toBe(0)
  }

  test('while it makes a clone leaves one, or nothing that holds the parent', async () => {
    const steps = await dieAtEachStep(
      parentOn,
      (store) => cloneOn(store),
      async (store, io) => {
        const opened = await store.open('child').catch(ignore('ENOENT'))
        if (opened === undefined) {
          await store.remove('child').catch(ignore('ENOENT'))
          await cloneOn(store)
        }
        expect(await bytesOf(store, 'child')).toEqual(filled(objectBytes * 3, 1))
        expect(await store.clones.children('parent')).toHaveLength(1)
        await everythingGoes(store, io)
      },
    )
    // The name, the registration, the header.
    expect(steps).toBe(3)
  })

  test('while it flattens leaves what the next goes on with', async () => {
    const steps = await dieAtEachStep(
      async (store) => {
        await parentOn(store)
        await (await cloneOn(store)).write(objectBytes, filled(10, 2))
        await store.snapshots.create('child', 'own')
        await store.snapshots.remove('parent', 'one')
      },
      (store) => store.clones.flatten('child'),
      async (store, io) => {
        const expected = filled(objectBytes * 3, 1)
        expected.fill(2, objectBytes, objectBytes + 10)
        expect(await bytesOf(store, 'child')).toEqual(expected)
        await store.clones.flatten('child').catch(ignore('EINVAL'))
        await store.remove('parent')
        expect(await bytesOf(store, 'child')).toEqual(expected)
        expect(await bytesOf(store, 'child@own')).toEqual(expected)
        await everythingGoes(store, io)
      },
    )
    // Two objects, leaving, the registration, the snapshot (mark, id, header), left.
    expect(steps).toBe(8)
  })

  test('while it removes a clone leaves what the next goes on with', async () => {
    await dieAtEachStep(
      async (store) => {
        await parentOn(store)
        await (await cloneOn(store)).write(objectBytes, filled(10, 2))
        await store.snapshots.remove('parent', 'one')
      },
      (store) => store.remove('child'),
      everythingGoes,
    )
  })

  test('while it rolls back leaves what the next goes on with, and nobody uses it before', async () => {
    const steps = await dieAtEachStep(
      async (store) => {
        await parentOn(store)
        const child = await cloneOn(store)
        await child.write(10, filled(10, 2))
        await store.snapshots.create('child', 'own')
        await child.refresh()
        await child.write(0, filled(objectBytes * 2, 3))
        await store.resize('child', objectBytes * 5)
        await child.refresh()
        await child.write(objectBytes * 4, filled(objectBytes, 3))
      },
      (store) => store.rollback('child', 'own'),
      async (store, io) => {
        const { snapshots } = await store.info('child')
        if (snapshots?.rollingBackTo !== 0) {
          await expect(store.open('child')).rejects.toMatchObject({ code: 'EBUSY' })
          await expect(store.snapshots.remove('child', 'own')).rejects.toMatchObject({ code: 'EBUSY' })
        }
        await store.rollback('child', 'own')
        const expected = filled(objectBytes * 3, 1)
        expected.fill(2, 10, 20)
        expect(await bytesOf(store, 'child')).toEqual(expected)
        await everythingGoes(store, io)
      },
    )
    // The mark, three objects, the header.
    expect(steps).toBe(5)
  })
})

describe('rolling back', () => {
  test('waits for those who use the image, and they get EBUSY instead of a mixture', async () => {
    const io = new MemoryObjects()
    const time = new SteppedTime()
    const store = storeOn(io, 1, time)
    await parentOn(store)
    const image = await store.open('parent')
    await image.write(0, filled(10, 2))
    time.onWait = async (waitMs) => {
      await image.write(0, filled(10, 3))
      time.nowMs += waitMs
      await expect(image.write(0, filled(10, 4))).rejects.toMatchObject({ code: 'EBUSY', retry: true })
      await expect(image.read(0, 10)).rejects.toMatchObject({ code: 'EBUSY' })
    }
    await store.rollback('parent', 'one')
    expect(await bytesOf(image)).toEqual(filled(objectBytes * 3, 1))
  })

  test('does not undo what was written after somebody else had finished it', async () => {
    const io = new MemoryObjects()
    const store = storeOn(io)
    await parentOn(store)
    await (await store.open('parent')).write(0, filled(objectBytes * 3, 2))
    let slow = true
    io.before = async (_, ops) => {
      if (!slow || ops.at(-1)?.kind !== 'rollback') return
      slow = false
      await storeOn(io, 2).rollback('parent', 'one')
      await (await storeOn(io, 2).open('parent')).write(0, filled(objectBytes * 3, 5))
    }
    await expect(store.rollback('parent', 'one')).rejects.toMatchObject({ code: 'EBUSY' })
    expect(await bytesOf(store, 'parent')).toEqual(filled(objectBytes * 3, 5))
  })

  test('to a smaller size keeps late writes from coming to light', async () => {
    const store = storeOn(new MemoryObjects())
    await parentOn(store)
    await store.resize('parent', objectBytes * 5)
    const late = await store.open('parent')
    await store.rollback('parent', 'one')
    await late.write(objectBytes * 4, filled(10, 2))
    await store.resize('parent', objectBytes * 5)
    expect((await bytesOf(store, 'parent')).subarray(objectBytes * 3).every((byte) => byte === 0)).toBe(true)
  })
})
