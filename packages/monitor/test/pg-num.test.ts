/** How pg_num grows: what is asked, when it is done, and what is refused. */
import { type PgId, pgId, poolId } from '@shoal/base'
import { featurePgSplit, PlacementCache, type Pool, pgIdsOf } from '@shoal/cluster-map'
import { describe, expect, it } from 'vitest'
import { poolsToStep, stepPool } from '../src/services/pg-num.ts'
import { Bench } from './support/bench.ts'

const set = (val: unknown, more: object = {}) => ({ prefix: 'osd pool set', pool: 'p', var: 'pg_num', val, ...more })
const poolOf = (bench: Bench): Pool => bench.map.pools.get(poolId(1)) as Pool

/** What the leader does once a second; whether there was something to do. */
function step(bench: Bench): boolean {
  const ready = poolsToStep(bench.map, bench.statistics)
  bench.change((draft) => {
    for (const pool of ready) stepPool(draft, pool)
  })
  return ready.length > 0
}

describe('pg_num', () => {
  it('grows when all is clean, in place; pgp_num follows when all is clean again; then the wish is gone', () => {
    const bench = new Bench(featurePgSplit, 8)
    const before = new PlacementCache(bench.map)
    bench.run(set(32))
    expect(poolOf(bench)).toMatchObject({ pgNum: 8, pgpNum: 8 })
    bench.reportAll(['active', 'degraded'], '1.3' as PgId)
    expect(step(bench)).toBe(false)
    bench.reportAll(['active', 'clean'])
    expect(step(bench)).toBe(true)
    expect(poolOf(bench)).toMatchObject({ pgNum: 32, pgpNum: 8, lastChange: bench.map.epoch })
    const split = new PlacementCache(bench.map)
    for (const id of pgIdsOf(poolOf(bench))) {
      const seed = Number.parseInt(id.slice(2), 16) % 8
      expect(split.mapping(id)).toEqual(before.mapping(pgId(poolId(1), seed)))
    }
    // The new ones have not said anything yet.
    expect(step(bench)).toBe(false)
    bench.reportAll(['active', 'clean'])
    expect(step(bench)).toBe(true)
    expect(poolOf(bench)).toMatchObject({ pgNum: 32, pgpNum: 32 })
    expect(poolOf(bench).options.size).toBe(0)
    bench.reportAll(['active', 'clean'])
    expect(step(bench)).toBe(false)
  })

  it('keeps the parts of a PG that lies elsewhere than CRUSH says where it lies', () => {
    const bench = new Bench(featurePgSplit, 8)
    const whole = '1.2' as PgId
    const [from = 0] = new PlacementCache(bench.map).raw(whole)
    bench.run({ prefix: 'osd pg-upmap-items', pgid: whole, id: [from, (from + 3) % 6] })
    const before = new PlacementCache(bench.map).mapping(whole)
    bench.run(set(16, { sure: true }))
    expect(poolOf(bench).pgNum).toBe(16)
    expect(new PlacementCache(bench.map).mapping('1.a' as PgId)).toEqual(before)
  })

  it('keeps OSDs out that do not know how to split', () => {
    const bench = new Bench(0, 8)
    expect(() => bench.run(set(16))).toThrow(expect.objectContaining({ code: 'EOPNOTSUPP' }))
    const able = new Bench(featurePgSplit, 8)
    expect(able.map.requiredFeatures).toBe(0)
    able.run(set(16, { sure: true }))
    expect(able.map.requiredFeatures).toBe(featurePgSplit)
  })

  it.each<[unknown, string]>([
    [4, 'EOPNOTSUPP'],
    [0, 'EINVAL'],
    ['x', 'EINVAL'],
    ['', 'EINVAL'],
    [8.5, 'EINVAL'],
    [65_536, 'ERANGE'],
    [65_537, 'EINVAL'],
  ])('%s is refused with %s', (value, code) => {
    const bench = new Bench(featurePgSplit, 8)
    const { map } = bench
    expect(() => bench.run(set(value))).toThrow(expect.objectContaining({ code }))
    expect(bench.map).toBe(map)
  })

  it('pgp_num goes no further than pg_num', () => {
    const bench = new Bench(featurePgSplit, 8)
    const pgp = (val: number) => bench.run({ prefix: 'osd pool set', pool: 'p', var: 'pgp_num', val })
    expect(() => pgp(9)).toThrow(expect.objectContaining({ code: 'EINVAL' }))
    pgp(4)
    expect(poolOf(bench)).toMatchObject({ pgNum: 8, pgpNum: 4 })
  })
})
