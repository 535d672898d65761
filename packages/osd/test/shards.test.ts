/** Erasure-coded placement groups on a small cluster: power cuts at every step of a write, scrub, and what is given up. */
import { must, type OsdId, type PgId, type PoolId } from '@shoal/base'
import type { PoolHandle } from '@shoal/client'
import type { ObjectStore } from '@shoal/object-store'
import { describe, expect, it } from 'vitest'
import { bytesOf, MiniCluster } from './support/mini-cluster.ts'

const things = 12
const sizeOf = (at: number): number => 9_000 + 1_777 * at

async function fill(cluster: MiniCluster, pool: PoolHandle): Promise<void> {
  for (let at = 0; at < things; at++) await cluster.put(pool, `thing-${at}`, bytesOf(at, sizeOf(at)))
}

async function expectAll(cluster: MiniCluster, pool: PoolHandle): Promise<void> {
  for (let at = 0; at < things; at++) expect(await cluster.get(pool, `thing-${at}`)).toEqual(bytesOf(at, sizeOf(at)))
}

const statsOf = (cluster: MiniCluster, pgid: PgId) =>
  must(cluster.monitors.pgStats.get(pgid), 'statistics of the group')

async function restart(cluster: MiniCluster, pool: PoolId, ids: readonly number[]): Promise<void> {
  for (const id of ids) await cluster.start(id)
  await cluster.until(() => ids.every((id) => cluster.daemons[id]?.isUp === true))
  // What primaries told before does not count.
  await cluster.world.time.advance(3_000)
  await cluster.untilClean(pool, 120_000)
}

/** What a deep scrub says of the one group of a pool. */
async function deepScrub(cluster: MiniCluster, pgid: PgId): Promise<number> {
  const before = statsOf(cluster, pgid).lastDeepScrubMs
  await cluster.ask(statsOf(cluster, pgid).actingPrimary, 'pg deep-scrub', { pgid })
  await cluster.until(() => statsOf(cluster, pgid).lastDeepScrubMs > before)
  return statsOf(cluster, pgid).scrubErrors
}

async function cutAtEveryStep(seed: number, victims: (acting: readonly OsdId[]) => readonly OsdId[]): Promise<number> {
  const cluster = await MiniCluster.create(seed, 3, { ioDelayMs: { min: 1, max: 3 } })
  const pool = await cluster.codedPool('things', 1, 2, 1)
  const pgid = `${pool}.0` as PgId
  const handle = await cluster.client('things')
  const expected = bytesOf(seed, 30_000)
  await cluster.put(handle, 'thing', expected)
  let cuts = 0
  for (let step = 1; ; step++) {
    const ids = victims(statsOf(cluster, pgid).acting)
    const dark: number[] = []
    for (const id of ids) {
      const machine = cluster.machine(id)
      machine.cutPowerAtStep = machine.steps + step
    }
    // Neither its beginning nor its end is that of a unit: old bytes of two stripes and their parity are changed.
    const data = bytesOf(seed + step, 6_000)
    const offset = (step * 1_913) % 20_000
    expected.set(data, offset)
    const written = handle.execute('thing', [{ kind: 'write', offset, data }])
    await cluster.world.time.advance(300)
    for (const id of ids) {
      const machine = cluster.machine(id)
      if (machine.steps < machine.cutPowerAtStep) continue
      cluster.cutPower(id)
      dark.push(id)
    }
    for (const id of ids) cluster.machine(id).cutPowerAtStep = Number.POSITIVE_INFINITY
    if (dark.length > 0) await restart(cluster, pool, dark)
    await cluster.run(written, 120_000)
    expect(await cluster.get(handle, 'thing')).toEqual(expected)
    if (dark.length === 0) break
    cuts += dark.length
  }
  expect(await deepScrub(cluster, pgid)).toBe(0)
  // Each shard in turn is made from the two others.
  for (const id of [0, 1, 2]) {
    cluster.kill(id)
    await cluster.until(() => cluster.monitors.map.osds.get(id as OsdId)?.up === false)
    expect(await cluster.get(handle, 'thing')).toEqual(expected)
    await restart(cluster, pool, [id])
  }
  return cuts
}

describe('a partial overwrite', () => {
  it('survives a power cut of the primary at every step of its disk', async () => {
    expect(await cutAtEveryStep(11, (acting) => acting.slice(0, 1))).toBeGreaterThan(0)
  }, 120_000)

  it('survives a power cut of another member at every step of its disk', async () => {
    expect(await cutAtEveryStep(12, (acting) => acting.slice(1, 2))).toBeGreaterThan(0)
  }, 120_000)

  it('survives a power cut of all at every step of their disks', async () => {
    expect(await cutAtEveryStep(13, (acting) => acting)).toBeGreaterThan(2)
  }, 120_000)
})

describe('a group that moves to other OSDs as a whole', () => {
  it('finds what a write has replaced that was not on all shards yet', async () => {
    const cluster = await MiniCluster.create(51, 6)
    const pool = await cluster.codedPool('things', 1, 2, 1)
    const pgid = `${pool}.0` as PgId
    const handle = await cluster.client('things')
    await fill(cluster, handle)
    // Everybody knows that there is nothing to undo.
    await cluster.world.time.advance(1_000)
    const { acting } = statsOf(cluster, pgid)
    const others = [0, 1, 2, 3, 4, 5].filter((id) => !acting.includes(id as OsdId)) as OsdId[]
    cluster.monitors.setFlags('nodown')
    cluster.world.network.partition(`host-${acting[0]}`, `host-${acting[2]}`, { oneWay: true })
    const data = bytesOf(99, 3_000)
    const written = handle.execute('thing-5', [{ kind: 'write', offset: 5_000, data }])
    const removed = handle.execute('thing-6', [{ kind: 'remove' }])
    await cluster.world.time.advance(200)
    cluster.monitors.change({ upmap: new Map([[pgid, others]]) })
    await cluster.world.time.advance(200)
    cluster.world.network.heal()
    await cluster.run(Promise.all([written, removed]))
    await cluster.untilClean(pool)
    expect(statsOf(cluster, pgid).acting).toEqual(others)
    const expected = bytesOf(5, sizeOf(5))
    expected.set(data, 5_000)
    expect(await cluster.get(handle, 'thing-5')).toEqual(expected)
    await expect(cluster.get(handle, 'thing-6')).rejects.toMatchObject({ code: 'ENOENT' })
    expect(await deepScrub(cluster, pgid)).toBe(0)
  }, 60_000)
})

describe('deep scrub of shards', () => {
  it('makes shards anew whose blocks fail their checksums', async () => {
    const cluster = await MiniCluster.create(21, 3)
    const pool = await cluster.codedPool('things', 1, 2, 1)
    const pgid = `${pool}.0` as PgId
    const handle = await cluster.client('things')
    await fill(cluster, handle)
    await cluster.stop(1)
    await restart(cluster, pool, [1])
    const { disk } = cluster.machine(1)
    const file = disk.find('/data/store/data')
    const pages = file?.kind === 'file' ? file.allocatedOffsets() : []
    for (const [at, page] of pages.entries()) if (at % 3 === 0) disk.flip('/data/store/data', page + 77, 4)
    await deepScrub(cluster, pgid)
    await cluster.until(() => statsOf(cluster, pgid).states.join() === 'active,clean')
    expect((await cluster.counters(statsOf(cluster, pgid).actingPrimary))['repairedObjects']).toBeGreaterThan(2)
    expect(await deepScrub(cluster, pgid)).toBe(0)
    cluster.kill(0)
    await cluster.until(() => cluster.monitors.map.osds.get(0 as OsdId)?.up === false)
    await expectAll(cluster, handle)
  }, 120_000)

  it('finds a shard that passes its checksums and does not fit to the others, and mends it when asked', async () => {
    const cluster = await MiniCluster.create(22, 4)
    const pool = await cluster.codedPool('things', 1, 2, 2)
    const pgid = `${pool}.0` as PgId
    const handle = await cluster.client('things')
    await fill(cluster, handle)
    const { acting, actingPrimary } = statsOf(cluster, pgid)
    const wrong = must(acting[2], 'the third shard')
    const { store } = cluster.daemons[wrong] as unknown as { readonly store: ObjectStore }
    const collection = `${pgid}s2` as PgId
    const { objects } = await cluster.run(store.list(collection, undefined, 100))
    const object = must(
      objects.find(({ name }) => name === 'thing-3'),
      'the shard',
    )
    const step = { kind: 'write', collection, object, offset: 100, data: bytesOf(5, 50) } as const
    await cluster.run(store.submit({ ops: [step] }))
    expect(await deepScrub(cluster, pgid)).toBe(1)
    expect(await cluster.ask(actingPrimary, 'pg list-inconsistent', { pgid })).toMatchObject({
      inconsistents: [{ object: { name: 'thing-3' }, errors: ['data_digest_mismatch'], bad: [wrong], proven: false }],
    })
    await cluster.ask(actingPrimary, 'pg repair', { pgid })
    await cluster.until(() => statsOf(cluster, pgid).scrubErrors === 0)
    await cluster.untilClean(pool)
    expect(await deepScrub(cluster, pgid)).toBe(0)
    await expectAll(cluster, handle)
  }, 120_000)
})

describe('objects with too few shards', () => {
  it('are listed, and given up by delete alone, for good', async () => {
    const cluster = await MiniCluster.create(31, 3)
    const pool = await cluster.codedPool('things', 1, 2, 1)
    const pgid = `${pool}.0` as PgId
    const handle = await cluster.client('things')
    await fill(cluster, handle)
    const isUp = (id: OsdId): boolean => cluster.monitors.map.osds.get(id)?.up === true
    const here = (): readonly OsdId[] => statsOf(cluster, pgid).acting.filter((osd) => isUp(osd))
    const [first, second, third] = statsOf(cluster, pgid).acting as readonly [OsdId, OsdId, OsdId]
    cluster.kill(third)
    await cluster.until(() => !isUp(third) && statsOf(cluster, pgid).states.includes('active'))
    cluster.monitors.setFlags('norecover')
    await cluster.put(handle, 'thing-1', bytesOf(77, 12_345))
    await cluster.start(third)
    await cluster.until(() => isUp(third) && here().length === 3)
    await cluster.world.time.advance(2_000)
    cluster.kill(second)
    await cluster.until(() => !isUp(second))
    cluster.monitors.setFlags()
    await cluster.until(() => statsOf(cluster, pgid).unfoundObjects === 1)
    const ask = (method: string, args = {}): Promise<unknown> => cluster.ask(first, method, { pgid, ...args })
    expect(await ask('pg list-unfound')).toMatchObject({ objects: [{ name: 'thing-1' }], mightBeOn: [second] })
    await expect(ask('pg mark-unfound-lost', { mode: 'revert' })).rejects.toMatchObject({ code: 'EINVAL' })
    await expect(ask('pg mark-unfound-lost', { mode: 'delete' })).rejects.toMatchObject({ code: 'EBUSY' })
    cluster.monitors.setOsd(second, { lostAt: cluster.monitors.map.epoch })
    await cluster.world.time.advance(100)
    expect(await ask('pg mark-unfound-lost', { mode: 'delete' })).toMatchObject({ objects: 1 })
    await cluster.until(() => statsOf(cluster, pgid).unfoundObjects === 0)
    await expect(cluster.get(handle, 'thing-1')).rejects.toMatchObject({ code: 'ENOENT' })
    cluster.cutPower(first)
    cluster.cutPower(third)
    await restart(cluster, pool, [first, second, third])
    await expect(cluster.get(handle, 'thing-1')).rejects.toMatchObject({ code: 'ENOENT' })
    expect(await deepScrub(cluster, pgid)).toBe(0)
    await cluster.put(handle, 'thing-1', bytesOf(1, sizeOf(1)))
    await expectAll(cluster, handle)
  }, 120_000)
})

describe('a pool that compresses', () => {
  it('compresses its shards, and its deep scrub fits', async () => {
    const cluster = await MiniCluster.create(41, 4)
    const id = await cluster.codedPool('things', 1, 2, 2)
    const pool = must(cluster.monitors.map.pools.get(id), 'the pool')
    const options = new Map(pool.options).set('compression_mode', 'aggressive')
    cluster.monitors.change({ pools: new Map([[id, { ...pool, options }]]) })
    await cluster.world.time.advance(1_000)
    const handle = await cluster.client('things')
    const text = new Uint8Array(Buffer.from('a line that compresses well\n'.repeat(20_000)))
    await cluster.put(handle, 'text', text)
    await cluster.run(handle.execute('text', [{ kind: 'write', offset: 70_000, data: bytesOf(3, 9_000) }]))
    text.set(bytesOf(3, 9_000), 70_000)
    for (const osd of [0, 1, 2, 3]) {
      const { store } = (await cluster.ask(osd, 'perf')) as { readonly store: Readonly<Record<string, number>> }
      expect(store['compressed_original']).toBeGreaterThan(text.length / 4)
      expect(store['compressed_allocated']).toBeLessThan(text.length / 4)
    }
    expect(await deepScrub(cluster, `${id}.0` as PgId)).toBe(0)
    expect(await cluster.get(handle, 'text')).toEqual(text)
  }, 60_000)
})
