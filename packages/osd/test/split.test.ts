/** Pools that get more placement groups, with everything real but the monitors and the machines. */
import { pgId } from '@shoal/base'
import { describe, expect, it } from 'vitest'
import { bytesOf, MiniCluster } from './support/mini-cluster.ts'

const names = Array.from({ length: 60 }, (_, at) => `thing-${at}`)

async function expectAll(cluster: MiniCluster, things: Awaited<ReturnType<MiniCluster['client']>>): Promise<void> {
  for (const [at, name] of names.entries()) expect(await cluster.get(things, name)).toEqual(bytesOf(at, 5_000 + at))
  const listed = await cluster.run(
    (async () => {
      const found: string[] = []
      for await (const name of things.list()) found.push(name)
      return found
    })(),
  )
  expect(listed.sort()).toEqual([...names].sort())
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
