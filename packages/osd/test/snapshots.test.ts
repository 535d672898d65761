/**
 * Snapshots from the client to the stores and back, on OSDs that are real but for their machines and monitors; in pools of
 * copies, and in pools of shards.
 */
import { ClusterError, type Epoch, isClusterError, must, type OsdId, pgId, shardPgId, utf8Encode } from '@shoal/base'
import type { PoolHandle } from '@shoal/client'
import { type Pool, withQuota } from '@shoal/cluster-map'
import { headSnap, type ObjectId } from '@shoal/wire'
import { describe, expect, it } from 'vitest'
import type { OsdStore } from '../src/index.ts'
import { bytesOf, MiniCluster } from './support/mini-cluster.ts'
import { dropSnapshot, isPurged, takeSnapshot } from './support/pool-snapshots.ts'

const name = 'thing'
const kinds = ['copies', 'shards'] as const
type Kind = (typeof kinds)[number]

class Bench {
  readonly cluster: MiniCluster
  readonly pool: PoolHandle
  readonly kind: Kind

  private constructor(cluster: MiniCluster, pool: PoolHandle, kind: Kind) {
    this.cluster = cluster
    this.pool = pool
    this.kind = kind
  }

  static async create(seed: number, kind: Kind): Promise<Bench> {
    const cluster = await MiniCluster.create(seed, 3)
    if (kind === 'copies') await cluster.pool('things', 1, 3, 2)
    else await cluster.codedPool('things', 1, 2, 1)
    return new Bench(cluster, await cluster.client('things'), kind)
  }

  private get entry(): Pool {
    return this.cluster.monitors.map.pools.values().next().value as Pool
  }

  private set entry(pool: Pool) {
    this.cluster.monitors.change({ pools: new Map([[pool.id, pool]]) })
  }

  limit(maxBytes: number): void {
    const epoch = (this.cluster.monitors.map.epoch + 1) as Epoch
    this.entry = withQuota(this.entry, { maxBytes, maxObjects: 0, epoch })
  }

  async takeAndSettle(mode: 'pool' | 'selfmanaged' = 'pool'): Promise<number> {
    const snap = takeSnapshot(this.cluster, this.entry.id, mode)
    await this.cluster.world.time.advance(200)
    return snap
  }

  drop(snap: number): void {
    dropSnapshot(this.cluster, this.entry.id, snap)
  }

  async dropAndSettle(snap: number): Promise<void> {
    this.drop(snap)
    await this.untilPurged(snap)
  }

  async untilPurged(snap: number): Promise<void> {
    await this.cluster.until(() => isPurged(this.cluster, this.entry.id, snap))
    await this.cluster.untilClean(this.entry.id)
  }

  put(data: Uint8Array, pool = this.pool): Promise<void> {
    return this.cluster.put(pool, name, data)
  }

  run<T>(work: Promise<T>): Promise<T> {
    return this.cluster.run(work)
  }

  /** What an object was; undefined where it was not. */
  async at(snap: number): Promise<Uint8Array | undefined> {
    try {
      return await this.cluster.get(this.pool.at(snap), name)
    } catch (error) {
      if (isClusterError(error, 'ENOENT')) return undefined
      throw error
    }
  }

  /** Ids in each OSD's store: all alike, or the test fails. Among shards, once nothing is kept to undo the last write. */
  async stored(): Promise<readonly ObjectId[]> {
    if (this.kind === 'shards') await this.cluster.world.time.advance(1_000)
    const id = pgId(this.entry.id, 0)
    const { acting } = must(this.cluster.monitors.pgStats.get(id), 'statistics of the group')
    const lists: { readonly objects: readonly ObjectId[] }[] = []
    for (const [osd, daemon] of this.cluster.daemons.entries()) {
      const { store } = daemon as unknown as { readonly store: OsdStore }
      const collection = this.kind === 'copies' ? id : shardPgId(id, acting.indexOf(osd as OsdId))
      lists.push(await this.run(store.list(collection, undefined, 100)))
    }
    for (const list of lists) expect(list.objects).toEqual(lists[0]?.objects)
    return lists[0]?.objects ?? []
  }

  async snapsStored(): Promise<readonly (number | string)[]> {
    return (await this.stored()).map(({ snap }) => (snap === headSnap ? 'head' : snap > 2 ** 40 ? 'snapdir' : snap))
  }
}

describe.each(kinds)('snapshots of %s', (kind) => {
  it('keep what was there: bytes, attributes, omap, and that there was nothing', async () => {
    const bench = await Bench.create(1, kind)
    const { pool } = bench
    const hasOmap = kind === 'copies'
    const entries = [{ key: utf8Encode('k'), value: utf8Encode('v') }]
    const before = await bench.takeAndSettle()
    await bench.run(
      pool.execute(name, [
        { kind: 'write-full', data: bytesOf(1, 20_000) },
        { kind: 'set-xattr', name: 'colour', value: utf8Encode('blue') },
        ...(hasOmap ? [{ kind: 'omap-set', entries } as const] : []),
      ]),
    )
    const first = await bench.takeAndSettle()
    await bench.run(
      pool.execute(name, [
        { kind: 'write', offset: 5_000, data: bytesOf(2, 1_000) },
        { kind: 'set-xattr', name: 'colour', value: utf8Encode('red') },
        ...(hasOmap ? [{ kind: 'omap-clear' } as const] : []),
      ]),
    )
    const second = await bench.takeAndSettle()
    await bench.run(pool.remove(name))
    const third = await bench.takeAndSettle()
    const changed = bytesOf(1, 20_000)
    changed.set(bytesOf(2, 1_000), 5_000)
    expect(await bench.at(before)).toBeUndefined()
    expect(await bench.at(first)).toEqual(bytesOf(1, 20_000))
    expect(await bench.at(second)).toEqual(changed)
    expect(await bench.at(third)).toBeUndefined()
    const old = pool.at(first)
    expect(await bench.run(old.xattrs(name))).toEqual(new Map([['colour', utf8Encode('blue')]]))
    const { results } = await bench.run(
      old.execute(name, [{ kind: 'omap-get-keys', keys: [utf8Encode('k')] }, { kind: 'stat' }]),
    )
    expect(results[0]).toMatchObject({ entries: hasOmap ? entries : [] })
    expect(results[1]).toMatchObject({ sizeBytes: 20_000 })
    expect(await bench.snapsStored()).toEqual([first, second, 'snapdir'])
    await bench.put(bytesOf(3, 10))
    expect(await bench.snapsStored()).toEqual([first, second, 'head'])
    expect(await bench.at(third)).toBeUndefined()
    expect(await bench.at(second)).toEqual(changed)
  })

  it('cost one clone however often an object is written, and none while it is not', async () => {
    const bench = await Bench.create(2, kind)
    await bench.put(bytesOf(1, 30_000))
    await bench.takeAndSettle()
    const snap = await bench.takeAndSettle()
    expect(await bench.snapsStored()).toEqual(['head'])
    expect(await bench.at(snap)).toEqual(bytesOf(1, 30_000))
    for (let i = 0; i < 10; i++) await bench.put(bytesOf(10 + i, 30_000))
    expect(await bench.snapsStored()).toEqual([snap, 'head'])
    expect(await bench.run(bench.pool.listSnaps(name))).toEqual({
      seq: snap,
      headBytes: 30_000,
      clones: [{ id: snap, snaps: [snap, snap - 1], sizeBytes: 30_000, overlap: [] }],
    })
  })

  it('are read alone: what writes at one, reads at none, or mixes a rollback with writes is refused', async () => {
    const bench = await Bench.create(3, kind)
    const { pool } = bench
    await bench.put(bytesOf(1, 10))
    const snap = await bench.takeAndSettle()
    const codeOf = async (work: Promise<unknown>): Promise<string> => {
      try {
        await bench.run(work)
        return 'ok'
      } catch (error) {
        return isClusterError(error) ? error.code : String(error)
      }
    }
    expect(await codeOf(pool.at(snap).remove(name))).toBe('EROFS')
    expect(await codeOf(pool.rollback(name, 77))).toBe('ENOENT')
    expect(
      await codeOf(
        pool.execute(name, [
          { kind: 'rollback', snap },
          { kind: 'truncate', sizeBytes: 0 },
        ]),
      ),
    ).toBe('EINVAL')
    // A pool of pool snapshots is not one whose clients manage them.
    expect(await codeOf(pool.withSnapContext({ seq: snap, snaps: [snap] }).remove(name))).toBe('EINVAL')
    expect(await codeOf(pool.listSnaps('nothing'))).toBe('ENOENT')
  })

  it('take an object back, and leave its locks where they are', async () => {
    const bench = await Bench.create(4, kind)
    const { pool } = bench
    await bench.run(pool.lock(name, 'old'))
    await bench.put(bytesOf(1, 9_000))
    const snap = await bench.takeAndSettle()
    await bench.run(pool.unlock(name, 'old'))
    await bench.run(pool.lock(name, 'new'))
    await bench.put(bytesOf(2, 3_000))
    await bench.run(pool.rollback(name, snap))
    expect(await bench.cluster.get(pool, name)).toEqual(bytesOf(1, 9_000))
    expect((await bench.run(pool.locks(name))).map((lock) => lock.name)).toEqual(['new'])
    await bench.run(pool.remove(name))
    await bench.run(pool.rollback(name, snap))
    expect(await bench.cluster.get(pool, name)).toEqual(bytesOf(1, 9_000))
    expect((await bench.run(pool.listSnaps(name))).clones[0]?.overlap).toEqual([{ offset: 0, length: 9_000 }])
    const later = 'made later'
    await bench.cluster.put(pool, later, bytesOf(1, 5))
    await bench.run(pool.rollback(later, snap))
    await expect(bench.run(pool.stat(later))).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it('show the names that there were', async () => {
    const bench = await Bench.create(5, kind)
    const { pool, cluster } = bench
    for (const one of ['a', 'b', 'c']) await cluster.put(pool, one, bytesOf(1, 100))
    const snap = await bench.takeAndSettle()
    await bench.run(pool.remove('a'))
    await cluster.put(pool, 'b', bytesOf(2, 100))
    await cluster.put(pool, 'd', bytesOf(2, 100))
    const names = async (handle: PoolHandle): Promise<readonly string[]> => {
      const found: string[] = []
      await bench.run(
        (async () => {
          for await (const one of handle.list()) found.push(one)
        })(),
      )
      return found.sort()
    }
    expect(await names(pool)).toEqual(['b', 'c', 'd'])
    expect(await names(pool.at(snap))).toEqual(['a', 'b', 'c'])
  })

  it('of clients’ own count for the writes that name them', async () => {
    const bench = await Bench.create(6, kind)
    const { pool } = bench
    await bench.put(bytesOf(1, 100))
    const [one, two] = [await bench.takeAndSettle('selfmanaged'), await bench.takeAndSettle('selfmanaged')]
    await bench.put(bytesOf(2, 100))
    await bench.put(bytesOf(3, 100), pool.withSnapContext({ seq: two, snaps: [two] }))
    expect(await bench.at(two)).toEqual(bytesOf(2, 100))
    expect(await bench.at(one)).toBeUndefined()
    await bench.put(bytesOf(4, 100), pool.withSnapContext({ seq: two, snaps: [two, one] }))
    expect(await bench.snapsStored()).toEqual([two, 'head'])
  })

  it('that are removed leave nothing behind, and take nothing that others need', async () => {
    const bench = await Bench.create(7, kind)
    await bench.put(bytesOf(1, 50_000))
    const first = await bench.takeAndSettle()
    const second = await bench.takeAndSettle()
    await bench.put(bytesOf(2, 50_000))
    const third = await bench.takeAndSettle()
    await bench.run(bench.pool.remove(name))
    await bench.dropAndSettle(second)
    expect(await bench.at(first)).toEqual(bytesOf(1, 50_000))
    expect((await bench.run(bench.pool.listSnaps(name))).clones.map(({ snaps }) => snaps)).toEqual([[first], [third]])
    await bench.dropAndSettle(first)
    expect(await bench.snapsStored()).toEqual([third, 'snapdir'])
    expect(await bench.at(third)).toEqual(bytesOf(2, 50_000))
    await bench.dropAndSettle(third)
    expect(await bench.stored()).toEqual([])
    const { objects, bytes } = [...bench.cluster.monitors.pgStats.values()][0] ?? {}
    expect([objects, bytes]).toEqual([0, 0])
  })

  it('are recovered with the object, by log and by backfill', async () => {
    const bench = await Bench.create(8, kind)
    const { cluster } = bench
    const [id] = cluster.monitors.map.pools.keys()
    await bench.put(bytesOf(1, 40_000))
    const snap = await bench.takeAndSettle()
    cluster.kill(1)
    await bench.put(bytesOf(2, 40_000))
    const gone = await bench.takeAndSettle()
    await bench.run(bench.pool.remove(name))
    await cluster.start(1)
    await cluster.untilClean(id as never)
    expect(await bench.snapsStored()).toEqual([snap, gone, 'snapdir'])
    cluster.monitors.setOsd(2 as OsdId, { weight: 0 })
    await bench.put(bytesOf(3, 40_000))
    cluster.monitors.setOsd(2 as OsdId, { weight: 0x10000 })
    await cluster.world.time.advance(5_000)
    await cluster.untilClean(id as never)
    expect(await bench.snapsStored()).toEqual([snap, gone, 'head'])
    expect(await bench.at(snap)).toEqual(bytesOf(1, 40_000))
    expect(await bench.at(gone)).toEqual(bytesOf(2, 40_000))
  })

  it('wait with trimming while a flag says so', async () => {
    const bench = await Bench.create(9, kind)
    const { cluster } = bench
    await bench.put(bytesOf(1, 100))
    const snap = await bench.takeAndSettle()
    await bench.put(bytesOf(2, 100))
    cluster.monitors.setFlags('nosnaptrim')
    bench.drop(snap)
    await cluster.world.time.advance(20_000)
    expect(await bench.snapsStored()).toEqual([snap, 'head'])
    expect([...cluster.monitors.pgStats.values()][0]?.states).toContain('snaptrim_wait')
    cluster.monitors.setFlags()
    await bench.untilPurged(snap)
    expect(await bench.snapsStored()).toEqual(['head'])
  })

  it('are trimmed from a clone that could not be read for a while: until then nothing counts as purged', async () => {
    const bench = await Bench.create(10, kind)
    const { cluster } = bench
    await bench.put(bytesOf(1, 10_000))
    const snap = await bench.takeAndSettle()
    await bench.put(bytesOf(2, 10_000))
    let failures = 0
    for (const { store } of cluster.daemons as unknown as { readonly store: OsdStore }[]) {
      const stat = store.stat.bind(store)
      store.stat = async (collection, object) => {
        if (object.snap !== snap || failures === 3) return stat(collection, object)
        failures++
        throw new ClusterError('EIO', 'the disk does not answer')
      }
    }
    bench.drop(snap)
    await cluster.until(() => failures === 1)
    await cluster.world.time.advance(1_000)
    const stats = [...cluster.monitors.pgStats.values()][0]
    expect([failures, stats?.states.includes('snaptrim_wait'), stats?.purgedSnaps ?? []]).toEqual([1, true, []])
    expect(await bench.snapsStored()).toEqual([snap, 'head'])
    expect(cluster.monitors.logEntries.map(({ message }) => message)).toContainEqual(
      expect.stringContaining(`snapshot ${snap} cannot be taken from`),
    )
    await bench.untilPurged(snap)
    expect(failures).toBe(3)
    expect(await bench.snapsStored()).toEqual(['head'])
    expect(await bench.at(snap)).toBeUndefined()
  })

  it('count against the quota of their pool with the write that makes the clone', async () => {
    const bench = await Bench.create(11, kind)
    const { cluster } = bench
    await bench.put(bytesOf(1, 10_000))
    bench.limit(25_000)
    await bench.takeAndSettle()
    await bench.put(bytesOf(2, 10_000))
    await bench.takeAndSettle()
    // In place, and yet it would keep 10,000 bytes more.
    await expect(bench.put(bytesOf(3, 10_000))).rejects.toMatchObject({ code: 'EDQUOT' })
    await bench.run(bench.pool.execute(name, [{ kind: 'write', offset: 0, data: bytesOf(4, 5_000) }]))
    await cluster.world.time.advance(5_000)
    expect([...cluster.monitors.pgStats.values()][0]?.bytes).toBe(25_000)
    await bench.run(bench.pool.remove(name))
  })
})
