/** Images come, change size and go; a client that dies at any step leaves nothing that the next one cannot finish. */
import { ClusterError, hexEncode, isClusterError, utf8Encode } from '@shoal/base'
import { describe, expect, test } from 'vitest'
import { bytesOf, crashed, dieAtEachStep, objectBytes, storeOn } from './image-fixture.ts'
import { MemoryObjects } from './memory-objects.ts'
import { SteppedTime } from './stepped-time.ts'

const dataObjects = (io: MemoryObjects): readonly string[] =>
  [...io.objects.keys()].filter((name) => name.startsWith('block_data.'))

describe('create', () => {
  test('makes an image that is listed and described', async () => {
    const store = storeOn(new MemoryObjects())
    await store.create('b', 10_000)
    await store.create('a', 5 * 1024 ** 3, 8 * 1024 ** 2)
    expect((await store.list()).map(({ name }) => name)).toEqual(['a', 'b'])
    expect(await store.info('a')).toMatchObject({ name: 'a', sizeBytes: 5 * 1024 ** 3, objectBytes: 8 * 1024 ** 2 })
    expect(await store.info('b')).toMatchObject({ objectBytes: 4 * 1024 ** 2, createdMs: 1_700_000_000_000 })
  })

  test('lists more images than one answer holds', async () => {
    const store = storeOn(new MemoryObjects())
    const names = Array.from({ length: 1100 }, (_, i) => `image-${String(i).padStart(4, '0')}`)
    for (const name of names) await store.create(name, 1)
    expect((await store.list()).map(({ name }) => name)).toEqual(names)
  })

  test('refuses a name that is taken and leaves nothing behind', async () => {
    const io = new MemoryObjects()
    const store = storeOn(io)
    await store.create('a', 4096)
    const objects = io.objects.size
    await expect(store.create('a', 8192)).rejects.toMatchObject({ code: 'EEXIST', hint: 'shoal block ls' })
    expect(io.objects.size).toBe(objects)
    expect((await store.info('a')).sizeBytes).toBe(4096)
  })

  test('gives a name to one of two who ask for it at once', async () => {
    const io = new MemoryObjects()
    const outcomes = await Promise.allSettled([storeOn(io, 1).create('a', 1), storeOn(io, 2).create('a', 2)])
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    expect(await storeOn(io).list()).toHaveLength(1)
  })

  test.each(['', 'a/b', 'a@b', 'x'.repeat(97)])('refuses the name %j', async (name) => {
    await expect(storeOn(new MemoryObjects()).create(name, 1)).rejects.toMatchObject({ code: 'EINVAL' })
  })

  test.each([0, -1, 1.5, Number.NaN, 2 ** 60])('refuses the size %d', async (sizeBytes) => {
    await expect(storeOn(new MemoryObjects()).create('a', sizeBytes)).rejects.toMatchObject({ code: 'EINVAL' })
  })

  test('done again after a crash at any step', async () => {
    const steps = await dieAtEachStep(
      async () => undefined,
      (store) => store.create('a', 4096),
      async (store) => {
        if ((await store.list()).length === 0) await store.create('a', 4096)
        await (await store.open('a')).write(0, Uint8Array.of(1))
      },
    )
    expect(steps).toBe(2)
  })
})

describe('rename', () => {
  test('gives the image another name, and its old one to whoever wants it', async () => {
    const store = storeOn(new MemoryObjects())
    await store.create('a', 4096)
    const image = await store.open('a')
    await store.rename('a', 'b')
    await store.create('a', 8192)
    await image.write(0, Uint8Array.of(5))
    expect((await bytesOf(store, 'b'))[0]).toBe(5)
    expect((await bytesOf(store, 'a'))[0]).toBe(0)
    expect(await store.info('b')).toMatchObject({ id: image.header.id, name: 'b' })
    expect((await store.list()).map(({ name }) => name)).toEqual(['a', 'b'])
  })

  test('refuses a name that is taken, and leaves the image what it was', async () => {
    const store = storeOn(new MemoryObjects())
    await store.create('a', 4096)
    await store.create('b', 8192)
    await expect(store.rename('a', 'b')).rejects.toMatchObject({ code: 'EEXIST' })
    expect(await store.info('a')).toMatchObject({ name: 'a', sizeBytes: 4096 })
    await expect(store.rename('c', 'd')).rejects.toMatchObject({ code: 'ENOENT' })
    await expect(store.rename('a', 'x/y')).rejects.toMatchObject({ code: 'EINVAL' })
  })

  test('done again after a crash at any step', async () => {
    const steps = await dieAtEachStep(
      async (store) => {
        await store.create('a', 4096)
      },
      (store) => store.rename('a', 'b'),
      async (store) => {
        if ((await store.list())[0]?.name === 'a') await store.rename('a', 'b')
        expect((await store.list()).map(({ name }) => name)).toEqual(['b'])
        expect(await store.info('b')).toMatchObject({ name: 'b' })
      },
    )
    expect(steps).toBe(2)
  })
})

describe('resize', () => {
  test('brings no old bytes back to light, whatever step of the shrink died', async () => {
    const steps = await dieAtEachStep(
      async (store) => {
        await store.create('a', objectBytes * 6, objectBytes)
        await (await store.open('a')).write(0, new Uint8Array(objectBytes * 6).fill(7))
      },
      (store) => store.resize('a', objectBytes * 2 + 100),
      async (store) => {
        const shrunk = (await store.info('a')).sizeBytes !== objectBytes * 6
        const kept = shrunk ? objectBytes * 2 + 100 : objectBytes * 6
        await store.resize('a', objectBytes * 6)
        const bytes = await bytesOf(store, 'a')
        expect(bytes.subarray(0, kept).every((byte) => byte === 7)).toBe(true)
        expect(bytes.subarray(kept).every((byte) => byte === 0)).toBe(true)
      },
    )
    // The header, the cut object, three objects, the header.
    expect(steps).toBe(6)
  })

  test('tells how far it is', async () => {
    const store = storeOn(new MemoryObjects())
    await store.create('a', objectBytes * 10, objectBytes)
    const seen: (readonly [number, number])[] = []
    await store.resize('a', objectBytes * 7, (done, total) => seen.push([done, total]))
    expect(seen).toEqual([
      [1, 3],
      [2, 3],
      [3, 3],
    ])
  })

  test('fails for one of two at once', async () => {
    const io = new MemoryObjects()
    await storeOn(io).create('a', 1)
    const outcomes = await Promise.allSettled([storeOn(io).resize('a', 10), storeOn(io).resize('a', 20)])
    const failures = outcomes.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []))
    expect(failures).toHaveLength(1)
    expect(failures[0]).toMatchObject({ code: 'EBUSY', retry: true })
  })
})

describe('an image that is in use while it is resized', () => {
  test('learns of a shrink before anything is removed: writes beyond the end get ENOSPC and leave nothing', async () => {
    const io = new MemoryObjects()
    const time = new SteppedTime()
    const store = storeOn(io, 1, time)
    await store.create('a', objectBytes * 4, objectBytes)
    const image = await store.open('a')
    const beyond = (): Promise<void> => image.write(objectBytes * 3, new Uint8Array(objectBytes).fill(7))
    await beyond()
    // In the middle of the wait it may still write there: that goes with the rest.
    time.onWait = async (waitMs) => {
      await beyond()
      expect(dataObjects(io)).toHaveLength(1)
      time.nowMs += waitMs
      await expect(beyond()).rejects.toMatchObject({ code: 'ENOSPC' })
      await expect(image.discard(objectBytes * 3, 10)).rejects.toMatchObject({ code: 'EINVAL' })
      await expect(image.read(objectBytes * 3, 10)).rejects.toMatchObject({ code: 'EINVAL' })
    }
    await store.resize('a', objectBytes * 2)
    expect(dataObjects(io)).toEqual([])
    expect(image.sizeBytes).toBe(objectBytes * 2)
    await image.write(0, new Uint8Array(10).fill(7))
  })

  test('learns of growth, and does not cut off what others wrote behind its old end', async () => {
    const io = new MemoryObjects()
    const time = new SteppedTime()
    const store = storeOn(io, 1, time)
    await store.create('a', 1000, objectBytes)
    const old = await store.open('a')
    await old.write(0, new Uint8Array(1000).fill(1))
    await store.resize('a', 2000)
    const grown = await store.open('a')
    await grown.write(1000, new Uint8Array(1000).fill(2))
    await old.discard(500, 500)
    await old.discard(0, 1000)
    const bytes = await bytesOf(store, 'a')
    expect(bytes.subarray(0, 1000).every((byte) => byte === 0)).toBe(true)
    expect(bytes.subarray(1000).every((byte) => byte === 2)).toBe(true)
    time.nowMs += 10_000
    await old.write(1500, new Uint8Array(10))
    expect(old.sizeBytes).toBe(2000)
  })

  test('a write that came too late for the shrink is not seen when the image grows', async () => {
    const io = new MemoryObjects()
    const store = storeOn(io)
    await store.create('a', objectBytes * 4, objectBytes)
    const image = await store.open('a')
    await store.resize('a', objectBytes + 100)
    // Its clock stands still, so that it does not know yet: as if the write had been on its way all the time.
    await image.write(0, new Uint8Array(objectBytes * 4).fill(7))
    await store.resize('a', objectBytes * 3)
    const bytes = await bytesOf(store, 'a')
    expect(bytes.subarray(0, objectBytes + 100).every((byte) => byte === 7)).toBe(true)
    expect(bytes.subarray(objectBytes + 100).every((byte) => byte === 0)).toBe(true)
  })

  test('an image that was removed is no longer written', async () => {
    const io = new MemoryObjects()
    const time = new SteppedTime()
    const store = storeOn(io, 1, time)
    await store.create('a', objectBytes, objectBytes)
    const image = await store.open('a')
    await store.remove('a')
    time.nowMs += 10_000
    await expect(image.write(0, new Uint8Array(10))).rejects.toMatchObject({ code: 'ENOENT' })
    expect(dataObjects(io)).toEqual([])
  })
})

describe('remove', () => {
  test('goes on where it died, and leaves no object', async () => {
    const steps = await dieAtEachStep(
      async (store) => {
        await store.create('a', objectBytes * 4, objectBytes)
        await (await store.open('a')).write(0, new Uint8Array(objectBytes * 4).fill(7))
      },
      (store) => store.remove('a'),
      async (store, io) => {
        if ((await store.list()).length > 0) {
          // Begun or not, another client sees either the whole image or one that is on its way out.
          const opened = await store.open('a').catch((error: unknown) => error)
          if (isClusterError(opened))
            expect(opened).toMatchObject({ code: 'ENOENT', message: expect.stringContaining('removed') })
          await store.remove('a')
        }
        expect([...io.objects.keys()]).toEqual(['block_directory'])
        expect(io.objects.get('block_directory')?.omap.size).toBe(0)
      },
    )
    expect(steps).toBe(7)
  })

  test('also takes what an interrupted shrink left', async () => {
    const io = new MemoryObjects()
    const store = storeOn(io)
    await store.create('a', objectBytes * 4, objectBytes)
    await (await store.open('a')).write(0, new Uint8Array(objectBytes * 4).fill(7))
    io.crashAt = io.mutations + 2
    expect(await crashed(store.resize('a', objectBytes))).toBe(true)
    io.crashAt = Number.POSITIVE_INFINITY
    expect(dataObjects(io)).toHaveLength(4)
    await store.remove('a')
    expect(dataObjects(io)).toEqual([])
  })

  test('of an unknown image is ENOENT', async () => {
    await expect(storeOn(new MemoryObjects()).remove('a')).rejects.toMatchObject({ code: 'ENOENT' })
  })
})

test('usage counts what is allocated', async () => {
  const store = storeOn(new MemoryObjects())
  await store.create('a', objectBytes * 100, objectBytes)
  const image = await store.open('a')
  await image.write(10, new Uint8Array(100).fill(1))
  await image.write(objectBytes * 50, new Uint8Array(objectBytes).fill(1))
  expect(await store.usage('a')).toEqual({
    name: 'a',
    sizeBytes: objectBytes * 100,
    usedBytes: objectBytes + 100,
    objects: 2,
    snapshotBytes: 0,
  })
})

test('usage tells what snapshots keep besides, also beyond the end, and what comes back', async () => {
  const store = storeOn(new MemoryObjects())
  await store.create('a', objectBytes * 4, objectBytes)
  await (await store.open('a')).write(0, new Uint8Array(objectBytes * 4).fill(1))
  await store.snapshots.create('a', 'one')
  expect(await store.usage('a')).toMatchObject({ usedBytes: objectBytes * 4, snapshotBytes: 0 })
  await (await store.open('a')).write(100, new Uint8Array(50).fill(2))
  await store.resize('a', objectBytes * 3)
  expect(await store.usage('a')).toMatchObject({ usedBytes: objectBytes * 3, snapshotBytes: objectBytes + 50 })
  await store.snapshots.remove('a', 'one')
  expect(await store.usage('a')).toMatchObject({ usedBytes: objectBytes * 3, snapshotBytes: 0 })
})

test('an image with a data pool keeps its data there, and nothing else', async () => {
  const head = new MemoryObjects()
  const other = new MemoryObjects()
  const pools = new Map([[7, other]])
  const io = Object.assign(head, { inPool: (id: number) => pools.get(id) as MemoryObjects })
  const store = storeOn(io)
  const { id } = await store.create('a', objectBytes * 3, objectBytes, 7)
  const image = await store.open('a')
  await image.write(100, new Uint8Array(objectBytes).fill(1))
  expect(dataObjects(head)).toEqual([])
  expect([...other.objects.keys()]).toEqual([0, 1].map((at) => `block_data.${id}.${String(at).padStart(16, '0')}`))
  expect((await bytesOf(store, 'a')).filter((byte) => byte === 1)).toHaveLength(objectBytes)
  expect(await store.usage('a')).toMatchObject({ objects: 2 })
  await store.resize('a', 50)
  expect(dataObjects(other)).toHaveLength(1)
  await expect(storeOn(new MemoryObjects()).create('b', 1, objectBytes, 9)).rejects.toMatchObject({
    code: 'EOPNOTSUPP',
  })
  await store.remove('a')
  expect(dataObjects(other)).toEqual([])
})

test('an image whose data pool is gone has errors where it would have holes', async () => {
  const gone = new ClusterError('ENOENT', 'there is no pool #7')
  const data = Object.assign(new MemoryObjects(), { poolId: (): Promise<number> => Promise.resolve(7) })
  const store = storeOn(Object.assign(new MemoryObjects(), { inPool: () => data }))
  await store.create('a', objectBytes, objectBytes, 7)
  const image = await store.open('a')
  expect(await image.read(0, 10)).toEqual([{ kind: 'hole', length: 10 }])
  data.poolId = () => Promise.reject(gone)
  await expect(image.read(0, 10)).rejects.toMatchObject({ code: 'ENXIO' })
})

describe('the header', () => {
  /** As docs/formats/block-image.md shows them. */
  const golden = [
    '010145000000', // version 1, readable from version 1, 69 bytes follow
    '1000000031303365376237663263646439316433', // id
    '040000006469736b', // name
    '0000008002000000', // size
    '0000400000000000', // bytes per object
    '00008056febc7842', // created
    '00000000', // incompatible features
    '00000000', // compatible features
    '00', // removing
    '0000000000000000', // shrinking from
  ].join('')

  test('has the bytes that its format page shows', async () => {
    const io = new MemoryObjects()
    const store = storeOn(io)
    const { id } = await store.create('disk', 10 * 1024 ** 3)
    const stored = io.objects.get(`block_header.${id}`)?.omap.get(hexEncode(utf8Encode('image')))?.value
    expect(hexEncode(stored as Uint8Array)).toBe(golden)
  })

  test('with a feature that is unknown here is not touched', async () => {
    const io = new MemoryObjects()
    const store = storeOn(io)
    const { id } = await store.create('a', 1)
    const entry = io.objects.get(`block_header.${id}`)?.omap.get(hexEncode(utf8Encode('image')))
    // The last 17 bytes: features (u32, u32), removing (u8), shrinking from (u64).
    const value = entry?.value as Uint8Array
    value[value.length - 17] = 0x80
    await expect(store.open('a')).rejects.toMatchObject({ code: 'EOPNOTSUPP', hint: 'upgrade this client' })
    await expect(store.remove('a')).rejects.toMatchObject({ code: 'EOPNOTSUPP' })
  })
})
