/** Scrub on a small cluster: what it finds, what it mends, whom it makes wait, and when it runs by itself. */
import type { OsdId, PgId, PoolId } from '@shoal/base'
import type { PoolHandle } from '@shoal/client'
import { emptySnapshots, type PgStats, type Pool, type PoolSnapshots, withoutSnapshot } from '@shoal/cluster-map'
import { describe, expect, it } from 'vitest'
import { bytesOf, MiniCluster, type OsdChange } from './support/mini-cluster.ts'

const text = (value: string): Uint8Array => new Uint8Array(Buffer.from(value))
const things = 40

async function fill(cluster: MiniCluster, pool: PoolHandle): Promise<void> {
  for (let i = 0; i < things; i++) {
    const name = `thing-${i}`
    await cluster.run(
      pool.execute(name, [
        { kind: 'write-full', data: bytesOf(i, 9_000 + i) },
        { kind: 'set-xattr', name: 'colour', value: text(`c${i}`) },
        { kind: 'omap-set', entries: [{ key: text('k'), value: text(`value ${i}`) }] },
      ]),
    )
  }
}

async function expectAll(cluster: MiniCluster, pool: PoolHandle): Promise<void> {
  for (let i = 0; i < things; i++) {
    const { results } = await cluster.run(
      pool.execute(`thing-${i}`, [
        { kind: 'read', offset: 0, length: 100_000 },
        { kind: 'get-xattr', name: 'colour' },
        { kind: 'omap-get-keys', keys: [text('k')] },
      ]),
    )
    expect(results[0]).toEqual({ kind: 'data', data: bytesOf(i, 9_000 + i) })
    expect(results[1]).toEqual({ kind: 'data', data: text(`c${i}`) })
    expect(results[2]).toMatchObject({ entries: [{ value: text(`value ${i}`) }] })
  }
}

function pgsOf(cluster: MiniCluster, pool: PoolId) {
  return [...cluster.monitors.pgStats.values()].filter((stats) => stats.pgId.startsWith(`${pool}.`))
}

async function askAll(cluster: MiniCluster, what: string): Promise<void> {
  for (const id of cluster.daemons.keys()) await cluster.ask(id, `osd ${what}`)
}

/** Every PG was scrubbed since then, and nothing is left to do. */
async function untilScrubbed(
  cluster: MiniCluster,
  pool: PoolId,
  sinceMs: number,
  stamp: 'lastScrubMs' | 'lastDeepScrubMs' = 'lastDeepScrubMs',
): Promise<void> {
  await cluster.until(
    () => pgsOf(cluster, pool).every((stats) => stats[stamp] > sinceMs && stats.states.join() === 'active,clean'),
    240_000,
  )
}

async function expectNoPlacesHeld(cluster: MiniCluster): Promise<void> {
  for (const id of cluster.daemons.keys()) {
    const { scrubReservations } = (await cluster.ask(id, 'perf')) as { scrubReservations: Record<string, object> }
    for (const which of ['local', 'remote'])
      expect(scrubReservations[which]).toMatchObject({ granted: [], waiting: [] })
  }
}

function logged(cluster: MiniCluster, words: string): readonly string[] {
  return cluster.log.entries.filter(({ message }) => message.includes(words)).map(({ message }) => message)
}

function nowMs(cluster: MiniCluster): number {
  return cluster.wallMs()
}

/** Moves what the journal holds into the key-value store. */
async function checkpoint(cluster: MiniCluster, id: number, pool: PoolId, change: OsdChange = {}): Promise<void> {
  await cluster.stop(id)
  await restart(cluster, id, pool, change)
}

async function restart(cluster: MiniCluster, id: number, pool: PoolId, change: OsdChange = {}): Promise<void> {
  const daemon = await cluster.start(id, change)
  await cluster.until(() => daemon.isUp)
  await settle(cluster, pool)
}

async function settle(cluster: MiniCluster, pool: PoolId): Promise<void> {
  await cluster.world.time.advance(3_000)
  await cluster.untilClean(pool)
}

const dataFile = '/data/store/data'

function dataPages(cluster: MiniCluster, id: number): readonly number[] {
  const file = cluster.machine(id).disk.find(dataFile)
  return file?.kind === 'file' ? file.allocatedOffsets() : []
}

function flipRecords(cluster: MiniCluster, id: number, prefix: string, every: number): number {
  const disk = cluster.machine(id).keyValue.disk('/data/store/meta')
  const from = text(prefix)
  const to = text(String.fromCharCode(prefix.charCodeAt(0) + 1))
  let flipped = 0
  for (const [at, [key, value]] of disk.entries({ from, to }).entries()) {
    if (at % every === 0 && disk.flip(key, Math.floor(value.length / 2), 0x10)) flipped++
  }
  return flipped
}

async function takeSnapshot(cluster: MiniCluster, pool: PoolId, seq: number): Promise<void> {
  const entry = cluster.monitors.map.pools.get(pool) as Pool
  const snapshots = entry.snapshots ?? emptySnapshots('pool')
  const snaps = [...snapshots.snaps, { id: seq, name: `s${seq}`, createdMs: 0 }]
  cluster.monitors.change({ pools: new Map([[pool, { ...entry, snapshots: { ...snapshots, seq, snaps } }]]) })
  await cluster.world.time.advance(200)
}

function dropSnapshot(cluster: MiniCluster, pool: PoolId, snap: number): void {
  const entry = cluster.monitors.map.pools.get(pool) as Pool
  const snapshots = withoutSnapshot(entry.snapshots as PoolSnapshots, snap)
  cluster.monitors.change({ pools: new Map([[pool, { ...entry, snapshots }]]) })
}

describe('deep scrub', () => {
  it('finds bits that flipped in data and in every kind of metadata record, and mends all of it', async () => {
    const cluster = await MiniCluster.create(61, 3)
    const pool = await cluster.pool('things', 4, 3, 2)
    const handle = await cluster.client('things')
    await fill(cluster, handle)
    await checkpoint(cluster, 1, pool)
    const before = nowMs(cluster)
    for (const [i, page] of dataPages(cluster, 1).entries()) {
      if (i % 5 === 0) cluster.machine(1).disk.flip(dataFile, page + 77, 4)
    }
    for (const prefix of ['O', 'B', 'P', 'M']) expect(flipRecords(cluster, 1, prefix, 7)).toBeGreaterThan(0)
    await askAll(cluster, 'deep-scrub')
    await untilScrubbed(cluster, pool, before)
    expect(logged(cluster, 'inconsistent objects')).toHaveLength(4)
    expect(pgsOf(cluster, pool).map(({ scrubErrors }) => scrubErrors)).toEqual([0, 0, 0, 0])
    expect((await cluster.counters(1))['scrubRepairedRecords']).toBeGreaterThan(0)
    // The mended copy, also after a restart, has to carry what only it is asked for now.
    await checkpoint(cluster, 1, pool)
    cluster.kill(0)
    await expectAll(cluster, handle)
  }, 120_000)

  it('mends nothing unasked when it is told not to, says what is wrong, and mends it when asked', async () => {
    const settings = { osd_scrub_auto_repair: false }
    const cluster = await MiniCluster.create(62, 3, { settings })
    const pool = await cluster.pool('things', 1, 3, 2)
    const handle = await cluster.client('things')
    await fill(cluster, handle)
    await settle(cluster, pool)
    await checkpoint(cluster, 2, pool, { settings })
    const pgid = `${pool}.0` as PgId
    const primary = (): OsdId => cluster.monitors.pgStats.get(pgid)!.actingPrimary
    const bad = [0, 1, 2].find((id) => id !== primary()) as number
    await checkpoint(cluster, bad, pool, { settings })
    cluster.machine(bad).disk.flip(dataFile, (dataPages(cluster, bad)[3] as number) + 10, 1)
    await cluster.ask(primary(), 'pg deep-scrub', { pgid })
    await cluster.until(() => (cluster.monitors.pgStats.get(pgid)?.scrubErrors ?? 0) > 0)
    expect(cluster.monitors.pgStats.get(pgid)!.states).toEqual(['active', 'clean', 'inconsistent'])
    const listed = await cluster.ask(primary(), 'pg list-inconsistent', { pgid })
    const [first] = (listed as { inconsistents: { errors: string[]; shards: { osd: number; errors: string[] }[] }[] })
      .inconsistents
    expect(first).toMatchObject({ errors: ['read_error'], bad: [bad], proven: true })
    expect(first?.shards.find(({ osd }) => osd === bad)?.errors).toEqual(['read_error'])
    // A scrub that does not read the data cannot clear it; and another primary knows it, too.
    await cluster.ask(primary(), 'pg scrub', { pgid })
    await cluster.world.time.advance(10_000)
    expect(cluster.monitors.pgStats.get(pgid)!.scrubErrors).toBe(1)
    await cluster.ask(primary(), 'pg repair', { pgid })
    await cluster.until(() => cluster.monitors.pgStats.get(pgid)?.scrubErrors === 0)
    await cluster.untilClean(pool)
    expect((await cluster.counters(primary()))['repairedObjects']).toBe(1)
    await expectAll(cluster, handle)
  }, 120_000)

  it('survives a start with damaged records of every kind: what they were about is compared with other copies', async () => {
    const cluster = await MiniCluster.create(67, 3)
    const pool = await cluster.pool('things', 4, 3, 2)
    const handle = await cluster.client('things')
    await fill(cluster, handle)
    await checkpoint(cluster, 1, pool)
    await cluster.stop(1)
    // Of objects, block maps, omaps, and the records of groups and of the OSD itself, the newest log entries among them.
    for (const [prefix, every] of Object.entries({ O: 9, B: 9, P: 9, M: 3 })) flipRecords(cluster, 1, prefix, every)
    await restart(cluster, 1, pool)
    expect(logged(cluster, 'records of a placement group are damaged').length).toBeGreaterThan(0)
    const before = nowMs(cluster)
    await askAll(cluster, 'deep-scrub')
    await untilScrubbed(cluster, pool, before)
    cluster.kill(0)
    await expectAll(cluster, handle)
  }, 120_000)

  it('finds a copy that is gone without a trace, and brings it back', async () => {
    const cluster = await MiniCluster.create(63, 3)
    const pool = await cluster.pool('things', 1, 3, 2)
    const handle = await cluster.client('things')
    await fill(cluster, handle)
    await settle(cluster, pool)
    cluster.kill(1)
    const meta = cluster.machine(1).keyValue.disk('/data/store/meta')
    await restart(cluster, 1, pool)
    await cluster.stop(1)
    const [gone] = meta.entries({ from: text('O'), to: text('P'), limit: 1 })
    meta.write([{ kind: 'delete', key: gone![0] }], true)
    await restart(cluster, 1, pool)
    const before = nowMs(cluster)
    // Attributes are compared by any scrub.
    await askAll(cluster, 'scrub')
    await untilScrubbed(cluster, pool, before)
    expect(logged(cluster, 'inconsistent objects')).toHaveLength(1)
    expect(meta.entries({ from: text('O'), to: text('P') }).length).toBe(things - 1)
    await cluster.stop(1)
    expect(meta.entries({ from: text('O'), to: text('P') }).length).toBe(things)
  }, 120_000)
})

describe('a scrub beside clients', () => {
  it('takes no write under way for a difference, and holds no write up for long', async () => {
    const cluster = await MiniCluster.create(64, 3, { ioDelayMs: { min: 1, max: 8 } })
    const pool = await cluster.pool('things', 2, 3, 2)
    const handle = await cluster.client('things')
    await fill(cluster, handle)
    const before = nowMs(cluster)
    let writes = 0
    const until = { over: false }
    const writer = async (seed: number): Promise<void> => {
      for (let i = seed; !until.over; i = (i + 7) % things) {
        await handle.execute(`thing-${i}`, [{ kind: 'write', offset: 100, data: bytesOf(writes++, 3_000) }])
      }
    }
    const writers = [1, 2, 3].map(writer)
    await askAll(cluster, 'deep-scrub')
    await cluster.until(() => pgsOf(cluster, pool).every(({ lastDeepScrubMs }) => lastDeepScrubMs > before), 240_000)
    await cluster.until(() => writes > 200)
    until.over = true
    await cluster.run(Promise.all(writers))
    expect(logged(cluster, 'inconsistent')).toEqual([])
    await expectNoPlacesHeld(cluster)
  }, 120_000)

  it('is given up when a member does not answer, and writes go on', async () => {
    const settings = { osd_scrub_chunk_timeout: 0.5, osd_heartbeat_grace: 60, osd_scrub_sleep: 5 }
    const cluster = await MiniCluster.create(65, 3, { settings })
    const pool = await cluster.pool('things', 1, 3, 2)
    const handle = await cluster.client('things')
    await fill(cluster, handle)
    await settle(cluster, pool)
    const primary = pgsOf(cluster, pool)[0]!.actingPrimary
    await askAll(cluster, 'deep-scrub')
    await cluster.until(() => pgsOf(cluster, pool)[0]!.states.includes('scrubbing'))
    const silent = cluster.machine([0, 1, 2].find((id) => id !== primary) as number)
    silent.pause()
    await cluster.world.time.advance(20_000)
    expect((await cluster.counters(primary))['scrubsGivenUp']).toBeGreaterThan(0)
    const write = handle.execute('thing-1', [{ kind: 'write-full', data: bytesOf(9, 500) }])
    silent.resume()
    await cluster.run(write)
    await cluster.put(handle, 'thing-1', bytesOf(1, 9_001))
    const before = nowMs(cluster)
    await untilScrubbed(cluster, pool, before, 'lastDeepScrubMs')
    expect(logged(cluster, 'inconsistent')).toEqual([])
  }, 120_000)
})

describe('clones', () => {
  it('are compared and mended with their heads, removed ones too, and trimmed afterwards', async () => {
    const cluster = await MiniCluster.create(67, 3, { settings: { osd_scrub_chunk_max: 2, osd_scrub_chunk_min: 1 } })
    const pool = await cluster.pool('things', 2, 3, 2)
    const handle = await cluster.client('things')
    await fill(cluster, handle)
    const snaps = [1, 2, 3]
    for (const snap of snaps) {
      await takeSnapshot(cluster, pool, snap)
      for (let i = 0; i < things; i++) await cluster.put(handle, `thing-${i}`, bytesOf(i + snap, 9_000 + i))
    }
    for (let i = 0; i < things; i += 3) await cluster.run(handle.remove(`thing-${i}`))
    await checkpoint(cluster, 1, pool)
    const before = nowMs(cluster)
    for (const [i, page] of dataPages(cluster, 1).entries()) {
      if (i % 5 === 0) cluster.machine(1).disk.flip(dataFile, page + 77, 4)
    }
    for (const prefix of ['O', 'B', 'P']) expect(flipRecords(cluster, 1, prefix, 7)).toBeGreaterThan(0)
    // Every third of all records of the groups: which clones serve which snapshots is among them.
    expect(flipRecords(cluster, 1, 'M', 3)).toBeGreaterThan(0)
    await askAll(cluster, 'deep-scrub')
    await untilScrubbed(cluster, pool, before)
    expect(pgsOf(cluster, pool).map(({ scrubErrors }) => scrubErrors)).toEqual([0, 0])
    await checkpoint(cluster, 1, pool)
    cluster.kill(0)
    for (let i = 0; i < things; i++) {
      expect(await cluster.get(handle.at(1), `thing-${i}`)).toEqual(bytesOf(i, 9_000 + i))
      expect(await cluster.get(handle.at(2), `thing-${i}`)).toEqual(bytesOf(i + 1, 9_000 + i))
      expect(await cluster.get(handle.at(3), `thing-${i}`)).toEqual(bytesOf(i + 2, 9_000 + i))
    }
    await restart(cluster, 0, pool)
    for (const snap of snaps) dropSnapshot(cluster, pool, snap)
    const isPurged = (stats: PgStats) => stats.purgedSnaps?.some(({ first, last }) => first <= 1 && last >= 3) === true
    await cluster.until(() => pgsOf(cluster, pool).every(isPurged), 240_000)
    const heads = things - Math.ceil(things / 3)
    await cluster.until(() => pgsOf(cluster, pool).reduce((sum, { objects }) => sum + objects, 0) === heads, 60_000)
    const scrubbedMs = nowMs(cluster)
    await askAll(cluster, 'deep-scrub')
    await untilScrubbed(cluster, pool, scrubbedMs)
    expect(pgsOf(cluster, pool).map(({ scrubErrors }) => scrubErrors)).toEqual([0, 0])
  }, 120_000)

  it('are no difference while they are made and trimmed', async () => {
    const settings = { osd_scrub_chunk_max: 3, osd_scrub_chunk_min: 1, osd_scrub_sleep: 0.01 }
    const cluster = await MiniCluster.create(68, 3, { settings })
    const pool = await cluster.pool('things', 1, 3, 2)
    const handle = await cluster.client('things')
    await fill(cluster, handle)
    await settle(cluster, pool)
    const until = { over: false }
    const write = async (first: number): Promise<void> => {
      for (let i = first; !until.over; i += 3) {
        const name = `thing-${i % things}`
        await handle.execute(name, [{ kind: 'write-full', data: bytesOf(i, 5_000) }])
        if (i % 7 === 0) await handle.remove(name)
      }
    }
    const writers = [0, 1, 2].map(write)
    for (let snap = 1; snap <= 5; snap++) {
      await takeSnapshot(cluster, pool, snap)
      if (snap > 2) dropSnapshot(cluster, pool, snap - 2)
      await askAll(cluster, 'deep-scrub')
      await cluster.world.time.advance(400)
    }
    until.over = true
    await cluster.run(Promise.all(writers))
    const before = nowMs(cluster)
    await settle(cluster, pool)
    await askAll(cluster, 'deep-scrub')
    await untilScrubbed(cluster, pool, before)
    expect(logged(cluster, 'inconsistent')).toEqual([])
    expect((await cluster.counters(pgsOf(cluster, pool)[0]!.actingPrimary))['snapTrimmedClones']).toBeGreaterThan(0)
    await expectNoPlacesHeld(cluster)
  }, 120_000)
})

describe('the schedule', () => {
  it('scrubs each group in its time, one at a time on each OSD, unless flags hold it back', async () => {
    const settings = { osd_scrub_min_interval: 60, osd_deep_scrub_interval: 400, osd_scrub_sleep: 0.2 }
    const cluster = await MiniCluster.create(66, 3, { settings })
    cluster.monitors.setFlags('noscrub', 'nodeep-scrub')
    const pool = await cluster.pool('things', 8, 3, 2)
    await fill(cluster, await cluster.client('things'))
    const stamps = (field: 'lastScrubMs' | 'lastDeepScrubMs') => pgsOf(cluster, pool).map((stats) => stats[field])
    const first = stamps('lastScrubMs')
    await cluster.world.time.advance(300_000)
    expect(stamps('lastScrubMs')).toEqual(first)
    cluster.monitors.setFlags('nodeep-scrub')
    await cluster.world.time.advance(120_000)
    expect(stamps('lastScrubMs').every((ms, at) => ms > (first[at] as number))).toBe(true)
    expect(stamps('lastDeepScrubMs')).toEqual(first)
    cluster.monitors.setFlags()
    await cluster.world.time.advance(700_000)
    expect(stamps('lastDeepScrubMs').every((ms, at) => ms > (first[at] as number))).toBe(true)
    // Groups that were made together are not scrubbed together.
    expect(new Set(stamps('lastScrubMs').map((ms) => Math.round(ms / 1_000))).size).toBeGreaterThan(4)
    expect(logged(cluster, 'inconsistent')).toEqual([])
    await expectNoPlacesHeld(cluster)
  }, 120_000)
})
