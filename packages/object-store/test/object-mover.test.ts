/** Power cuts at every write and batch while objects move: each is in one collection, whole, and the rest can be moved. */
import type { PgId } from '@shoal/base'
import type { TransactionOp } from '@shoal/wire'
import { expect, test } from 'vitest'
import { FileObjectStore, fsckObjectStore } from '../src/index.ts'
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
