/** Snapshots of images: what they show stays, whatever happens to the image; a crash at any step leaves nothing behind. */
import { hexEncode, isClusterError, Prng, utf8Encode } from '@shoal/base'
import { type Image, ImageStore, type Quiescer } from '@shoal/block'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { bytesOf, dieAtEachStep, objectBytes, storeOn } from './image-fixture.ts'
import { MemoryObjects } from './memory-objects.ts'
import { SteppedTime } from './stepped-time.ts'

const filled = (length: number, byte: number): Uint8Array => new Uint8Array(length).fill(byte)

/** What a reader of `from` has who is told of the changes, and reads their bytes at `to`. */
async function applyDiff(store: ImageStore, base: Uint8Array, from: string | undefined, to: string | undefined) {
  const end = await bytesOf(store, to === undefined ? 'a' : `a@${to}`)
  const result = new Uint8Array(end.length)
  result.set(base.subarray(0, end.length))
  let at = 0
  for await (const { offset, length, kind } of store.diff('a', from, to)) {
    expect(offset).toBeGreaterThanOrEqual(at)
    at = offset + length
    expect(at).toBeLessThanOrEqual(end.length)
    if (kind === 'data') result.set(end.subarray(offset, at), offset)
    else result.fill(0, offset, at)
  }
  return { result, end }
}

test('each snapshot shows the image as it was, and each diff leads from one to the next', async () => {
  const action = fc.record({
    kind: fc.constantFrom('write', 'write', 'write', 'discard', 'zero', 'snap', 'snap', 'rm', 'resize'),
    at: fc.nat(objectBytes * 4),
    length: fc.nat(objectBytes * 2),
    byte: fc.integer({ min: 1, max: 255 }),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(action, { maxLength: 30 }), async (actions) => {
      const store = storeOn(new MemoryObjects())
      await store.create('a', objectBytes * 4 + 1000, objectBytes)
      const image = await store.open('a')
      let disk = new Uint8Array(image.sizeBytes)
      const kept = new Map<string, Uint8Array>()
      for (const { kind, at, length: asked, byte } of actions) {
        const length = Math.max(0, Math.min(asked, disk.length - at))
        if (kind === 'snap') {
          const name = `s${kept.size}-${byte}-${at}-${asked}`
          if (kept.has(name)) continue
          await store.snapshots.create('a', name)
          await image.refresh()
          kept.set(name, disk.slice())
        } else if (kind === 'rm') {
          const name = [...kept.keys()][at % Math.max(1, kept.size)]
          if (name === undefined) continue
          await store.snapshots.remove('a', name)
          kept.delete(name)
        } else if (kind === 'resize') {
          const sizeBytes = 1 + at + asked
          await store.resize('a', sizeBytes)
          await image.refresh()
          const resized = new Uint8Array(sizeBytes)
          resized.set(disk.subarray(0, sizeBytes))
          disk = resized
        } else if (length > 0) {
          if (kind === 'write') await image.write(at, filled(length, byte))
          else if (kind === 'discard') await image.discard(at, length)
          else await image.writeZeroes(at, length, false)
          disk.fill(kind === 'write' ? byte : 0, at, at + length)
        }
      }
      expect(Buffer.compare(await bytesOf(store, 'a'), disk)).toBe(0)
      let [from, base]: [string | undefined, Uint8Array] = [undefined, new Uint8Array()]
      for (const [name, bytes] of kept) {
        expect(Buffer.compare(await bytesOf(store, `a@${name}`), bytes)).toBe(0)
        const { result } = await applyDiff(store, base, from, name)
        expect(Buffer.compare(result, bytes)).toBe(0)
        const { result: now } = await applyDiff(store, bytes, name, undefined)
        expect(Buffer.compare(now, disk)).toBe(0)
        ;[from, base] = [name, bytes]
      }
    }),
    { numRuns: 150 },
  )
})

test('the changes of a range are those of the image, cut to it', async () => {
  const store = storeOn(new MemoryObjects())
  await store.create('a', objectBytes * 6, objectBytes)
  const image = await store.open('a')
  await image.write(0, filled(objectBytes * 6, 1))
  await store.snapshots.create('a', 'one')
  await image.refresh()
  await image.write(objectBytes * 2 + 1000, filled(objectBytes, 2))
  await image.discard(objectBytes * 4, objectBytes)
  const all: { offset: number; length: number; kind: string }[] = []
  for await (const change of store.diff('a', 'one', undefined)) all.push(change)
  expect(all.length).toBeGreaterThan(1)
  for (const [from, to] of [
    [0, objectBytes * 6],
    [objectBytes * 2 + 2000, objectBytes * 2 + 2100],
    [objectBytes * 3, objectBytes * 5],
    [objectBytes * 4 + 1, objectBytes * 6],
    [0, objectBytes],
  ] as const) {
    const expected = all
      .map(({ offset, length, kind }) => ({ kind, from: Math.max(offset, from), to: Math.min(offset + length, to) }))
      .filter((change) => change.from < change.to)
    const told = await image.changes('one', from, to - from)
    expect(told.map(({ offset, length, kind }) => ({ kind, from: offset, to: offset + length }))).toEqual(expected)
  }
  await expect(image.changes('two', 0, 1)).rejects.toMatchObject({ code: 'ENOENT' })
})

test('a diff names what was written, and not its neighbours', async () => {
  const store = storeOn(new MemoryObjects())
  await store.create('a', objectBytes * 8, objectBytes)
  const image = await store.open('a')
  await image.write(0, filled(objectBytes * 5, 1))
  await store.snapshots.create('a', 'one')
  await image.refresh()
  await image.write(100, filled(50, 2))
  await image.write(objectBytes * 2 - 10, filled(20, 2))
  await image.discard(objectBytes * 4, objectBytes)
  const changes: unknown[] = []
  for await (const change of store.diff('a', 'one', undefined)) changes.push(change)
  expect(changes).toEqual([
    { offset: 100, length: 50, kind: 'data' },
    { offset: objectBytes * 2 - 10, length: 20, kind: 'data' },
    { offset: objectBytes * 4, length: objectBytes, kind: 'zero' },
  ])
  await store.snapshots.create('a', 'two')
  await expect(store.diff('a', 'two', 'one').next()).rejects.toMatchObject({ code: 'EINVAL' })
  await store.snapshots.remove('a', 'one')
  await expect(store.diff('a', 'one', 'two').next()).rejects.toMatchObject({ code: 'ENOENT' })
})

describe('an image at a snapshot', () => {
  test('is read-only, and keeps its size', async () => {
    const store = storeOn(new MemoryObjects())
    await store.create('a', objectBytes * 3, objectBytes)
    await (await store.open('a')).write(0, filled(objectBytes * 3, 1))
    await store.snapshots.create('a', 'one')
    await store.resize('a', objectBytes)
    const old = await store.open('a@one')
    expect(old.readOnly).toBe(true)
    expect(old.sizeBytes).toBe(objectBytes * 3)
    expect(await bytesOf(store, 'a@one')).toEqual(filled(objectBytes * 3, 1))
    await expect(old.write(0, filled(1, 1))).rejects.toMatchObject({ code: 'EROFS' })
    await expect(old.discard(0, 1)).rejects.toMatchObject({ code: 'EROFS' })
    await expect(old.writeZeroes(0, 1, false)).rejects.toMatchObject({ code: 'EROFS' })
  })

  test('that is removed while it is read does not turn into zeros', async () => {
    const store = storeOn(new MemoryObjects())
    await store.create('a', objectBytes * 2, objectBytes)
    const image = await store.open('a')
    await image.write(0, filled(objectBytes, 1))
    await store.snapshots.create('a', 'one')
    await image.refresh()
    await image.write(0, filled(objectBytes, 2))
    const old = await store.open('a@one')
    expect(await old.read(objectBytes, 10)).toEqual([{ kind: 'hole', length: 10 }])
    await store.snapshots.remove('a', 'one')
    await expect(old.read(0, 10)).rejects.toMatchObject({ code: 'ENOENT' })
  })

  test.each(['a@', 'a@two', 'a@one@two'])('%s does not exist', async (spec) => {
    const store = storeOn(new MemoryObjects())
    await store.create('a', 1)
    await store.snapshots.create('a', 'one')
    await expect(store.open(spec)).rejects.toMatchObject({ code: 'ENOENT' })
    await expect(store.info(spec)).rejects.toMatchObject({ code: 'ENOENT' })
  })
})

describe('taking a snapshot', () => {
  test('done again after a crash at any step', async () => {
    const steps = await dieAtEachStep(
      async (store) => {
        await store.create('a', objectBytes, objectBytes)
        await (await store.open('a')).write(0, filled(objectBytes, 1))
      },
      (store) => store.snapshots.create('a', 'one'),
      async (store) => {
        if ((await store.snapshots.list('a')).length === 0) await store.snapshots.create('a', 'one')
        await (await store.open('a')).write(0, filled(objectBytes, 2))
        expect(await bytesOf(store, 'a@one')).toEqual(filled(objectBytes, 1))
      },
    )
    // The id, the header.
    expect(steps).toBe(2)
  })

  test('of two at once never takes an id below the newest', async () => {
    const io = new MemoryObjects()
    await storeOn(io).create('a', objectBytes, objectBytes)
    const image = await storeOn(io).open('a')
    await image.write(0, filled(10, 1))
    // Whoever got the first id is held up until the other has taken its snapshot, and the image was written.
    const ids: number[] = []
    const create = io.createSelfManagedSnapshot.bind(io)
    io.createSelfManagedSnapshot = async () => {
      const id = await create()
      ids.push(id)
      if (ids.length === 1) {
        await storeOn(io, 2).snapshots.create('a', 'fast')
        await image.refresh()
        await image.write(0, filled(10, 2))
      }
      return id
    }
    await storeOn(io, 3).snapshots.create('a', 'slow')
    expect(ids).toHaveLength(3)
    const store = storeOn(io)
    expect((await bytesOf(store, 'a@fast'))[0]).toBe(1)
    expect((await bytesOf(store, 'a@slow'))[0]).toBe(2)
  })

  test('with an id from before one that is gone takes another', async () => {
    const io = new MemoryObjects()
    const store = storeOn(io)
    await store.create('a', objectBytes, objectBytes)
    const create = io.createSelfManagedSnapshot.bind(io)
    let late = false
    io.createSelfManagedSnapshot = async () => {
      const id = await create()
      if (late) return id
      late = true
      const other = storeOn(io, 2)
      await other.snapshots.create('a', 'short')
      await (await other.open('a')).write(0, filled(10, 1))
      await other.snapshots.remove('a', 'short')
      return id
    }
    await store.snapshots.create('a', 'one')
    expect((await bytesOf(store, 'a@one'))[0]).toBe(1)
  })

  test('waits until everybody who has the image open writes for it', async () => {
    const io = new MemoryObjects()
    const time = new SteppedTime()
    const store = storeOn(io, 1, time)
    await store.create('a', objectBytes, objectBytes)
    const image = await store.open('a')
    await image.write(0, filled(10, 1))
    time.onWait = async (waitMs) => {
      // Still by the old header: it belongs to the snapshot, which is not there yet.
      await image.write(0, filled(10, 2))
      time.nowMs += waitMs
      await image.write(0, filled(10, 3))
    }
    await store.snapshots.create('a', 'one')
    expect((await bytesOf(store, 'a@one'))[0]).toBe(2)
    expect((await bytesOf(store, 'a'))[0]).toBe(3)
  })

  test('does not wait where all are told: their writes stop, and go on in the new context', async () => {
    const io = new MemoryObjects()
    const time = new SteppedTime()
    const images: Image[] = []
    const quiescer: Quiescer = {
      async pause() {
        await Promise.all(images.map((image) => image.pause()))
        const resume = async (): Promise<void> => void (await Promise.all(images.map((image) => image.resume())))
        return { everybody: true, guards: [], resume }
      },
      changed: async () => undefined,
    }
    time.onWait = () => Promise.reject(new Error('nobody waits'))
    const store = new ImageStore({ clock: time, timers: time, random: new Prng(1) }, io, quiescer)
    await store.create('a', objectBytes, objectBytes)
    images.push(await store.open('a'), await store.open('a'))
    const [one, two] = images as [Image, Image]
    await one.write(0, filled(10, 1))
    const order: string[] = []
    const isWrite = (ops: readonly { kind: string }[]): boolean => ops.some(({ kind }) => kind === 'write')
    let arrive: () => void = () => undefined
    const arrived = new Promise<void>((resolve) => {
      arrive = resolve
    })
    let slow = true
    io.before = async (name, ops, { snapContext }) => {
      if (name.startsWith('block_header') && ops.some(({ kind }) => kind === 'omap-set')) order.push('header')
      if (!isWrite(ops)) return
      if (slow) await arrived
      order.push(`write for ${snapContext?.snaps.length ?? 0}`)
    }
    const before = one.write(0, filled(10, 2))
    slow = false
    const taken = store.snapshots.create('a', 'one')
    await new Promise((resolve) => setImmediate(resolve))
    const after = two.write(0, filled(10, 3))
    expect(order).toEqual([])
    arrive()
    await Promise.all([before, taken, after])
    expect(order).toEqual(['write for 0', 'header', 'write for 1'])
    expect((await bytesOf(store, 'a@one'))[0]).toBe(2)
    expect((await bytesOf(store, 'a'))[0]).toBe(3)
  })

  test('is refused under a name that is taken, and beyond the limit', async () => {
    const store = storeOn(new MemoryObjects())
    await store.create('a', 1)
    await store.snapshots.create('a', 'one')
    await expect(store.snapshots.create('a', 'one')).rejects.toMatchObject({ code: 'EEXIST' })
    await expect(store.snapshots.create('a', 'x@y')).rejects.toMatchObject({ code: 'EINVAL' })
    await store.snapshots.setLimit('a', 2)
    await store.snapshots.create('a', 'two')
    await expect(store.snapshots.create('a', 'three')).rejects.toMatchObject({ code: 'EDQUOT' })
    await expect(store.snapshots.setLimit('a', 513)).rejects.toMatchObject({ code: 'EINVAL' })
  })
})

describe('removing a snapshot', () => {
  test('goes on where it died, and leaves no clone', async () => {
    const steps = await dieAtEachStep(
      async (store) => {
        await store.create('a', objectBytes * 2, objectBytes)
        await (await store.open('a')).write(0, filled(objectBytes * 2, 1))
        await store.snapshots.create('a', 'one')
        await (await store.open('a')).write(0, filled(objectBytes * 2, 2))
      },
      (store) => store.snapshots.remove('a', 'one'),
      async (store, io) => {
        await store.snapshots.remove('a', 'one').catch((error: unknown) => {
          if (!isClusterError(error, 'ENOENT')) throw error
        })
        expect(io.snapshots.cloneCount).toBe(0)
        expect((await store.info('a')).snapshots?.entries).toEqual([])
        expect(await bytesOf(store, 'a')).toEqual(filled(objectBytes * 2, 2))
        await store.remove('a')
        expect(io.objects.size).toBe(1)
      },
    )
    // The mark, the id, the header.
    expect(steps).toBe(3)
  })

  test('is refused while it is protected, and the image stays while it has one', async () => {
    const store = storeOn(new MemoryObjects())
    await store.create('a', 1)
    await store.snapshots.create('a', 'one')
    await store.snapshots.create('a', 'two')
    await store.snapshots.protect('a', 'one', true)
    await expect(store.snapshots.remove('a', 'one')).rejects.toMatchObject({ code: 'EBUSY' })
    await expect(store.remove('a')).rejects.toMatchObject({ code: 'EBUSY', hint: 'shoal block snap purge a' })
    expect(await store.snapshots.purge('a')).toEqual(['one'])
    await store.snapshots.rename('a', 'one', 'last')
    await store.snapshots.protect('a', 'last', false)
    expect((await store.snapshots.list('a')).map(({ name }) => name)).toEqual(['last'])
    await store.snapshots.remove('a', 'last')
    await store.remove('a')
  })

  test.each([
    ['group', 'shoal block group snap rm GROUP@SNAPSHOT'],
    ['mirror', 'shoal block mirror disable IMAGE'],
  ] as const)('of a kind that people do not take is left to whoever took it: %s', async (kind, hint) => {
    const store = storeOn(new MemoryObjects())
    await store.create('a', 1)
    await store.snapshots.create('a', 'theirs', kind)
    await store.snapshots.create('a', 'ours')
    for (const change of [
      () => store.snapshots.remove('a', 'theirs'),
      () => store.snapshots.rename('a', 'theirs', 'other'),
      () => store.snapshots.protect('a', 'theirs', true),
    ]) {
      await expect(change()).rejects.toMatchObject({ code: 'EBUSY', hint })
    }
    expect(await store.snapshots.purge('a')).toEqual([])
    expect((await store.snapshots.list('a')).map(({ name }) => name)).toEqual(['theirs'])
    await expect(store.remove('a')).rejects.toMatchObject({ code: 'EBUSY', hint })
    await store.snapshots.remove('a', 'theirs', kind)
    await store.remove('a')
  })
})

test('the header with snapshots has the bytes that its format page shows', async () => {
  const io = new MemoryObjects()
  const store = storeOn(io)
  const { id } = await store.create('disk', 10 * 1024 ** 3)
  await store.snapshots.create('disk', 'monday')
  await store.snapshots.protect('disk', 'monday', true)
  const stored = io.objects.get(`block_header.${id}`)?.omap.get(hexEncode(utf8Encode('image')))?.value as Uint8Array
  const golden = [
    '0100000000000000', // the newest id ever
    '00020000', // how many there may be
    '0000000000000000', // rolling back to
    '01000000', // so many follow
    '010135000000', // version 1, readable from version 1, 53 bytes follow
    '0100000000000000', // id
    '060000006d6f6e646179', // name
    '00', // kind: user
    '0000008002000000', // size
    '00008056febc7842', // created
    '01', // protected
    '00', // removing
    '0000000000000000', // overlap
    '0000000000000000', // clones begun
  ].join('')
  expect(hexEncode(stored.subarray(6 + 69))).toBe(golden)
  expect(hexEncode(stored.subarray(6 + 52, 6 + 56))).toBe('02000000')
})
