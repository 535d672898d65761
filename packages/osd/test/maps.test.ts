/** The maps that an OSD keeps, and the order in which it takes them in. */
import { ClusterError, type Epoch, type PgId, type PoolId } from '@shoal/base'
import { applyIncremental, createOsdMap, type OsdMap } from '@shoal/cluster-map'
import { emptyCrushMap } from '@shoal/crush'
import type { MonitorClient } from '@shoal/monitor-client'
import { FileObjectStore } from '@shoal/object-store'
import { makeSimEnv, silentLog } from '@shoal/testkit'
import { describe, expect, it } from 'vitest'
import { MapFeed } from '../src/map-feed.ts'
import { fullMapEvery, MapStore } from '../src/map-store.ts'
import { claimStore } from '../src/superblock.ts'

const mebibyte = 1024 * 1024
const fsid = 'f0000000-0000-4000-8000-000000000001'

function history(epochs: number): readonly OsdMap[] {
  const maps = [createOsdMap(fsid, emptyCrushMap(), 0)]
  for (let epoch = 1; epoch <= epochs; epoch++) {
    const last = maps.at(-1) as OsdMap
    const pgTemp = new Map([[`1.${(epoch % 16).toString(16)}` as PgId, [(epoch % 5) as never]]])
    maps.push(
      applyIncremental(last, { fsid, epoch: epoch as Epoch, modifiedMs: epoch, pgTemp, poolIdMax: 1 as PoolId }),
    )
  }
  return maps.slice(1)
}

async function openStore(keep: number) {
  const { env } = makeSimEnv({ seed: 3 })
  await FileObjectStore.create(env, '/store', { sizeBytes: mebibyte, journalBytes: mebibyte })
  const store = await FileObjectStore.mount(env, '/store')
  await claimStore(store, { whoami: 1 as never, uuid: 'u', fsid, state: 'preparing' })
  return { store, reopen: () => new MapStore(store, () => keep, silentLog) }
}

describe('map store', () => {
  it('gives back every map from an epoch on, as it was', async () => {
    const { reopen } = await openStore(500)
    const maps = history(fullMapEvery * 2 + 5)
    const written = reopen()
    for (const map of maps) await written.add(map)
    const seen: OsdMap[] = []
    const newest = await reopen().load(40 as Epoch, async (map) => void seen.push(map))
    expect(newest).toEqual(maps.at(-1))
    expect(seen).toEqual(maps.slice(39))
  })

  it('keeps a bounded number, and what it keeps begins with a full map', async () => {
    const { reopen } = await openStore(40)
    const maps = history(fullMapEvery * 6)
    const written = reopen()
    for (const map of maps) await written.add(map)
    const seen: number[] = []
    await reopen().load(1 as Epoch, async (map) => void seen.push(map.epoch))
    expect(seen.length).toBeGreaterThanOrEqual(40)
    expect(seen.length).toBeLessThanOrEqual(40 + 2 * fullMapEvery)
    expect(seen.at(-1)).toBe(maps.length)
  })

  it('stores a full map after a gap', async () => {
    const { reopen } = await openStore(500)
    const maps = history(20)
    const written = reopen()
    for (const map of [...maps.slice(0, 5), ...maps.slice(12)]) await written.add(map)
    const seen: number[] = []
    await reopen().load(1 as Epoch, async (map) => void seen.push(map.epoch))
    expect(seen).toEqual([1, 2, 3, 4, 5, 13, 14, 15, 16, 17, 18, 19, 20])
  })
})

describe('map feed', () => {
  const maps = history(40)
  const mapOf = (epoch: number) => maps[epoch - 1] as OsdMap

  function feedFrom(last: number, trimmedTo = 0) {
    const { world, env } = makeSimEnv({ seed: 5 })
    let failures = 2
    const monitor = {
      osdMapAt: async (epoch: Epoch) => {
        if (epoch <= trimmedTo) throw new ClusterError('ENOENT', 'trimmed')
        if (epoch === 20 && failures-- > 0) throw new ClusterError('ETIMEDOUT', 'no answer')
        return mapOf(epoch)
      },
    } as Partial<MonitorClient> as MonitorClient
    const seen: [number, boolean][] = []
    let current = 0
    const feed = new MapFeed(env, monitor, last as Epoch, {
      prepare: () => undefined,
      onMap: (map, latest) => seen.push([map.epoch, latest]),
      onCurrent: () => current++,
    })
    return { world, feed, seen, currentCalls: () => current }
  }

  it('begins anywhere when there is no past', () => {
    const { feed, seen } = feedFrom(0)
    feed.push(mapOf(17))
    feed.push(mapOf(18))
    expect(seen).toEqual([
      [17, true],
      [18, true],
    ])
  })

  it('fills the gap since the last run, asks again for what fails, and says which map is the latest', async () => {
    const { world, feed, seen } = feedFrom(10)
    feed.push(mapOf(25))
    feed.push(mapOf(26))
    await world.time.until(() => seen.length === 16)
    expect(seen.map(([epoch]) => epoch)).toEqual(Array.from({ length: 16 }, (_, at) => at + 11))
    expect(seen.filter(([, latest]) => latest)).toEqual([[26, true]])
  })

  it('skips what the monitors have trimmed', async () => {
    const { world, feed, seen } = feedFrom(3, 12)
    feed.push(mapOf(15))
    await world.time.until(() => seen.length === 3)
    expect(seen.map(([epoch]) => epoch)).toEqual([13, 14, 15])
  })

  it('tells when nothing is newer than what the last run had, and never goes back', () => {
    const { feed, seen, currentCalls } = feedFrom(10)
    feed.push(mapOf(9))
    expect(currentCalls()).toBe(0)
    feed.push(mapOf(10))
    expect(currentCalls()).toBe(1)
    expect(seen).toEqual([])
  })
})
