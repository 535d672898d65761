/** Limits of an image: the rate, the burst, turns of the users, changes while somebody waits. */
import { utf8Encode } from '@shoal/base'
import { type ImageConfig, QosGate, setImageOption } from '@shoal/block'
import { SimTime } from '@shoal/testkit'
import { beforeEach, describe, expect, test } from 'vitest'
import { MemoryCluster } from './memory-cluster.ts'

let time: SimTime
beforeEach(() => {
  time = new SimTime()
})

const config = (limits: Readonly<Record<string, number>>): ImageConfig => new Map(Object.entries(limits)) as ImageConfig

function gateWith(limits: Readonly<Record<string, number>>): QosGate {
  return new QosGate({ clock: { monotonicMs: () => time.nowMs, wallMs: () => 0 }, timers: time.timers }, config(limits))
}

/** A user that always has something to ask for; how often it was let in. */
function eager(gate: QosGate, kind: 'read' | 'write', bytes: number, width = 4): { count: number } {
  const user = {}
  const seen = { count: 0 }
  const life = async (): Promise<void> => {
    for (;;) {
      await gate.enter(user, kind, bytes)
      seen.count++
    }
  }
  for (let i = 0; i < width; i++) void life()
  return seen
}

describe('a gate', () => {
  test('lets in what the limit says, after a burst', async () => {
    const seen = eager(gateWith({ qos_iops_limit: 100, qos_iops_burst: 50 }), 'write', 4096)
    await time.advance(10)
    expect(seen.count).toBeGreaterThanOrEqual(50)
    expect(seen.count).toBeLessThanOrEqual(52)
    await time.advance(9_990)
    expect(seen.count).toBeGreaterThan(1_020)
    expect(seen.count).toBeLessThanOrEqual(1_052)
  })

  test('holds the rate of bytes also for requests that are larger than the burst', async () => {
    const seen = eager(gateWith({ qos_bps_limit: 1_000_000, qos_bps_burst: 1_000 }), 'read', 500_000)
    await time.advance(60_000)
    expect(seen.count).toBeGreaterThan(115)
    expect(seen.count).toBeLessThanOrEqual(122)
  })

  test('lets reads pass that are not limited', async () => {
    const gate = gateWith({ qos_write_iops_limit: 1 })
    const writes = eager(gate, 'write', 1)
    await time.advance(5_000)
    let reads = 0
    for (let i = 0; i < 1_000; i++) void gate.enter({}, 'read', 1).then(() => reads++)
    await time.advance(1)
    expect([reads, writes.count <= 7]).toEqual([1_000, true])
  })

  test('gives one that asks little its share beside one that asks a lot', async () => {
    const gate = gateWith({ qos_iops_limit: 100 })
    const greedy = eager(gate, 'write', 1, 200)
    const modest = eager(gate, 'write', 1, 1)
    await time.advance(20_000)
    expect(modest.count).toBeGreaterThan(900)
    expect(greedy.count).toBeGreaterThan(900)
  })

  test('goes by new limits at once, and lets all go without one', async () => {
    const gate = gateWith({ qos_iops_limit: 1 })
    let begun = 0
    for (let i = 0; i < 500; i++) void gate.enter({}, 'write', 1).then(() => begun++)
    await time.advance(2_000)
    expect(begun).toBeLessThan(5)
    gate.configure(config({ qos_iops_limit: 100 }))
    await time.advance(2_000)
    expect(begun).toBeGreaterThan(200)
    expect(begun).toBeLessThan(320)
    gate.configure(config({}))
    await time.advance(1)
    expect(begun).toBe(500)
  })
})

test('limits are kept with the image and reach those who have it open', async () => {
  const cluster = new MemoryCluster()
  const [a, b] = [cluster.client(), cluster.client()]
  const run = <T>(work: Promise<T>): Promise<T> => cluster.time.settle(work)
  const { id } = await run(a.store.create('disk', 65_536))
  const first = await run(a.open('disk'))
  expect(first.qos).toBeUndefined()
  await run(setImageOption(b, id, 'qos_iops_limit', 7))
  expect(first.qos).toBeDefined()
  expect((await run(b.open('disk'))).qos).toBeDefined()
  await run(first.write(0, utf8Encode('x')))
  await run(setImageOption(b, id, 'qos_iops_limit', 0))
  expect(first.qos).toBeUndefined()
})
