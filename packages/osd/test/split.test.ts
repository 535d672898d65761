/** Pools that get more placement groups, with everything real but the monitors and the machines. */
import { decode, type PoolId, pgId } from '@shoal/base'
import type { PoolHandle } from '@shoal/client'
import { emptySnapshots, type Pool, seedOfHash, withoutSnapshot } from '@shoal/cluster-map'
import { allSnapRecords, divideSnapRecords } from '@shoal/placement-group'
import { isClone, objectIdCodec, objectKey } from '@shoal/wire'
import { describe, expect, it } from 'vitest'
import type { OsdStore } from '../src/index.ts'
import { bytesOf, MiniCluster } from './support/mini-cluster.ts'

const names = Array.from({ length: 60 }, (_, at) => `thing-${at}`)

async function expectAll(cluster: MiniCluster, things: Awaited<ReturnType<MiniCluster['client']>>): Promise<void> {
  for (const [at, name] of names.entries()) expect(await cluster.get(things, name)).toEqual(bytesOf(at, 5_000 + at))
  expect(await cluster.run(listed(things))).toEqual([...names].sort())
}

async function listed(things: PoolHandle): Promise<readonly string[]> {
  const found: string[] = []
  for await (const name of things.list()) found.push(name)
  return found.sort()
}

async function filled(seed: number, pgNum: number) {
  const cluster = await MiniCluster.create(seed, 3)
  const pool = await cluster.pool('things', pgNum, 3, 2)
  const things = await cluster.client('things')
  for (const [at, name] of names.entries()) await cluster.put(things, name, bytesOf(at, 5_000 + at))
  return { cluster, pool, things }
}

describe('a pool that gets more placement groups', () => {
  it.each([
    [2, 16],
    [3, 7],
    [8, 9],
  ])('from %i to %i: everything is where it is looked for, nothing was copied', async (from, to) => {
    const { cluster, pool, things } = await filled(from * 100 + to, from)
    cluster.monitors.setPool(pool, { pgNum: to })
    await cluster.untilClean(pool)
    await expectAll(cluster, things)
    for (const id of [0, 1, 2]) {
      const counters = await cluster.counters(id)
      expect(counters['recoveredObjects'] ?? 0).toBe(0)
      expect(counters['pgSplits']).toBeGreaterThan(0)
    }
    for (const [at, name] of names.entries()) await cluster.put(things, name, bytesOf(at, 5_000 + at))
    cluster.monitors.setPool(pool, { pgpNum: to })
    await cluster.untilClean(pool)
    await expectAll(cluster, things)
    expect(cluster.machines.flatMap((machine) => machine.aborts)).toEqual([])
  })

  it('counts what each part has', async () => {
    const { cluster, pool } = await filled(7, 2)
    cluster.monitors.setPool(pool, { pgNum: 8 })
    await cluster.untilClean(pool)
    const stats = Array.from({ length: 8 }, (_, seed) => cluster.monitors.pgStats.get(pgId(pool, seed)))
    expect(stats.reduce((sum, one) => sum + (one?.objects ?? 0), 0)).toBe(names.length)
    expect(stats.reduce((sum, one) => sum + (one?.bytes ?? 0), 0)).toBe(
      names.reduce((sum, _, at) => sum + 5_000 + at, 0),
    )
  })

  it('an OSD that was away splits what it has when it is back, and gets what it missed', async () => {
    const { cluster, pool, things } = await filled(8, 2)
    cluster.kill(2)
    await cluster.until(() => cluster.monitors.map.osds.get(2 as never)?.up === false)
    for (const [at, name] of names.slice(0, 10).entries()) await cluster.put(things, name, bytesOf(at, 5_000 + at))
    cluster.monitors.setPool(pool, { pgNum: 8 })
    for (const [at, name] of names.slice(0, 20).entries()) await cluster.put(things, name, bytesOf(at, 5_000 + at))
    cluster.monitors.setPool(pool, { pgNum: 16 })
    await cluster.start(2)
    await cluster.untilClean(pool)
    await expectAll(cluster, things)
    let recovered = 0
    for (const id of [0, 1, 2]) recovered += (await cluster.counters(id))['recoveredObjects'] ?? 0
    expect(recovered).toBe(20)
  })

  it('goes on with a split that was cut off by a crash, wherever that was', async () => {
    for (let step = 1; step <= 12; step++) {
      const { cluster, pool, things } = await filled(900 + step, 2)
      const operations = cluster.machine(1).operations
      cluster.monitors.setPool(pool, { pgNum: 8 })
      await cluster.until(() => cluster.machine(1).operations >= operations + step)
      cluster.cutPower(1)
      await cluster.world.time.advance(500)
      await cluster.start(1)
      await cluster.untilClean(pool)
      await expectAll(cluster, things)
      expect(cluster.machines.flatMap((machine) => machine.aborts)).toEqual([])
    }
  })
})

describe('snapshots of a pool that gets more placement groups', () => {
  async function withSnapshot(seed: number) {
    const { cluster, pool, things } = await filled(seed, 2)
    const entry = () => cluster.monitors.map.pools.get(pool) as Pool
    cluster.monitors.setPool(pool, {
      snapshots: { ...emptySnapshots('pool'), seq: 1, snaps: [{ id: 1, name: 's', createdMs: 0 }] },
    })
    await cluster.world.time.advance(200)
    // Half of each object stays as it was, a third of the objects goes.
    for (const [at, name] of names.entries()) {
      if (at % 3 === 0) await cluster.run(things.remove(name))
      else await cluster.run(things.execute(name, [{ kind: 'write', offset: 0, data: bytesOf(at + 1, 2_500) }]))
    }
    return { cluster, pool, things, entry }
  }

  type Stats = { readonly objects: number; readonly bytes: number }

  function total(cluster: MiniCluster, pool: PoolId, pgNum: number): Stats {
    const sum = { objects: 0, bytes: 0 }
    for (let seed = 0; seed < pgNum; seed++) {
      const one = cluster.monitors.pgStats.get(pgId(pool, seed))
      sum.objects += one?.objects ?? 0
      sum.bytes += one?.bytes ?? 0
    }
    return sum
  }

  async function expectSnapshot(cluster: MiniCluster, things: PoolHandle): Promise<void> {
    const old = things.at(1)
    for (const [at, name] of names.entries()) expect(await cluster.get(old, name)).toEqual(bytesOf(at, 5_000 + at))
    expect(await cluster.run(listed(old))).toEqual([...names].sort())
  }

  /** Objects, and records of snapshots, that lie in the part that they belong to; any elsewhere fails the test. */
  async function inTheirParts(cluster: MiniCluster, id: number, pool: Pool) {
    const { store } = cluster.daemons[id] as unknown as { readonly store: OsdStore }
    const clones: string[] = []
    const records: string[] = []
    for (let seed = 0; seed < pool.pgNum; seed++) {
      const part = pgId(pool.id, seed)
      const { objects } = await cluster.run(store.list(part, undefined, 1_000))
      for (const object of objects) expect(seedOfHash(pool, object.hash)).toBe(seed)
      clones.push(...objects.filter(isClone).map(objectKey))
      const { entries } = await cluster.run(store.metaEntries(part, allSnapRecords.from, allSnapRecords.to, 1_000))
      for (const [ofSeed, keys] of divideSnapRecords(
        entries.map(({ key }) => key),
        (hash) => seedOfHash(pool, hash),
      )) {
        expect(ofSeed).toBe(seed)
        records.push(...keys.map((key) => objectKey(decode(objectIdCodec, key.subarray(9)))))
      }
    }
    expect(records.sort()).toEqual(clones.sort())
    return clones
  }

  async function trim(cluster: MiniCluster, pool: PoolId, entry: () => Pool): Promise<void> {
    cluster.monitors.setPool(pool, { snapshots: withoutSnapshot(entry().snapshots ?? emptySnapshots('pool'), 1) })
    const seeds = Array.from({ length: entry().pgNum }, (_, seed) => seed)
    const isPurged = (seed: number) => (cluster.monitors.pgStats.get(pgId(pool, seed))?.purgedSnaps?.length ?? 0) > 0
    await cluster.until(() => seeds.every(isPurged))
    await cluster.untilClean(pool)
    for (const id of [0, 1, 2]) expect(await inTheirParts(cluster, id, entry())).toEqual([])
  }

  it('every part has its clones, lists its snapshots, counts what it has, and trims it', async () => {
    const { cluster, pool, things, entry } = await withSnapshot(21)
    await cluster.untilClean(pool)
    await cluster.world.time.advance(10_000)
    const before = total(cluster, pool, 2)
    expect(before.objects).toBe(names.length + 40)
    cluster.monitors.setPool(pool, { pgNum: 8 })
    await cluster.untilClean(pool)
    expect(total(cluster, pool, 8)).toEqual(before)
    await expectSnapshot(cluster, things)
    for (const id of [0, 1, 2]) expect(await inTheirParts(cluster, id, entry())).toHaveLength(names.length)
    await trim(cluster, pool, entry)
    await cluster.world.time.advance(10_000)
    const left = names.reduce((sum, _, at) => sum + (at % 3 === 0 ? 0 : 5_000 + at), 0)
    expect(total(cluster, pool, 8)).toEqual({ objects: 40, bytes: left })
    expect(cluster.machines.flatMap((machine) => machine.aborts)).toEqual([])
  })

  it('nothing of them is lost to a crash in the middle', async () => {
    for (const step of [2, 4, 6, 8, 10, 12, 16]) {
      const { cluster, pool, things, entry } = await withSnapshot(40 + step)
      await cluster.untilClean(pool)
      const operations = cluster.machine(1).operations
      cluster.monitors.setPool(pool, { pgNum: 8 })
      await cluster.until(() => cluster.machine(1).operations >= operations + step)
      cluster.cutPower(1)
      await cluster.world.time.advance(500)
      await cluster.start(1)
      await cluster.untilClean(pool)
      await expectSnapshot(cluster, things)
      expect(await inTheirParts(cluster, 1, entry())).toHaveLength(names.length)
      await trim(cluster, pool, entry)
      expect(cluster.machines.flatMap((machine) => machine.aborts)).toEqual([])
    }
  })
})
