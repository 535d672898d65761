/** Power cuts at every write and batch while objects move: each is in one collection, whole, and the rest can be moved. */
import { equalBytes, type PgId, Prng } from '@shoal/base'
import type { TransactionOp } from '@shoal/wire'
import { expect, test } from 'vitest'
import { FileObjectStore, fsckObjectStore } from '../src/index.ts'
import { compressAll } from './compress-all.ts'
import { FakeMachine } from './fake-machine.ts'
import { countObject, text } from './reference-store.ts'
import { objectId } from './workload.ts'

const size = { sizeBytes: 1024 * 1024, journalBytes: 256 * 1024 }
const [from, to] = ['1.0', '1.8'] as [PgId, PgId]
const names = Array.from({ length: 160 }, (_, at) => `object-${at}`)
const moves = (name: string): boolean => Number(name.slice(7)) % 2 === 1

async function filled(seed: number): Promise<FakeMachine> {
  const machine = new FakeMachine(seed)
  await FileObjectStore.create(machine.env(), '/store', size)
  const store = await FileObjectStore.mount(machine.env(), '/store')
  const ops: TransactionOp[] = [
    { kind: 'create-collection', collection: from },
    { kind: 'create-collection', collection: to },
  ]
  for (const name of names) {
    const xattrs = new Map([['x', text(name)]])
    ops.push({ kind: 'set-xattrs', collection: from, object: objectId(name), xattrs })
  }
  await store.submit({ ops })
  await store.close()
  machine.steps = 0
  return machine
}

/** A write before, the move, a write after. */
async function work(machine: FakeMachine): Promise<void> {
  const store = await FileObjectStore.mount(machine.env(), '/store')
  const write = (collection: PgId, name: string): Promise<void> =>
    store.submit({
      ops: [{ kind: 'write', collection, object: objectId(name), offset: 20, data: text('before') }],
    })
  await write(from, 'object-7')
  await store.moveObjects(from, [to], ({ name }) => (moves(name) ? 0 : -1), countObject)
  await write(to, 'object-9')
  await store.close()
}

async function homes(store: FileObjectStore): Promise<ReadonlyMap<string, readonly PgId[]>> {
  const found = new Map<string, PgId[]>()
  for (const collection of [from, to]) {
    for (const { name } of (await store.list(collection, undefined, 1_000)).objects) {
      found.set(name, [...(found.get(name) ?? []), collection])
    }
  }
  return found
}

test('a crash at any step', async () => {
  const whole = await filled(1)
  await work(whole)
  const { steps } = whole
  expect(steps).toBeGreaterThan(8)
  let partly = 0
  for (let step = 1; step <= steps; step++) {
    const machine = await filled(step)
    machine.crashAtStep = step
    const done = work(machine)
    await Promise.race([done, Promise.resolve().then(() => machine.crashed)])
    machine.cutPower()
    machine.crashAtStep = Number.POSITIVE_INFINITY
    const store = await FileObjectStore.mount(machine.env(), '/store')
    const before = await homes(store)
    expect([...before.keys()].sort()).toEqual([...names].sort())
    for (const [name, where] of before) expect([name, where.length]).toEqual([name, 1])
    const gone = [...before.values()].filter(([home]) => home === to).length
    if (gone > 0 && gone < 80) partly++
    await store.moveObjects(from, [to], ({ name }) => (moves(name) ? 0 : -1), countObject)
    for (const [name, where] of await homes(store)) {
      expect(where).toEqual([moves(name) ? to : from])
      expect((await store.xattrs(where[0] as PgId, objectId(name))).get('x')).toEqual(text(name))
    }
    await store.close()
    expect((await fsckObjectStore(machine.env(), '/store', { deep: true })).findings).toEqual([])
    expect(machine.aborts).toEqual([])
  }
  // Two pages of 128, of which the first can be durable alone.
  expect(partly).toBeGreaterThan(0)
})

/** Three quarters of each block are zeros. */
function compressible(seed: number, length: number): Uint8Array {
  const prng = new Prng(seed)
  return new Uint8Array(length).map((_, at) => (at % 4096 < 1024 ? prng.below(256) : 0))
}

const blobBytes = 32_768
const overwriteAt = 6_000
const overwrite = new Uint8Array(4_096).map((_, at) => at % 251)
/** Written over only when its blob is about to move. */
const last = 'object-131'

/** By name: a blob, of which two blocks are written over, each partly, with what does not compress. */
function contents(): ReadonlyMap<string, Uint8Array> {
  return new Map(
    names.map((name, at) => {
      const bytes = compressible(at, blobBytes)
      bytes.set(overwrite, overwriteAt)
      return [name, bytes]
    }),
  )
}

async function compressed(seed: number): Promise<FakeMachine> {
  const machine = new FakeMachine(seed)
  await FileObjectStore.create(machine.env(), '/store', { sizeBytes: 8 << 20, journalBytes: 512 * 1024 })
  const store = await FileObjectStore.mount(machine.env(), '/store')
  compressAll(store, 'lz4')
  await store.submit({ ops: [from, to].map((collection) => ({ kind: 'create-collection', collection })) })
  const write = (name: string, offset: number, data: Uint8Array): Promise<void> =>
    store.submit({ ops: [{ kind: 'write', collection: from, object: objectId(name), offset, data }] })
  for (const [at, name] of names.entries()) {
    await write(name, 0, compressible(at, blobBytes))
    if (name !== last) await write(name, overwriteAt, overwrite)
  }
  await store.close()
  machine.steps = 0
  return machine
}

/** One more overwrite that only the journal has; the move there; writes over what moved and what stayed; the move back. */
async function moveCompressed(machine: FakeMachine): Promise<void> {
  const store = await FileObjectStore.mount(machine.env(), '/store')
  compressAll(store, 'lz4')
  const write = (collection: PgId, name: string): Promise<void> =>
    store.submit({
      ops: [{ kind: 'write', collection, object: objectId(name), offset: overwriteAt, data: overwrite }],
    })
  await write(from, last)
  await store.moveObjects(from, [to], ({ name }) => (moves(name) ? 0 : -1), countObject)
  await write(to, 'object-9')
  await write(from, 'object-8')
  await store.moveObjects(to, [from], ({ name }) => (name === 'object-9' ? -1 : 0), countObject)
  await store.close()
}

test('what is compressed is counted where its object is, a crash at any step', async () => {
  const whole = await compressed(1)
  await moveCompressed(whole)
  const { steps } = whole
  const expected = contents()
  for (let step = 1; step <= steps; step++) {
    const machine = await compressed(step)
    machine.crashAtStep = step
    const done = moveCompressed(machine)
    await Promise.race([done, Promise.resolve().then(() => machine.crashed)])
    machine.cutPower()
    machine.crashAtStep = Number.POSITIVE_INFINITY
    expect(await findings(machine)).toEqual([])
    const store = await FileObjectStore.mount(machine.env(), '/store')
    await store.moveObjects(from, [to], ({ name }) => (moves(name) ? 0 : -1), countObject)
    const removals: TransactionOp[] = []
    for (const [name, bytes] of expected) {
      const collection = moves(name) ? to : from
      const object = objectId(name)
      if (name !== last)
        expect([name, equalBytes(await store.read(collection, object, 0, blobBytes), bytes)]).toEqual([name, true])
      removals.push({ kind: 'remove', collection, object })
    }
    await store.submit({ ops: removals })
    expect(store.compressionUsage().size).toBe(0)
    await store.close()
    expect(await findings(machine)).toEqual([])
    expect(machine.aborts).toEqual([])
  }
})

async function findings(machine: FakeMachine): Promise<readonly unknown[]> {
  return (await fsckObjectStore(machine.env(), '/store', { deep: true })).findings
}
