/**
 * Snapshots of erasure-coded pools where disks lose their power at every step: a write that makes a clone is there as a
 * whole, or undone as a whole on every shard, and so is the trim that removes one.
 */
import { must, type OsdId, type PgId, type PoolId, shardPgId } from '@shoal/base'
import type { PoolHandle } from '@shoal/client'
import { headSnap, type ObjectId } from '@shoal/wire'
import { describe, expect, it } from 'vitest'
import type { OsdStore } from '../src/index.ts'
import { bytesOf, MiniCluster } from './support/mini-cluster.ts'
import { dropSnapshot, isPurged, takeSnapshot } from './support/pool-snapshots.ts'

type Victims = (acting: readonly OsdId[]) => readonly OsdId[]

const everybody: readonly (readonly [string, number, Victims])[] = [
  ['the primary', 51, (acting) => acting.slice(0, 1)],
  ['another member', 52, (acting) => acting.slice(1, 2)],
  ['all', 53, (acting) => acting],
]

class Bench {
  readonly cluster: MiniCluster
  readonly id: PoolId
  readonly pool: PoolHandle
  readonly victims: Victims

  private constructor(cluster: MiniCluster, id: PoolId, pool: PoolHandle, victims: Victims) {
    this.cluster = cluster
    this.id = id
    this.pool = pool
    this.victims = victims
  }

  static async create(seed: number, victims: Victims): Promise<Bench> {
    const cluster = await MiniCluster.create(seed, 3, { ioDelayMs: { min: 1, max: 3 } })
    const id = await cluster.codedPool('things', 1, 2, 1)
    return new Bench(cluster, id, await cluster.client('things'), victims)
  }

  get pgid(): PgId {
    return `${this.id}.0` as PgId
  }

  get stats() {
    return must(this.cluster.monitors.pgStats.get(this.pgid), 'statistics of the group')
  }

  async snapshot(): Promise<number> {
    const snap = takeSnapshot(this.cluster, this.id)
    await this.cluster.world.time.advance(200)
    return snap
  }

  /** Power goes at this step of the victims' disks, counted from where `begin` begins. Returns how many went dark. */
  async cutAt(step: number, begin: () => void): Promise<number> {
    const { cluster } = this
    const ids = this.victims(this.stats.acting)
    for (const id of ids) {
      const machine = cluster.machine(id)
      machine.cutPowerAtStep = machine.steps + step
    }
    begin()
    await cluster.world.time.advance(400)
    const dark = ids.filter((id) => cluster.machine(id).steps >= cluster.machine(id).cutPowerAtStep)
    for (const id of dark) cluster.cutPower(id)
    for (const id of ids) cluster.machine(id).cutPowerAtStep = Number.POSITIVE_INFINITY
    await this.restart(dark)
    return dark.length
  }

  async restart(ids: readonly number[]): Promise<void> {
    if (ids.length === 0) return
    const { cluster } = this
    for (const id of ids) await cluster.start(id)
    await cluster.until(() => ids.every((id) => cluster.daemons[id]?.isUp === true))
    // What primaries told before does not count.
    await cluster.world.time.advance(3_000)
    await cluster.untilClean(this.id, 120_000)
  }

  /** Which clones, and heads, each shard has once nothing is under way: all alike, or the test fails. */
  async stored(): Promise<readonly (number | 'head')[]> {
    const { cluster, stats, pgid } = this
    await cluster.world.time.advance(1_000)
    const lists: (readonly ObjectId[])[] = []
    for (const [shard, osd] of stats.acting.entries()) {
      const { store } = cluster.daemons[osd] as unknown as { readonly store: OsdStore }
      lists.push((await cluster.run(store.list(shardPgId(pgid, shard), undefined, 100))).objects)
    }
    for (const list of lists) expect(list).toEqual(lists[0])
    return (lists[0] ?? []).map(({ snap }) => (snap === headSnap ? 'head' : snap))
  }

  async expectAt(snaps: ReadonlyMap<number, Uint8Array>): Promise<void> {
    for (const [snap, bytes] of snaps) expect(await this.cluster.get(this.pool.at(snap), 'thing')).toEqual(bytes)
  }

  async deepScrub(): Promise<number> {
    const before = this.stats.lastDeepScrubMs
    await this.cluster.ask(this.stats.actingPrimary, 'pg deep-scrub', { pgid: this.pgid })
    await this.cluster.until(() => this.stats.lastDeepScrubMs > before)
    return this.stats.scrubErrors
  }
}

describe('a write that makes a clone', () => {
  it.each(everybody)(
    'survives a power cut of %s at every step',
    async (_who, seed, victims) => {
      const bench = await Bench.create(seed, victims)
      const { cluster, pool } = bench
      const expected = bytesOf(seed, 20_000)
      await cluster.put(pool, 'thing', expected)
      const snaps = new Map<number, Uint8Array>()
      let cuts = 0
      for (let step = 1; ; step++) {
        snaps.set(await bench.snapshot(), expected.slice())
        const data = bytesOf(seed + step, 6_000)
        const offset = (step * 1_913) % 14_000
        expected.set(data, offset)
        let written: Promise<unknown> = Promise.resolve()
        const dark = await bench.cutAt(step, () => {
          written = pool.execute('thing', [{ kind: 'write', offset, data }])
        })
        await cluster.run(written, 120_000)
        expect(await cluster.get(pool, 'thing')).toEqual(expected)
        if (dark === 0) break
        cuts += dark
      }
      expect(cuts).toBeGreaterThan(victims.length > 1 ? 2 : 0)
      await bench.expectAt(snaps)
      expect(await bench.stored()).toEqual([...snaps.keys(), 'head'])
      expect(await bench.deepScrub()).toBe(0)
      // Each shard in turn is made from the two others.
      for (const id of [0, 1, 2]) {
        cluster.kill(id)
        await cluster.until(() => cluster.monitors.map.osds.get(id as OsdId)?.up === false)
        await bench.expectAt(snaps)
        await bench.restart([id])
      }
    },
    180_000,
  )
})

describe('a trim', () => {
  it.each(everybody)(
    'survives a power cut of %s at every step, and leaves nothing behind',
    async (_who, seed, victims) => {
      const bench = await Bench.create(seed + 10, victims)
      const { cluster, pool } = bench
      const snaps = new Map<number, Uint8Array>()
      for (let at = 0; at < 12; at++) {
        const bytes = bytesOf(seed + at, 9_000 + at)
        await cluster.put(pool, 'thing', bytes)
        snaps.set(await bench.snapshot(), bytes)
      }
      await cluster.put(pool, 'thing', bytesOf(seed, 5))
      let cuts = 0
      for (const [at, snap] of [...snaps.keys()].entries()) {
        cuts += await bench.cutAt(at + 1, () => dropSnapshot(cluster, bench.id, snap))
        snaps.delete(snap)
        await cluster.until(() => isPurged(cluster, bench.id, snap), 120_000)
        expect(await bench.stored()).toEqual([...snaps.keys(), 'head'])
        await bench.expectAt(snaps)
      }
      expect(cuts).toBeGreaterThan(0)
      expect(await bench.deepScrub()).toBe(0)
    },
    180_000,
  )
})

describe('a clone', () => {
  it('is read without one of its shards, or past one that rots, which is made anew', async () => {
    const bench = await Bench.create(71, () => [])
    const { cluster, pool } = bench
    const bytes = bytesOf(7, 100_000)
    await cluster.put(pool, 'thing', bytes)
    const snap = await bench.snapshot()
    // Nothing of the old bytes is the head's any more.
    await cluster.put(pool, 'thing', bytesOf(8, 10))
    await cluster.stop(1)
    await bench.restart([1])
    const { disk } = cluster.machine(1)
    const file = disk.find('/data/store/data')
    for (const page of file?.kind === 'file' ? file.allocatedOffsets() : []) disk.flip('/data/store/data', page + 77, 4)
    await bench.expectAt(new Map([[snap, bytes]]))
    await cluster.until(() => bench.stats.states.join() === 'active,clean')
    expect(await bench.deepScrub()).toBe(0)
    cluster.kill(0)
    await cluster.until(() => cluster.monitors.map.osds.get(0 as OsdId)?.up === false)
    await bench.expectAt(new Map([[snap, bytes]]))
  }, 60_000)
})
