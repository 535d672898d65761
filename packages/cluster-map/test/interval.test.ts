/** One test per reason for which Ceph begins a new interval, and that nothing else is one. */
import { type Epoch, osdId, type PgId, pgId, poolId } from '@shoal/base'
import {
  featureOwnIntervals,
  isNewInterval,
  mergeTarget,
  noPrimary,
  type PgMapping,
  type Pool,
  splitSeeds,
} from '@shoal/cluster-map'
import { describe, expect, test } from 'vitest'

const pool: Pool = {
  id: poolId(1),
  name: 'data',
  type: 'replicated',
  size: 3,
  minSize: 2,
  pgNum: 8,
  pgpNum: 8,
  crushRule: 0,
  hashPool: true,
  created: 1 as Epoch,
  lastChange: 1 as Epoch,
  applications: [],
  options: new Map(),
}
const set = [0, 1, 2].map(osdId)
const mapping: PgMapping = { up: set, upPrimary: osdId(0), acting: set, actingPrimary: osdId(0) }
const mapOf = (one: Pool, requiredFeatures: number) => ({ pools: new Map([[one.id, one]]), requiredFeatures })
const before = { mapping, map: mapOf(pool, 0) }
const begins = (nextMapping: Partial<PgMapping>, nextPool: Partial<Pool> = {}): boolean =>
  isNewInterval(pgId(pool.id, 1), before, {
    mapping: { ...mapping, ...nextMapping },
    map: mapOf({ ...pool, ...nextPool }, 0),
  })

describe('a new interval begins', () => {
  test.each<[string, Partial<PgMapping>]>([
    ['the acting primary is another', { actingPrimary: osdId(1) }],
    ['nobody can serve', { actingPrimary: noPrimary, acting: [] }],
    ['the up primary is another', { upPrimary: osdId(1) }],
    ['a member of acting is another', { acting: [0, 1, 3].map(osdId) }],
    ['acting has the same members in another order', { acting: [0, 2, 1].map(osdId) }],
    ['acting is shorter', { acting: [0, 1].map(osdId) }],
    ['up is another while acting stays', { up: [0, 1, 3].map(osdId) }],
  ])('when %s', (_reason, next) => {
    expect(begins(next)).toBe(true)
  })

  test.each<[string, Partial<Pool>]>([
    ['size', { size: 2 }],
    ['min_size', { minSize: 1 }],
    ['pg_num', { pgNum: 16 }],
  ])('when the %s of the pool changes', (_what, next) => {
    expect(begins({}, next)).toBe(true)
  })

  test('when the pool is gone', () => {
    const map = { pools: new Map(), requiredFeatures: 0 }
    expect(isNewInterval(pgId(pool.id, 1), before, { mapping, map })).toBe(true)
  })
})

describe('where all OSDs know it, a change of pg_num concerns', () => {
  const concerned = (from: number, to: number, name: (seed: number) => PgId): readonly number[] => {
    const [old, now] = [from, to].map((pgNum) => ({ mapping, map: mapOf({ ...pool, pgNum }, featureOwnIntervals) }))
    const seeds = [...Array(Math.max(from, to)).keys()]
    return seeds.filter((seed) => isNewInterval(name(seed), old as typeof before, now as typeof before))
  }
  const whole = (seed: number): PgId => pgId(pool.id, seed)

  test('the source and the target of a merge', () => {
    expect(concerned(8, 7, whole)).toEqual([3, 7])
    expect(concerned(12, 11, whole)).toEqual([3, 11])
  })

  test('what is split, and its parts; also the shards of either', () => {
    expect(concerned(8, 10, whole)).toEqual([0, 1, 8, 9])
    expect(concerned(8, 10, (seed) => `${whole(seed)}s2` as PgId)).toEqual([0, 1, 8, 9])
  })

  test('where maps between are gone, all that splits and merges on the way would have', () => {
    for (let from = 1; from <= 20; from++) {
      for (let to = 1; to <= 20; to++) {
        const pairs = new Set<number>()
        for (let count = from; count < to; count++) {
          for (let seed = 0; seed < count; seed++) if (splitSeeds(seed, count, count + 1).length > 0) pairs.add(seed)
          pairs.add(count)
        }
        for (let count = from; count > to; count--) {
          const target = mergeTarget(whole(count - 1), pool, count - 1)
          pairs.add(Number.parseInt(target.slice(2), 16)).add(count - 1)
        }
        expect(concerned(from, to, whole)).toEqual([...pairs].sort((a, b) => a - b))
      }
    }
  })
})

test.each<[string, Partial<Pool>]>([
  ['the name', { name: 'other' }],
  ['an option', { options: new Map([['a', 'b']]) }],
  ['the applications', { applications: ['block'] }],
])('%s of the pool does not end an interval, nor does nothing at all', (_what, next) => {
  expect(begins({}, next)).toBe(false)
  expect(begins({ up: [...set], acting: [...set] })).toBe(false)
})
