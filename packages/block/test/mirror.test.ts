/** Two clusters that mirror an image: what readers see, what a promotion finds, what happens when they part. */
import { equalBytes, hexEncode, Prng, utf8Encode } from '@shoal/base'
import {
  demoteMirror,
  disableMirror,
  enableMirror,
  ImageStore,
  listMirrored,
  MirrorPool,
  type MirrorState,
  mirrorImage,
  promoteMirror,
  resyncMirror,
} from '@shoal/block'
import { describe, expect, test } from 'vitest'
import { bytesOf, crashed, objectBytes } from './image-fixture.ts'
import { MemoryObjects } from './memory-objects.ts'
import { SteppedTime } from './stepped-time.ts'

const sizeBytes = objectBytes * 6
const filled = (length: number, byte: number): Uint8Array => new Uint8Array(length).fill(byte)

/** One cluster: its pool, what people do there, and who mirrors. */
class Site {
  readonly io = new MemoryObjects()
  readonly time = new SteppedTime()
  readonly store: ImageStore
  readonly pool: MirrorPool

  constructor(seed: number) {
    this.store = new ImageStore(this.env(seed), this.io)
    this.pool = new MirrorPool(this.env(seed + 100), this.io)
  }

  env(seed: number): { clock: SteppedTime; timers: SteppedTime; random: Prng } {
    return { clock: this.time, timers: this.time, random: new Prng(seed) }
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    await (await this.store.open('disk')).write(offset, bytes)
  }

  bytes(): Promise<Uint8Array> {
    return bytesOf(this.store, 'disk')
  }

  snapshots(): Promise<readonly string[]> {
    return this.store.snapshots.list('disk').then((list) => list.map(({ name }) => name))
  }
}

interface Pair {
  readonly a: Site
  readonly b: Site
  readonly globalId: string
}

/** The primary is at a. */
async function pair(): Promise<Pair> {
  const [a, b] = [new Site(1), new Site(2)]
  await a.store.create('disk', sizeBytes, objectBytes)
  await a.write(10, filled(objectBytes * 2, 1))
  const { globalId } = await enableMirror(a.pool, 'disk', 0)
  return { a, b, globalId }
}

const pull = (to: Site, from: Site, globalId: string): Promise<MirrorState | 'stopped'> =>
  mirrorImage(to.pool, from.pool, globalId)

/** One more snapshot, as somebody asks for it. */
const snapshot = ({ pool }: Site): Promise<unknown> =>
  pool.store.snapshots.create('disk', pool.newSnapshotName(), 'mirror')

async function expectSame(a: Site, b: Site): Promise<void> {
  expect(equalBytes(await a.bytes(), await b.bytes())).toBe(true)
}

test('a copy appears, follows snapshot by snapshot, and keeps no more of them than it needs', async () => {
  const { a, b, globalId } = await pair()
  expect(await pull(b, a, globalId)).toBe('synced')
  await expectSame(a, b)
  for (let i = 2; i < 7; i++) {
    await a.write(objectBytes * (i % 2) + 7 * i, filled(objectBytes, i))
    if (i === 4) await a.store.resize('disk', objectBytes * 3 + 5)
    if (i === 5) await a.store.resize('disk', objectBytes * 7)
    await snapshot(a)
    expect(await pull(b, a, globalId)).toBe('synced')
    await expectSame(a, b)
  }
  expect(await a.snapshots()).toHaveLength(1)
  expect(await b.snapshots()).toEqual([expect.anything(), ...(await a.snapshots())])
})

test('a copy can be read, and not changed, by anybody else', async () => {
  const { a, b, globalId } = await pair()
  await pull(b, a, globalId)
  const image = await b.store.open('disk')
  expect(image.readOnly).toBe(true)
  await expect(image.write(0, filled(1, 1))).rejects.toMatchObject({ code: 'EROFS' })
  for (const change of [
    () => b.store.resize('disk', objectBytes),
    () => b.store.rename('disk', 'other'),
    () => b.store.snapshots.create('disk', 'mine'),
    async () => b.store.snapshots.remove('disk', (await b.snapshots())[0] as string, 'mirror'),
  ]) {
    await expect(change()).rejects.toMatchObject({ code: 'EROFS' })
  }
  await expectSame(a, b)
})

test('a snapshot is due by the schedule, and not before', async () => {
  const { a, b, globalId } = await pair()
  let nowMs = 1_700_000_000_000
  a.time.wallMs = () => nowMs
  await enableMirror(a.pool, 'disk', 60_000)
  await pull(b, a, globalId)
  await a.write(0, filled(5, 9))
  nowMs += 59_999
  await pull(b, a, globalId)
  expect((await b.bytes())[0]).toBe(0)
  nowMs += 1
  await pull(b, a, globalId)
  await expectSame(a, b)
})

test('what is stored of a mirrored image stays readable', async () => {
  const { a, b, globalId } = await pair()
  await enableMirror(a.pool, 'disk', 60_000)
  await pull(b, a, globalId)
  const stored = ({ io }: Site, id: string, key: string): string =>
    hexEncode(io.objects.get(`block_header.${id}`)?.omap.get(hexEncode(utf8Encode(key)))?.value ?? new Uint8Array(0))
  const { id } = await b.store.info('disk')
  expect(stored(b, id, 'mirror')).toBe(`01012c00000020000000${hexEncode(utf8Encode(globalId))}60ea000000000000`)
  // The last section of the header: copying, and snapshot 1.
  expect(stored(b, id, 'image').slice(-18)).toBe('000100000000000000')
  const list = b.io.objects.get('block_mirroring')?.omap.get(hexEncode(utf8Encode(`image_${globalId}`)))
  expect(hexEncode(list?.value ?? new Uint8Array(0))).toBe(hexEncode(utf8Encode(id)))
})

/** Runs `change` again and again, dying at each mutation of `site` in turn; returns how often it died. */
async function dieEverywhere(
  site: (pair: Pair) => Site,
  prepare: (pair: Pair) => Promise<void>,
  change: (pair: Pair) => Promise<unknown>,
  afterwards: (pair: Pair, died: boolean) => Promise<void>,
): Promise<number> {
  for (let at = 1; ; at++) {
    const both = await pair()
    await prepare(both)
    const { io } = site(both)
    io.crashAt = io.mutations + at
    const died = await crashed(change(both))
    io.crashAt = Number.POSITIVE_INFINITY
    await afterwards(both, died)
    if (!died) return at - 1
  }
}

/** Synced once, and something new at a, with a snapshot. */
async function somethingNew({ a, b, globalId }: Pair): Promise<void> {
  await pull(b, a, globalId)
  await a.write(objectBytes - 3, filled(objectBytes * 2, 4))
  await (await a.store.open('disk')).discard(0, 500)
  await snapshot(a)
}

describe('whoever copies dies at any step', () => {
  const both = [
    ['here', ({ b }: Pair) => b],
    ['there', ({ a }: Pair) => a],
  ] as const

  test.each(both)('%s, the first time: it is done again', async (_, site) => {
    const steps = await dieEverywhere(
      site,
      async () => undefined,
      ({ a, b, globalId }) => pull(b, a, globalId),
      async ({ a, b, globalId }) => {
        expect(await pull(b, a, globalId)).toBe('synced')
        await expectSame(a, b)
        expect((await b.store.list()).map(({ name }) => name)).toEqual(['disk'])
      },
    )
    expect(steps).toBeGreaterThan(0)
  })

  test('later: readers see one snapshot or the next, and what is copied goes on', async () => {
    const steps = await dieEverywhere(
      ({ b }) => b,
      somethingNew,
      ({ a, b, globalId }) => pull(b, a, globalId),
      async ({ a, b, globalId }) => {
        const seen = await b.bytes()
        const complete = [filled(sizeBytes, 0), await a.bytes()]
        complete[0]?.fill(1, 10, 10 + objectBytes * 2)
        expect(complete.some((bytes) => equalBytes(bytes, seen))).toBe(true)
        expect(await pull(b, a, globalId)).toBe('synced')
        await expectSame(a, b)
      },
    )
    expect(steps).toBeGreaterThan(8)
  })

  test('and another snapshot comes, while the one that was begun goes', async () => {
    await dieEverywhere(
      ({ b }) => b,
      async (pair) => {
        await pull(pair.b, pair.a, pair.globalId)
        // An object that only the snapshot in the middle has: no later diff speaks of it.
        await pair.a.write(objectBytes * 4, filled(objectBytes, 6))
        await snapshot(pair.a)
      },
      ({ a, b, globalId }) => pull(b, a, globalId),
      async ({ a, b, globalId }) => {
        const [middle] = (await a.snapshots()).slice(-1)
        await (await a.store.open('disk')).discard(objectBytes * 4, objectBytes)
        await snapshot(a)
        const isTaken = (await b.snapshots()).includes(middle as string)
        if (!isTaken) await a.pool.store.snapshots.remove('disk', middle as string, 'mirror')
        expect(await pull(b, a, globalId)).toBe('synced')
        await expectSame(a, b)
      },
    )
  })

  test('and the copy is promoted by force: it is what some snapshot was', async () => {
    const states = new Set<number>()
    await dieEverywhere(
      ({ b }) => b,
      somethingNew,
      ({ a, b, globalId }) => pull(b, a, globalId),
      async ({ a, b }) => {
        await promoteMirror(b.pool, 'disk', undefined, true)
        const now = await b.bytes()
        const before = filled(sizeBytes, 0)
        before.fill(1, 10, 10 + objectBytes * 2)
        const at = [before, await a.bytes()].findIndex((bytes) => equalBytes(bytes, now))
        expect(at).toBeGreaterThanOrEqual(0)
        states.add(at)
        await b.write(0, filled(1, 3))
        expect((await b.bytes())[0]).toBe(3)
      },
    )
    expect(states).toEqual(new Set([0, 1]))
  })
})

describe('roles', () => {
  test('change hands without loss, there and back', async () => {
    const { a, b, globalId } = await pair()
    await pull(b, a, globalId)
    await a.write(100, filled(50, 8))
    await demoteMirror(a.pool, 'disk')
    await expect(a.write(0, filled(1, 1))).rejects.toMatchObject({ code: 'EROFS' })
    const there = (): Promise<Awaited<ReturnType<MirrorPool['sideOf']>>> => a.pool.sideOf(globalId)
    await expect(promoteMirror(b.pool, 'disk', await there(), false)).rejects.toMatchObject({ code: 'EBUSY' })
    expect(await pull(a, b, globalId)).toBe('source')
    expect(await pull(b, a, globalId)).toBe('demoted-both')
    await promoteMirror(b.pool, 'disk', await there(), false)
    await expectSame(a, b)
    await b.write(objectBytes * 3, filled(77, 5))
    await snapshot(b)
    expect(await pull(b, a, globalId)).toBe('source')
    expect(await pull(a, b, globalId)).toBe('synced')
    await expectSame(a, b)
  })

  test('an image that is open where it was the primary is not written, or read, any more', async () => {
    const { a } = await pair()
    const open = await a.store.open('disk')
    await demoteMirror(a.pool, 'disk')
    a.time.nowMs += 10_000
    await expect(open.write(0, filled(1, 1))).rejects.toMatchObject({ code: 'ESTALE' })
    await expect(open.read(0, 1)).rejects.toMatchObject({ code: 'ESTALE' })
  })

  test.each(['demote', 'promote'] as const)('%s dies at any step, and is run again', async (command) => {
    const run = (both: Pair): Promise<void> =>
      command === 'demote' ? demoteMirror(both.a.pool, 'disk') : promoteMirror(both.b.pool, 'disk', undefined, true)
    const steps = await dieEverywhere(
      ({ a, b }) => (command === 'demote' ? a : b),
      async (both) => {
        await somethingNew(both)
        // Half of it is there.
        both.b.io.crashAt = both.b.io.mutations + 3
        await crashed(pull(both.b, both.a, both.globalId))
        both.b.io.crashAt = Number.POSITIVE_INFINITY
      },
      run,
      async (both, died) => {
        if (died) {
          expect(['demoting', 'demoted-both', 'promoting', 'synced', 'split-brain']).toContain(
            await pull(both.b, both.a, both.globalId),
          )
          const side = await (command === 'demote' ? both.a : both.b).pool.sideOf(both.globalId)
          const isOver = side?.role === (command === 'demote' ? 'copy' : 'primary')
          if (!isOver) await run(both)
        }
        if (command === 'demote') {
          expect(await pull(both.b, both.a, both.globalId)).toBe('demoted-both')
          await expectSame(both.a, both.b)
        } else {
          const bytes = await both.b.bytes()
          await both.b.write(0, filled(1, 3))
          expect(bytes.length).toBe(sizeBytes)
        }
      },
    )
    expect(steps).toBeGreaterThan(2)
  })

  test('two primaries are told, and nothing is copied; who gives in is made anew', async () => {
    const { a, b, globalId } = await pair()
    await pull(b, a, globalId)
    await expect(promoteMirror(b.pool, 'disk', await a.pool.sideOf(globalId), false)).rejects.toMatchObject({
      code: 'EBUSY',
    })
    await promoteMirror(b.pool, 'disk', undefined, true)
    await a.write(0, filled(10, 7))
    await b.write(objectBytes, filled(10, 8))
    expect(await pull(b, a, globalId)).toBe('split-brain')
    expect(await pull(a, b, globalId)).toBe('split-brain')
    await expect(resyncMirror(a.pool, 'disk')).rejects.toMatchObject({ code: 'EINVAL' })
    await demoteMirror(a.pool, 'disk')
    await snapshot(b)
    expect(await pull(a, b, globalId)).toBe('diverged')
    await resyncMirror(a.pool, 'disk')
    expect(await pull(a, b, globalId)).toBe('synced')
    await expectSame(a, b)
  })

  test('an image that is not mirrored any more keeps no trace, and its copy is told so', async () => {
    const { a, b, globalId } = await pair()
    await pull(b, a, globalId)
    await expect(disableMirror(b.pool, 'disk')).rejects.toMatchObject({ code: 'EINVAL' })
    await disableMirror(a.pool, 'disk')
    expect(await a.snapshots()).toEqual([])
    expect((await listMirrored(a.io)).size).toBe(0)
    expect(await pull(b, a, globalId)).toBe('orphan')
    await promoteMirror(b.pool, 'disk', undefined, true)
    await disableMirror(b.pool, 'disk')
    await b.write(0, filled(1, 1))
    await expect(demoteMirror(b.pool, 'disk')).rejects.toMatchObject({ code: 'EINVAL' })
  })
})

test('a copy that becomes the primary while somebody copies gets no snapshot of half of each', async () => {
  const both = await pair()
  await somethingNew(both)
  const { a, b, globalId } = both
  // The one who copies is held before its second write of data; meanwhile the copy becomes the primary, and is written.
  let writes = 0
  let promoted: Uint8Array | undefined
  b.io.before = async (_, ops) => {
    if (ops[0]?.kind !== 'write' || ++writes !== 1) return
    b.io.before = async () => undefined
    b.time.nowMs += 10_000
    await promoteMirror(b.pool, 'disk', undefined, true)
    promoted = await b.bytes()
  }
  await pull(b, a, globalId).catch(() => undefined)
  expect(promoted).toBeDefined()
  expect((await b.pool.sideOf(globalId))?.role).toBe('primary')
  const taken = (await b.snapshots()).length
  expect(taken).toBe(1)
})
