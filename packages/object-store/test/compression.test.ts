/** Blobs: what is kept, what overwrites leave of them, what is counted, and what becomes of damage. */
import {
  type CompressionAlgorithm,
  compressionDefaults,
  equalBytes,
  type PgId,
  type PoolCompression,
  type PoolId,
  Prng,
} from '@shoal/base'
import type { TransactionOp } from '@shoal/wire'
import { expect, test } from 'vitest'
import { ChecksumError, FileObjectStore, fsckObjectStore } from '../src/index.ts'
import { FakeMachine } from './fake-machine.ts'
import { objectId } from './workload.ts'

const collection = '1.0' as PgId
const pool = 1 as PoolId
const object = objectId('object')
const block = 4096
const blobBytes = 64 * 1024

/** A quarter of each block is noise. */
function compressible(seed: number, length: number): Uint8Array {
  const prng = new Prng(seed)
  const bytes = new Uint8Array(length)
  for (let at = 0; at < length; at++) bytes[at] = at % block < 1024 ? prng.below(256) : (at >>> 12) & 0xff
  return bytes
}

function noise(seed: number, length: number): Uint8Array {
  const prng = new Prng(seed)
  return new Uint8Array(length).map(() => prng.below(256))
}

async function open(
  machine: FakeMachine,
  change: Partial<PoolCompression> = {},
  options: Parameters<typeof FileObjectStore.mount>[2] = {},
): Promise<FileObjectStore> {
  const store = await FileObjectStore.mount(machine.env(), '/store', options)
  const settings: PoolCompression = { ...compressionDefaults, algorithm: 'lz4', mode: 'aggressive', ...change }
  store.setCompression(new Map([[pool, settings]]))
  return store
}

async function fresh(change: Partial<PoolCompression> = {}): Promise<{ machine: FakeMachine; store: FileObjectStore }> {
  const machine = new FakeMachine(3)
  await FileObjectStore.create(machine.env(), '/store', { sizeBytes: 4 << 20, journalBytes: 1 << 20 })
  const store = await open(machine, change)
  await store.submit({ ops: [{ kind: 'create-collection', collection }] })
  return { machine, store }
}

const write = (offset: number, data: Uint8Array, to = object): TransactionOp => ({
  kind: 'write',
  collection,
  object: to,
  offset,
  data,
})

/** Quicker than comparing value by value. */
function same(actual: Uint8Array, expected: Uint8Array): void {
  expect(actual.length).toBe(expected.length)
  expect(equalBytes(actual, expected)).toBe(true)
}

const read = (store: FileObjectStore, of = object): Promise<Uint8Array> => store.read(collection, of, 0, 1 << 20)
const allocated = async (store: FileObjectStore, of = object): Promise<number> =>
  (await store.stat(collection, of))?.allocatedBytes ?? 0

async function proven(machine: FakeMachine, store: FileObjectStore): Promise<void> {
  await store.close()
  expect((await fsckObjectStore(machine.env(), '/store', { deep: true })).findings).toEqual([])
}

for (const algorithm of ['lz4', 'zlib', 'brotli'] as const satisfies readonly CompressionAlgorithm[]) {
  test(`${algorithm}: saves space, and is the same after a remount with compression off`, async () => {
    const { machine, store } = await fresh({ algorithm })
    const data = compressible(1, 300_000)
    const done = store.submit({ ops: [write(1000, data)] })
    same((await read(store)).subarray(1000), data)
    await done
    const taken = await allocated(store)
    expect(taken).toBeLessThan(data.length / 2)
    const usage = store.compressionUsage().get(pool)
    expect(usage).toMatchObject({ originalBytes: 72 * block, operations: 5 })
    expect(store.perf()['compressed_allocated']).toBe(usage?.allocatedBytes)
    await store.close()
    const again = await FileObjectStore.mount(machine.env(), '/store')
    same((await read(again)).subarray(1000), data)
    expect(again.compressionUsage().get(pool)).toEqual({ ...usage, operations: 0 })
    expect(await allocated(again)).toBe(taken)
    await again.submit({ ops: [write(0, data)] })
    expect(again.compressionUsage().size).toBe(0)
    await proven(machine, again)
  })
}

test('kept only when the ratio is reached in whole units', async () => {
  for (const [ratio, kept] of [
    [0.5, true],
    [0.2, false],
  ] as const) {
    const { store } = await fresh({ requiredRatio: ratio })
    await store.submit({ ops: [write(0, compressible(2, blobBytes))] })
    expect(store.perf()['compress_success_count']).toBe(kept ? 1 : 0)
    expect(store.perf()['compress_rejected_count']).toBe(kept ? 0 : 1)
    expect((await allocated(store)) < blobBytes).toBe(kept)
  }
})

test('noise, small writes, other pools and other modes stay as they are', async () => {
  const { store } = await fresh()
  await store.submit({ ops: [write(0, noise(1, blobBytes))] })
  await store.submit({ ops: [write(0, new Uint8Array(block), objectId('small'))] })
  store.setCompression(new Map([[2 as PoolId, { ...compressionDefaults, algorithm: 'lz4', mode: 'force' }]]))
  await store.submit({ ops: [write(0, compressible(1, blobBytes), objectId('other'))] })
  store.setCompression(new Map([[pool, { ...compressionDefaults, algorithm: 'lz4', mode: 'passive' }]]))
  await store.submit({ ops: [write(0, compressible(1, blobBytes), objectId('passive'))] })
  store.setCompression(new Map([[pool, { ...compressionDefaults, algorithm: 'zstd', mode: 'force' }]]))
  await store.submit({ ops: [write(0, compressible(1, blobBytes), objectId('not here'))] })
  expect(store.compressionUsage().size).toBe(0)
})

test('an overwrite of a part leaves the rest, and never takes more than without compression', async () => {
  const { machine, store } = await fresh()
  const expected = compressible(4, blobBytes)
  await store.submit({ ops: [write(0, expected)] })
  const prng = new Prng(9)
  const order = [7, 3, 12, 0, 15, 9, 1, 2, 4, 5, 6, 8, 10, 11, 13, 14]
  for (const at of order) {
    const offset = at * block + prng.below(50)
    const piece = noise(at, 1 + prng.below(4000))
    expected.set(piece, offset)
    await store.submit({ ops: [write(offset, piece)] })
    same(await read(store), expected)
    expect(await allocated(store)).toBeLessThanOrEqual(blobBytes)
  }
  expect(store.compressionUsage().size).toBe(0)
  expect(await allocated(store)).toBe(blobBytes)
  await proven(machine, store)
})

test('written, overwritten, cut and cloned in one transaction', async () => {
  const { machine, store } = await fresh()
  const expected = compressible(5, 2 * blobBytes)
  const piece = noise(1, 5000)
  const to = objectId('clone')
  await store.submit({
    ops: [
      write(0, expected),
      write(10_000, piece),
      { kind: 'clone', collection, object, to },
      { kind: 'zero', collection, object, offset: 30_000, length: 20_000 },
      { kind: 'truncate', collection, object, sizeBytes: 100_000 },
    ],
  })
  const copy = expected.slice()
  copy.set(piece, 10_000)
  same(await read(store, to), copy)
  const cut = copy.slice(0, 100_000).fill(0, 30_000, 50_000)
  same(await read(store), cut)
  await store.submit({ ops: [{ kind: 'remove', collection, object: to }] })
  same(await read(store), cut)
  await store.submit({ ops: [{ kind: 'remove', collection, object }] })
  expect(store.compressionUsage().size).toBe(0)
  const { usedBytes } = store.usage()
  await proven(machine, store)
  const empty = await open(machine)
  expect(empty.usage().usedBytes).toBe(usedBytes)
})

test('holes and extents are those of the object, not of its blobs', async () => {
  const { store } = await fresh()
  await store.submit({ ops: [write(blobBytes, compressible(1, blobBytes))] })
  await store.submit({ ops: [{ kind: 'zero', collection, object, offset: blobBytes + 2 * block, length: block }] })
  expect(await store.extents(collection, object, 0, 1 << 20)).toEqual([
    { offset: blobBytes, length: 2 * block },
    { offset: blobBytes + 3 * block, length: 13 * block },
  ])
})

test('later transactions wait for one that is being compressed', async () => {
  const { store } = await fresh()
  const order: string[] = []
  const first = store.submit({ ops: [write(0, compressible(1, blobBytes))] }).then(() => order.push('first'))
  const second = store.submit({ ops: [write(0, noise(2, 100))] }).then(() => order.push('second'))
  expect((await read(store)).subarray(0, 100)).toEqual(noise(2, 100))
  await Promise.all([first, second])
  expect(order).toEqual(['first', 'second'])
})

test('a rotten unit of a blob is never given to the decompressor; what is read of it fails, the rest does not', async () => {
  const { machine, store } = await fresh()
  const data = compressible(6, 2 * blobBytes)
  await store.submit({ ops: [write(0, data)] })
  await store.close()
  const { content } = machine.file('/store/data')
  const at = content.findIndex((byte) => byte !== 0)
  content[at + 5000] = (content[at + 5000] as number) ^ 1
  const again = await open(machine)
  const error = await again.read(collection, object, 8192, 100).catch((cause: unknown) => cause)
  expect(error).toBeInstanceOf(ChecksumError)
  expect((error as ChecksumError).badExtents).toEqual([{ offset: 8192, length: block }])
  same(await again.read(collection, object, blobBytes, blobBytes), data.subarray(blobBytes))
  expect(again.perf()['decompress_failures']).toBe(0)
  // A partial write cannot make it good.
  await again.submit({ ops: [write(8192, noise(1, 10))] })
  await expect(again.read(collection, object, 8192, 10)).rejects.toBeInstanceOf(ChecksumError)
  await again.close()
  const codes = (await fsckObjectStore(machine.env(), '/store', { deep: true })).findings.map(({ code }) => code)
  expect(new Set(codes)).toEqual(new Set(['BLOCK_CHECKSUM']))
  const last = await open(machine)
  await last.submit({ ops: [write(0, data)] })
  same(await read(last), data)
  await proven(machine, last)
})

test('a full store: what was compressed may be overwritten as long as there is room, and then is refused whole', async () => {
  const { machine, store } = await fresh()
  const data = compressible(1, blobBytes)
  let made = 0
  for (let refused = false; !refused; made++) {
    refused = await store.submit({ ops: [write(0, data, objectId(`o${made}`))] }).then(
      () => false,
      () => true,
    )
  }
  made--
  expect(made * blobBytes).toBeGreaterThan(1.5 * (4 << 20))
  for (let i = 0; i < made; i++) {
    await store.submit({ ops: [write(9000, noise(i, 9000), objectId(`o${i}`))] }).catch(() => undefined)
  }
  for (let i = 0; i < made; i += 2) {
    await store.submit({ ops: [{ kind: 'remove', collection, object: objectId(`o${i}`) }] })
  }
  await store.submit({ ops: [write(9000, noise(1, 9000), objectId('o1'))] })
  const expected = data.slice()
  expected.set(noise(1, 9000), 9000)
  same(await read(store, objectId('o1')), expected)
  await proven(machine, store)
})
