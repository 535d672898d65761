/** How pg_num shrinks: pgp_num first, then one placement group after the other, each when both have said how far they are. */
import { type OsdId, type PgId, poolId } from '@shoal/base'
import {
  featureOwnIntervals,
  featurePgMerge,
  featurePgSplit,
  hasFeatures,
  lastMerge,
  type OsdInfo,
  osdFeatures,
  PlacementCache,
  type Pool,
  pendingMerge,
} from '@shoal/cluster-map'
import { expect, it } from 'vitest'
import { PgMerges, takeMergeStep } from '../src/services/pg-merges.ts'
import { poolsToStep, stepPool } from '../src/services/pg-num.ts'
import { Bench } from './support/bench.ts'

const set = (val: unknown) => ({ prefix: 'osd pool set', pool: 'p', var: 'pg_num', val })
const poolOf = (bench: Bench): Pool => bench.map.pools.get(poolId(1)) as Pool

class Merging {
  readonly bench: Bench
  readonly merges = new PgMerges()
  nowMs = 0

  /** `features`: of the OSDs. */
  constructor(features: number = featurePgSplit + featurePgMerge) {
    this.bench = new Bench(features, 8)
  }

  get pool(): Pool {
    return poolOf(this.bench)
  }

  /** What the leader does once a second; the kinds of its steps. */
  step(): readonly string[] {
    const { bench } = this
    this.nowMs += 1_000
    const ready = poolsToStep(bench.map, bench.statistics)
    const steps = this.merges.steps(bench.map, bench.statistics, this.nowMs)
    bench.change((draft) => {
      for (const pool of ready) stepPool(draft, pool)
      for (const step of steps) takeMergeStep(draft, step)
    })
    return [...ready.map(() => 'place'), ...steps.map(({ kind }) => kind)]
  }
}

it('one after the other, and the wish is gone with the last', () => {
  const it = new Merging()
  const { bench } = it
  bench.run(set(6))
  bench.reportAll(['active', 'clean'])
  expect(it.step()).toEqual(['place'])
  expect(it.pool).toMatchObject({ pgNum: 8, pgpNum: 6 })
  const placement = new PlacementCache(bench.map)
  expect(placement.mapping('1.7' as PgId)).toEqual(placement.mapping('1.3' as PgId))
  for (const left of [7, 6]) {
    expect(it.step()).toEqual([])
    bench.reportAll(['active', 'clean'])
    expect(it.step()).toEqual(['begin'])
    expect(pendingMerge(it.pool)).toMatchObject({
      source: `1.${left}`,
      target: `1.${left - 4}`,
      since: bench.map.epoch,
    })
    // What was said before is of no use.
    expect(it.step()).toEqual([])
    bench.reportAll(['active', 'clean', 'premerge'])
    expect(it.step()).toEqual(['merge'])
    expect(it.pool.pgNum).toBe(left)
    expect(lastMerge(it.pool)).toMatchObject({ epoch: bench.map.epoch, source: `1.${left}`, target: `1.${left - 4}` })
  }
  bench.reportAll(['active', 'clean'])
  expect(it.step()).toEqual([])
  expect(it.pool.options.has('pg_num_target')).toBe(false)
  expect(pendingMerge(it.pool)).toBeUndefined()
})

it('where only the two begin anew, those of the others that are clean need not say so again', () => {
  const it = new Merging(osdFeatures)
  const { bench } = it
  bench.run(set(6))
  bench.reportAll(['active', 'clean'])
  it.step()
  bench.reportAll(['active', 'clean'])
  expect(it.step()).toEqual(['begin'])
  expect(hasFeatures(bench.map.requiredFeatures, featureOwnIntervals)).toBe(true)
  for (const id of ['1.7', '1.3']) bench.reportAll(['active', 'clean', 'premerge'], id as PgId)
  expect(it.step()).toEqual(['merge'])
  // The target, and it alone, has to be whole again first.
  expect(it.step()).toEqual([])
  bench.reportAll(['peering'], '1.3' as PgId)
  expect(it.step()).toEqual([])
  bench.reportAll(['active', 'clean'], '1.3' as PgId)
  expect(it.step()).toEqual(['begin'])
})

it('is given up when nothing comes of it, and when nobody wants it any more', () => {
  const it = new Merging()
  const { bench } = it
  bench.run(set(7))
  bench.reportAll(['active', 'clean'])
  it.step()
  bench.reportAll(['active', 'clean'])
  expect(it.step()).toEqual(['begin'])
  for (let second = 0; second < 11; second++) expect(it.step()).toEqual([])
  expect(it.step()).toEqual(['give-up'])
  expect(pendingMerge(it.pool)).toBeUndefined()
  bench.reportAll(['active', 'clean'])
  for (let second = 0; second < 4; second++) expect(it.step()).toEqual([])
  expect(it.step()).toEqual(['begin'])
  bench.run(set(8))
  expect(it.step()).toContain('give-up')
})

it('is refused while an OSD does not know how', () => {
  expect(() => new Bench(featurePgSplit, 8).run(set(4))).toThrow(expect.objectContaining({ code: 'EOPNOTSUPP' }))
})

it('is not begun where one of the two has too few OSDs, and is tried again only after a while where one goes', () => {
  const it = new Merging()
  const { bench } = it
  bench.run(set(7))
  bench.reportAll(['active', 'clean'])
  it.step()
  bench.reportAll(['active', 'clean'])
  expect(it.step()).toEqual(['begin'])
  const [osd] = new PlacementCache(bench.map).mapping('1.7' as PgId).acting as readonly OsdId[]
  bench.change((draft) => draft.osd.setOsd({ ...(bench.map.osds.get(osd as OsdId) as OsdInfo), up: false }))
  expect(it.step()).toEqual(['give-up'])
  for (let second = 0; second < 10; second++) {
    bench.reportAll(['active', 'clean'])
    expect(it.step()).toEqual([])
  }
})
