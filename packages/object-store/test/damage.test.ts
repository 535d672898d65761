/** Bytes that change behind the store's back: found, named, never returned. */
import { must, type PgId } from '@shoal/base'
import type { TransactionOp } from '@shoal/wire'
import { beforeEach, expect, test } from 'vitest'
import { ChecksumError, FileObjectStore, fsckObjectStore } from '../src/index.ts'
import { FakeMachine } from './fake-machine.ts'
import { text } from './reference-store.ts'
import { objectId } from './workload.ts'

const collection = '1.0' as PgId
const object = objectId('victim')
const write = (offset: number, data: Uint8Array, to = object): TransactionOp => {
  return { kind: 'write', collection, object: to, offset, data }
}
const marked = (length: number, seed: number): Uint8Array =>
  new Uint8Array(length).map((_, i) => (i * 31 + (i >> 12) * 7 + seed) & 0xff)
let machine: FakeMachine

async function mount(options = {}): Promise<FileObjectStore> {
  return FileObjectStore.mount(machine.env(), '/store', options)
}

beforeEach(async () => {
  machine = new FakeMachine(3)
  await FileObjectStore.create(machine.env(), '/store', { sizeBytes: 1 << 20, journalBytes: 256 * 1024 })
  const store = await mount()
  await store.submit({ ops: [{ kind: 'create-collection', collection }, write(0, marked(16_384, 1))] })
  await store.close()
})

/** Flips one byte of the block that starts with `block`'s bytes. */
function flip(path: string, block: Uint8Array): void {
  const file = machine.file(path)
  const at =
    must(
      [...Array(file.content.length / 512).keys()].find((i) =>
        block.every((byte, j) => file.content[i * 512 + j] === byte),
      ),
      'the block in the file',
    ) * 512
  for (const content of [file.content, file.durable]) content[at + 100] = (content[at + 100] as number) ^ 1
}

test('a flipped byte in the data file is named by its range and not returned', async () => {
  flip('/store/data', marked(16_384, 1).subarray(4096, 8192))
  const store = await mount()
  const error = await store.read(collection, object, 0, 16_384).then(
    () => undefined,
    (cause: unknown) => cause,
  )
  expect(error).toBeInstanceOf(ChecksumError)
  expect((error as ChecksumError).badExtents).toEqual([{ offset: 4096, length: 4096 }])
  expect(await store.read(collection, object, 8192, 100)).toEqual(marked(16_384, 1).subarray(8192, 8292))
  expect(store.perf()['checksum_failures']).toBe(1)
  await store.submit({ ops: [write(4096, marked(4096, 9))] })
  expect(await store.read(collection, object, 4096, 4096)).toEqual(marked(4096, 9))
  await store.close()
  expect((await fsckObjectStore(machine.env(), '/store', { deep: true })).findings).toEqual([])
})

test('a write to a part of a bad block does not make it good', async () => {
  flip('/store/data', marked(16_384, 1).subarray(4096, 8192))
  let store = await mount()
  await store.submit({ ops: [write(5000, text('new'))] })
  await expect(store.read(collection, object, 4096, 10)).rejects.toBeInstanceOf(ChecksumError)
  await store.submit({ ops: [write(5100, text('newer'))] })
  await expect(store.read(collection, object, 5000, 3)).rejects.toBeInstanceOf(ChecksumError)
  machine.cutPower()
  store = await mount()
  await expect(store.read(collection, object, 5000, 3)).rejects.toBeInstanceOf(ChecksumError)
  await store.close()
  const report = await fsckObjectStore(machine.env(), '/store', { deep: true })
  expect(report.findings.map((finding) => finding.code)).toEqual(['BLOCK_CHECKSUM'])
})

test('a flipped byte in a metadata record is found by fsck and ends a mount or a read', async () => {
  const level = must(machine.levels.get('/store/meta'), 'the metadata')
  const row = must(
    level.rows.find(([key]) => key[0] === 'O'.charCodeAt(0)),
    'the onode',
  )
  row[1][12] = (row[1][12] as number) ^ 4
  const store = await mount()
  await expect(store.stat(collection, object)).rejects.toMatchObject({ code: 'ECHECKSUM' })
  await store.close()
  const codes = (await fsckObjectStore(machine.env(), '/store')).findings.map((finding) => finding.code)
  expect(codes).toEqual(['RECORD_DAMAGED', 'SHARD_ORPHAN'])
})

async function crashed(count: number): Promise<void> {
  const store = await mount()
  for (let i = 0; i < count; i++) await store.submit({ ops: [write(i * 4096, marked(4096, i + 40))] })
  machine.cutPower()
}

test('a damaged record with whole groups after it is reported, never skipped', async () => {
  await crashed(4)
  flip('/store/journal', marked(4096, 41))
  await expect(mount()).rejects.toMatchObject({ code: 'EIO', hint: expect.stringContaining('rebuilt') })
  const store = await mount({ onJournalDamage: 'recover' })
  expect(store.lostTransactions).toBe(true)
  expect(await store.read(collection, object, 0, 4096)).toEqual(marked(4096, 40))
  expect(await store.read(collection, object, 4096, 4096)).toEqual(marked(16_384, 1).subarray(4096, 8192))
  await store.clearDamage()
  await store.close()
  const again = await mount()
  expect(again.lostTransactions).toBe(false)
  await again.close()
})

test('a journal cut inside its records is reported, cut beyond them is made whole', async () => {
  await crashed(4)
  const file = machine.file('/store/journal')
  const whole = file.content
  file.content = whole.slice(0, 64 * 1024)
  const store = await mount()
  expect(store.perf()['replayed_records']).toBe(4)
  expect(store.lostTransactions).toBe(false)
  await store.submit({ ops: [write(0, marked(4096, 77))] })
  machine.cutPower()
  expect(file.content.length).toBe(whole.length)
  file.content = file.content.slice(0, 3000)
  await expect(mount()).rejects.toMatchObject({ code: 'EIO' })
  const report = await fsckObjectStore(machine.env(), '/store', { repair: true, deep: true })
  // The image of the lost record may be in the data file already: its block then fails, as it must.
  expect(report.findings[0]?.code).toBe('JOURNAL_LOSS')
})

test('a full store refuses writes whole and takes deletes', async () => {
  const store = await mount()
  const big = objectId('big')
  await expect(
    store.submit({ ops: [{ kind: 'touch', collection, object: big }, write(0, new Uint8Array(2 << 20), big)] }),
  ).rejects.toMatchObject({ code: 'ENOSPC' })
  expect(await store.stat(collection, big)).toBeUndefined()
  let filled = 0
  for (; ; filled++) {
    const code = await store.submit({ ops: [write(filled * 65_536, marked(65_536, filled), big)] }).then(
      () => '',
      (error) => error.code,
    )
    if (code === 'ENOSPC') break
  }
  expect(filled).toBeGreaterThan(10)
  expect(store.usage().freeBytes).toBeLessThan(65_536)
  await store.submit({ ops: [{ kind: 'remove', collection, object: big }] })
  await store.submit({ ops: [write(0, marked(400_000, 5), objectId('next'))] })
  expect(await store.read(collection, objectId('next'), 0, 400_000)).toEqual(marked(400_000, 5))
  expect(await store.read(collection, object, 0, 16_384)).toEqual(marked(16_384, 1))
  await store.close()
  expect((await fsckObjectStore(machine.env(), '/store', { deep: true })).findings).toEqual([])
})

test('a body too long for the journal is written over what is there only beside it: it waits for the units that checkpoints free', async () => {
  const store = await mount({ largeWriteBytes: 8192 })
  const [kept, freed] = [objectId('kept'), objectId('freed')]
  await store.submit({ ops: [write(0, marked(147_456, 1), kept)] })
  for (let filled = 0; store.perf()['free_units'] !== 0; filled++) {
    const length = Math.min(65_536, (store.perf()['free_units'] as number) * 4096)
    await store.submit({ ops: [write(filled * 65_536, marked(length, filled), freed)] })
  }
  await store.submit({ ops: [{ kind: 'remove', collection, object: freed }] })
  await store.submit({ ops: [write(0, marked(147_456, 2), kept)] })
  expect(await store.read(collection, kept, 0, 147_456)).toEqual(marked(147_456, 2))
  await store.close()
  expect((await fsckObjectStore(machine.env(), '/store', { deep: true })).findings).toEqual([])
})

test('what the file system below cannot give is not free', async () => {
  const machine = new FakeMachine(31)
  const env = machine.env()
  await FileObjectStore.create(env, '/osd', { sizeBytes: 64 * 1024 * 1024, journalBytes: 1024 * 1024 })
  machine.freeBytes = 64 * 1024 * 1024 + 10_000_000
  const store = await FileObjectStore.mount(env, '/osd')
  const usage = store.usage()
  expect(usage.freeBytes).toBe(10_000_000)
  expect(usage.usedBytes).toBe(usage.totalBytes - 10_000_000)
  await store.close()
})

test('a failed datasync ends the daemon', async () => {
  const store = await mount()
  machine.failDatasync = true
  const outcome = store.submit({ ops: [write(0, marked(100, 1))] })
  await Promise.race([outcome, machine.crashed])
  expect(machine.aborts).toHaveLength(1)
  await expect(store.submit({ ops: [] })).rejects.toMatchObject({ code: 'EIO', outcome: 'unknown' })
})

test('a directory is one store of one process', async () => {
  await expect(FileObjectStore.create(machine.env(), '/store', { sizeBytes: 1 << 20 })).rejects.toMatchObject({
    code: 'EEXIST',
  })
  const store = await mount()
  await expect(mount()).rejects.toMatchObject({ code: 'EBUSY' })
  await expect(FileObjectStore.mount(machine.env(), '/none')).rejects.toMatchObject({ code: 'ENOENT' })
  expect(store.uuid).toMatch(/^[0-9a-f-]{36}$/)
})
