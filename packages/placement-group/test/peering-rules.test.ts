/** The rules by which a new primary decides whom to ask, whose log wins and who serves. */
import { type OsdId, osdId } from '@shoal/base'
import type { OsdInfo, OsdMap, PgMapping } from '@shoal/cluster-map'
import { describe, expect, test } from 'vitest'
import { chooseActing, findBestInfo } from '../src/choose-acting.ts'
import { backfillStart, type PgInfo } from '../src/pg-info.ts'
import { buildPriorSet } from '../src/prior-set.ts'
import { MapAuthority, newOsd } from './simulation/map-authority.ts'
import { epoch, info, interval, osds } from './support.ts'

function mapWith(changes: Readonly<Record<number, Partial<OsdInfo>>>): OsdMap {
  const { map } = new MapAuthority({ osds: 4, size: 3, minSize: 2, onEpoch: () => {} })
  const all = new Map(map.osds)
  for (const [id, change] of Object.entries(changes)) {
    all.set(osdId(Number(id)), { ...newOsd(osdId(Number(id)), epoch(1)), ...change })
  }
  return { ...map, osds: all }
}

const down = { up: false }
const infosOf = (...list: readonly (readonly [number, PgInfo])[]): ReadonlyMap<OsdId, PgInfo> =>
  new Map(list.map(([osd, one]) => [osdId(osd), one]))
const mappingOf = (up: readonly OsdId[], acting = up): PgMapping => ({
  up,
  acting,
  upPrimary: up[0] as OsdId,
  actingPrimary: acting[0] as OsdId,
})

describe('prior set', () => {
  const history = info({ started: 2 }).history
  const served = info({ lastUpdate: "5'9", started: 5 })

  function blockedBy(map: OsdMap, intervals: ReturnType<typeof interval>[], infos = infosOf()): readonly OsdId[] {
    return [...buildPriorSet(map, mappingOf(osds(1)), history, intervals, infos, osdId(1)).blockedBy]
  }

  test('an interval that may have written, none of whose members is up, blocks', () => {
    // osd.0 and osd.1 serve; osd.1 dies; osd.0 serves alone and dies; osd.1 returns.
    const intervals = [interval(2, 4, osds(0, 1)), interval(5, 6, osds(0))]
    expect(blockedBy(mapWith({ 0: down }), intervals)).toEqual(osds(0))
  })

  test('an interval that cannot have written (no up_thru) does not block', () => {
    const intervals = [interval(2, 4, osds(0, 1)), interval(5, 6, osds(0), false)]
    expect(blockedBy(mapWith({ 0: down }), intervals)).toEqual([])
  })

  test('an interval before the last known start does not block', () => {
    expect(blockedBy(mapWith({ 0: down }), [interval(1, 1, osds(0))])).toEqual([])
  })

  test('data that an operator declared lost does not block, unless it was written after that', () => {
    expect(blockedBy(mapWith({ 0: { ...down, lostAt: epoch(7) } }), [interval(5, 6, osds(0))])).toEqual([])
    expect(blockedBy(mapWith({ 0: { ...down, lostAt: epoch(4) } }), [interval(5, 6, osds(0))])).toEqual(osds(0))
  })

  test('one survivor is enough, and is asked', () => {
    const map = mapWith({ 0: down })
    const prior = buildPriorSet(map, mappingOf(osds(1)), history, [interval(5, 6, osds(0, 3))], infosOf(), osdId(1))
    expect([...prior.blockedBy]).toEqual([])
    expect(prior.probe.has(osdId(3))).toBe(true)
  })

  test('a survivor that has nothing does not count: its store was lost', () => {
    const intervals = [interval(5, 6, osds(0, 2, 3))]
    const map = mapWith({ 0: down, 2: down })
    expect(blockedBy(map, intervals, infosOf([3, info({})]))).toEqual(osds(0, 2))
    expect(blockedBy(map, intervals, infosOf([3, served]))).toEqual([])
    // It says itself that its copy is not whole, however late it served.
    const damaged = info({ lastUpdate: "5'9", started: 5, lastBackfill: backfillStart })
    expect(blockedBy(map, intervals, infosOf([3, damaged]))).toEqual(osds(0, 2))
    // Everybody is there, and has nothing: the PG never began.
    expect(blockedBy(mapWith({}), intervals, infosOf([0, info({})], [2, info({})], [3, info({})]))).toEqual([])
  })
})

describe('whose log wins', () => {
  test('the newest entry, then the longest log, then the primary', () => {
    const newest = infosOf([0, info({ lastUpdate: "5'9", started: 5 })], [1, info({ lastUpdate: "5'10", started: 5 })])
    expect(findBestInfo(newest, osdId(0))).toBe(1)
    const longest = infosOf(
      [0, info({ lastUpdate: "5'9", logTail: "5'5", started: 5 })],
      [1, info({ lastUpdate: "5'9", logTail: "4'2", started: 5 })],
    )
    expect(findBestInfo(longest, osdId(0))).toBe(1)
    const equal = infosOf([0, info({ lastUpdate: "5'9", started: 5 })], [1, info({ lastUpdate: "5'9", started: 5 })])
    expect(findBestInfo(equal, osdId(1))).toBe(1)
    expect(findBestInfo(equal, osdId(0))).toBe(0)
  })

  test('an entry of an interval that was left behind does not win, however new it looks', () => {
    // osd.2 ordered 4'12 and died; the others began to serve at 5 without it, and have written nothing since.
    const infos = infosOf([0, info({ lastUpdate: "4'10", started: 5 })], [2, info({ lastUpdate: "4'12", started: 4 })])
    expect(findBestInfo(infos, osdId(2))).toBe(0)
  })

  test('a copy that is being filled never wins', () => {
    const filling = info({ lastUpdate: "5'12", started: 5, lastBackfill: backfillStart })
    expect(findBestInfo(infosOf([0, info({ lastUpdate: "5'9", started: 5 })], [1, filling]), osdId(1))).toBe(0)
  })

  test('nobody wins when the copies that served last are not there', () => {
    const infos = infosOf([0, info({ lastUpdate: "4'9", started: 4, historyStarted: 6 })])
    expect(findBestInfo(infos, osdId(0))).toBeUndefined()
  })
})

describe('who serves', () => {
  test('members that the log reaches serve, others are filled, and others stand in for them', () => {
    const whole = info({ lastUpdate: "5'9", logTail: "5'5", started: 5 })
    const old = info({ lastUpdate: "3'2", started: 3 })
    const infos = infosOf([0, old], [1, whole], [2, whole], [3, whole])
    const choice = chooseActing(infos, osdId(1), mappingOf(osds(0, 1, 2)), 3)
    expect(choice).toEqual({ primary: 1, acting: osds(1, 2, 3), backfill: osds(0) })
  })

  test('the primary of the map serves when its log reaches, although another has more', () => {
    const infos = infosOf(
      [0, info({ lastUpdate: "5'7", logTail: "5'1", started: 5 })],
      [1, info({ lastUpdate: "5'9", logTail: "5'5", started: 5 })],
    )
    expect(chooseActing(infos, osdId(1), mappingOf(osds(0, 1)), 2).primary).toBe(0)
  })
})
