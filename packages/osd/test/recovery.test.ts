/** Recovery and backfill on a small cluster: what moves, what stops them, and that every slot comes back. */
import { must, type OsdId, type PgId, type PoolId, pgId } from '@shoal/base'
import type { PoolHandle } from '@shoal/client'
import { placeObject } from '@shoal/cluster-map'
import type { ObjectStore } from '@shoal/object-store'
import { describe, expect, it } from 'vitest'
import { bytesOf, MiniCluster } from './support/mini-cluster.ts'

const oneByOne = { osd_recovery_max_active: 1, osd_max_backfills: 1 }
const slow = { ioDelayMs: { min: 2, max: 10 }, settings: oneByOne }
/** A new member is not brought up to date by log. */
const shortLogs = {
  ...slow,
  settings: { ...oneByOne, osd_target_pg_log_entries_per_osd: 80, osd_min_pg_log_entries: 10 },
}

async function total(cluster: MiniCluster, counter: string): Promise<number> {
  let sum = 0
  for (const [id, daemon] of cluster.daemons.entries()) {
    if (daemon !== undefined) sum += (await cluster.counters(id))[counter] ?? 0
  }
  return sum
}

async function expectNoSlotsHeld(cluster: MiniCluster): Promise<void> {
  for (const [id, daemon] of cluster.daemons.entries()) {
    if (daemon === undefined) continue
    const { reservations } = (await cluster.ask(id, 'perf')) as { reservations: Record<string, object> }
    for (const which of ['local', 'remote']) {
      expect(reservations[which], `${which} slots of osd.${id}`).toMatchObject({ granted: [], waiting: [] })
    }
  }
}

async function putMany(cluster: MiniCluster, pool: PoolHandle, count: number, sizeBytes: number): Promise<void> {
  const writes = Array.from({ length: count }, (_, at) =>
    pool.execute(`thing-${at}`, [{ kind: 'write-full', data: bytesOf(at, sizeBytes) }]),
  )
  await cluster.run(Promise.all(writes), 120_000)
}

function statesOf(cluster: MiniCluster, pool: PoolId): readonly string[] {
  return [...cluster.monitors.pgStats.values()]
    .filter((stats) => stats.pgId.startsWith(`${pool}.`))
    .flatMap((stats) => stats.states)
}

async function untilRecovered(cluster: MiniCluster, atLeast: number): Promise<number> {
  for (;;) {
    const moved = await total(cluster, 'recoveredObjects')
    if (moved >= atLeast) return moved
    await cluster.world.time.advance(20)
  }
}

/** Sets the flag while objects move, sees that they stop, clears it and sees the rest move. */
async function stopAndGo(cluster: MiniCluster, pool: PoolId, flag: 'norecover' | 'nobackfill', wait: string) {
  await untilRecovered(cluster, 20)
  cluster.monitors.setFlags(flag)
  // What is on its way arrives.
  await cluster.world.time.advance(1_000)
  const stopped = await total(cluster, 'recoveredObjects')
  await cluster.world.time.advance(20_000)
  expect(await total(cluster, 'recoveredObjects')).toBe(stopped)
  expect(statesOf(cluster, pool)).toContain(wait)
  await expectNoSlotsHeld(cluster)
  cluster.monitors.setFlags()
  await cluster.untilClean(pool, 120_000)
  await expectNoSlotsHeld(cluster)
  return stopped
}

describe('an object that comes in pieces', () => {
  it('is whole, however many maps pass meanwhile', async () => {
    const cluster = await MiniCluster.create(61, 3, slow)
    const pool = await cluster.pool('things', 1, 3, 2)
    const other = await cluster.pool('other', 1, 3, 2)
    const things = await cluster.client('things')
    await cluster.untilClean(pool)
    cluster.kill(2)
    await cluster.until(() => cluster.monitors.map.osds.get(2 as OsdId)?.up === false)
    await cluster.put(things, 'big', bytesOf(7, 2_000_000))
    await cluster.start(2)
    while ((await total(cluster, 'recoveredObjects')) === 0) {
      cluster.monitors.setPool(other, {})
      await cluster.world.time.advance(2)
    }
    // The daemon's own: its copy is asked for, not the primary's.
    const { store } = cluster.daemons[2] as unknown as { readonly store: ObjectStore }
    const collection = pgId(pool, 0)
    const { objects } = await cluster.run(store.list(collection, undefined, 10))
    const big = must(
      objects.find(({ name }) => name === 'big'),
      'the copy',
    )
    expect(await cluster.run(store.read(collection, big, 0, 2_000_000))).toEqual(bytesOf(7, 2_000_000))
  })
})

describe('recovery by log', () => {
  it('moves exactly the objects that were written while an OSD was away, and not a byte more', async () => {
    const cluster = await MiniCluster.create(41, 3)
    const pool = await cluster.pool('things', 8, 3, 2)
    const things = await cluster.client('things')
    await putMany(cluster, things, 300, 3_000)
    cluster.kill(1)
    const sizes = new Map<string, number>()
    for (let round = 0; round < 20; round++) {
      const writes = Array.from({ length: 50 }, (_, at) => {
        const name = `thing-${(round * 50 + at) % 120}`
        const data = bytesOf(round * 50 + at, 1_000 + at * 7)
        sizes.set(name, data.length)
        return things.execute(name, [{ kind: 'write-full', data }])
      })
      await cluster.run(Promise.all(writes))
    }
    await cluster.start(1)
    await cluster.untilClean(pool)
    expect(await total(cluster, 'recoveredObjects')).toBe(sizes.size)
    expect(await total(cluster, 'recoveredBytes')).toBe([...sizes.values()].reduce((sum, size) => sum + size, 0))
    expect(await total(cluster, 'reservationsRevoked')).toBe(0)
    await expectNoSlotsHeld(cluster)
  })

  it('takes a slot on each target, one PG after the other when there is one slot', async () => {
    const cluster = await MiniCluster.create(42, 3, slow)
    const pool = await cluster.pool('things', 8, 3, 2)
    const things = await cluster.client('things')
    cluster.kill(2)
    await putMany(cluster, things, 160, 2_000)
    await cluster.start(2, slow)
    await untilRecovered(cluster, 5)
    const { reservations } = (await cluster.ask(2, 'perf')) as {
      reservations: { remote: { slots: number; granted: string[]; waiting: string[]; grants: number } }
    }
    expect(reservations.remote.slots).toBe(1)
    expect(reservations.remote.granted).toEqual([expect.stringMatching(/remote-recovery$/)])
    expect(statesOf(cluster, pool)).toContain('recovery_wait')
    await cluster.untilClean(pool, 120_000)
    await expectNoSlotsHeld(cluster)
  })

  it('takes the PG that is forced next, and the others in their turn', async () => {
    const cluster = await MiniCluster.create(48, 3, slow)
    const pool = await cluster.pool('things', 8, 3, 2)
    const things = await cluster.client('things')
    cluster.kill(2)
    await putMany(cluster, things, 240, 2_000)
    await cluster.start(2, slow)
    await untilRecovered(cluster, 5)
    const waiting = [...cluster.monitors.pgStats.values()].filter(({ states }) => states.includes('recovery_wait'))
    const { pgId: pg, actingPrimary } = waiting.at(-1) as (typeof waiting)[number]
    const force = (verb: string): Promise<unknown> => cluster.ask(actingPrimary, `pg ${verb}`, { pgid: pg })
    expect(await force('force-recovery')).toEqual({ pgId: pg, changed: true })
    expect(await force('force-recovery')).toEqual({ pgId: pg, changed: false })
    expect(await force('force-backfill')).toEqual({ pgId: pg, changed: false })
    await cluster.until(() => cluster.monitors.pgStats.get(pg)?.states.includes('forced_recovery') === true)
    await cluster.until(() => cluster.monitors.pgStats.get(pg)?.states.includes('clean') === true)
    const left = waiting.filter((one) => cluster.monitors.pgStats.get(one.pgId)?.states.includes('clean') !== true)
    expect(left.length).toBeGreaterThanOrEqual(waiting.length - 2)
    const [next] = left as [(typeof waiting)[number]]
    const other = (verb: string): Promise<unknown> => cluster.ask(next.actingPrimary, `pg ${verb}`, { pgid: next.pgId })
    await other('force-recovery')
    expect(await other('cancel-force-recovery')).toEqual({ pgId: next.pgId, changed: true })
    await cluster.untilClean(pool, 120_000)
    await expectNoSlotsHeld(cluster)
  })

  it('stops while norecover is set, and goes on after', async () => {
    const cluster = await MiniCluster.create(43, 3, slow)
    const pool = await cluster.pool('things', 8, 3, 2)
    const things = await cluster.client('things')
    cluster.kill(2)
    await putMany(cluster, things, 160, 2_000)
    await cluster.start(2, slow)
    const stopped = await stopAndGo(cluster, pool, 'norecover', 'recovery_wait')
    expect(stopped).toBeLessThan(160)
    expect(await total(cluster, 'recoveredObjects')).toBe(160)
  })

  it('recovers what a client waits for even while norecover is set', async () => {
    const cluster = await MiniCluster.create(44, 3)
    const pool = await cluster.pool('things', 4, 3, 2)
    const things = await cluster.client('things')
    await putMany(cluster, things, 40, 2_000)
    cluster.kill(2)
    await putMany(cluster, things, 40, 2_100)
    cluster.monitors.setFlags('norecover')
    await cluster.start(2)
    await cluster.until(() => statesOf(cluster, pool).includes('recovery_wait'))
    await cluster.put(things, 'thing-3', bytesOf(99, 500))
    expect(await cluster.get(things, 'thing-3')).toEqual(bytesOf(99, 500))
    expect(await total(cluster, 'recoveredObjects')).toBe(1)
    cluster.monitors.setFlags()
    await cluster.untilClean(pool)
    expect(await total(cluster, 'recoveredObjects')).toBe(40)
  })
})

describe('backfill', () => {
  it('stops while nobackfill is set, and goes on after', async () => {
    const cluster = await MiniCluster.create(45, 4, shortLogs)
    const pool = await cluster.pool('things', 8, 3, 2)
    const things = await cluster.client('things')
    await putMany(cluster, things, 240, 2_000)
    cluster.monitors.setOsd(0 as OsdId, { weight: 0 })
    await stopAndGo(cluster, pool, 'nobackfill', 'backfill_wait')
    for (let at = 0; at < 240; at += 7) expect(await cluster.get(things, `thing-${at}`)).toEqual(bytesOf(at, 2_000))
    expect(cluster.machines.flatMap((machine) => machine.aborts)).toEqual([])
  })

  it('begins with a log that the store of the newcomer takes in one transaction, however long the names', async () => {
    const cluster = await MiniCluster.create(49, 4, { journalBytes: 1024 * 1024 })
    const pool = await cluster.pool('things', 1, 3, 2)
    const things = await cluster.client('things')
    const names = Array.from({ length: 60 }, (_, at) => `${at}-${'n'.repeat(1_500)}`)
    for (let round = 0; round < 5; round++) {
      await cluster.run(
        Promise.all(names.map((name) => things.execute(name, [{ kind: 'write-full', data: bytesOf(round, 10) }]))),
      )
    }
    const { acting } = must(
      [...cluster.monitors.pgStats.values()].find(({ pgId }) => pgId.startsWith(`${pool}.`)),
      'a report',
    )
    cluster.monitors.setOsd(acting[0] as OsdId, { weight: 0 })
    await cluster.untilClean(pool)
    expect(cluster.machines.flatMap((machine) => machine.aborts)).toEqual([])
    for (const name of names) expect(await cluster.get(things, name)).toEqual(bytesOf(4, 10))
  })

  it('tells how many copies are left, fewer and fewer', async () => {
    const cluster = await MiniCluster.create(49, 4, shortLogs)
    const pool = await cluster.pool('things', 1, 3, 2)
    const things = await cluster.client('things')
    await putMany(cluster, things, 300, 500)
    const pg = pgId(pool, 0)
    const stats = () => cluster.monitors.pgStats.get(pg)
    const leaving = stats()?.acting[1] as OsdId
    cluster.monitors.setOsd(leaving, { weight: 0 })
    const left: number[] = []
    await cluster.until(() => {
      const now = stats()?.misplacedCopies ?? 0
      if (now !== left.at(-1)) left.push(now)
      return left.length > 1 && now === 0 && stats()?.states.includes('clean') === true
    }, 120_000)
    const from = left.indexOf(300)
    expect(from).toBeGreaterThanOrEqual(0)
    const counts = left.slice(from)
    expect(counts).toEqual(counts.toSorted((a, b) => b - a))
    expect(counts.length).toBeGreaterThan(2)
  })

  it('lets writes pass while nobackfill holds it in the middle of a window', async () => {
    const cluster = await MiniCluster.create(46, 4, shortLogs)
    const pool = await cluster.pool('things', 2, 3, 2)
    const things = await cluster.client('things')
    await putMany(cluster, things, 200, 2_000)
    cluster.monitors.setOsd(0 as OsdId, { weight: 0 })
    await cluster.until(() => statesOf(cluster, pool).includes('backfilling'))
    await untilRecovered(cluster, 10)
    cluster.monitors.setFlags('nobackfill')
    await cluster.world.time.advance(1_000)
    const beganMs = cluster.world.time.nowMs
    await putMany(cluster, things, 200, 2_500)
    expect(cluster.world.time.nowMs - beganMs).toBeLessThan(20_000)
    for (let at = 0; at < 50; at++) await cluster.run(things.execute(`thing-${at}`, [{ kind: 'remove' }]))
    cluster.monitors.setFlags()
    await cluster.untilClean(pool, 120_000)
    for (let at = 50; at < 200; at++) expect(await cluster.get(things, `thing-${at}`)).toEqual(bytesOf(at, 2_500))
    for (let at = 0; at < 50; at += 9) {
      await expect(cluster.get(things, `thing-${at}`)).rejects.toMatchObject({ code: 'ENOENT' })
    }
    await expectSameCopies(cluster, pool)
  })

  it('gives its slot to a PG that recovers, waits, and goes on', async () => {
    let revoked = 0
    // Whether the two meet is a matter of milliseconds: until they did.
    for (let seed = 47; seed < 71 && revoked === 0; seed++) {
      const cluster = await MiniCluster.create(seed, 4, shortLogs)
      const pool = await cluster.pool('things', 4, 3, 2)
      const things = await cluster.client('things')
      await putMany(cluster, things, 320, 2_000)
      cluster.monitors.setOsd(0 as OsdId, { weight: 0 })
      await untilRecovered(cluster, 10)
      // A member restarts: some PGs have to recover, and want the slots of those that backfill.
      const away = 1 + (seed % 3)
      cluster.kill(away)
      await putMany(cluster, things, 80, 2_200)
      await cluster.start(away, shortLogs)
      await cluster.untilClean(pool, 240_000)
      await expectNoSlotsHeld(cluster)
      revoked = await total(cluster, 'reservationsRevoked')
      for (let at = 0; at < 320; at += 11) {
        expect(await cluster.get(things, `thing-${at}`)).toEqual(bytesOf(at, at < 80 ? 2_200 : 2_000))
      }
    }
    expect(revoked).toBeGreaterThan(0)
  })
})

/** Every member of every PG gives the same objects when it is the one that serves. */
async function expectSameCopies(cluster: MiniCluster, pool: PoolId): Promise<void> {
  const { pgId } = placeObject(cluster.monitors.map, pool, '', 'thing-60')
  const stats = cluster.monitors.pgStats.get(pgId as PgId)
  const queries: { info: { objects: number; lastUpdate: unknown } }[] = []
  for (const osd of stats?.acting ?? []) {
    queries.push((await cluster.ask(osd, 'pg query', { pgid: pgId })) as (typeof queries)[number])
  }
  expect(queries.length).toBe(3)
  for (const { info } of queries) expect(info.objects).toBe(queries[0]?.info.objects)
}

describe('flags of the map', () => {
  it('holds writes while pausewr is set and reads while pauserd is', async () => {
    const cluster = await MiniCluster.create(48, 3)
    await cluster.pool('things', 4, 3, 2)
    const things = await cluster.client('things')
    await cluster.put(things, 'thing', bytesOf(1, 100))
    await cluster.put(things, 'other', bytesOf(3, 100))
    cluster.monitors.setFlags('pausewr')
    await cluster.world.time.advance(100)
    let written = false
    const write = things.execute('thing', [{ kind: 'write-full', data: bytesOf(2, 100) }]).then(() => {
      written = true
    })
    await cluster.world.time.advance(5_000)
    expect(written).toBe(false)
    expect(await cluster.get(things, 'other')).toEqual(bytesOf(3, 100))
    cluster.monitors.setFlags('pauserd')
    await cluster.run(write)
    let read = false
    const reading = things.execute('thing', [{ kind: 'stat' }]).then(() => {
      read = true
    })
    await cluster.world.time.advance(5_000)
    expect(read).toBe(false)
    cluster.monitors.setFlags()
    await cluster.run(reading)
    expect(await cluster.get(things, 'thing')).toEqual(bytesOf(2, 100))
  })

  it('stays down while noup is set, and up while nodown is', async () => {
    const cluster = await MiniCluster.create(49, 3)
    const pool = await cluster.pool('things', 4, 3, 2)
    const isUp = (id: number): boolean => cluster.monitors.map.osds.get(id as OsdId)?.up === true
    cluster.monitors.setFlags('nodown')
    cluster.kill(1)
    await cluster.world.time.advance(15_000)
    expect(isUp(1)).toBe(true)
    // It is still reported: the monitors act as soon as they may.
    cluster.monitors.setFlags('noup')
    await cluster.until(() => !isUp(1), 15_000)
    const { epoch } = cluster.monitors.map
    await cluster.start(1)
    await cluster.world.time.advance(10_000)
    expect(isUp(1)).toBe(false)
    expect(cluster.monitors.map.epoch - epoch).toBeLessThan(10)
    cluster.monitors.setFlags()
    await cluster.until(() => isUp(1), 15_000)
    await cluster.untilClean(pool)
  })
})
