/** What scrub sees: contents and damage as stable storage has them, whatever caches say and however objects are stored. */
import {
  type CompressionAlgorithm,
  compressionDefaults,
  must,
  type PgId,
  type PoolCompression,
  type PoolId,
  Prng,
} from '@shoal/base'
import type { TransactionOp } from '@shoal/wire'
import { describe, expect, test } from 'vitest'
import { type ExaminedObject, type ExamineRange, FileObjectStore, fsckObjectStore } from '../src/index.ts'
import { FakeMachine } from './fake-machine.ts'
import { objectId } from './workload.ts'

const collection = '1.0' as PgId
const object = objectId('head')
const clone = objectId('clone')
const other = objectId('other')
const block = 4096
const content = compressible(1, 300_000)
const everything = { after: undefined, until: undefined, objectsMax: 100, bytesMax: 1 << 30, deep: true }

/** A quarter of each block is noise. */
function compressible(seed: number, length: number): Uint8Array {
  const prng = new Prng(seed)
  return new Uint8Array(length).map((_, at) => (at % block < 1024 ? prng.below(256) : (at >>> 12) & 0xff))
}

function write(to: typeof object, offset: number, data: Uint8Array): TransactionOp {
  return { kind: 'write', collection, object: to, offset, data }
}

interface Opened {
  readonly machine: FakeMachine
  readonly store: FileObjectStore
}

async function open(storeKey: Uint8Array | undefined, algorithm?: CompressionAlgorithm): Promise<Opened> {
  const machine = new FakeMachine(3)
  await FileObjectStore.create(machine.env(), '/store', { sizeBytes: 4 << 20, journalBytes: 1 << 20, storeKey })
  const store = await FileObjectStore.mount(machine.env(), '/store', { storeKey })
  if (algorithm !== undefined) {
    const settings: PoolCompression = { ...compressionDefaults, algorithm, mode: 'aggressive' }
    store.setCompression(new Map([[1 as PoolId, settings]]))
  }
  await store.submit({ ops: [{ kind: 'create-collection', collection }, write(object, 0, content)] })
  return { machine, store }
}

async function examined(store: FileObjectStore): Promise<ReadonlyMap<string, ExaminedObject>> {
  const { objects, through } = await store.examine(collection, everything)
  expect(through).toBeUndefined()
  return new Map(objects.map((each) => [each.object.name, each]))
}

/** One object's data digest; it must be whole. */
async function digest(store: FileObjectStore, name: string = object.name): Promise<number> {
  const found = must((await examined(store)).get(name), 'the object')
  expect(found.damage).toEqual([])
  return found.dataDigest
}

async function damageOf(store: FileObjectStore): Promise<Record<string, readonly string[]>> {
  return Object.fromEntries([...(await examined(store))].map(([name, { damage }]) => [name, damage]))
}

/** Flips a byte of the first unit that was written. */
function flip(machine: FakeMachine): void {
  const file = machine.file('/store/data')
  const at = file.content.findIndex((byte) => byte !== 0)
  for (const bytes of [file.content, file.durable]) bytes[at] = (bytes[at] as number) ^ 1
}

for (const [kind, storeKey] of [
  ['a plain store', undefined],
  ['an encrypted store', new Uint8Array(32).fill(4)],
] as const) {
  describe(kind, () => {
    test('digests are those of the content, however it is compressed and whether it is written yet', async () => {
      const { store: plain } = await open(storeKey)
      const expected = await digest(plain)
      for (const algorithm of ['lz4', 'zlib', 'brotli'] as const) {
        const { store } = await open(storeKey, algorithm)
        expect(store.perf()['compress_success_count']).toBeGreaterThan(0)
        expect(await digest(store)).toBe(expected)
        await store.checkpoint()
        expect(await digest(store)).toBe(expected)
      }
      await plain.checkpoint()
      expect(await digest(plain)).toBe(expected)
    })

    test('blocks overwritten, zeroed and cut off within blobs count as what is read of them', async () => {
      const { store: plain } = await open(storeKey)
      const { store } = await open(storeKey, 'lz4')
      const before = await digest(store)
      const steps: readonly TransactionOp[] = [
        write(object, 3 * block + 7, compressible(2, 5000)),
        { kind: 'zero', collection, object, offset: 18 * block, length: 2 * block + 100 },
        write(object, 40 * block, new Uint8Array(block)),
        { kind: 'truncate', collection, object, sizeBytes: 250_001 },
      ]
      const seen = new Set([before])
      for (const step of steps) {
        for (const each of [plain, store]) await each.submit({ ops: [step] })
        await store.checkpoint()
        const now = await digest(store)
        expect(now).toBe(await digest(plain))
        seen.add(now)
      }
      expect(seen.size).toBe(steps.length + 1)
    })

    test("a digest of the caller's own sees what is read, holes as zeros, and no byte is read for it twice", async () => {
      // Any function of all bytes in order; a shard of blocks is 256 KiB, and the object has one that is a hole.
      const fold = (sum: number, bytes: Uint8Array): number =>
        bytes.reduce((all, byte) => (Math.imul(all, 31) + byte + 1) >>> 0, sum)
      for (const algorithm of [undefined, 'lz4'] as const) {
        const { store } = await open(storeKey, algorithm)
        const far = compressible(5, 70_001)
        for (const step of [
          { kind: 'zero', collection, object, offset: 18 * block, length: 2 * block + 100 } as const,
          write(object, 200 * block, far),
        ])
          await store.submit({ ops: [step] })
        for (const checkpointed of [false, true]) {
          if (checkpointed) await store.checkpoint()
          const read = await store.read(collection, object, 0, 200 * block + far.length)
          expect(read).toHaveLength(200 * block + far.length)
          const readBytes = async (
            range: ExamineRange,
          ): Promise<{ readonly bytes: number; readonly digest: number }> => {
            const bytesSoFar = (): number => store.perf()['data_read_bytes'] as number
            const before = bytesSoFar()
            const { objects } = await store.examine(collection, range)
            expect(objects.map(({ damage }) => damage)).toEqual([[]])
            return { bytes: bytesSoFar() - before, digest: must(objects[0], 'the object').dataDigest }
          }
          const { bytes } = await readBytes(everything)
          expect(await readBytes({ ...everything, digest: fold })).toEqual({ bytes, digest: fold(0, read) })
        }
      }
    })

    test('a flipped byte in a unit of a blob is damage of its object alone, though caches have it whole', async () => {
      const { machine, store } = await open(storeKey, 'lz4')
      await store.submit({ ops: [write(other, 0, compressible(3, 100_000))] })
      await store.checkpoint()
      await store.read(collection, object, 0, content.length)
      expect(await damageOf(store)).toEqual({ head: [], other: [] })
      flip(machine)
      expect(await damageOf(store)).toEqual({ head: ['data'], other: [] })
      // Mended as scrub does it: removed and written anew.
      await store.submit({ ops: [{ kind: 'remove', collection, object }, write(object, 0, content)] })
      await store.checkpoint()
      expect(await damageOf(store)).toEqual({ head: [], other: [] })
    })

    test('a clone shares the units of blobs: damage is that of both, until one is overwritten or removed', async () => {
      const { machine, store } = await open(storeKey, 'lz4')
      const used = store.usage().usedBytes
      await store.submit({ ops: [{ kind: 'clone', collection, object, to: clone }] })
      await store.checkpoint()
      expect(store.usage().usedBytes).toBe(used)
      const expected = await digest(store)
      expect(await digest(store, clone.name)).toBe(expected)
      flip(machine)
      expect(await damageOf(store)).toEqual({ head: ['data'], clone: ['data'] })
      await store.submit({ ops: [write(object, 0, content)] })
      await store.checkpoint()
      expect(await damageOf(store)).toEqual({ head: [], clone: ['data'] })
      expect(await digest(store)).toBe(expected)
      await store.submit({ ops: [{ kind: 'remove', collection, object: clone }] })
      await store.checkpoint()
      expect(store.usage().usedBytes).toBe(used)
      await store.submit({ ops: [{ kind: 'clone', collection, object, to: clone }] })
      await store.submit({ ops: [{ kind: 'remove', collection, object }] })
      await store.submit({ ops: [write(other, 0, compressible(5, 400_000))] })
      await store.checkpoint()
      expect(await digest(store, clone.name)).toBe(expected)
      await store.close()
      expect((await fsckObjectStore(machine.env(), '/store', { deep: true, storeKey })).findings).toEqual([])
    })
  })
}

test('a damaged block map with blobs is found, given up with its object, and its blobs are counted anew by a repair', async () => {
  const { machine, store } = await open(undefined, 'lz4')
  await store.submit({ ops: [write(other, 0, compressible(3, 100_000))] })
  await store.close()
  const { rows } = must(machine.levels.get('/store/meta'), 'the metadata')
  const map = must(
    rows.find(([key]) => key[0] === 'B'.charCodeAt(0)),
    'a block map',
  )
  map[1][5] = (map[1][5] as number) ^ 1
  const again = await FileObjectStore.mount(machine.env(), '/store')
  expect(again.perf()['damaged_block_maps']).toBe(1)
  expect(await damageOf(again)).toEqual({ head: ['block-map'], other: [] })
  await again.submit({ ops: [{ kind: 'remove', collection, object }, write(object, 0, content)] })
  expect(await damageOf(again)).toEqual({ head: [], other: [] })
  await again.close()
  const fsck = async (repair: boolean): Promise<unknown> =>
    (await fsckObjectStore(machine.env(), '/store', { deep: true, repair })).findings
  const wrong = { code: 'COMPRESSION_COUNT', severity: 'warning' }
  expect(await fsck(false)).toMatchObject([{ ...wrong, repaired: false }])
  expect(await fsck(true)).toMatchObject([{ ...wrong, repaired: true }])
  expect(await fsck(false)).toEqual([])
})
