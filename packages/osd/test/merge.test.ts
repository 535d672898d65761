/** Pools that get fewer placement groups, with everything real but the monitors and the machines. */
import { type Epoch, type PgId, type PoolId, pgId, pgSeed } from '@shoal/base'
import type { PoolHandle } from '@shoal/client'
import { featureOwnIntervals, nextMerge, type Pool, pgIdsOf, withMerge, withPendingMerge } from '@shoal/cluster-map'
import { FileObjectStore } from '@shoal/object-store'
import type { FrozenPg } from '@shoal/placement-group'
import { makeSimEnv } from '@shoal/testkit'
import { headSnap, type TransactionOp } from '@shoal/wire'
import { describe, expect, it } from 'vitest'
import { PerfCounters } from '../src/perf-counters.ts'
import { mergeCollections } from '../src/pg-merger.ts'
import { bytesOf, MiniCluster } from './support/mini-cluster.ts'

const names = Array.from({ length: 60 }, (_, at) => `thing-${at}`)

async function listed(things: PoolHandle): Promise<readonly string[]> {
  const found: string[] = []
  for await (const name of things.list()) found.push(name)
  return found.sort()
}

async function expectAll(cluster: MiniCluster, things: PoolHandle): Promise<void> {
  for (const [at, name] of names.entries()) expect(await cluster.get(things, name)).toEqual(bytesOf(at, 5_000 + at))
  expect(await cluster.run(listed(things))).toEqual([...names].sort())
}

async function filled(seed: number, pgNum: number) {
  const cluster = await MiniCluster.create(seed, 3)
  cluster.monitors.change({ requiredFeatures: featureOwnIntervals })
  const pool = await cluster.pool('things', pgNum, 3, 2)
  const things = await cluster.client('things')
  for (const [at, name] of names.entries()) await cluster.put(things, name, bytesOf(at, 5_000 + at))
  return { cluster, pool, things }
}

const poolOf = (cluster: MiniCluster, id: PoolId): Pool => cluster.monitors.map.pools.get(id) as Pool
const nextEpoch = (cluster: MiniCluster): Epoch => (cluster.monitors.map.epoch + 1) as Epoch

/** Until both have said how far they are written. Returns what makes them one. */
async function ready(cluster: MiniCluster, id: PoolId): Promise<() => void> {
  const pair = nextMerge(poolOf(cluster, id)) as NonNullable<ReturnType<typeof nextMerge>>
  const since = nextEpoch(cluster)
  cluster.monitors.setPool(id, withPendingMerge(poolOf(cluster, id), since))
  const both = () => [pair.source, pair.target].map((one) => cluster.monitors.pgStats.get(one))
  await cluster.until(() =>
    both().every((stats) => (stats?.reportedEpoch ?? 0) >= since && stats?.states.includes('premerge') === true),
  )
  const [sourceVersion = '', targetVersion = ''] = both().map((stats) => stats?.version)
  return () => {
    const epoch = nextEpoch(cluster)
    cluster.monitors.setPool(id, withMerge(poolOf(cluster, id), { epoch, ...pair, sourceVersion, targetVersion }))
  }
}

describe('a pool that gets fewer placement groups', () => {
  it('has everything where it is looked for, nothing was copied', async () => {
    const { cluster, pool, things } = await filled(1, 7)
    cluster.monitors.setPool(pool, { pgpNum: 3 })
    await cluster.untilClean(pool)
    const moved: number[] = []
    for (const id of [0, 1, 2]) moved.push((await cluster.counters(id))['recoveredObjects'] ?? 0)
    for (let left = 6; left >= 3; left--) {
      const merge = await ready(cluster, pool)
      const { target } = nextMerge(poolOf(cluster, pool)) as NonNullable<ReturnType<typeof nextMerge>>
      const cleanSince = () =>
        pgIdsOf(poolOf(cluster, pool)).map((id) => cluster.monitors.pgStats.get(id)?.lastEpochClean)
      const before = cleanSince().slice(0, left)
      merge()
      await cluster.untilClean(pool)
      expect(poolOf(cluster, pool).pgNum).toBe(left)
      // The intervals of all others go on.
      expect(cleanSince()).toEqual(
        before.map((since, at) => (at === pgSeed(target) ? poolOf(cluster, pool).lastChange : since)),
      )
      await expectAll(cluster, things)
    }
    for (const id of [0, 1, 2]) {
      const counters = await cluster.counters(id)
      expect(counters['recoveredObjects'] ?? 0).toBe(moved[id])
      expect(counters['pgMerges']).toBe(4)
    }
    const stats = [0, 1, 2].map((seed) => cluster.monitors.pgStats.get(pgId(pool, seed)))
    expect(stats.reduce((sum, one) => sum + (one?.objects ?? 0), 0)).toBe(names.length)
    for (const [at, name] of names.entries()) await cluster.put(things, name, bytesOf(at, 5_000 + at))
    await expectAll(cluster, things)
    expect(cluster.machines.flatMap((machine) => machine.aborts)).toEqual([])
  })

  it('takes no write while both wait, answers reads, and takes it when the merge is given up or done', async () => {
    const { cluster, pool, things } = await filled(2, 2)
    for (const end of ['give-up', 'merge'] as const) {
      const merge = await ready(cluster, pool)
      // Until somebody wants to write to the object: operations on one keep their order.
      for (const name of names) expect(await cluster.get(things, name)).toBeDefined()
      let written = 0
      const writes = names.map(async (name, at) => {
        await things.writeFull(name, bytesOf(at + 1, 6_000))
        written++
      })
      await cluster.world.time.advance(3_000)
      expect(written).toBe(0)
      if (end === 'merge') merge()
      else cluster.monitors.setPool(pool, withPendingMerge(poolOf(cluster, pool), undefined))
      await cluster.run(Promise.all(writes))
      for (const [at, name] of names.entries()) expect(await cluster.get(things, name)).toEqual(bytesOf(at + 1, 6_000))
    }
    expect(poolOf(cluster, pool).pgNum).toBe(1)
    // What waited in the group that is no more was sent again to the other.
    for (const id of [0, 1, 2]) expect(await cluster.ask(id, 'status')).toMatchObject({ opsInFlight: 0 })
  })

  it('goes on with a merge that was cut off by a crash, wherever that was', async () => {
    for (let step = 1; step <= 10; step++) {
      const { cluster, pool, things } = await filled(800 + step, 2)
      cluster.monitors.setPool(pool, { pgpNum: 1 })
      await cluster.untilClean(pool)
      const merge = await ready(cluster, pool)
      const { operations } = cluster.machine(1)
      merge()
      await cluster.until(() => cluster.machine(1).operations >= operations + step)
      cluster.cutPower(1)
      await cluster.world.time.advance(500)
      await cluster.start(1)
      await cluster.untilClean(pool)
      await expectAll(cluster, things)
      expect(cluster.machines.flatMap((machine) => machine.aborts)).toEqual([])
    }
  })

  it('believes no copy that missed what was written before', async () => {
    const { cluster, pool, things } = await filled(3, 2)
    cluster.monitors.setPool(pool, { pgpNum: 1 })
    await cluster.untilClean(pool)
    const merge = await ready(cluster, pool)
    cluster.kill(2)
    await cluster.until(() => cluster.monitors.map.osds.get(2 as never)?.up === false)
    // As if monitors had been told by others: what osd.2 has is behind what they say.
    cluster.monitors.setPool(pool, withPendingMerge(poolOf(cluster, pool), undefined))
    for (const [at, name] of names.entries()) await cluster.put(things, name, bytesOf(at, 5_000 + at))
    expect(merge).toBeDefined()
    const since = nextEpoch(cluster)
    cluster.monitors.setPool(pool, withPendingMerge(poolOf(cluster, pool), since))
    await cluster.world.time.advance(5_000)
    const pair = nextMerge(poolOf(cluster, pool)) as NonNullable<ReturnType<typeof nextMerge>>
    const [sourceVersion = '', targetVersion = ''] = [pair.source, pair.target].map(
      (one) => cluster.monitors.pgStats.get(one)?.version,
    )
    const epoch = nextEpoch(cluster)
    cluster.monitors.setPool(pool, withMerge(poolOf(cluster, pool), { epoch, ...pair, sourceVersion, targetVersion }))
    await cluster.start(2)
    await cluster.untilClean(pool)
    await expectAll(cluster, things)
    expect((await cluster.counters(2))['pgMerges']).toBe(1)
  })

  it('drops a copy whose target is elsewhere in bounded steps, with all that is in it', async () => {
    const { env } = makeSimEnv({ seed: 5 })
    await FileObjectStore.create(env, '/store', { sizeBytes: 1 << 22, journalBytes: 1 << 20 })
    const store = await FileObjectStore.mount(env, '/store')
    const collection = '1.1' as PgId
    const touched = Array.from({ length: 150 }, (_, at): TransactionOp => {
      const object = { pool: 1 as PoolId, hash: at * 2 + 1, namespace: '', name: `thing-${at}`, snap: headSnap }
      return { kind: 'touch', collection, object }
    })
    await store.submit({ ops: [{ kind: 'create-collection', collection }, ...touched] })
    const sources = [{ id: collection, frozen: undefined as FrozenPg | undefined }]
    const merge = { targetId: '1.0' as PgId, target: undefined, sources, before: {} as Pool, done: undefined }
    expect(await mergeCollections({ env, store, counters: new PerfCounters() }, merge)).toBeUndefined()
    expect(store.hasCollection(collection)).toBe(false)
    await store.close()
  })
})
