/** Power cuts at every write, datasync and batch: what was acknowledged survives, the rest is a prefix, whole or absent. */
import { type CompressionAlgorithm, isClusterError } from '@shoal/base'
import type { Transaction } from '@shoal/wire'
import { expect, test } from 'vitest'
import { FileObjectStore, fsckObjectStore } from '../src/index.ts'
import { compressAll } from './compress-all.ts'
import { FakeMachine } from './fake-machine.ts'
import { dump, ReferenceStore } from './reference-store.ts'
import { Workload } from './workload.ts'

const options = { largeWriteBytes: 16_384, pendingBytesMax: 96 * 1024, dirtyBytesMax: 60_000, metaCacheBytes: 20_000 }
const size = { sizeBytes: 2 * 1024 * 1024, journalBytes: 256 * 1024 }

interface Plan {
  readonly storeKey: Uint8Array | undefined
  readonly algorithm: CompressionAlgorithm | undefined
  readonly transactions: readonly Transaction[]
  /** What a store shows after each prefix. */
  readonly dumps: readonly string[]
}

/** Transactions that the model accepts: a refused one has no place in the order. */
const theKey = new Uint8Array(32).fill(5)

async function plan(
  seed: number,
  count: number,
  algorithm?: CompressionAlgorithm,
  storeKey?: Uint8Array,
): Promise<Plan> {
  const workload = new Workload(seed, 50_000, algorithm !== undefined)
  const model = new ReferenceStore()
  const transactions: Transaction[] = []
  const dumps = [await dump(model)]
  for (let next = Workload.first(); transactions.length < count; next = workload.next()) {
    try {
      await model.submit(next)
    } catch (error) {
      if (isClusterError(error, 'EINVAL')) continue
      throw error
    }
    transactions.push(next)
    dumps.push(await dump(model))
  }
  return { storeKey, algorithm, transactions, dumps }
}

/** Submits in bursts and returns how many were acknowledged, in order. */
async function drive(
  machine: FakeMachine,
  { transactions, algorithm, storeKey }: Omit<Plan, 'dumps'>,
  from: number,
): Promise<{ acked: number; submitted: number }> {
  const progress = { acked: from, submitted: from }
  const work = async (): Promise<void> => {
    const store = await FileObjectStore.mount(machine.env(), '/store', { ...options, storeKey })
    if (algorithm !== undefined) compressAll(store, algorithm)
    let burst: Promise<void>[] = []
    for (let i = from; i < transactions.length; i++) {
      progress.submitted = i + 1
      burst.push(
        store.submit(transactions[i] as Transaction).then(() => {
          expect(progress.acked).toBe(i)
          progress.acked = i + 1
        }),
      )
      if (burst.length < 1 + (i % 5)) continue
      await Promise.all(burst)
      burst = []
    }
    await Promise.all(burst)
    await store.close()
  }
  const done = work()
  await Promise.race([done, Promise.resolve().then(() => machine.crashed)])
  return progress
}

async function freshMachine(seed: number, { storeKey }: Pick<Plan, 'storeKey'>): Promise<FakeMachine> {
  const machine = new FakeMachine(seed)
  await FileObjectStore.create(machine.env(), '/store', { ...size, storeKey })
  machine.steps = 0
  return machine
}

async function checkPrefix(
  machine: FakeMachine,
  { dumps, storeKey }: Plan,
  progress: { acked: number; submitted: number },
): Promise<number> {
  const store = await FileObjectStore.mount(machine.env(), '/store', { ...options, storeKey })
  const shown = await dump(store)
  const at = dumps.findIndex(
    (expected, index) => index >= progress.acked && index <= progress.submitted && expected === shown,
  )
  expect(at, `acknowledged ${progress.acked}, submitted ${progress.submitted}`).toBeGreaterThanOrEqual(progress.acked)
  await store.close()
  return at
}

const runs: readonly (readonly [number, (CompressionAlgorithm | undefined)?, Uint8Array?])[] = [
  [1],
  [2],
  [3, 'lz4'],
  [4, 'zlib'],
  [5, undefined, theKey],
  [6, 'lz4', theKey],
]

for (const [seed, algorithm, storeKey] of runs) {
  const how = `${algorithm ?? 'not'} compressed, ${storeKey === undefined ? 'not ' : ''}encrypted`
  test(`every step of a random workload, seed ${seed}, ${how}`, async () => {
    const plans = await plan(seed, 70, algorithm, storeKey)
    const whole = await freshMachine(seed, plans)
    const all = await drive(whole, plans, 0)
    expect(all.acked).toBe(plans.transactions.length)
    const steps = whole.steps
    expect(steps).toBeGreaterThan(80)
    let partial = 0
    for (let step = 1; step <= steps; step++) {
      const machine = await freshMachine(seed * 1000 + step, plans)
      machine.crashAtStep = step
      const progress = await drive(machine, plans, 0)
      if (machine.steps < step) continue
      machine.cutPower()
      const survived = await checkPrefix(machine, plans, progress)
      if (survived > 0 && survived < plans.transactions.length) partial++
      expect(machine.aborts).toEqual([])
      if (step % 5 === 0) {
        expect((await fsckObjectStore(machine.env(), '/store', { deep: true, storeKey })).findings).toEqual([])
      }
    }
    expect(partial).toBeGreaterThan(50)
  })
}

test('crash after crash, in the middle of recovery too', async () => {
  for (let seed = 10; seed < 22; seed++) {
    const plans = await plan(seed, 90, seed % 2 === 0 ? 'lz4' : undefined, seed % 3 === 0 ? theKey : undefined)
    const machine = await freshMachine(seed, plans)
    let done = 0
    for (let life = 0; life < 8; life++) {
      machine.steps = 0
      machine.crashAtStep = 5 + ((seed * 7 + life * 13) % 60)
      const progress = await drive(machine, plans, done)
      machine.cutPower()
      machine.crashAtStep = Number.POSITIVE_INFINITY
      if (life % 2 === 0) {
        machine.steps = 0
        machine.crashAtStep = 2 + (life % 5)
        const transactions = plans.transactions.slice(0, progress.submitted)
        await drive(machine, { ...plans, transactions }, progress.submitted)
        machine.cutPower()
        machine.crashAtStep = Number.POSITIVE_INFINITY
      }
      done = await checkPrefix(machine, plans, progress)
    }
    expect(done).toBeGreaterThan(3)
  }
})
