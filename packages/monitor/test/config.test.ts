import { isClusterError, osdId } from '@shoal/base'
import {
  type ConfigDumpRow,
  type ConfigGetRow,
  type ConfigLogRow,
  type EffectiveConfig,
  HuntingMonitorClient,
} from '@shoal/monitor-client'
import { describe, expect, it } from 'vitest'
import { bootOf, MonitorCluster } from './support/monitor-cluster.ts'

async function cluster(seed: number, settings = {}) {
  const mons = new MonitorCluster(seed, 3, settings)
  await mons.found()
  const client = await mons.started(mons.client())
  const run = async (prefix: string, args: Readonly<Record<string, unknown>> = {}) =>
    (await mons.command(client, { prefix, ...args })).data
  const set = (who: string, name: string, value: unknown) => run('config set', { who, name, value, by: 'me@here' })
  const dump = async () =>
    ((await run('config dump')) as readonly ConfigDumpRow[]).map((row) => `${row.who} ${row.name}=${row.value}`)
  /** One that calls itself an OSD. */
  const daemon = async (entity: string, host = '') => {
    const env = mons.world.machine(`of-${entity}`).start()
    const monitors = [...mons.members.values()].map((member) => member.address)
    return mons.started(new HuntingMonitorClient(env, mons.network.transport(entity), { monitors, entity, host }))
  }
  return { mons, client, run, set, dump, daemon }
}

const valuesOf = (config: EffectiveConfig | undefined) =>
  Object.fromEntries((config?.values ?? []).map((value) => [value.name, `${value.value} for ${value.from}`]))

describe('the configuration', () => {
  it('is set, read, taken back, and outlasts the loss of power of all monitors', async () => {
    const { mons, client, run, set, dump } = await cluster(1)
    await set('osd', 'osd_max_backfills', 5)
    await set('osd.1', 'osd max backfills', '7')
    await set('global', 'osd_heartbeat_grace', '10s')
    await run('config rm', { who: 'osd', name: 'osd_max_backfills' })
    const stored = ['global osd_heartbeat_grace=10', 'osd.1 osd_max_backfills=7']
    expect(await dump()).toEqual(stored)
    for (const name of mons.members.keys()) mons.powerCut(name)
    for (const name of mons.members.keys()) await mons.start(name)
    await mons.world.time.until(() => mons.leader !== undefined)
    expect(await dump()).toEqual(stored)
    const get = async (who: string, name: string) => {
      const row = (await mons.command(client, { prefix: 'config get', who, name })).data as ConfigGetRow
      return `${row.value} of ${row.source}`
    }
    expect(await get('osd.1', 'osd_max_backfills')).toBe('7 of osd.1')
    expect(await get('osd.2', 'osd_max_backfills')).toBe('3 of default')
    expect(await get('mon.a', 'osd_heartbeat_grace')).toBe('10 of global')
  })

  it('refuses what is wrong with what is right, and writes nothing', async () => {
    const { client, mons, set, dump, run } = await cluster(2)
    await set('osd', 'osd_max_backfills', 5)
    const before = await run('config log')
    const wrong: readonly [who: string, name: string, value: string, code: string, hint: RegExp][] = [
      ['osd', 'osd_max_backfils', '5', 'EINVAL', /osd_max_backfills/],
      ['osd', 'osd_max_backfills', '0', 'EINVAL', /from 1 to 1000/],
      ['osd', 'osd_max_backfills', 'x', 'EINVAL', /whole number/],
      ['mon', 'osd_max_backfills', '5', 'EINVAL', /global or for osd/],
      ['oops', 'osd_max_backfills', '5', 'EINVAL', /osd\/class:ssd/],
      ['osd/planet:earth', 'osd_max_backfills', '5', 'EINVAL', /host/],
      ['osd.1/host:a', 'osd_max_backfills', '5', 'EINVAL', /masks/],
      ['osd', 'osd_read_lease', '5', 'EPERM', /^$/],
    ]
    for (const [who, name, value, code, hint] of wrong) {
      const error: unknown = await mons.command(client, { prefix: 'config set', who, name, value }).catch((e) => e)
      expect(isClusterError(error) && error.code, `${who} ${name} ${value}`).toBe(code)
      expect(isClusterError(error) ? (error.hint ?? '') : 'none', `${who} ${name} ${value}`).toMatch(hint)
    }
    expect(await dump()).toEqual(['osd osd_max_backfills=5'])
    expect(await run('config log')).toEqual(before)
  })

  it('tells who changed what and when, and goes back to any of it', async () => {
    const { run, set, dump } = await cluster(3)
    await set('osd', 'osd_max_backfills', 5)
    await set('osd', 'osd_max_backfills', 6)
    await set('mon', 'mon_lease', 7)
    await set('mon', 'mon_lease', 7)
    const log = (await run('config log')) as readonly ConfigLogRow[]
    expect(log.map((row) => [row.version, row.by, row.options[0]?.before, row.options[0]?.after])).toEqual([
      [3, 'me@here', undefined, '7'],
      [2, 'me@here', '5', '6'],
      [1, 'me@here', undefined, '5'],
    ])
    await run('config reset', { num: 1 })
    expect(await dump()).toEqual(['osd osd_max_backfills=5'])
    await run('config reset', { num: 3 })
    expect(await dump()).toEqual(['mon mon_lease=7', 'osd osd_max_backfills=6'])
    await run('config reset', { num: 0 })
    expect(await dump()).toEqual([])
    await expect(run('config reset', { num: 9 })).rejects.toMatchObject({ code: 'ERANGE' })
  })

  it('is pushed to whom it means, and again when the CRUSH map gives another place or class', async () => {
    const { mons, client, run, set, daemon } = await cluster(4)
    await mons.settle(client.boot(bootOf(0, 1, 'alpha')))
    await mons.settle(client.boot(bootOf(1, 1, 'beta')))
    const zero = await daemon('osd.0')
    expect(zero.config).toBeUndefined()
    const told: string[] = []
    zero.onConfig((config) => told.push(valuesOf(config)['osd_max_backfills'] ?? 'none'))
    await set('osd/host:alpha', 'osd_max_backfills', 4)
    await set('osd/class:ssd', 'osd_max_backfills', 5)
    await set('osd.1', 'osd_max_backfills', 6)
    await set('mon', 'mon_lease', 6)
    await mons.world.time.advance(1_000)
    expect(told).toEqual(['4 for osd/host:alpha'])
    const one = await daemon('osd.1')
    expect(valuesOf(one.config)).toEqual({ osd_max_backfills: '6 for osd.1' })
    await run('osd crush move', { name: 'osd.0', args: ['host=beta'] })
    await mons.world.time.advance(1_000)
    await run('osd crush rm-device-class', { ids: ['osd.0'] })
    await mons.world.time.advance(1_000)
    await run('config rm', { who: 'osd.1', name: 'osd_max_backfills' })
    await mons.world.time.advance(1_000)
    expect(told).toEqual(['4 for osd/host:alpha', '5 for osd/class:ssd', 'none'])
    expect(valuesOf(one.config)).toEqual({ osd_max_backfills: '5 for osd/class:ssd' })
  })

  it('reaches a client on the machine that it names', async () => {
    const { mons, set, daemon } = await cluster(5)
    await set('client/host:gamma', 'objecter_inflight_ops', 10)
    expect(valuesOf((await daemon('client.one', 'gamma')).config)).toEqual({
      objecter_inflight_ops: '10 for client/host:gamma',
    })
    expect(valuesOf((await daemon('client.two', 'delta')).config)).toEqual({})
    await mons.world.time.advance(100)
  })

  it('of monitors is in force on all of them at once, and after a restart', async () => {
    const { mons, client, run, set } = await cluster(6, { mon_osd_down_out_interval: 600 })
    await mons.settle(client.boot(bootOf(0)))
    await mons.settle(client.boot(bootOf(1)))
    await mons.settle(client.boot(bootOf(2)))
    await set('mon', 'mon_osd_down_out_interval', '20')
    await set('mon', 'mon_osd_min_in_ratio', '0.1')
    for (const name of [...mons.members.keys()]) {
      mons.powerCut(name)
      await mons.start(name)
      await mons.world.time.advance(3_000)
    }
    await run('osd down', { ids: [0] })
    await mons.world.time.advance(19_000)
    expect(client.osdMap?.osds.get(osdId(0))?.weight).toBeGreaterThan(0)
    await mons.world.time.advance(5_000)
    expect(client.osdMap?.osds.get(osdId(0))?.weight).toBe(0)
    await set('mon', 'mon_osd_down_out_interval', '100')
    await run('osd down', { ids: [1] })
    await mons.world.time.advance(60_000)
    expect(client.osdMap?.osds.get(osdId(1))?.weight).toBeGreaterThan(0)
  })
})
