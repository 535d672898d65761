/** When the balancer plans, and what the monitors do with exceptions that are void. */
import type { OsdId, PgId } from '@shoal/base'
import { measureBalance, PlacementCache } from '@shoal/cluster-map'
import { describe, expect, it } from 'vitest'
import { defaultSettings } from '../src/config.ts'
import { Balancer } from '../src/services/balancer.ts'
import { markOut } from '../src/services/osd-lifecycle.ts'
import { Bench } from './support/bench.ts'

const intervalMs = defaultSettings.balancer_sleep_interval * 1_000

describe('the balancer of the leader', () => {
  it('plans when its time has come and every PG is clean, waits for what it moved, and ends', () => {
    const bench = new Bench()
    const balancer = new Balancer(defaultSettings, 0)
    expect(balancer.plan(bench.map, bench.statistics, intervalMs - 1).upmapItems.size).toBe(0)
    let rounds = 0
    for (let nowMs = intervalMs; ; nowMs += intervalMs) {
      const { upmapItems } = balancer.plan(bench.map, bench.statistics, nowMs)
      if (upmapItems.size === 0) break
      rounds++
      bench.change((draft) => {
        for (const [pgId, items] of upmapItems) draft.osd.setUpmapItems(pgId, items)
      })
      // Still what the primaries said before the move.
      expect(balancer.status(bench.map, bench.statistics, nowMs)).toMatchObject({ state: 'waiting' })
      nowMs += intervalMs
      expect(balancer.plan(bench.map, bench.statistics, nowMs).upmapItems.size).toBe(0)
      bench.reportAll(['active', 'clean'])
    }
    expect(rounds).toBeGreaterThan(0)
    const [balance] = measureBalance(bench.map)
    expect((balance?.most ?? 9) - (balance?.least ?? 0)).toBeLessThanOrEqual(1)
    expect(balancer.status(bench.map, bench.statistics, 1e9)).toMatchObject({ state: 'balanced', why: '' })
  })

  it.each<[string, (bench: Bench) => void, string]>([
    ['a PG is not clean', (bench) => bench.reportAll(['active', 'remapped'], '1.3' as PgId), '1.3 is active+remapped'],
    ['it is off', (bench) => bench.run({ prefix: 'balancer off' }), 'flag nobalance is set'],
    ['data may not move', (bench) => bench.run({ prefix: 'osd set', key: 'norebalance' }), 'flag norebalance is set'],
    ['an OSD is down', (bench) => bench.run({ prefix: 'osd down', ids: [5] }), 'osd.5 is down'],
  ])('does nothing while %s', (_why, spoil, reason) => {
    const bench = new Bench()
    spoil(bench)
    const balancer = new Balancer(defaultSettings, 0)
    expect(balancer.plan(bench.map, bench.statistics, intervalMs).upmapItems.size).toBe(0)
    expect(balancer.status(bench.map, bench.statistics, intervalMs).why).toBe(reason)
  })

  it('goes on after `balancer on`, and knows no other mode', () => {
    const bench = new Bench()
    bench.run({ prefix: 'balancer mode', mode: 'none' })
    expect(bench.map.flags.has('nobalance')).toBe(true)
    bench.run({ prefix: 'balancer on' })
    expect(bench.map.flags.size).toBe(0)
    expect(() => bench.run({ prefix: 'balancer mode', mode: 'crush-compat' })).toThrow(
      expect.objectContaining({ code: 'EOPNOTSUPP' }),
    )
  })
})

describe('exceptions', () => {
  const [pgId] = ['1.0' as PgId]
  /** One copy to the other OSD of its host. */
  function except(bench: Bench): { readonly from: number; readonly to: number } {
    const [from = 0] = new PlacementCache(bench.map).raw(pgId)
    const to = (from + 3) % 6
    bench.run({ prefix: 'osd pg-upmap-items', pgid: pgId, id: [from, to] })
    expect(bench.map.upmapItems.get(pgId)).toEqual([{ from, to }])
    return { from, to }
  }

  it('may not put two copies on one host', () => {
    const bench = new Bench()
    const [first = 0, second = 0] = new PlacementCache(bench.map).raw(pgId)
    const id = [first, (second + 3) % 6]
    expect(() => bench.run({ prefix: 'osd pg-upmap-items', pgid: pgId, id })).toThrow(
      expect.objectContaining({ code: 'EINVAL' }),
    )
    const whole = [first, second, (second + 3) % 6]
    expect(() => bench.run({ prefix: 'osd pg-upmap', pgid: pgId, id: whole })).toThrow(
      expect.objectContaining({ code: 'EINVAL' }),
    )
  })

  it.each<[string, (bench: Bench, to: number) => void]>([
    ['the pool is gone', (bench) => bench.run({ prefix: 'osd pool rm', pool: 'p', pool2: 'p', sure: true })],
    [
      'the target is out',
      (bench, to) => bench.change((draft) => markOut(draft, draft.map.osds.get(to as OsdId) as never, false)),
    ],
    ['the target is gone', (bench, to) => bench.run({ prefix: 'osd purge', id: to, sure: true })],
    [
      'the target has moved to the host of another copy',
      (bench, to) => {
        const host = `host-${(to + 1) % 3}`
        bench.run({ prefix: 'osd crush move', name: `osd.${to}`, args: ['root=default', `host=${host}`] })
      },
    ],
  ])('are dropped when %s', (_why, spoil) => {
    const bench = new Bench()
    const { to } = except(bench)
    bench.run({ prefix: 'osd down', ids: [to] })
    expect(bench.map.upmapItems.size).toBe(1)
    spoil(bench, to)
    expect(bench.map.upmapItems.size).toBe(0)
  })

  it('are not kept when they do nothing', () => {
    const bench = new Bench()
    const raw = new PlacementCache(bench.map).raw(pgId)
    bench.run({ prefix: 'osd pg-upmap-items', pgid: pgId, id: [raw[0], raw[1]] })
    bench.run({ prefix: 'osd pg-upmap', pgid: pgId, id: [...raw] })
    expect([bench.map.upmapItems.size, bench.map.upmap.size]).toEqual([0, 0])
  })
})
