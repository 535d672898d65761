import type { Epoch } from '@shoal/base'
import type { ConfigRow } from '@shoal/monitor-client'
import { describe, expect, it } from 'vitest'
import { MiniCluster } from './support/mini-cluster.ts'

interface Perf {
  readonly reservations: { readonly local: { readonly slots: number }; readonly remote: { readonly slots: number } }
}

let version = 0
/** The monitors tell every OSD. */
function tell(cluster: MiniCluster, values: Readonly<Record<string, string>>): void {
  const config = {
    version: ++version,
    epoch: 1 as Epoch,
    values: Object.entries(values).map(([name, value]) => ({ name, value, from: 'osd' })),
  }
  for (const listener of [...cluster.monitors.configListeners]) listener(config)
}

describe('an OSD whose options change while it runs', () => {
  it('goes by the new value in everything that reads it', async () => {
    const cluster = await MiniCluster.create(1, 3)
    const slots = async () => {
      const { local, remote } = ((await cluster.ask(0, 'perf')) as Perf).reservations
      return [local.slots, remote.slots]
    }
    expect(await slots()).toEqual([3, 3])
    tell(cluster, { osd_max_backfills: '9', osd_heartbeat_grace: '20', osd_mon_report_refresh: '5' })
    expect(await slots()).toEqual([9, 9])
    const rows = (await cluster.ask(0, 'config show')) as readonly ConfigRow[]
    expect(rows.find((row) => row.name === 'osd_max_backfills')).toMatchObject({ value: '9', source: 'osd' })
    tell(cluster, {})
    expect(await slots()).toEqual([3, 3])
  })

  it('reports a silent peer after the new grace', async () => {
    const cluster = await MiniCluster.create(2, 3)
    await cluster.pool('things', 8, 3, 2)
    const silentFor = async () => {
      const before = cluster.monitors.reports.length
      const fromMs = cluster.world.time.nowMs
      cluster.machine(2).pause()
      await cluster.until(() => cluster.monitors.reports.slice(before).some((report) => report.failed === 2))
      const ms = cluster.world.time.nowMs - fromMs
      cluster.machine(2).resume()
      await cluster.until(() => cluster.daemons.every((daemon) => daemon?.isUp === true))
      await cluster.world.time.advance(5_000)
      return ms
    }
    const usual = await silentFor()
    expect(usual).toBeGreaterThan(2_000)
    expect(usual).toBeLessThan(7_000)
    tell(cluster, { osd_heartbeat_grace: '15' })
    const patient = await silentFor()
    expect(patient).toBeGreaterThan(13_000)
    expect(patient).toBeLessThan(20_000)
  })

  it('calls an operation slow sooner, and keeps fewer of them, from then on', async () => {
    const cluster = await MiniCluster.create(3, 3)
    await cluster.pool('things', 8, 3, 2)
    const things = await cluster.client('things')
    const slow = async () => ((await cluster.ask(0, 'ops')) as { readonly slow: readonly unknown[] }).slow.length
    for (let i = 0; i < 20; i++) await cluster.put(things, `thing-${i}`, new Uint8Array(100))
    expect(await slow()).toBe(0)
    tell(cluster, { osd_op_complaint_time: '0', osd_op_history_size: '2' })
    for (let i = 0; i < 20; i++) await cluster.put(things, `thing-${i}`, new Uint8Array(100))
    expect(await slow()).toBe(2)
  })
})
