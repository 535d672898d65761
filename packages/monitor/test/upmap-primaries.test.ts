/** Who is primary by exception: what operators may ask for, what is dropped, and what the balancer does. */
import type { OsdId, PgId } from '@shoal/base'
import {
  featurePgMerge,
  featurePgSplit,
  featureShards,
  featureUpmapPrimaries,
  hasFeatures,
  measurePrimaries,
  type OsdInfo,
  PlacementCache,
} from '@shoal/cluster-map'
import { describe, expect, it } from 'vitest'
import { findCommand } from '../src/commands/command-table.ts'
import { defaultSettings } from '../src/config.ts'
import { Balancer } from '../src/services/balancer.ts'
import { markOut } from '../src/services/osd-lifecycle.ts'
import { PgMerges, takeMergeStep } from '../src/services/pg-merges.ts'
import { setUpmapPrimary } from '../src/services/upmap-primaries.ts'
import { Bench } from './support/bench.ts'

const able = featurePgSplit + featurePgMerge + featureUpmapPrimaries
const pgid = '1.2' as PgId

const mappingOf = (bench: Bench, id: PgId = pgid) => new PlacementCache(bench.map).mapping(id)
const code = (expected: string): unknown => expect.objectContaining({ code: expected })
const setPrimary = (id: number, of: string = pgid) => ({ prefix: 'osd pg-upmap-primary', pgid: of, id })

/** The last member of a PG is its primary by exception. */
function excepted(features = able, pgNum = 32): { readonly bench: Bench; readonly primary: OsdId } {
  const bench = new Bench(features, pgNum)
  const primary = mappingOf(bench).up.at(-1) as OsdId
  bench.run(setPrimary(primary))
  expect(bench.map.upmapPrimaries).toEqual(new Map([[pgid, primary]]))
  return { bench, primary }
}

describe('osd pg-upmap-primary', () => {
  it('makes another member the primary, and rm-pg-upmap-primary takes it back', () => {
    const bench = new Bench(able)
    const before = mappingOf(bench)
    const last = before.up.at(-1) as OsdId
    bench.run(setPrimary(last))
    expect(mappingOf(bench)).toMatchObject({ upPrimary: last, actingPrimary: last })
    expect([...mappingOf(bench).up].sort((a, b) => a - b)).toEqual([...before.up].sort((a, b) => a - b))
    expect(hasFeatures(bench.map.requiredFeatures, featureUpmapPrimaries)).toBe(true)
    const { epoch } = bench.map
    bench.run({ prefix: 'osd rm-pg-upmap-primary', pgid })
    expect(mappingOf(bench)).toEqual(before)
    expect(bench.map.upmapPrimaries).toBeUndefined()
    // Nothing is left to take back: the map stays as it is.
    bench.run({ prefix: 'osd rm-pg-upmap-primary', pgid })
    expect(bench.map.epoch).toBe(epoch + 1)
  })

  it('needs no exception for whom CRUSH has first', () => {
    const { bench } = excepted()
    const first = new PlacementCache(bench.map).placed(pgid)[0] as OsdId
    bench.run(setPrimary(first))
    expect(bench.map.upmapPrimaries).toBeUndefined()
    expect(mappingOf(bench).upPrimary).toBe(first)
    const { epoch } = bench.map
    bench.run(setPrimary(first))
    expect(bench.map.epoch).toBe(epoch)
  })

  it.each<[string, string, (bench: Bench) => void]>([
    [
      'an OSD outside of the up set',
      'EINVAL',
      (bench) => {
        const { up } = mappingOf(bench)
        bench.run(setPrimary([0, 1, 2, 3, 4, 5].find((id) => !up.includes(id as OsdId)) as number))
      },
    ],
    [
      'a member that is down',
      'EINVAL',
      (bench) => {
        const last = mappingOf(bench).up.at(-1) as OsdId
        bench.run({ prefix: 'osd down', ids: [last] })
        bench.run(setPrimary(last))
      },
    ],
    [
      'a member without primary affinity',
      'EINVAL',
      (bench) => {
        const last = mappingOf(bench).up.at(-1) as OsdId
        bench.run({ prefix: 'osd primary-affinity', id: last, weight: 0 })
        bench.run(setPrimary(last))
      },
    ],
    ['an unknown OSD', 'ENOENT', (bench) => bench.run(setPrimary(99))],
    ['an unknown pool', 'ENOENT', (bench) => bench.run(setPrimary(0, '9.0'))],
    ['an unknown PG', 'ENOENT', (bench) => bench.run(setPrimary(0, '1.77'))],
    ['what is no PG', 'ENOENT', (bench) => bench.run({ prefix: 'osd rm-pg-upmap-primary', pgid: 'x' })],
  ])('refuses %s with %s', (_what, expected, attempt) => {
    const bench = new Bench(able)
    expect(() => attempt(bench)).toThrow(code(expected))
    expect(bench.map.upmapPrimaries).toBeUndefined()
  })

  it('refuses erasure-coded pools, where the place of a member is its shard', () => {
    const bench = new Bench(able + featureShards)
    bench.run({ prefix: 'osd erasure-code-profile set', name: 'thin', profile: ['k=2', 'm=1'] })
    bench.run({ prefix: 'osd pool create', pool: 'e', pg_num: 8, pool_type: 'erasure', erasure_code_profile: 'thin' })
    const [id] = mappingOf(bench, '2.0' as PgId).up.slice(1) as [OsdId]
    expect(() => bench.run(setPrimary(id, '2.0'))).toThrow(code('EOPNOTSUPP'))
  })

  it('waits for OSDs that would see another primary, and they may not boot from then on', () => {
    const bench = new Bench(featurePgSplit)
    const last = mappingOf(bench).up.at(-1) as OsdId
    expect(() => bench.run(setPrimary(last))).toThrow(code('EOPNOTSUPP'))
    expect(() => bench.run({ prefix: 'balancer mode', mode: 'read' })).toThrow(code('EOPNOTSUPP'))
    expect(bench.map.requiredFeatures).toBe(0)
  })
})

describe('the exception', () => {
  it.each<[string, (bench: Bench, primary: OsdId) => void]>([
    ['the pool is gone', (bench) => bench.run({ prefix: 'osd pool rm', pool: 'p', pool2: 'p', sure: true })],
    [
      'it is out',
      (bench, primary) => bench.change((draft) => markOut(draft, draft.map.osds.get(primary) as OsdInfo, false)),
    ],
    ['it is gone', (bench, primary) => bench.run({ prefix: 'osd purge', id: primary, sure: true })],
    [
      'its copy goes to another',
      (bench, primary) => bench.run({ prefix: 'osd pg-upmap-items', pgid, id: [primary, (primary + 3) % 6] }),
    ],
    [
      'it is not to be primary at all',
      (bench, primary) => bench.run({ prefix: 'osd primary-affinity', id: primary, weight: 0 }),
    ],
    [
      'CRUSH places it elsewhere',
      (bench, primary) => bench.run({ prefix: 'osd crush reweight', name: `osd.${primary}`, weight: 0 }),
    ],
  ])('is dropped when %s', (_why, spoil) => {
    const { bench, primary } = excepted()
    bench.run({ prefix: 'osd down', ids: [primary] })
    // Who is down comes back.
    expect(bench.map.upmapPrimaries?.size).toBe(1)
    spoil(bench, primary)
    expect(bench.map.upmapPrimaries).toBeUndefined()
  })

  it('goes to the parts when the PG is split: none of them has another primary', () => {
    const { bench } = excepted(able, 8)
    const before = mappingOf(bench)
    bench.run({ prefix: 'osd pool set', pool: 'p', var: 'pg_num', val: 32, sure: true })
    for (const part of ['1.2', '1.a', '1.12', '1.1a']) expect(mappingOf(bench, part as PgId)).toEqual(before)
  })

  it('is dropped before its PG is merged', () => {
    const { bench } = excepted(able, 8)
    bench.run({ prefix: 'osd pool set', pool: 'p', var: 'pg_num', val: 7 })
    const last = mappingOf(bench, '1.7' as PgId).up.at(-1) as OsdId
    bench.run(setPrimary(last, '1.7'))
    const pool = [...bench.map.pools.values()][0] as NonNullable<ReturnType<typeof bench.map.pools.get>>
    bench.change((draft) => draft.osd.setPool({ ...pool, pgpNum: 7, lastChange: draft.osd.epoch }))
    // 1.7 lies where 1.3 does now; who is primary of it by exception is so only if it is a member there.
    const other = mappingOf(bench, '1.3' as PgId).up.at(-1) as OsdId
    bench.run(setPrimary(other, '1.3'))
    const merges = new PgMerges()
    const kinds: string[] = []
    for (let nowMs = 1_000; nowMs <= 2_000; nowMs += 1_000) {
      bench.reportAll(['active', 'clean'])
      const steps = merges.steps(bench.map, bench.statistics, nowMs)
      kinds.push(...steps.map(({ kind }) => kind))
      bench.change((draft) => {
        for (const step of steps) takeMergeStep(draft, step)
      })
      expect(['1.3', '1.7'].some((id) => bench.map.upmapPrimaries?.has(id as PgId) === true)).toBe(false)
    }
    // Once to drop the exceptions, and once in earnest.
    expect(kinds).toEqual(['begin', 'begin'])
    expect(bench.map.upmapPrimaries?.has(pgid)).toBe(true)
  })
})

/** Until it has nothing left to do; the PGs of each kind that it changed. */
function balance(bench: Bench, balancer_mode: string): { copies: number; primaries: number } {
  const settings = { ...defaultSettings, balancer_mode }
  const balancer = new Balancer(settings, 0)
  const changed = { copies: 0, primaries: 0 }
  for (let nowMs = 1e6; ; nowMs += 1e6) {
    const { upmapItems, upmapPrimaries } = balancer.plan(bench.map, bench.statistics, nowMs)
    const size = upmapItems.size + upmapPrimaries.size
    if (size === 0) return changed
    expect(Math.min(upmapItems.size, upmapPrimaries.size)).toBe(0)
    expect(size).toBeLessThan(settings.balancer_upmap_max_optimizations + 6)
    changed.copies += upmapItems.size
    changed.primaries += upmapPrimaries.size
    bench.change(({ osd }) => {
      for (const [id, items] of upmapItems) osd.setUpmapItems(id, items)
      for (const [id, to] of upmapPrimaries) {
        if (to === null) osd.setUpmapPrimary(id, null)
        else setUpmapPrimary(osd, id, to)
      }
    })
    // Still what the primaries said before.
    expect(balancer.plan(bench.map, bench.statistics, nowMs + 5e5)).toMatchObject({
      upmapItems: new Map(),
      upmapPrimaries: new Map(),
    })
    bench.reportAll(['active', 'clean'])
  }
}

function spread({ map }: Bench): number {
  const [row] = measurePrimaries(map, new PlacementCache(map))
  return (row?.most ?? 9) - (row?.least ?? 0)
}

describe('the balancer', () => {
  it('evens out copies first and then primaries, to at most one of difference', () => {
    const bench = new Bench(able)
    expect(spread(bench)).toBeGreaterThan(1)
    const changed = balance(bench, 'upmap-read')
    expect(changed.copies).toBeGreaterThan(0)
    expect(changed.primaries).toBeGreaterThan(0)
    expect(spread(bench)).toBeLessThanOrEqual(1)
  })

  it('does one of both in modes upmap and read', () => {
    const copies = balance(new Bench(able), 'upmap')
    expect([copies.copies > 0, copies.primaries]).toEqual([true, 0])
    const bench = new Bench(able)
    const primaries = balance(bench, 'read')
    expect([primaries.copies, primaries.primaries > 0]).toEqual([0, true])
  })

  it('leaves primaries alone while an OSD would see others', () => {
    const changed = balance(new Bench(featurePgSplit), 'upmap-read')
    expect([changed.copies > 0, changed.primaries]).toEqual([true, 0])
  })

  it('keeps its mode as an option, and turns on with it', () => {
    const bench = new Bench(able)
    bench.run({ prefix: 'balancer off' })
    bench.run({ prefix: 'balancer mode', mode: 'read' })
    expect(bench.map.flags.size).toBe(0)
    expect([...(bench.state.operations?.config.values() ?? [])]).toMatchObject([
      { who: 'mon', name: 'balancer_mode', value: 'read' },
    ])
    expect(() => bench.run({ prefix: 'balancer mode', mode: 'write' })).toThrow(code('EOPNOTSUPP'))
  })

  it('shows how primaries lie: status, eval, osd df and osd dump', () => {
    const { bench, primary } = excepted()
    const { map, statistics } = bench
    const placement = new PlacementCache(map)
    const view = { map, statistics, settings: defaultSettings, nowMs: 0, placement: () => placement }
    const ask = (prefix: string): unknown => findCommand(prefix).run({}, view as never).data
    expect(ask('balancer status')).toMatchObject({ mode: 'upmap-read', exceptions: 0, primaryExceptions: 1 })
    const [row] = ask('balancer eval') as readonly { readonly primaries: { readonly most: number } }[]
    const usage = ask('osd df') as readonly { readonly primaries: number }[]
    expect(usage.reduce((sum, { primaries }) => sum + primaries, 0)).toBe(32)
    expect(Math.max(...usage.map(({ primaries }) => primaries))).toBe(row?.primaries.most)
    expect(ask('osd dump')).toMatchObject({ upmapPrimaries: [{ pgId: pgid, primary }] })
  })
})
