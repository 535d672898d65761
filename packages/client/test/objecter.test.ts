/** The client against OSDs that are silent, forgetful, of another opinion, or gone. */
import { type PgId, Prng, poolId } from '@shoal/base'
import { ClusterClient, type ClusterClientOptions, type PoolHandle } from '@shoal/client'
import { hashObjectName } from '@shoal/cluster-map'
import { securityFrom } from '@shoal/messenger'
import type { ObjectOp } from '@shoal/wire'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FakeCluster, pool1, replicatedPool } from './fake-cluster.ts'

const onlyPg = '1.0' as PgId
const append = (mark: number): ObjectOp[] => [{ kind: 'append', data: Uint8Array.of(mark) }]

interface Setup {
  readonly cluster: FakeCluster
  readonly client: ClusterClient
  readonly pool: PoolHandle
}

async function setup(pgNum = 1, options: Omit<ClusterClientOptions, 'monitor'> = {}, seed = 1): Promise<Setup> {
  const cluster = await FakeCluster.create(seed, pgNum)
  const client = await ClusterClient.connect(cluster.env, { monitor: cluster.monitor, ...options })
  return { cluster, client, pool: client.pool('data') }
}

/** The outcome as a value, so that a rejection that comes early is not an unhandled one. */
const outcomeOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => 'done',
    (error: unknown) => error,
  )
const attempts = (cluster: FakeCluster): readonly number[] => cluster.received.map(({ op }) => op.attempt)
const otherOsd = (cluster: FakeCluster): number => ((cluster.primaryOf(onlyPg) as number) + 1) % 3

describe('an operation', () => {
  test('goes to the primary once, and its answer to the caller', async () => {
    const { cluster, pool } = await setup()
    const version = await cluster.world.time.settle(pool.append('a', Uint8Array.of(7)))
    expect(version).toEqual({ epoch: 1, version: 1 })
    expect(await cluster.world.time.settle(pool.read('a', 0, 10))).toEqual(Uint8Array.of(7))
    expect(cluster.received.map(({ osd }) => osd)).toEqual([cluster.primaryOf(onlyPg), cluster.primaryOf(onlyPg)])
    expect(attempts(cluster)).toEqual([0, 0])
  })

  test('whose answer was lost is sent again with its request id, and applied once', async () => {
    const { cluster, pool } = await setup()
    cluster.fate = (_osd, op) => (op.attempt === 0 ? 'lose-reply' : 'answer')
    await cluster.world.time.settle(pool.execute('a', append(1)))
    expect(cluster.objects.get('a')).toEqual([1])
    expect(attempts(cluster)).toEqual([0, 1])
    expect(cluster.received[0]?.op.request).toEqual(cluster.received[1]?.op.request)
  })

  test('that no OSD lets in fails at once, with what to do', async () => {
    const { cluster, pool } = await setup(1, { security: securityFrom({}, new Uint8Array(32)) })
    const failed = outcomeOf(pool.execute('a', append(1)))
    await cluster.world.time.advance(1_000)
    expect(await failed).toMatchObject({
      code: 'EACCES',
      message: expect.stringContaining('accepts authentication none, this side secret') as unknown,
      outcome: 'not-applied',
    })
    expect(cluster.received).toEqual([])
  })

  test('survives an answer that nobody can read', async () => {
    const { cluster, pool } = await setup()
    cluster.fate = (_osd, op) => (op.attempt === 0 ? 'garbage' : 'answer')
    await cluster.world.time.settle(pool.execute('a', append(1)))
    expect(cluster.objects.get('a')).toEqual([1])
  })

  test('fails with the code of the primary', async () => {
    const { cluster, pool } = await setup()
    cluster.fate = () => ({ fail: 'ERANGE' })
    const failed = outcomeOf(pool.execute('a', append(1)))
    expect(await cluster.world.time.settle(failed)).toMatchObject({ code: 'ERANGE', outcome: 'not-applied' })
    expect(attempts(cluster)).toEqual([0])
  })

  test('without an answer ends after its time, its outcome unknown', async () => {
    const { cluster, pool } = await setup()
    cluster.fate = () => 'ignore'
    const failed = outcomeOf(pool.execute('a', append(1), { timeoutMs: 3_000 }))
    expect(await cluster.world.time.settle(failed)).toMatchObject({
      code: 'ETIMEDOUT',
      outcome: 'unknown',
      retry: true,
    })
    expect(cluster.world.time.nowMs).toBeLessThan(4_000)
  })

  test('that was never sent ends with an outcome that is known', async () => {
    const { cluster, pool } = await setup()
    cluster.setFlags('pausewr')
    const failed = outcomeOf(pool.execute('a', append(1), { timeoutMs: 3_000 }))
    expect(await cluster.world.time.settle(failed)).toMatchObject({ code: 'ETIMEDOUT', outcome: 'not-applied' })
    expect(cluster.received).toEqual([])
  })

  test('over the limits is refused before it is sent', async () => {
    const { cluster, pool } = await setup()
    const tooMany = Array.from({ length: 257 }, (): ObjectOp => ({ kind: 'stat' }))
    await expect(pool.execute('a', tooMany)).rejects.toMatchObject({ code: 'EINVAL' })
    await expect(pool.execute('', append(1))).rejects.toMatchObject({ code: 'EINVAL' })
    await expect(pool.writeFull('a', new Uint8Array(33 * 1024 * 1024))).rejects.toMatchObject({ code: 'E2BIG' })
    expect(cluster.received).toEqual([])
  })

  test('ends with ESHUTDOWN when the client closes, and none begins afterwards', async () => {
    const { cluster, client, pool } = await setup()
    cluster.fate = () => 'ignore'
    const failed = outcomeOf(pool.execute('a', append(1)))
    await cluster.world.time.until(() => cluster.received.length === 1)
    await client.close()
    expect(await failed).toMatchObject({ code: 'ESHUTDOWN', outcome: 'unknown' })
    await expect(pool.execute('a', append(2))).rejects.toMatchObject({ code: 'ESHUTDOWN', outcome: 'not-applied' })
    expect(cluster.mapListeners).toBe(0)
  })
})

describe('a change of the map', () => {
  test('sends what was under way to the new primary, in order', async () => {
    const { cluster, pool } = await setup()
    cluster.fate = () => 'ignore'
    const work = Promise.all([1, 2, 3].map((mark) => pool.execute('a', append(mark))))
    await cluster.world.time.until(() => cluster.received.length === 3)
    cluster.fate = () => 'answer'
    const to = otherOsd(cluster)
    cluster.movePrimary(onlyPg, to)
    cluster.publish()
    await cluster.world.time.settle(work)
    expect(cluster.objects.get('a')).toEqual([1, 2, 3])
    expect(cluster.received.slice(3).map(({ osd, op }) => [osd, op.attempt])).toEqual([1, 2, 3].map(() => [to, 1]))
  })

  test('of which the OSDs know first is waited for', async () => {
    const { cluster, pool } = await setup()
    cluster.movePrimary(onlyPg, otherOsd(cluster))
    const work = pool.execute('a', append(1))
    await cluster.world.time.advance(5_000)
    const refused = cluster.received.length
    expect(refused).toBeGreaterThan(2)
    // The pauses grow: a client does not hammer an OSD that says no.
    expect(refused).toBeLessThan(15)
    cluster.publish()
    await cluster.world.time.settle(work)
    expect(cluster.objects.get('a')).toEqual([1])
  })

  test('that leaves the PG where it is sends nothing again', async () => {
    const { cluster, pool } = await setup()
    cluster.fate = () => 'ignore'
    void outcomeOf(pool.execute('a', append(1)))
    await cluster.world.time.until(() => cluster.received.length === 1)
    cluster.setFlags('noout')
    await cluster.world.time.advance(5_000)
    expect(attempts(cluster)).toEqual([0])
  })

  test('makes a late failure of the old primary void', async () => {
    const { cluster, pool } = await setup()
    const { time, network } = cluster.world
    const from = cluster.primaryOf(onlyPg)
    const to = otherOsd(cluster)
    await time.settle(pool.read('a', 0, 1))
    network.partition(`osd-${from}`, 'client', { oneWay: true })
    cluster.fate = (osd) => (osd === from ? { fail: 'ECANCELED' } : 'ignore')
    const work = outcomeOf(pool.execute('a', append(1)))
    await time.until(() => cluster.received.length === 2)
    cluster.movePrimary(onlyPg, to)
    cluster.publish()
    await time.until(() => cluster.received.length === 3)
    network.heal()
    await time.advance(100)
    cluster.fate = () => 'answer'
    network.resetConnections('client', `osd-${to}`)
    expect(await time.settle(work)).toBe('done')
    expect(cluster.objects.get('a')).toEqual([1])
  })

  test('that removes the pool ends what was under way', async () => {
    const { cluster, pool } = await setup()
    cluster.fate = () => 'ignore'
    const failed = outcomeOf(pool.execute('a', append(1)))
    await cluster.world.time.until(() => cluster.received.length === 1)
    cluster.change({ pools: new Map([[pool1, null]]) })
    cluster.publish()
    expect(await cluster.world.time.settle(failed)).toMatchObject({ code: 'ENOENT', hint: 'shoal pool ls' })
  })
})

describe('a pool', () => {
  test('that nobody knows is ENOENT; one that is new to this client is found', async () => {
    const { cluster, client } = await setup()
    const fresh = client.pool('fresh')
    await expect(fresh.execute('a', append(1))).rejects.toMatchObject({ code: 'ENOENT', hint: 'shoal pool ls' })
    cluster.change({ pools: new Map([[poolId(2), replicatedPool(poolId(2), 'fresh', 1)]]) })
    await cluster.world.time.settle(fresh.execute('a', append(1)))
    expect(cluster.received.map(({ op }) => op.pgId)).toEqual(['2.0'])
  })

  test('made again under its name is another one', async () => {
    const { cluster, pool } = await setup()
    await cluster.world.time.settle(pool.execute('a', append(1)))
    cluster.change({
      pools: new Map([
        [pool1, null],
        [poolId(5), replicatedPool(poolId(5), 'data', 1)],
      ]),
    })
    cluster.publish()
    await cluster.world.time.settle(pool.execute('a', append(1)))
    expect(cluster.received.map(({ op }) => op.pgId)).toEqual(['1.0', '5.0'])
  })

  test('lists its objects over all PGs', async () => {
    const { cluster, pool } = await setup(8)
    const names = Array.from({ length: 40 }, (_, i) => `object-${i}`)
    await cluster.world.time.settle(Promise.all(names.map((name) => pool.execute(name, append(1)))))
    const listed: string[] = []
    const listing = async (): Promise<void> => {
      for await (const name of pool.list()) listed.push(name)
    }
    await cluster.world.time.settle(listing())
    expect(listed.sort()).toEqual(names.sort())
  })
})

describe('flags', () => {
  test('pausewr holds writes and what follows them on the object; reads of others go on', async () => {
    const { cluster, pool } = await setup()
    cluster.setFlags('pausewr')
    const held = Promise.all([pool.execute('a', append(1)), pool.read('a', 0, 10)])
    await cluster.world.time.settle(pool.read('b', 0, 10))
    await cluster.world.time.advance(2_000)
    expect(cluster.received.map(({ op }) => op.object.name)).toEqual(['b'])
    cluster.setFlags()
    expect((await cluster.world.time.settle(held))[1]).toEqual(Uint8Array.of(1))
  })

  test('a full cluster takes removals, but none before an earlier write on the object', async () => {
    const { cluster, pool } = await setup()
    await cluster.world.time.settle(pool.execute('b', append(1)))
    cluster.setFlags('full')
    const held = Promise.all([pool.execute('a', append(1)), pool.remove('a')])
    await cluster.world.time.settle(pool.remove('b'))
    expect(cluster.received.map(({ op }) => op.object.name)).toEqual(['b', 'b'])
    cluster.setFlags()
    await cluster.world.time.settle(held)
    expect(cluster.objects.size).toBe(0)
  })
})

describe('bounds', () => {
  test('no more operations and bytes are under way than agreed; all get their turn', async () => {
    const { cluster, pool } = await setup(1, {
      settings: { objecter_inflight_ops: 4, objecter_inflight_op_bytes: 1000 },
    })
    cluster.fate = () => 'ignore'
    const work = Promise.all(Array.from({ length: 20 }, (_, mark) => pool.execute('a', append(mark))))
    await cluster.world.time.advance(100)
    expect(cluster.received.length).toBe(4)
    cluster.fate = () => 'answer'
    cluster.world.network.resetConnections()
    await cluster.world.time.settle(work)
    expect(cluster.objects.get('a')).toEqual(Array.from({ length: 20 }, (_, mark) => mark))
    const before = cluster.received.length
    cluster.fate = () => 'ignore'
    void outcomeOf(pool.append('b', new Uint8Array(900)))
    void outcomeOf(pool.append('b', new Uint8Array(900)))
    await cluster.world.time.advance(100)
    expect(cluster.received.length - before).toBe(1)
  })
})

test('whatever happens to replies, sessions and primaries, each write is applied once and in order', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 2 ** 31 }), async (seed) => {
      const { cluster, client, pool } = await setup(4, { settings: { objecter_inflight_ops: 32 } }, seed)
      const random = new Prng(seed)
      const { faults } = cluster.world.network
      faults.resetProbability = 0.005
      faults.chunkBytesMax = 200
      cluster.fate = () => (['lose-reply', 'reset-before'] as const)[random.below(12)] ?? 'answer'
      const names = ['a', 'b', 'c', 'd', 'e']
      const work = Promise.all(Array.from({ length: 100 }, (_, i) => pool.execute(names[i % 5] as string, append(i))))
      for (let turn = 0; turn < 6; turn++) {
        await cluster.world.time.advance(random.below(40))
        cluster.movePrimary(`1.${random.below(4)}` as PgId, random.below(3))
        await cluster.world.time.advance(random.below(40))
        cluster.publish()
      }
      faults.resetProbability = 0
      cluster.fate = () => 'answer'
      await cluster.world.time.settle(work)
      for (const [at, name] of names.entries()) {
        expect(cluster.objects.get(name)).toEqual(Array.from({ length: 20 }, (_, i) => i * 5 + at))
      }
      await client.close()
    }),
    { numRuns: 25 },
  )
})

describe('a split', () => {
  const seedOf = (name: string, pgNum: number): number => hashObjectName('', name) % pgNum
  const names = Array.from({ length: 12 }, (_, at) => `object-${at}`)

  test('takes the operations that are under way to the parts of their objects, in order, as the same requests', async () => {
    const { cluster, pool } = await setup(1)
    cluster.fate = (_osd, op) => (op.attempt === 0 ? 'ignore' : 'answer')
    const writes = names.flatMap((name) => [pool.execute(name, append(1)), pool.execute(name, append(2))])
    await cluster.world.time.advance(50)
    const sent = cluster.received.map(({ op }) => op)
    expect(sent).toHaveLength(24)
    cluster.split(4)
    cluster.publish()
    await cluster.world.time.settle(Promise.all(writes))
    const again = cluster.received.slice(24).map(({ op }) => op)
    expect(again.map(({ request }) => request.tid).sort((a, b) => a - b)).toEqual(
      sent.map(({ request }) => request.tid),
    )
    for (const op of again) {
      expect(op.pgId).toBe(`1.${seedOf(op.object.name, 4)}`)
      // No older request of this part is waited for: not what the whole said.
      const ofPart = again.filter(({ pgId }) => pgId === op.pgId).map(({ request }) => request.tid)
      expect(ofPart).toEqual([...ofPart].sort((a, b) => a - b))
      expect(op.oldestTid).toBe(ofPart[0])
    }
    for (const name of names) expect(cluster.objects.get(name)).toEqual([1, 2])
  })

  test('that an OSD knows first: what it sends away is sent to the part once the map is here', async () => {
    const { cluster, pool } = await setup(2)
    cluster.split(8)
    const writes = names.map((name) => pool.execute(name, append(7)))
    await cluster.world.time.advance(300)
    expect(cluster.objects.size).toBe(0)
    cluster.publish()
    await cluster.world.time.settle(Promise.all(writes))
    for (const name of names) expect(cluster.objects.get(name)).toEqual([7])
  })
})
