/** Diffs out of images and into others: equal bytes at every snapshot, whatever step the import died at. */
import { concatBytes, equalBytes, hexEncode, utf8Encode } from '@shoal/base'
import {
  exportContent,
  exportDiff,
  exportImage,
  type ImageStore,
  importContent,
  importDiff,
  importImage,
} from '@shoal/block'
import {
  type DiffRecord,
  decodeStream,
  encodeDiff,
  encodeImage,
  type ImageRecord,
  mergeDiffs,
  openDiff,
  readDiff,
  readImage,
  readRaw,
  writeRaw,
} from '@shoal/image-streams'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { bytesOf, crashed, objectBytes, storeOn } from './image-fixture.ts'
import { MemoryObjects } from './memory-objects.ts'

const filled = (length: number, byte: number): Uint8Array => new Uint8Array(length).fill(byte)

async function gather<T>(items: AsyncIterable<T>): Promise<T[]> {
  const gathered: T[] = []
  for await (const item of items) gathered.push(item)
  return gathered
}

async function* each<T>(items: readonly T[]): AsyncGenerator<T, void, void> {
  yield* items
}

/** As another process would write and read it. */
async function* throughBytes(records: AsyncIterable<DiffRecord>): AsyncGenerator<DiffRecord, void, void> {
  yield* decodeStream(encodeDiff(1, records), readDiff)
}

/** Snapshots a, b and c of an image that was written, discarded, shrunk and grown in between. */
async function withHistory(store: ImageStore, name = 'source'): Promise<void> {
  await store.create(name, objectBytes * 6, objectBytes)
  const image = await store.open(name)
  await image.write(100, filled(objectBytes * 2, 1))
  await image.write(objectBytes * 5, filled(objectBytes, 2))
  await store.snapshots.create(name, 'a')
  await image.refresh()
  await image.write(objectBytes, filled(700, 3))
  await image.discard(objectBytes * 5, objectBytes)
  await store.snapshots.create(name, 'b')
  await store.resize(name, objectBytes + 300)
  await store.resize(name, objectBytes * 4 + 5)
  await image.refresh()
  await image.write(objectBytes * 3, filled(50, 4))
  await store.snapshots.create(name, 'c')
  await image.refresh()
  await image.write(0, filled(10, 5))
}

const chain = [
  [undefined, 'a'],
  ['a', 'b'],
  ['b', 'c'],
  ['c', undefined],
] as const

async function expectSame(from: ImageStore, to: ImageStore, snapshots: readonly (string | undefined)[]): Promise<void> {
  for (const snapshot of snapshots) {
    const suffix = snapshot === undefined ? '' : `@${snapshot}`
    expect(
      equalBytes(await bytesOf(to, `copy${suffix}`), await bytesOf(from, `source${suffix}`)),
      `at ${snapshot}`,
    ).toBe(true)
  }
}

interface Cluster {
  readonly io: MemoryObjects
  readonly store: ImageStore
}

function cluster(seed: number): Cluster {
  const io = new MemoryObjects()
  return { io, store: storeOn(io, seed) }
}

async function twoClusters(): Promise<{ readonly source: Cluster; readonly target: Cluster }> {
  const [source, target] = [cluster(1), cluster(2)]
  await withHistory(source.store)
  await target.store.create('copy', 1, objectBytes * 2)
  return { source, target }
}

describe('a diff', () => {
  test.each([false, true])('leads from snapshot to snapshot (whole objects: %s)', async (wholeObject) => {
    const { source, target } = await twoClusters()
    for (const [from, to] of chain) {
      const records = throughBytes(exportDiff(source.store, 'source', { from, to, wholeObject }))
      expect(await importDiff(target, 'copy', records)).toMatchObject({ from, to, wasComplete: false })
    }
    await expectSame(source.store, target.store, ['a', 'b', 'c', undefined])
  })

  test('of two, merged, leads past the one in the middle', async () => {
    const { source, target } = await twoClusters()
    await importDiff(target, 'copy', exportDiff(source.store, 'source', { to: 'a' }))
    const open = (from: string, to: string) => openDiff(exportDiff(source.store, 'source', { from, to }))
    await importDiff(target, 'copy', throughBytes(mergeDiffs(await open('a', 'b'), await open('b', 'c'))))
    await expectSame(source.store, target.store, ['a', 'c'])
  })

  test('of whole objects names whole objects', async () => {
    const { source } = await twoClusters()
    const extents = (await gather(exportDiff(source.store, 'source', { from: 'a', to: 'b', wholeObject: true }))).slice(
      3,
      -1,
    )
    expect(extents).toMatchObject([
      { kind: 'data', offset: objectBytes },
      { kind: 'zero', offset: objectBytes * 5, length: objectBytes },
    ])
  })

  test('is in order, and says how far it is', async () => {
    const { source } = await twoClusters()
    const seen: number[] = []
    const onProgress = (done: number, total: number): void => {
      expect(total).toBe(objectBytes * 6)
      seen.push(done)
    }
    let at = 0
    for await (const record of exportDiff(source.store, 'source', { to: 'a', onProgress })) {
      if (record.kind !== 'data' && record.kind !== 'zero') continue
      expect(record.offset).toBeGreaterThanOrEqual(at)
      at = record.offset + (record.kind === 'data' ? record.data.length : record.length)
    }
    expect(seen.toSorted((a, b) => a - b)).toEqual(seen)
    expect(seen.at(-1)).toBe(objectBytes * 6)
  })

  test('reads some pieces ahead, and not more', async () => {
    const { io, store } = cluster(1)
    await store.create('source', objectBytes * 64, objectBytes)
    for (let i = 0; i < 64; i += 2) await (await store.open('source')).write(i * objectBytes, filled(objectBytes, 1))
    await store.snapshots.create('source', 'a')
    let reading = 0
    let readingMax = 0
    io.before = async (_, ops) => {
      if (ops[0]?.kind !== 'read') return
      readingMax = Math.max(readingMax, ++reading)
      await new Promise((resolve) => setImmediate(resolve))
      reading--
    }
    await gather(exportDiff(store, 'source', { to: 'a' }))
    expect(readingMax).toBe(16)
  })
})

test('the bytes of an image', async () => {
  const { source } = await twoClusters()
  for (const snapshot of ['a', 'c']) {
    const expected = await bytesOf(source.store, `source@${snapshot}`)
    const raw = await gather(writeRaw(exportContent(source.store, 'source', snapshot), expected.length))
    expect(equalBytes(concatBytes(raw), expected)).toBe(true)
  }
})

test('an image with its snapshots', async () => {
  const { source } = await twoClusters()
  await source.store.snapshots.protect('source', 'b', true)
  const records = await gather(exportImage(source.store, 'source'))
  expect(records.slice(0, 4)).toEqual([
    { kind: 'order', order: 12 },
    { kind: 'stripe-unit', bytes: objectBytes },
    { kind: 'stripe-count', count: 1 },
    { kind: 'diffs', count: 4 },
  ])
  expect(
    records.filter(({ kind }) => kind === 'from' || kind === 'to' || kind === 'protected' || kind === 'end'),
  ).toEqual([
    { kind: 'to', snapshot: 'a' },
    { kind: 'protected', isProtected: false },
    { kind: 'end' },
    { kind: 'from', snapshot: 'a' },
    { kind: 'to', snapshot: 'b' },
    { kind: 'protected', isProtected: true },
    { kind: 'end' },
    { kind: 'from', snapshot: 'b' },
    { kind: 'to', snapshot: 'c' },
    { kind: 'protected', isProtected: false },
    { kind: 'end' },
    { kind: 'from', snapshot: 'c' },
    { kind: 'end' },
  ])
})

describe('an import', () => {
  test('that dies at any step can be run again', async () => {
    const { store } = cluster(1)
    await withHistory(store)
    const [first, second] = [
      await gather(exportDiff(store, 'source', { to: 'a' })),
      await gather(exportDiff(store, 'source', { from: 'a', to: 'b' })),
    ]
    let deaths = 0
    for (const [before, diff, to] of [
      [[], first, 'a'],
      [[first], second, 'b'],
    ] as const) {
      for (let at = 1, died = true; died; at++) {
        const target = cluster(2)
        await target.store.create('copy', objectBytes * 3, objectBytes)
        for (const earlier of before) await importDiff(target, 'copy', each(earlier))
        target.io.crashAt = target.io.mutations + at
        died = await crashed(importDiff({ io: target.io, store: storeOn(target.io, 3) }, 'copy', each(diff)))
        target.io.crashAt = Number.POSITIVE_INFINITY
        const again = { io: target.io, store: storeOn(target.io, 4) }
        if (died) {
          deaths++
          await importDiff(again, 'copy', each(diff))
        }
        await expectSame(store, again.store, [to])
        expect(equalBytes(await bytesOf(again.store, 'copy'), await bytesOf(store, `source@${to}`))).toBe(true)
        await expect(importDiff(again, 'copy', each(diff))).rejects.toMatchObject({ code: 'EEXIST' })
      }
    }
    expect(deaths).toBeGreaterThan(12)
  })

  test('leaves a marker until it is over, in bytes that stay readable', async () => {
    const { source, target } = await twoClusters()
    await importDiff(target, 'copy', exportDiff(source.store, 'source', { to: 'a' }))
    const { id } = await target.store.info('copy')
    const marker = (): Uint8Array | undefined =>
      target.io.objects.get(`block_header.${id}`)?.omap.get(hexEncode(utf8Encode('import')))?.value
    expect(marker()).toBeUndefined()
    async function* breaking(): AsyncGenerator<DiffRecord> {
      yield* (await gather(exportDiff(source.store, 'source', { from: 'a', to: 'b' }))).slice(0, 4)
      throw new Error('the stream broke')
    }
    await expect(importDiff(target, 'copy', breaking())).rejects.toThrow('the stream broke')
    expect(hexEncode(marker() as Uint8Array)).toBe('01010d00000001010000006101010000006200')
  })

  test('that broke off is undone by the next one, whatever that brings', async () => {
    const { source, target } = await twoClusters()
    await importDiff(target, 'copy', exportDiff(source.store, 'source', { to: 'a' }))
    const damaged = (await gather(exportDiff(source.store, 'source', { from: 'a', to: 'b' }))).slice(0, -2)
    async function* breaking(): AsyncGenerator<DiffRecord> {
      yield* damaged
      throw new Error('the stream broke')
    }
    await expect(importDiff(target, 'copy', breaking())).rejects.toThrow('the stream broke')
    await importDiff(target, 'copy', exportDiff(source.store, 'source', { from: 'a', to: 'c' }))
    await expectSame(source.store, target.store, ['a', 'c'])
  })

  test('refuses an image that was written since, and says where', async () => {
    const { source, target } = await twoClusters()
    await importDiff(target, 'copy', exportDiff(source.store, 'source', { to: 'a' }))
    const image = await target.store.open('copy')
    // The same bytes again are no difference.
    await image.write(100, filled(20, 1))
    await importDiff(target, 'copy', exportDiff(source.store, 'source', { from: 'a', to: 'b' }))
    await image.refresh()
    await image.write(objectBytes * 4 + 3, filled(2, 9))
    const next = (): AsyncGenerator<DiffRecord> => exportDiff(source.store, 'source', { from: 'b', to: 'c' })
    await expect(importDiff(target, 'copy', next())).rejects.toMatchObject({
      code: 'EINVAL',
      message: expect.stringContaining(`image copy differs from that at byte ${objectBytes * 4 + 3}`),
    })
    await importDiff(target, 'copy', next(), { force: true })
    expect((await target.store.info('copy')).snapshots?.entries.map(({ name }) => name)).toEqual(['a', 'b', 'c'])
  })

  test('refuses an image that has another size than the snapshot, or is not empty', async () => {
    const { source, target } = await twoClusters()
    await (await target.store.open('copy')).write(0, filled(1, 1))
    await expect(importDiff(target, 'copy', exportDiff(source.store, 'source', { to: 'a' }))).rejects.toMatchObject({
      code: 'EINVAL',
      message: expect.stringContaining('begins with an empty image'),
    })
    await (await target.store.open('copy')).discard(0, 1)
    await importDiff(target, 'copy', exportDiff(source.store, 'source', { to: 'a' }))
    await target.store.resize('copy', objectBytes * 7)
    await expect(
      importDiff(target, 'copy', exportDiff(source.store, 'source', { from: 'a', to: 'b' })),
    ).rejects.toMatchObject({ code: 'EINVAL' })
  })

  test('refuses a diff whose beginning is not there, or whose end is', async () => {
    const { source, target } = await twoClusters()
    const [first, later] = [
      (): AsyncGenerator<DiffRecord> => exportDiff(source.store, 'source', { to: 'a' }),
      (): AsyncGenerator<DiffRecord> => exportDiff(source.store, 'source', { from: 'b', to: 'c' }),
    ]
    await expect(importDiff(target, 'copy', later())).rejects.toMatchObject({ code: 'ENOENT' })
    await importDiff(target, 'copy', first())
    await expect(importDiff(target, 'copy', first())).rejects.toMatchObject({ code: 'EEXIST' })
  })

  test('that was forced and broke off is not undone, and only another one that is forced goes on', async () => {
    const { source, target } = await twoClusters()
    await target.store.resize('copy', objectBytes)
    await (await target.store.open('copy')).write(150, filled(1, 9))
    const diff = await gather(exportDiff(source.store, 'source', { to: 'a' }))
    target.io.crashAt = target.io.mutations + 4
    expect(await crashed(importDiff(target, 'copy', each(diff), { force: true }))).toBe(true)
    target.io.crashAt = Number.POSITIVE_INFINITY
    await expect(importDiff(target, 'copy', each(diff))).rejects.toMatchObject({ code: 'EBUSY' })
    await importDiff(target, 'copy', each(diff), { force: true })
    await expectSame(source.store, target.store, ['a'])
  })

  test('takes the last word of a stream that says something twice', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(3 * objectBytes), fc.integer({ min: 1, max: objectBytes }), fc.boolean()), {
          maxLength: 20,
        }),
        async (writes) => {
          const target = cluster(1)
          await target.store.create('copy', objectBytes, objectBytes)
          target.io.before = () => new Promise((resolve) => setImmediate(resolve))
          const sizeBytes = objectBytes * 4
          const expected = new Uint8Array(sizeBytes)
          const extents = writes.map(([offset, length, isZero], i): DiffRecord => {
            expected.fill(isZero ? 0 : i + 1, offset, offset + length)
            return isZero ? { kind: 'zero', offset, length } : { kind: 'data', offset, data: filled(length, i + 1) }
          })
          await importDiff(target, 'copy', each<DiffRecord>([{ kind: 'size', sizeBytes }, ...extents, { kind: 'end' }]))
          expect(equalBytes(await bytesOf(target.store, 'copy'), expected)).toBe(true)
        },
      ),
      { numRuns: 30 },
    )
  })
})

describe('an image out of a stream', () => {
  const stream = (store: ImageStore): AsyncGenerator<ImageRecord, void, void> =>
    decodeStream(encodeImage(exportImage(store, 'source')), readImage)

  test('has its snapshots, their protection and its object size', async () => {
    const { source, target } = await twoClusters()
    await target.store.remove('copy')
    await source.store.snapshots.protect('source', 'b', true)
    const imported = await importImage(target.store, 'copy', stream(source.store))
    expect(imported).toMatchObject({ snapshots: 3, skippedMetadata: [], header: { name: 'copy', objectBytes } })
    await expectSame(source.store, target.store, ['a', 'b', 'c', undefined])
    expect((await target.store.snapshots.list('copy')).map((snapshot) => snapshot.protected)).toEqual([
      false,
      true,
      false,
    ])
  })

  test('is not there before all of it is, and can be imported again after a crash at any step', async () => {
    const { store } = cluster(1)
    await withHistory(store)
    await store.snapshots.protect('source', 'a', true)
    const records = await gather(stream(store))
    let deaths = 0
    for (let at = 1, died = true; died; at++) {
      const target = cluster(2)
      target.io.crashAt = at
      died = await crashed(importImage(target.store, 'copy', each(records)))
      target.io.crashAt = Number.POSITIVE_INFINITY
      const again = storeOn(target.io, 3)
      if (died) {
        deaths++
        expect((await again.list()).map(({ name }) => name)).not.toContain('copy')
        await importImage(again, 'copy', each(records))
      }
      await expectSame(store, again, ['a', 'b', 'c', undefined])
      expect((await again.list()).map(({ name }) => name)).toEqual(['copy'])
    }
    expect(deaths).toBeGreaterThan(20)
  })

  test('of bytes alone, whether their number is known or not', async () => {
    const { source } = await twoClusters()
    const expected = await bytesOf(source.store, 'source@c')
    for (const sizeBytes of [expected.length, undefined]) {
      const target = cluster(2)
      const extents = readRaw(each([expected.slice(0, 5000), expected.slice(5000)]), objectBytes, 512)
      await importContent(target.store, 'copy', extents, sizeBytes, { objectBytes })
      expect(equalBytes(await bytesOf(target.store, 'copy'), expected)).toBe(true)
      // Zeros stay holes.
      expect((await target.store.usage('copy')).usedBytes).toBeLessThan(expected.length - objectBytes)
    }
  })

  test('refuses a name that is taken, and nothing at all', async () => {
    const { source, target } = await twoClusters()
    await expect(importImage(target.store, 'copy', stream(source.store))).rejects.toMatchObject({ code: 'EEXIST' })
    await expect(importContent(target.store, 'b', readRaw(each([]), 4096, 512), undefined)).rejects.toMatchObject({
      code: 'EINVAL',
    })
  })

  test('that is damaged leaves no image', async () => {
    const { source, target } = await twoClusters()
    const bytes = concatBytes(await gather(encodeImage(exportImage(source.store, 'source'))))
    for (const length of [bytes.length - 1, 200, 20, 0]) {
      const damaged = decodeStream(each([bytes.slice(0, length)]), readImage)
      await expect(importImage(target.store, 'b', damaged)).rejects.toMatchObject({ code: 'EINVAL' })
    }
    const longer = decodeStream(each([bytes, Uint8Array.of(1)]), readImage)
    await expect(importImage(target.store, 'b', longer)).rejects.toMatchObject({ code: 'EINVAL' })
    expect((await target.store.list()).map(({ name }) => name)).not.toContain('b')
  })
})
