/** Options of daemons on a real cluster: in force while they run, and still after a restart of everything. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { TestCluster } from './support/cluster.ts'

interface ConfigRow {
  readonly value: string
  readonly source: string
  readonly pending?: string
}

let cluster: TestCluster
beforeAll(async () => {
  cluster = await TestCluster.create()
}, 120_000)
afterAll(() => cluster.destroy(), 60_000)

async function shown(daemon: string, name: string): Promise<string> {
  const [row] = await cluster.json<readonly ConfigRow[]>('config', 'show', daemon, name)
  return `${row?.value} of ${row?.source}`
}

async function slots(daemon: string): Promise<number> {
  const perf = await cluster.json<{ reservations: { local: { slots: number } } }>('daemon', 'perf', daemon)
  return perf.reservations.local.slots
}

describe('options', () => {
  test('change what running daemons do, one by one', async () => {
    expect(await slots('osd.0')).toBe(3)
    await cluster.ok('config', 'set', 'osd', 'osd_max_backfills', '7')
    await cluster.ok('config', 'set', 'osd.1', 'osd_max_backfills', '8')
    await cluster.until('osd.0 goes by it', async () => (await slots('osd.0')) === 7)
    await cluster.until('osd.1 goes by its own', async () => (await slots('osd.1')) === 8)
    expect(await shown('osd.1', 'osd_max_backfills')).toBe('8 of osd.1')
    await cluster.ok('config', 'set', 'mon', 'osd_pool_default_pg_num', '16')
    await cluster.ok('pool', 'create', 'small')
    const pools = await cluster.json<readonly { name: string; pgNum: number }[]>('pool', 'ls')
    expect(pools.find((pool) => pool.name === 'small')?.pgNum).toBe(16)
    await cluster.ok('config', 'set', 'client', 'objecter_inflight_ops', '100')
    await cluster.until(
      'the gateway goes by it',
      async () => (await shown('nbd.0', 'objecter_inflight_ops')) === '100 of client',
    )
  }, 120_000)

  test('stay after all daemons were killed; then those that need a restart are in force', async () => {
    await cluster.ok('config', 'set', 'osd.0', 'osd_store_data_cache_size', '32M')
    await cluster.until('it waits for a restart', async () => {
      const [row] = await cluster.json<readonly ConfigRow[]>('config', 'show', 'osd.0', 'osd_store_data_cache_size')
      return row?.value === String(16 * 2 ** 20) && row.pending === String(32 * 2 ** 20)
    })
    await cluster.powerCut()
    await cluster.start()
    expect(await slots('osd.0')).toBe(7)
    expect(await shown('osd.1', 'osd_max_backfills')).toBe('8 of osd.1')
    expect(await shown('osd.0', 'osd_store_data_cache_size')).toBe(`${32 * 2 ** 20} of osd.0`)
    expect(await shown('mon.a', 'osd_pool_default_pg_num')).toBe('16 of mon')
    await cluster.ok('config', 'rm', 'osd.1', 'osd_max_backfills')
    await cluster.until('osd.1 goes by the one for all', async () => (await slots('osd.1')) === 7)
    const log = await cluster.ok('config', 'log', '1')
    expect(log).toMatch(/--- 6 --- .*\n- osd\.1 osd_max_backfills = 8/)
  }, 180_000)

  test('with a wrong name or value are refused, with what would be right', async () => {
    const name = await cluster.run('config', 'set', 'osd', 'osd_max_backfil', '3')
    expect(name).toMatchObject({ code: 22, stderr: expect.stringContaining('osd_max_backfills') })
    const value = await cluster.run('config', 'set', 'osd', 'osd_max_backfills', '0')
    expect(value).toMatchObject({ code: 22, stderr: expect.stringContaining('from 1 to 1000') })
    expect(await cluster.ok('config', 'dump')).not.toContain('osd_max_backfil ')
  }, 60_000)
})
