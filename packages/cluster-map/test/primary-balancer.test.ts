/** Upmap primaries as Ceph documents them (osdmaptool 16.2 does not know them), and the balancer that makes them. */
import { decode, type Epoch, encode, type OsdId, osdId, type PgId, poolId } from '@shoal/base'
import {
  applyIncremental,
  cleanUpmaps,
  diffOsdMaps,
  measurePrimaries,
  noOsd,
  type OsdMap,
  osdMapCodec,
  osdMapIncrementalCodec,
  PlacementCache,
  type Pool,
  pgIdsOf,
  planPrimaries,
  planUpmaps,
  weightOne,
} from '@shoal/cluster-map'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type ClusterShape, clusterShapes, mapOf, osd, withPlan } from './support/random-map.ts'

const plain: ClusterShape = {
  hosts: Array.from({ length: 6 }, () => [1, 1]),
  hostsPerRack: 2,
  failureDomain: 'host',
  ssd: () => false,
  deviceClass: undefined,
  pools: [{ pgNum: 64, size: 3 }],
}
const one = '1.7' as PgId

const withPrimary = (map: OsdMap, id: PgId, to: number): OsdMap => ({
  ...map,
  upmapPrimaries: new Map([[id, to as OsdId]]),
})

const withOsd = (map: OsdMap, id: number, changes: Parameters<typeof osd>[1]): OsdMap => ({
  ...map,
  osds: new Map(map.osds).set(osdId(id), osd(id, changes)),
})

function withPrimaries(map: OsdMap, plan: ReturnType<typeof planPrimaries>): OsdMap {
  const upmapPrimaries = new Map(map.upmapPrimaries)
  for (const [id, to] of plan.upmapPrimaries) {
    if (to === null) upmapPrimaries.delete(id)
    else upmapPrimaries.set(id, to)
  }
  return { ...map, upmapPrimaries }
}

/** Rounds until nothing is left to do. */
function balanced(map: OsdMap, changesMax = 10): OsdMap {
  let now = map
  for (let rounds = 0; rounds < 1_000; rounds++) {
    const plan = planPrimaries(now, { changesMax })
    if (plan.upmapPrimaries.size === 0) return now
    // A path is taken whole.
    expect(plan.upmapPrimaries.size).toBeLessThan(changesMax + map.osds.size)
    now = withPrimaries(now, plan)
  }
  throw new Error('the balancer does not end')
}

function withEvenCopies(map: OsdMap): OsdMap {
  const plan = planUpmaps(map, { changesMax: 100 })
  return plan.upmapItems.size === 0 ? map : withEvenCopies(withPlan(map, plan))
}

const spread = (map: OsdMap) => measurePrimaries(map, new PlacementCache(map))
const squares = (map: OsdMap): readonly number[] =>
  [...map.pools.values()].map((pool) => {
    const counts = new Map<OsdId, number>()
    const placement = new PlacementCache(map)
    for (const id of pgIdsOf(pool)) {
      const { upPrimary } = placement.mapping(id)
      counts.set(upPrimary, (counts.get(upPrimary) ?? 0) + 1)
    }
    return [...counts.values()].reduce((sum, count) => sum + count * count, 0)
  })

describe('an upmap primary', () => {
  const map = mapOf(plain)
  const { up } = new PlacementCache(map).mapping(one)
  const [first, second, third] = up as [OsdId, OsdId, OsdId]

  test('changes places with the first of the set', () => {
    const mapping = new PlacementCache(withPrimary(map, one, third)).mapping(one)
    expect(mapping).toEqual({
      up: [third, second, first],
      upPrimary: third,
      acting: [third, second, first],
      actingPrimary: third,
    })
  })

  test('is looked for in the set that other exceptions made', () => {
    const to = [...map.osds.keys()].find((id) => !up.includes(id)) as OsdId
    const upmapItems = new Map([[one, [{ from: third, to }]]])
    const moved = { ...withPrimary(map, one, to), upmapItems }
    expect(new PlacementCache(moved).mapping(one).up).toEqual([to, second, first])
    expect(new PlacementCache({ ...withPrimary(map, one, third), upmapItems }).mapping(one).up).toEqual([
      first,
      second,
      to,
    ])
  })

  test.each<[string, (map: OsdMap) => OsdMap]>([
    ['no member', (map) => withPrimary(map, one, [...map.osds.keys()].find((id) => !up.includes(id)) as OsdId)],
    ['unknown', (map) => withPrimary(map, one, 99)],
    ['first already', (map) => withPrimary(map, one, first)],
  ])('that is %s changes nothing', (_why, change) => {
    expect(new PlacementCache(change(map)).mapping(one).up).toEqual(up)
  })

  test('that is down leaves the others in their order, and is the primary again when it is back', () => {
    const down = withOsd(withPrimary(map, one, third), third, { up: false })
    expect(new PlacementCache(down).mapping(one)).toMatchObject({ up: [second, first], upPrimary: second })
    expect(cleanUpmaps(down).upmapPrimaries).toEqual([])
  })

  test('yields to primary affinity, and to pg_temp', () => {
    const reluctant = withOsd(withPrimary(map, one, third), third, { primaryAffinity: 0 })
    expect(new PlacementCache(reluctant).mapping(one).upPrimary).toBe(second)
    const temp = { ...withPrimary(map, one, third), pgTemp: new Map([[one, [second, first]]]) }
    expect(new PlacementCache(temp).mapping(one)).toMatchObject({ upPrimary: third, actingPrimary: second })
  })

  test('does not move the shards of an erasure-coded pool', () => {
    const [pool] = [...map.pools.values()] as [Pool]
    const coded = { ...map, pools: new Map([[pool.id, { ...pool, type: 'erasure' as const }]]) }
    const before = new PlacementCache(coded).mapping(one)
    const last = before.up.filter((id) => id !== noOsd).at(-1) as OsdId
    expect(new PlacementCache(withPrimary(coded, one, last)).mapping(one)).toEqual(before)
    expect(cleanUpmaps(withPrimary(coded, one, last)).upmapPrimaries).toEqual([one])
    expect(planPrimaries(coded, { changesMax: 10 }).upmapPrimaries.size).toBe(0)
  })

  test('outlives encoding; who does not know of it refuses, and sees nothing of it once it is gone', () => {
    const next = { ...withPrimary(map, one, third), epoch: (map.epoch + 1) as Epoch }
    const incremental = diffOsdMaps(map, next)
    const bytes = encode(osdMapIncrementalCodec, incremental)
    expect([bytes[0], bytes[1]]).toEqual([3, 3])
    expect(decode(osdMapIncrementalCodec, bytes)).toEqual(incremental)
    expect(applyIncremental(map, incremental)).toEqual(next)
    const whole = encode(osdMapCodec, next)
    expect([whole[0], whole[1]]).toEqual([3, 3])
    expect(decode(osdMapCodec, whole)).toEqual(next)
    const without = { ...map, epoch: (map.epoch + 2) as Epoch }
    const removed = diffOsdMaps(next, without)
    expect(removed.upmapPrimaries).toEqual(new Map([[one, null]]))
    const after = applyIncremental(next, decode(osdMapIncrementalCodec, encode(osdMapIncrementalCodec, removed)))
    expect(after).toEqual(without)
    expect(encode(osdMapCodec, after)[0]).toBe(1)
  })

  test.each<[string, (map: OsdMap) => OsdMap]>([
    ['its pool is gone', (map) => ({ ...map, pools: new Map() })],
    [
      'its PG is gone',
      (map) => {
        const [pool] = [...map.pools.values()] as [Pool]
        return { ...map, pools: new Map([[pool.id, { ...pool, pgNum: 4, pgpNum: 4 }]]) }
      },
    ],
    ['it is out', (map) => withOsd(map, third, { weight: 0 })],
    ['it was removed', (map) => ({ ...map, osds: new Map([...map.osds].filter(([id]) => id !== third)) })],
    ['it gave its copy to another', (map) => ({ ...map, upmap: new Map([[one, [first, second]]]) })],
    ['its affinity forbids it', (map) => withOsd(map, third, { primaryAffinity: 0 })],
    ['it is first by itself', (map) => ({ ...map, upmap: new Map([[one, [third, second, first]]]) })],
  ])('is dropped when %s', (_why, change) => {
    const excepted = withPrimary(map, one, third)
    expect(cleanUpmaps(excepted).upmapPrimaries).toEqual([])
    expect(cleanUpmaps(change(excepted)).upmapPrimaries).toEqual([one])
  })
})

const affinities = fc.array(fc.constantFrom(weightOne, weightOne, weightOne, weightOne / 2, 0), {
  minLength: 36,
  maxLength: 36,
})

describe('planPrimaries', () => {
  test('on any cluster: ends, moves no copy, spares who should not be primary, and needs no cleaning', () => {
    fc.assert(
      fc.property(clusterShapes, affinities, (shape, shares) => {
        const drawn = mapOf(shape)
        const osds = [...drawn.osds].map(([id]) => [id, osd(id, { primaryAffinity: shares[id] as number })] as const)
        const map = { ...drawn, osds: new Map(osds) }
        const after = balanced(map)
        const [before, now] = [new PlacementCache(map), new PlacementCache(after)]
        for (const [at, pool] of [...map.pools.values()].entries()) {
          for (const id of pgIdsOf(pool)) {
            expect([...now.mapping(id).up].sort((a, b) => a - b)).toEqual(
              [...before.mapping(id).up].sort((a, b) => a - b),
            )
            const { upPrimary } = now.mapping(id)
            const others = now.mapping(id).up.filter((member) => (shares[member] as number) === weightOne)
            if (others.length > 0) expect(shares[upPrimary]).toBeGreaterThan(0)
            const exception = after.upmapPrimaries?.get(id)
            if (exception !== undefined) expect(upPrimary).toBe(exception)
          }
          expect(spread(after)[at]?.deviationMax).toBeLessThanOrEqual((spread(map)[at]?.deviationMax as number) + 1)
        }
        expect(cleanUpmaps(after).upmapPrimaries).toEqual([])
      }),
      { numRuns: 60 },
    )
  })

  test('finds the best choice of primaries that the sets permit', () => {
    // Three PGs of three OSDs, by every choice there is.
    fc.assert(
      fc.property(fc.integer({ min: 3, max: 5 }), fc.integer({ min: 2, max: 3 }), fc.nat(50), (osds, size, salt) => {
        const hosts = Array.from({ length: osds }, () => [1])
        const drawn = mapOf({ ...plain, failureDomain: 'osd', hosts, pools: [{ pgNum: 6, size }] })
        // Pools of other ids have other sets.
        const [pool] = [...drawn.pools.values()] as [Pool]
        const id = poolId(salt + 1)
        const map = { ...drawn, pools: new Map([[id, { ...pool, id }]]) }
        const placement = new PlacementCache(map)
        const sets = pgIdsOf({ ...pool, id }).map((pg) => placement.placed(pg))
        const targets = new Map<OsdId, number>()
        for (const osd of sets.flat()) targets.set(osd, (targets.get(osd) ?? 0) + 1 / size)
        const cost = (chosen: readonly OsdId[]): number => {
          let sum = 0
          for (const [osd, target] of targets) sum += (chosen.filter((one) => one === osd).length - target) ** 2
          return sum
        }
        let choices: OsdId[][] = [[]]
        for (const set of sets) choices = choices.flatMap((choice) => set.map((osd) => [...choice, osd]))
        const best = Math.min(...choices.map(cost))
        const after = new PlacementCache(balanced(map))
        const ours = cost(pgIdsOf({ ...pool, id }).map((pg) => after.mapping(pg).upPrimary))
        expect(ours).toBeCloseTo(best, 6)
      }),
      { numRuns: 40 },
    )
  })

  test.each([
    ['hosts of equal weight', plain],
    ['racks', { ...plain, failureDomain: 'rack' as const }],
    ['two copies and a PG number that is no power of two', { ...plain, pools: [{ pgNum: 100, size: 2 }] }],
  ])('%s: with even copies no two OSDs differ by more than one primary', (_name, shape) => {
    const map = withEvenCopies(mapOf(shape))
    const [before] = spread(map)
    const [row] = spread(balanced(map))
    expect((before?.most as number) - (before?.least as number)).toBeGreaterThan(1)
    expect((row?.most as number) - (row?.least as number)).toBeLessThanOrEqual(1)
    expect(row?.score).toBeLessThan(1.25)
  })

  test('an OSD of half the affinity gets half as many, and one without gets none', () => {
    const pools = [{ pgNum: 256, size: 3 }]
    const half = withOsd(mapOf({ ...plain, pools }), 0, { primaryAffinity: weightOne / 2 })
    const map = balanced(withOsd(half, 1, { primaryAffinity: 0 }))
    const placement = new PlacementCache(map)
    const counts = new Map<OsdId, number>()
    for (const id of pgIdsOf(map.pools.get(poolId(1)) as Pool)) {
      const { upPrimary } = placement.mapping(id)
      counts.set(upPrimary, (counts.get(upPrimary) ?? 0) + 1)
    }
    expect(counts.get(osdId(1))).toBeUndefined()
    expect(spread(map)[0]?.deviationMax).toBeLessThanOrEqual(1)
    expect((counts.get(osdId(0)) as number) / (256 / 12)).toBeLessThan(0.75)
  })

  test('several pools add up to an even whole', () => {
    const pools = Array.from({ length: 6 }, () => ({ pgNum: 8, size: 3 }))
    const map = withEvenCopies(mapOf({ ...plain, hosts: Array.from({ length: 7 }, () => [1]), pools }))
    const deviations = (one: OsdMap): number => {
      const placement = new PlacementCache(one)
      const ids = [...one.pools.values()].flatMap(pgIdsOf)
      const counts = [...one.osds.keys()].map(
        (osd) => ids.filter((id) => placement.mapping(id).upPrimary === osd).length,
      )
      return Math.max(...counts) - Math.min(...counts)
    }
    expect(deviations(balanced(map))).toBeLessThan(deviations(map))
    expect(deviations(balanced(map))).toBeLessThanOrEqual(2)
  })

  test('takes exceptions back when they are what makes it uneven', () => {
    const map = balanced(mapOf(plain))
    const skewed = { ...map, upmapPrimaries: new Map(map.upmapPrimaries) }
    const placement = new PlacementCache(map)
    for (const id of pgIdsOf(map.pools.get(poolId(1)) as Pool)) {
      if (placement.placed(id).includes(osdId(0))) skewed.upmapPrimaries.set(id, osdId(0))
    }
    const again = balanced(skewed)
    expect(squares(again)).toEqual(squares(map))
  })

  test('names nobody who is down, leaves a pool alone that is split, and looks at no more than it may', () => {
    const map = mapOf(plain)
    for (const to of planPrimaries(withOsd(map, 1, { up: false }), { changesMax: 100 }).upmapPrimaries.values())
      expect(to).not.toBe(1)
    const [pool] = [...map.pools.values()] as [Pool]
    const splitting = { ...map, pools: new Map([[pool.id, { ...pool, pgpNum: 32 }]]) }
    expect(planPrimaries(splitting, { changesMax: 10 }).upmapPrimaries.size).toBe(0)
    expect(planPrimaries(map, { changesMax: 100, checksMax: 0 }).upmapPrimaries.size).toBe(0)
  })
})
