/** Peering of shards: whose log wins, who serves where, and how many must tell. */
import { type OsdId, osdId } from '@shoal/base'
import { noOsd, noPrimary, type PgMapping } from '@shoal/cluster-map'
import { describe, expect, test } from 'vitest'
import { findBestInfo } from '../src/choose-acting.ts'
import { ShardRules } from '../src/erasure/shard-rules.ts'
import { memberMapping, memberOf, osdOf, placesOf, shardOf } from '../src/member.ts'
import { mergeLog } from '../src/merge-log.ts'
import { MissingSet } from '../src/missing-set.ts'
import { backfillComplete, backfillStart, type PgInfo } from '../src/pg-info.ts'
import { buildPriorSet } from '../src/prior-set.ts'
import { MapAuthority, newOsd } from './simulation/map-authority.ts'
import { entry, epoch, info, interval, object, version } from './support.ts'

const rules = new ShardRules(() => 2)
const member = (osd: number, shard: number): OsdId => memberOf(osdId(osd), shard)
const none = noOsd

function mapping(up: readonly number[], acting = up): PgMapping {
  const first = (set: readonly number[]): OsdId => osdId(set.find((osd) => osd !== none) ?? noPrimary)
  return memberMapping({
    up: up.map(osdId),
    acting: acting.map(osdId),
    upPrimary: first(up),
    actingPrimary: first(acting),
  })
}

describe('members', () => {
  test('are OSDs with the shard of their place; holes are left out and come back', () => {
    const { up, upPrimary, acting, actingPrimary } = mapping([none, 7, 3], [3, none, 3])
    expect(up.map((one) => [osdOf(one), shardOf(one)])).toEqual([
      [7, 1],
      [3, 2],
    ])
    expect(upPrimary).toBe(member(7, 1))
    expect(acting).toEqual([member(3, 0), member(3, 2)])
    expect(actingPrimary).toBe(member(3, 0))
    expect(placesOf(up, 3)).toEqual([none, 7, 3])
    expect(osdOf(noPrimary)).toBe(noPrimary)
  })
})

describe('the log that wins', () => {
  const infos = (list: readonly (readonly [OsdId, PgInfo])[]): ReadonlyMap<OsdId, PgInfo> => new Map(list)

  test('is the shortest of those that may have everything acknowledged', () => {
    const all = infos([
      [member(0, 0), info({ lastUpdate: "5'9", started: 5 })],
      [member(1, 1), info({ lastUpdate: "5'8", started: 5 })],
      [member(2, 2), info({ lastUpdate: "5'7", started: 4 })],
      [member(3, 3), info({ lastUpdate: "5'6", started: 5, lastBackfill: backfillStart })],
    ])
    expect(findBestInfo(all, member(0, 0), rules)).toBe(member(1, 1))
  })

  test('takes back what only some have, from what they keep; what they keep nothing of is missing', () => {
    const local = {
      tail: version("0'0"),
      head: version("5'9"),
      entries: ["modify 5'7 a", "modify 5'8 a 5'7", "modify 5'9 b 5'6"].map(entry),
      cursor: backfillComplete,
    }
    const segment = { tail: version("5'7"), head: version("5'7"), entries: [] }
    const missing = new MissingSet()
    const merged = mergeLog(local, missing, segment, ({ version: at }) => at.version === 8)
    expect([...merged.undone]).toHaveLength(1)
    expect([...missing.values()]).toEqual([{ object: object('b'), need: version("5'6") }])
    expect(merged.divergent.map((one) => one.version.version)).toEqual([8, 9])
  })
})

describe('acting', () => {
  const whole = info({ lastUpdate: "5'9", logTail: "5'1", started: 5 })
  const blank = info({ lastBackfill: backfillStart })

  test('keeps each shard where it is until the newcomer of its place is filled', () => {
    const all = new Map([
      [member(0, 0), whole],
      [member(1, 1), whole],
      [member(2, 2), whole],
      [member(9, 1), blank],
    ])
    const choice = rules.chooseActing(all, member(0, 0), mapping([0, 9, 2], [0, 1, 2]), 3)
    expect(choice).toEqual({
      primary: member(0, 0),
      acting: [member(0, 0), member(1, 1), member(2, 2)],
      backfill: [member(9, 1)],
    })
    expect(rules.isUp(choice.acting, mapping([0, 9, 2]))).toBe(false)
  })

  test('an OSD with another shard is of no use for a place', () => {
    const all = new Map([
      [member(0, 0), whole],
      [member(2, 2), whole],
      [member(1, 1), whole],
      [member(1, 0), blank],
    ])
    const choice = rules.chooseActing(all, member(2, 2), mapping([1, none, 2]), 3)
    expect(choice.acting).toEqual([member(0, 0), member(1, 1), member(2, 2)])
    expect(choice.backfill).toEqual([member(1, 0)])
  })
})

describe('the prior set', () => {
  test('wants k members of an interval that may have written', () => {
    const { map } = new MapAuthority({ osds: 4, size: 3, minSize: 2, onEpoch: () => {} })
    const down = new Map(map.osds).set(osdId(2), { ...newOsd(osdId(2), epoch(1)), up: false })
    const members = [member(0, 0), member(1, 1), member(2, 2)]
    const served = info({ lastUpdate: "5'9", started: 5 })
    const { history } = info({ started: 2 })
    const blockedBy = (known: ReadonlyMap<OsdId, PgInfo>): readonly OsdId[] => {
      const osds = { ...map, osds: down }
      const past = [interval(5, 6, members)]
      return [...buildPriorSet(osds, mapping([0, 1, none]), history, past, known, member(0, 0), 2).blockedBy]
    }
    expect(blockedBy(new Map([[member(0, 0), served]]))).toEqual([])
    expect(
      blockedBy(
        new Map([
          [member(0, 0), served],
          [member(1, 1), served],
        ]),
      ),
    ).toEqual([])
    // The other survivor's store was lost: its shard is not what it was.
    expect(
      blockedBy(
        new Map([
          [member(0, 0), served],
          [member(1, 1), info({})],
        ]),
      ),
    ).toEqual([member(2, 2)])
  })
})
