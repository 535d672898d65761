import { hexEncode, utf8Encode } from '@shoal/base'
import { type CrashReport, type HealthReport, type HuntingMonitorClient, postCrashes } from '@shoal/monitor-client'
import { describe, expect, it } from 'vitest'
import { MonitorCluster } from './support/monitor-cluster.ts'

async function cluster(seed: number) {
  const mons = new MonitorCluster(seed)
  await mons.found()
  const client: HuntingMonitorClient = await mons.started(mons.client())
  const run = async <T>(prefix: string, args: Readonly<Record<string, unknown>> = {}): Promise<T> =>
    (await mons.command(client, { prefix, ...args })).data as T
  const env = mons.world.machine('daemon').start()
  /** As a process leaves it that ends. */
  const leave = async (entity: string, n: number, wallMs = env.clock.wallMs()): Promise<string> => {
    const time = new Date(wallMs).toISOString()
    const id = `${time}_${hexEncode(new Uint8Array(8).fill(n))}`
    const meta = {
      crash_id: id,
      entity_name: entity,
      timestamp: time,
      shoal_version: '1',
      reason: 'why',
      backtrace: ['Error: x', 'at y'],
    }
    await mons.settle(env.disk.makeDirectory(`/crash/${id}`))
    await mons.settle(env.disk.writeFileAtomic(`/crash/${id}/meta`, utf8Encode(JSON.stringify(meta))))
    return id
  }
  const post = (entity: string) => mons.settle(postCrashes(env, '/crash', entity, client))
  const ids = async (prefix = 'crash ls') => (await run<readonly CrashReport[]>(prefix)).map((crash) => crash.id)
  return { mons, client, run, env, leave, post, ids }
}

describe('reports of crashes', () => {
  it('are told to the monitors once, by the daemon whose they are', async () => {
    const { mons, run, env, leave, post, ids } = await cluster(1)
    expect(await post('osd.0')).toBe(0)
    const one = await leave('osd.0', 1)
    const two = await leave('osd.1', 2)
    await mons.settle(env.disk.makeDirectory('/crash/half-written.new'))
    await mons.settle(env.disk.makeDirectory('/crash/empty'))
    expect(await post('osd.0')).toBe(1)
    expect(await post('osd.0')).toBe(0)
    expect(await ids()).toEqual([one])
    expect(await mons.settle(env.disk.list('/crash/posted'))).toEqual([one])
    expect(await post('osd.1')).toBe(1)
    expect(await run('crash info', { id: two })).toMatchObject({
      entity: 'osd.1',
      reason: 'why',
      stack: 'Error: x\nat y',
    })
    await run('crash post', { id: two, entity: 'osd.1', wall_ms: 1 })
    expect(await ids()).toEqual([one, two])
  })

  it('wait while the monitors do not answer, and are set aside when they will never be taken', async () => {
    const { mons, env, leave, post, ids } = await cluster(2)
    const id = await leave('osd.0', 1)
    for (const name of mons.members.keys()) mons.isolate(name)
    expect(await post('osd.0')).toBe(0)
    mons.heal()
    await mons.world.time.advance(10_000)
    expect(await post('osd.0')).toBe(1)
    expect(await ids()).toEqual([id])
    const meta = { crash_id: 'nonsense', entity_name: 'osd.0', timestamp: 'never' }
    await mons.settle(env.disk.makeDirectory('/crash/nonsense'))
    await mons.settle(env.disk.writeFileAtomic('/crash/nonsense/meta', utf8Encode(JSON.stringify(meta))))
    await post('osd.0')
    expect(await ids()).toEqual([id])
    expect(await mons.settle(env.disk.list('/crash'))).toEqual(['posted'])
  })

  it('warn until they are archived or old, and are removed when they are very old', async () => {
    const { mons, run, leave, post, ids, env } = await cluster(3)
    const warned = async () => (await run<HealthReport>('health')).checks.some((check) => check.code === 'RECENT_CRASH')
    const old = await leave('osd.0', 1, env.clock.wallMs() - 20 * 86_400_000)
    await post('osd.0')
    expect(await warned()).toBe(false)
    const fresh = await leave('osd.0', 2)
    await post('osd.0')
    expect(await warned()).toBe(true)
    await run('config set', { who: 'mon', name: 'mon_crash_warn_recent_interval', value: '0' })
    expect(await warned()).toBe(false)
    await run('config rm', { who: 'mon', name: 'mon_crash_warn_recent_interval' })
    await run('crash archive', { id: fresh })
    expect(await warned()).toBe(false)
    expect(await ids('crash ls-new')).toEqual([old])
    await run('crash archive-all')
    expect(await ids('crash ls-new')).toEqual([])
    await run('config set', { who: 'mon', name: 'mon_crash_retain_interval', value: '10d' })
    await mons.world.time.advance(3_000)
    expect(await ids()).toEqual([fresh])
    await run('crash rm', { id: fresh })
    expect(await ids()).toEqual([])
    await expect(run('crash info', { id: fresh })).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it('are bounded: of too many the seen ones go first, then the oldest', async () => {
    const { run, ids } = await cluster(4)
    const idOf = (n: number) => `2026-01-01T00:00:00.${String(n).padStart(3, '0')}Z_${'0'.repeat(8)}`
    const post = (n: number) => run('crash post', { id: idOf(n), entity: 'osd.0', wall_ms: n })
    for (let n = 0; n < 256; n++) await post(n)
    await run('crash archive', { id: idOf(100) })
    await post(300)
    await post(301)
    const left = await ids()
    expect(left).toHaveLength(256)
    expect(left).not.toContain(idOf(100))
    expect(left).not.toContain(idOf(0))
    expect(left).toContain(idOf(1))
    await run('crash prune', { keep: 0 })
    expect(await ids()).toEqual([])
  })
})
