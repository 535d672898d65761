/** Watches and notifies on a small cluster: who is told, who is waited for, and who learns that it may have missed something. */
import { type ClusterError, isClusterError, must, type PoolId, utf8Decode, utf8Encode } from '@shoal/base'
import type { PoolHandle, Watch, WatchHandlers } from '@shoal/client'
import { PlacementCache, placeObject } from '@shoal/cluster-map'
import { watchLimits } from '@shoal/wire'
import { describe, expect, it } from 'vitest'
import { bytesOf, MiniCluster } from './support/mini-cluster.ts'

const osds = 3
const object = 'header'
const second = 1_000

interface Setup {
  readonly cluster: MiniCluster
  readonly poolId: PoolId
  readonly pool: PoolHandle
}

async function setUp(seed: number): Promise<Setup> {
  const cluster = await MiniCluster.create(seed, osds)
  const poolId = await cluster.pool('data', 4, 3, 2)
  const pool = await cluster.client('data')
  await cluster.put(pool, object, bytesOf(1, 100))
  return { cluster, poolId, pool }
}

/** A watcher on a machine of its own that answers with its name and what it was told. */
class Watcher {
  readonly host: string
  readonly seen: string[] = []
  readonly ids: number[] = []
  readonly errors: ClusterError[] = []
  watch: Watch | undefined
  silent = false

  constructor(host: string) {
    this.host = host
  }

  async begin({ cluster }: Setup, timeoutMs = 6 * second): Promise<this> {
    const handlers: WatchHandlers = {
      onNotify: ({ notifyId, data }) => {
        this.ids.push(notifyId)
        this.seen.push(utf8Decode(data))
        return this.silent ? new Promise<never>(() => undefined) : utf8Encode(`${this.host}: ${utf8Decode(data)}`)
      },
      onError: (error) => this.errors.push(error),
    }
    const pool = await cluster.client('data', this.host)
    this.watch = await cluster.run(pool.watch(object, handlers, { timeoutMs }))
    return this
  }

  get ended(): readonly string[] {
    return this.errors.map(({ code }) => code)
  }
}

/** Under way: whoever wants the outcome runs it. */
async function begin({ pool }: Setup, text: string, timeoutMs = 5 * second) {
  const { acks, timedOut, notifyId } = await pool.notify(object, utf8Encode(text), timeoutMs)
  return { acks: acks.map(({ data }) => utf8Decode(data)).sort(), timedOut: timedOut.length, notifyId }
}

function notify(setup: Setup, text: string, timeoutMs?: number) {
  return setup.cluster.run(begin(setup, text, timeoutMs), 120 * second)
}

function primaryOf({ cluster, poolId }: Setup): number {
  const { map } = cluster.monitors
  return new PlacementCache(map).mapping(placeObject(map, poolId, '', object).pgId).actingPrimary
}

function cutOff({ cluster }: Setup, host: string): void {
  for (let id = 0; id < osds; id++) cluster.world.network.partition(host, `host-${id}`)
}

describe('watch and notify', () => {
  it('tells every watcher and gathers what they answer', async () => {
    const setup = await setUp(1)
    const { cluster, pool } = setup
    expect(await notify(setup, 'nobody')).toMatchObject({ acks: [], timedOut: 0 })
    const [a, b] = [await new Watcher('a').begin(setup), await new Watcher('b').begin(setup)]
    const first = await notify(setup, 'one')
    expect(first).toMatchObject({ acks: ['a: one', 'b: one'], timedOut: 0 })
    expect(await cluster.run(pool.listWatchers(object))).toHaveLength(2)
    await cluster.run(must(a.watch, 'a watch').close())
    const next = await notify(setup, 'two')
    expect(next).toMatchObject({ acks: ['b: two'], timedOut: 0 })
    expect(next.notifyId).not.toBe(first.notifyId)
    expect([a.seen, b.seen]).toEqual([['one'], ['one', 'two']])
    expect([...a.errors, ...b.errors]).toEqual([])
  })

  it('says who did not answer in time, and keeps it as a watcher', async () => {
    const setup = await setUp(2)
    const quiet = await new Watcher('quiet').begin(setup)
    await new Watcher('loud').begin(setup)
    quiet.silent = true
    const startMs = setup.cluster.world.time.nowMs
    expect(await notify(setup, 'x', 3 * second)).toMatchObject({ acks: ['loud: x'], timedOut: 1 })
    expect(setup.cluster.world.time.nowMs - startMs).toBeGreaterThanOrEqual(3 * second)
    expect(await setup.cluster.run(setup.pool.listWatchers(object))).toHaveLength(2)
    expect(quiet.errors).toEqual([])
  })

  it('outlives primaries: nobody registers anew, and nothing is missed', async () => {
    const setup = await setUp(3)
    const { cluster } = setup
    const watchers = [await new Watcher('a').begin(setup), await new Watcher('b').begin(setup)]
    for (let round = 0; round < 3; round++) {
      const victim = primaryOf(setup)
      cluster.kill(victim)
      const told = begin(setup, `while ${round}`, 30 * second)
      await cluster.until(() => primaryOf(setup) !== victim)
      expect((await cluster.run(told, 120 * second)).timedOut).toBe(0)
      await cluster.start(victim)
      await cluster.untilClean(setup.poolId)
      expect(await notify(setup, `after ${round}`)).toMatchObject({ timedOut: 0 })
    }
    for (const { seen, errors } of watchers) {
      expect(errors).toEqual([])
      expect(new Set(seen)).toEqual(new Set([0, 1, 2].flatMap((round) => [`while ${round}`, `after ${round}`])))
    }
  })

  it('drops who is cut off, later than that one knows of it itself', async () => {
    const setup = await setUp(4)
    const { cluster, pool } = setup
    const away = await new Watcher('away').begin(setup)
    await new Watcher('here').begin(setup)
    await cluster.world.time.advance(20 * second)
    cutOff(setup, 'away')
    expect(await notify(setup, 'soon', 2 * second)).toMatchObject({ acks: ['here: soon'], timedOut: 1 })
    const told = begin(setup, 'later', 30 * second)
    await cluster.until(() => away.ended.length > 0)
    expect(await cluster.run(pool.listWatchers(object))).toHaveLength(2)
    expect(await cluster.run(told, 120 * second)).toMatchObject({ acks: ['here: later'], timedOut: 1 })
    await cluster.world.time.advance(second)
    expect(await cluster.run(pool.listWatchers(object))).toHaveLength(1)
    expect(await notify(setup, 'without')).toMatchObject({ acks: ['here: without'], timedOut: 0 })
    cluster.world.network.heal()
    await cluster.world.time.advance(20 * second)
    expect(away.ended).toEqual(['ETIMEDOUT'])
    expect(away.seen).toEqual([])
  })

  it('reaches who was away for less than its time on its next connection', async () => {
    const setup = await setUp(5)
    const { cluster } = setup
    const away = await new Watcher('away').begin(setup, 30 * second)
    cutOff(setup, 'away')
    const told = begin(setup, 'news', 30 * second)
    await cluster.world.time.advance(5 * second)
    cluster.world.network.heal()
    expect(await cluster.run(told, 120 * second)).toMatchObject({ acks: ['away: news'], timedOut: 0 })
    expect(away.errors).toEqual([])
  })

  it('ends the watches of a fenced client at once', async () => {
    const setup = await setUp(6)
    const { cluster, pool } = setup
    const fenced = await new Watcher('fenced').begin(setup)
    fenced.silent = true
    const [watcher] = await cluster.run(pool.listWatchers(object))
    const told = begin(setup, 'x', 60 * second)
    await cluster.until(() => fenced.seen.length > 0)
    const startMs = cluster.world.time.nowMs
    cluster.monitors.change({ blocklist: new Map([[String(watcher?.client), 9e15]]) })
    expect(await cluster.run(told, 120 * second)).toMatchObject({ acks: [], timedOut: 1 })
    expect(cluster.world.time.nowMs - startMs).toBeLessThan(second)
    await cluster.until(() => fenced.ended.length > 0)
    await cluster.world.time.advance(second)
    expect(await cluster.run(pool.listWatchers(object))).toEqual([])
  })

  it('tells watchers of an object that it is gone', async () => {
    const setup = await setUp(7)
    const { cluster, pool } = setup
    const watcher = await new Watcher('a').begin(setup)
    await cluster.run(pool.remove(object))
    await cluster.until(() => watcher.ended.length > 0)
    expect(watcher.ended).toEqual(['ENOTCONN'])
    await cluster.put(pool, object, bytesOf(2, 10))
    expect(await cluster.run(pool.listWatchers(object))).toEqual([])
  })

  it('acknowledges for itself only', async () => {
    const setup = await setUp(8)
    const { cluster, pool } = setup
    const quiet = await new Watcher('quiet').begin(setup)
    quiet.silent = true
    const told = begin(setup, 'x', 4 * second)
    await cluster.until(() => quiet.seen.length > 0)
    const [known] = await cluster.run(pool.listWatchers(object))
    const forged = [must(quiet.ids[0], 'a notify'), 1].map((notifyId) => ({
      kind: 'notify-ack' as const,
      notifyId,
      cookie: known?.cookie ?? 0,
      data: bytesOf(1, 4),
    }))
    for (const op of forged) expect(await codeOf(cluster, pool.execute(object, [op]))).toBe('ENOENT')
    expect(await cluster.run(told, 120 * second)).toMatchObject({ acks: [], timedOut: 1 })
  })

  it('has limits', async () => {
    const setup = await setUp(9)
    const { cluster, pool } = setup
    const handlers: WatchHandlers = { onNotify: () => undefined, onError: () => undefined }
    const code = (work: Promise<unknown>) => codeOf(cluster, work)
    expect(await code(pool.watch('no-such-object', handlers))).toBe('ENOENT')
    expect(await code(pool.notify('no-such-object', bytesOf(1, 1)))).toBe('ENOENT')
    expect(await code(pool.watch(object, handlers, { timeoutMs: 1 }))).toBe('EINVAL')
    expect(await code(pool.notify(object, bytesOf(1, watchLimits.notifyBytesMax + 1)))).toBe('EINVAL')
    expect(await code(pool.notify(object, bytesOf(1, 1), watchLimits.notifyTimeoutMsMax + 1))).toBe('EINVAL')
    expect(await code(pool.execute(object, [{ kind: 'stat' }, { kind: 'list-watchers' }]))).toBe('EINVAL')
    expect(await code(pool.execute(object, [{ kind: 'unwatch', client: 4711, cookie: 1 }]))).toBe('EINVAL')
    expect(await code(pool.execute(object, [{ kind: 'watch-ping', cookie: 4711 }]))).toBe('ENOTCONN')
    for (let n = 0; n < watchLimits.watchersMax; n++) await cluster.run(pool.watch(object, handlers))
    expect(await code(pool.watch(object, handlers))).toBe('EBUSY')
    expect((await cluster.run(pool.xattrs(object))).size).toBe(0)
  })
})

async function codeOf(cluster: MiniCluster, work: Promise<unknown>): Promise<string | undefined> {
  const outcome: unknown = await cluster.run(work.catch((error: unknown) => error))
  return isClusterError(outcome) ? outcome.code : undefined
}
