/** Objects of which no good copy can be reached: found when a copy comes back, given up only by an operator's choice. */
import { type OsdId, type PgId, type PoolId, pgId } from '@shoal/base'
import type { PoolHandle } from '@shoal/client'
import { describe, expect, it } from 'vitest'
import { bytesOf, MiniCluster } from './support/mini-cluster.ts'

interface Unfound {
  readonly cluster: MiniCluster
  readonly pool: PoolId
  readonly things: PoolHandle
  readonly pg: PgId
  /** Has the newest writes, and is dead. */
  readonly lost: number
  /** Knows of them by its log only. */
  readonly left: number
}

const old = (at: number): Uint8Array => bytesOf(at, 3_000 + at)
const fresh = (at: number): Uint8Array => bytesOf(100 + at, 5_000 + at)

/** Three objects are written when only one of two members is there; the other learns of them, and the first dies. */
async function unfound(seed: number): Promise<Unfound> {
  const cluster = await MiniCluster.create(seed, 3)
  const pool = await cluster.pool('things', 1, 2, 1)
  const things = await cluster.client('things')
  const pg = pgId(pool, 0)
  const acting = (): readonly OsdId[] => cluster.monitors.pgStats.get(pg)?.acting ?? []
  const [lost, left] = acting() as readonly [OsdId, OsdId]
  const isUp = (id: OsdId) => cluster.monitors.map.osds.get(id)?.up === true
  for (let at = 0; at < 3; at++) await cluster.put(things, `thing-${at}`, old(at))
  cluster.kill(left)
  await cluster.until(() => !isUp(left) && acting().length === 1)
  cluster.monitors.setFlags('norecover')
  for (const at of [0, 1]) await cluster.put(things, `thing-${at}`, fresh(at))
  await cluster.put(things, 'thing-new', fresh(7))
  await cluster.start(left)
  await cluster.until(() => isUp(left) && acting().length === 2)
  await cluster.world.time.advance(2_000)
  cluster.kill(lost)
  await cluster.until(() => !isUp(lost) && acting()[0] === left)
  cluster.monitors.setFlags()
  await cluster.until(() => cluster.monitors.pgStats.get(pg)?.unfoundObjects === 3)
  return { cluster, pool, things, pg, lost, left }
}

const mark = (one: Unfound, mode: string): Promise<unknown> =>
  one.cluster.ask(one.left, 'pg mark-unfound-lost', { pgid: one.pg, mode })
const list = (one: Unfound): Promise<unknown> => one.cluster.ask(one.left, 'pg list-unfound', { pgid: one.pg })

async function declareLost({ cluster, lost }: Unfound): Promise<void> {
  cluster.monitors.setOsd(lost as OsdId, { lostAt: cluster.monitors.map.epoch })
  await cluster.world.time.advance(100)
}

/** The dead one comes back with its disk, and then serves alone. */
async function cameBack({ cluster, pool, lost, left }: Unfound): Promise<void> {
  await cluster.start(lost)
  await cluster.untilClean(pool, 120_000)
  cluster.kill(left)
  await cluster.until(() => cluster.monitors.map.osds.get(left as OsdId)?.up === false)
}

describe('unfound objects', () => {
  it('are listed, stay so, keep who reads them waiting, and are not given up while a copy may come back', async () => {
    const one = await unfound(1)
    const { cluster, things, pg, lost } = one
    expect(await list(one)).toMatchObject({
      objects: [{ name: 'thing-0' }, { name: 'thing-1' }, { name: 'thing-new' }],
      mightBeOn: [lost],
    })
    await expect(mark(one, 'delete')).rejects.toMatchObject({
      code: 'EBUSY',
      hint: expect.stringContaining('osd lost'),
    })
    await expect(mark(one, 'both')).rejects.toMatchObject({ code: 'EINVAL' })
    const counts = new Set<number | undefined>()
    for (let i = 0; i < 40; i++) {
      await cluster.world.time.advance(100)
      counts.add(cluster.monitors.pgStats.get(pg)?.unfoundObjects)
    }
    expect([...counts]).toEqual([3])
    // The others go on.
    expect(await cluster.get(things, 'thing-2')).toEqual(old(2))
    const waiting = things.read('thing-1', 0, 10_000)
    await cluster.start(lost)
    expect(await cluster.run(waiting)).toEqual(fresh(1))
    await cluster.untilClean(one.pool, 120_000)
    expect(await cluster.get(things, 'thing-new')).toEqual(fresh(7))
  })

  it('are found on an OSD that comes back though nothing is placed on it any more', async () => {
    const one = await unfound(2)
    const { cluster, things, pool, lost } = one
    cluster.monitors.setOsd(lost as OsdId, { weight: 0 })
    await cluster.until(() => cluster.monitors.pgStats.get(one.pg)?.unfoundObjects === 3)
    await cluster.start(lost)
    await cluster.untilClean(pool, 120_000)
    for (const at of [0, 1]) expect(await cluster.get(things, `thing-${at}`)).toEqual(fresh(at))
    expect(await cluster.get(things, 'thing-new')).toEqual(fresh(7))
    // Its copy is not needed any more, and goes.
    await cluster.world.time.advance(5_000)
    await expect(cluster.ask(lost, 'pg query', { pgid: one.pg })).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it('are reverted to the content before, everywhere, where there is one', async () => {
    const one = await unfound(3)
    const { cluster, things, pg } = one
    await declareLost(one)
    const waiting = things.read('thing-0', 0, 10_000)
    expect(await mark(one, 'revert')).toEqual({ mode: 'revert', objects: 3 })
    expect(await cluster.run(waiting)).toEqual(old(0))
    expect(await list(one)).toMatchObject({ objects: [{ name: 'thing-new' }] })
    expect(await mark(one, 'delete')).toEqual({ mode: 'delete', objects: 1 })
    await expect(cluster.get(things, 'thing-new')).rejects.toMatchObject({ code: 'ENOENT' })
    await cluster.world.time.advance(2_000)
    const bytes = old(0).length + old(1).length + old(2).length
    expect(cluster.monitors.pgStats.get(pg)).toMatchObject({ unfoundObjects: 0, objects: 3, bytes })
    // It may be written again; and a copy that comes back late does not bring back what was given up.
    await cluster.put(things, 'thing-1', bytesOf(55, 100))
    await cameBack(one)
    expect(await cluster.get(things, 'thing-0')).toEqual(old(0))
    expect(await cluster.get(things, 'thing-1')).toEqual(bytesOf(55, 100))
    await expect(cluster.get(things, 'thing-new')).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it('are deleted, everywhere, also on members that missed them, and that stays so after restarts', async () => {
    const one = await unfound(4)
    const { cluster, things, pool, pg, left, lost } = one
    await declareLost(one)
    // A member that is filled while the objects are unfound.
    cluster.monitors.setOsd(lost as OsdId, { weight: 0 })
    await cluster.until(() => cluster.monitors.pgStats.get(pg)?.up.length === 2)
    await cluster.until(() => cluster.monitors.pgStats.get(pg)?.unfoundObjects === 3)
    expect(await mark(one, 'delete')).toEqual({ mode: 'delete', objects: 3 })
    await cluster.untilClean(pool, 120_000)
    for (const id of [0, 1, 2]) if (id !== lost) cluster.cutPower(id)
    for (const id of [0, 1, 2]) if (id !== lost) await cluster.start(id)
    await cluster.untilClean(pool, 120_000)
    for (const name of ['thing-0', 'thing-1', 'thing-new']) {
      await expect(cluster.get(things, name)).rejects.toMatchObject({ code: 'ENOENT' })
    }
    expect(await cluster.get(things, 'thing-2')).toEqual(old(2))
    expect(cluster.monitors.pgStats.get(pg)).toMatchObject({ objects: 1, bytes: old(2).length })
    expect(left).not.toBe(lost)
  })
})
