/** Full disks: writes are refused before they are ordered, and no store is ever asked for room that it has not. */
import { must, type OsdId, type PoolId } from '@shoal/base'
import type { PoolHandle } from '@shoal/client'
import { type PgStats, placeObject } from '@shoal/cluster-map'
import { describe, expect, it } from 'vitest'
import { bytesOf, MiniCluster } from './support/mini-cluster.ts'

const kibibyte = 1024
const mebibyte = 1024 * kibibyte

/** Four OSDs of which one has a small disk. */
async function withSmallDisk(seed: number, small: number, sizeBytes: number): Promise<MiniCluster> {
  const cluster = await MiniCluster.create(seed, 4)
  cluster.kill(small)
  await cluster.until(() => cluster.monitors.map.osds.get(small as OsdId)?.up === false)
  cluster.monitors.destroy(small as OsdId)
  cluster.machines[small] = cluster.world.machine(`host-${small}-small`)
  await cluster.start(small, { sizeBytes })
  await cluster.until(() => cluster.monitors.map.osds.get(small as OsdId)?.up === true)
  return cluster
}

/** Who serves the object, as its primary has reported. */
function setOf(cluster: MiniCluster, pool: PoolId, name: string): Pick<PgStats, 'acting' | 'actingPrimary'> {
  const { pgId } = placeObject(cluster.monitors.map, pool, '', name)
  return must(cluster.monitors.pgStats.get(pgId), 'statistics of a PG')
}

/** Names whose PG lies on the OSD, as replica and not as primary. */
function namesOn(cluster: MiniCluster, pool: PoolId, osd: number, count: number): readonly string[] {
  const names: string[] = []
  for (let at = 0; names.length < count; at++) {
    const { acting, actingPrimary } = setOf(cluster, pool, `thing-${at}`)
    if (acting.includes(osd as OsdId) && actingPrimary !== osd) names.push(`thing-${at}`)
  }
  return names
}

async function settleAll(cluster: MiniCluster, work: readonly Promise<unknown>[]): Promise<Record<string, number>> {
  const outcomes = await cluster.run(Promise.allSettled(work), 120_000)
  const counts: Record<string, number> = {}
  for (const outcome of outcomes) {
    const code = outcome.status === 'fulfilled' ? 'ok' : (outcome.reason as { code: string }).code
    counts[code] = (counts[code] ?? 0) + 1
  }
  return counts
}

const write = (pool: PoolHandle, name: string, seed: number, length: number): Promise<unknown> =>
  pool.execute(name, [{ kind: 'write-full', data: bytesOf(seed, length) }])

function expectAllAlive(cluster: MiniCluster): void {
  expect(cluster.machines.flatMap((machine) => machine.aborts)).toEqual([])
  for (const daemon of cluster.daemons) expect(daemon?.isUp).toBe(true)
}

describe('a replica whose disk is nearly full', () => {
  it.each([1, 16, 64])('is never asked for more than it has, %i writes at a time', async (depth) => {
    const cluster = await withSmallDisk(60 + depth, 3, 16 * mebibyte)
    const pool = await cluster.pool('things', 8, 3, 2)
    const things = await cluster.client('things')
    const names = namesOn(cluster, pool, 3, 600)
    const counts: Record<string, number> = {}
    for (let from = 0; from < names.length && (counts['ENOSPC'] ?? 0) < 2 * depth; from += depth) {
      const batch = names.slice(from, from + depth).map((name, at) => write(things, name, from + at, 128 * kibibyte))
      for (const [code, count] of Object.entries(await settleAll(cluster, batch)))
        counts[code] = (counts[code] ?? 0) + count
    }
    expect(Object.keys(counts).sort()).toEqual(['ENOSPC', 'ok'])
    // Of 16 MiB with 128 KiB each: it was used to more than half before anybody was refused.
    expect(counts['ok']).toBeGreaterThan(64)
    expectAllAlive(cluster)
    const status = (await cluster.ask(3, 'status')) as { usage: { totalBytes: number; usedBytes: number } }
    expect(status.usage.usedBytes / status.usage.totalBytes).toBeLessThanOrEqual(0.97)
    // What was acknowledged is there; removals pass, and give room for new writes.
    expect(await cluster.get(things, names[0] as string)).toEqual(bytesOf(0, 128 * kibibyte))
    const removals = names.slice(0, 40).map((name) => things.execute(name, [{ kind: 'remove' }]))
    expect(await settleAll(cluster, removals)).toEqual({ ok: 40 })
    await cluster.world.time.advance(1_500)
    for (let at = 0; at < 10; at++) await cluster.put(things, names[at] as string, bytesOf(1_000 + at, 128 * kibibyte))
    expect(await cluster.get(things, names[9] as string)).toEqual(bytesOf(1_009, 128 * kibibyte))
    await cluster.untilClean(pool)
    expectAllAlive(cluster)
  })

  it('does not keep writes from placement groups that lie elsewhere', async () => {
    const cluster = await withSmallDisk(70, 3, 8 * mebibyte)
    const pool = await cluster.pool('things', 16, 2, 1)
    const things = await cluster.client('things')
    const on = namesOn(cluster, pool, 3, 200)
    let refused = false
    for (let at = 0; !refused && at < on.length; at++) {
      const counts = await settleAll(cluster, [write(things, on[at] as string, at, 128 * kibibyte)])
      refused = counts['ENOSPC'] === 1
    }
    expect(refused).toBe(true)
    let elsewhere = 0
    for (let at = 0; elsewhere < 10; at++) {
      const { acting } = setOf(cluster, pool, `other-${at}`)
      if (acting.includes(3 as OsdId)) continue
      elsewhere++
      await cluster.put(things, `other-${at}`, bytesOf(at, 128 * kibibyte))
    }
    expectAllAlive(cluster)
  })

  it('answers a write that was done before it was full, when it is sent again', async () => {
    const cluster = await withSmallDisk(71, 3, 8 * mebibyte)
    const pool = await cluster.pool('things', 8, 3, 2)
    const things = await cluster.client('things')
    const [name = '', ...rest] = namesOn(cluster, pool, 3, 100)
    await cluster.put(things, name, bytesOf(1, 1_000))
    for (const one of rest) {
      if ('ENOSPC' in (await settleAll(cluster, [write(things, one, 2, 128 * kibibyte)]))) break
    }
    await expect(cluster.put(things, name, bytesOf(3, 600 * kibibyte))).rejects.toMatchObject({ code: 'ENOSPC' })
    expect(await cluster.get(things, name)).toEqual(bytesOf(1, 1_000))
  })
})

describe('recovery to a disk that is nearly full', () => {
  it('stops before the disk is full, says so, and ends when there is room', async () => {
    const cluster = await withSmallDisk(72, 3, 8 * mebibyte)
    const pool = await cluster.pool('things', 4, 3, 2)
    const things = await cluster.client('things')
    const names = namesOn(cluster, pool, 3, 90)
    cluster.kill(3)
    await cluster.until(() => cluster.monitors.map.osds.get(3 as OsdId)?.up === false)
    for (const [at, name] of names.entries()) await cluster.put(things, name, bytesOf(at, 128 * kibibyte))
    await cluster.start(3)
    const isTooFull = (): boolean =>
      [...cluster.monitors.pgStats.values()].some((stats) => stats.states.includes('recovery_toofull'))
    await cluster.until(isTooFull)
    await cluster.world.time.advance(10_000)
    expectAllAlive(cluster)
    for (let at = 0; at < 60; at++) await cluster.run(things.execute(names[at] as string, [{ kind: 'remove' }]))
    await cluster.untilClean(pool, 120_000)
    expectAllAlive(cluster)
    expect(setOf(cluster, pool, names[80] as string).acting).toContain(3)
    expect(await cluster.get(things, names[80] as string)).toEqual(bytesOf(80, 128 * kibibyte))
  })
})
