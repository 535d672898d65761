/** How many PGs a pool should have, what is done about it, and what is said. */
import { type OsdId, type PgId, poolId } from '@shoal/base'
import { featurePgSplit, type Pool } from '@shoal/cluster-map'
import { describe, expect, it } from 'vitest'
import { defaultSettings } from '../src/config.ts'
import { healthReport } from '../src/health/health-report.ts'
import { autoscaleRows, poolToScale } from '../src/services/pg-autoscaler.ts'
import { poolsToStep, stepPool } from '../src/services/pg-num.ts'
import { noOperations } from '../src/state/operations.ts'
import { Bench } from './support/bench.ts'

const gibibyte = 1024 ** 3

/** Six OSDs of 100 GiB, one pool of 8 PGs that holds so much. */
function setup(gibibytes: number, ...settings: readonly (readonly [name: string, value: unknown])[]) {
  const bench = new Bench(featurePgSplit, 8)
  for (const [name, value] of settings) bench.run({ prefix: 'osd pool set', pool: 'p', var: name, val: value })
  const usage = {
    get map() {
      return bench.map
    },
    settings: defaultSettings,
    statistics: {
      osd: (_id: OsdId) => ({ totalBytes: 100 * gibibyte }) as never,
      *rows() {
        yield { pgId: '1.0' as PgId, states: [], stats: { bytes: gibibytes * gibibyte } as never }
      },
    },
  }
  return { bench, usage }
}

const row = (...args: Parameters<typeof setup>) => autoscaleRows(setup(...args).usage)[0]
const poolOf = (bench: Bench): Pool => bench.map.pools.get(poolId(1)) as Pool

describe('what a pool should have', () => {
  it('is its part of the space times what all OSDs should carry, for each copy', () => {
    // 3 x 50 of 600 GiB are a quarter: of 600 copies of PGs 150, of PGs 50, nearest to 64.
    expect(row(50)).toMatchObject({ ratio: 0.25, wanted: 64, verdict: 'too-few', mode: 'off' })
    expect(row(6)).toMatchObject({ wanted: 8, verdict: 'fine' })
    // Twice as many would be better, but not worth the moves.
    expect(row(12)).toMatchObject({ wanted: 16, verdict: 'fine' })
    expect(row(1)).toMatchObject({ wanted: 1, verdict: 'too-many' })
    expect(row(0)).toMatchObject({ verdict: 'fine' })
  })

  it('follows what is said of the future', () => {
    expect(row(1, ['target_size_bytes', 50 * gibibyte])).toMatchObject({ ratio: 0.25, wanted: 64 })
    expect(row(1, ['target_size_ratio', 0.3])).toMatchObject({ ratio: 1, targetRatio: 1, wanted: 256 })
    expect(row(50, ['pg_autoscale_bias', 2])).toMatchObject({ wanted: 128 })
    expect(row(1, ['pg_num_min', 8])).toMatchObject({ wanted: 8, verdict: 'fine' })
  })

  it('is shared among pools by their ratios', () => {
    const { bench, usage } = setup(0, ['target_size_ratio', 1])
    bench.run({ prefix: 'osd pool create', pool: 'q', pg_num: 8 })
    bench.run({ prefix: 'osd pool set', pool: 'q', var: 'target_size_ratio', val: 3 })
    expect(autoscaleRows(usage).map(({ targetRatio }) => targetRatio)).toEqual([0.25, 0.75])
  })
})

describe('the autoscaler', () => {
  it('grows a pool by doubling, each step when all is clean', () => {
    const { bench, usage } = setup(50, ['pg_autoscale_mode', 'on'])
    const wished = poolToScale(usage)
    expect(wished?.options.get('pg_num_target')).toBe('64')
    bench.change((draft) => draft.osd.setPool(wished as Pool))
    expect(poolToScale(usage)).toBeUndefined()
    const seen: [number, number][] = []
    for (let step = 0; step < 8; step++) {
      bench.reportAll(['active', 'clean'])
      bench.change((draft) => {
        for (const pool of poolsToStep(bench.map, bench.statistics)) stepPool(draft, pool)
      })
      seen.push([poolOf(bench).pgNum, poolOf(bench).pgpNum])
    }
    expect(seen.slice(0, 6)).toEqual([
      [16, 8],
      [16, 16],
      [32, 16],
      [32, 32],
      [64, 32],
      [64, 64],
    ])
    expect(seen.slice(6)).toEqual([
      [64, 64],
      [64, 64],
    ])
    expect(poolOf(bench).options.has('pg_num_target')).toBe(false)
  })

  it('stays below what an OSD may carry', () => {
    const { usage } = setup(190, ['pg_autoscale_mode', 'on'], ['pg_autoscale_bias', 100])
    // 6 OSDs x 250 copies, 3 of each PG.
    expect(poolToScale(usage)?.options.get('pg_num_target')).toBe('256')
  })

  it.each(['off', 'warn'])('does nothing in mode %s', (mode) => {
    expect(poolToScale(setup(50, ['pg_autoscale_mode', mode]).usage)).toBeUndefined()
  })

  it.each<[string, number, string | undefined]>([
    ['off', 50, undefined],
    ['on', 50, undefined],
    ['warn', 50, 'POOL_TOO_FEW_PGS'],
    ['warn', 6, undefined],
    ['warn', 1, 'POOL_TOO_MANY_PGS'],
    ['on', 1, 'POOL_TOO_MANY_PGS'],
  ])('in mode %s with %i GiB health says %s', (mode, gibibytes, code) => {
    const { bench, usage } = setup(gibibytes, ['pg_autoscale_mode', mode])
    const view = {
      ...usage,
      map: bench.map,
      state: bench.state,
      operations: noOperations,
      isLeader: false,
      quorum: { members: [] },
    }
    const codes = healthReport(view as never).checks.map((check) => check.code)
    expect(codes.filter((one) => one.startsWith('POOL_'))).toEqual(code === undefined ? [] : [code])
  })

  it.each([
    ['pg_autoscale_mode', 'sometimes'],
    ['target_size_ratio', -1],
    ['target_size_ratio', 'x'],
    ['target_size_bytes', 1.5],
    ['pg_autoscale_bias', ''],
  ])('%s %s is refused', (name, value) => {
    const { bench } = setup(0)
    const set = () => bench.run({ prefix: 'osd pool set', pool: 'p', var: name, val: value })
    expect(set).toThrow(expect.objectContaining({ code: 'EINVAL' }))
  })
})
