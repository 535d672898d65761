/**
 * Every health check fails when it should, says how to mend it, and clears when that was done. A check that is not tried
 * here, or not described in docs/mechanisms/health.md, fails the last test.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Epoch, pgId, poolId } from '@shoal/base'
import { featureQuotas, type OsdStats, type PgState, type PgStats } from '@shoal/cluster-map'
import type { HealthEventRow, HealthReport, HuntingMonitorClient } from '@shoal/monitor-client'
import { describe, expect, it } from 'vitest'
import { healthCodes } from '../src/health/health-report.ts'
import { bootOf, MonitorCluster } from './support/monitor-cluster.ts'
import { gibibyte, osdStatsOf, pgStatsOf, placeOf } from './support/told-stats.ts'

const osds = [0, 1, 2]

/** Three OSDs on hosts of their own that report as they are told. */
class Ward {
  readonly mons: MonitorCluster
  private client!: HuntingMonitorClient
  private sequence = 0

  constructor(seed: number) {
    this.mons = new MonitorCluster(seed)
  }

  static async open(seed: number): Promise<Ward> {
    const ward = new Ward(seed)
    await ward.mons.found()
    ward.client = await ward.mons.started(ward.mons.client())
    for (const osd of osds) await ward.boot(osd)
    return ward
  }

  boot(osd: number, incarnation = 1): Promise<void> {
    return this.mons.settle(this.client.boot({ ...bootOf(osd, incarnation, `host-${osd}`), features: featureQuotas }))
  }

  async run(prefix: string, args: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    return (await this.mons.command(this.client, { prefix, ...args })).data
  }

  option(name: string, value: string | undefined): Promise<unknown> {
    return value === undefined
      ? this.run('config rm', { who: 'mon', name })
      : this.run('config set', { who: 'mon', name, value })
  }

  /** What one OSD says of itself. */
  async says(osd: number, stats: Partial<OsdStats>, pgs: readonly PgStats[] = []): Promise<void> {
    const epoch = this.client.osdMap?.epoch ?? (0 as Epoch)
    this.client.reportStats({ osd: osdStatsOf(osd, stats), incarnation: 1, epoch, pgs })
    await this.mons.world.time.advance(1_000)
  }

  pg(pool: number, seed: number, states: readonly PgState[], more: Partial<PgStats> = {}): PgStats {
    const reportedEpoch = this.client.osdMap?.epoch ?? (0 as Epoch)
    const id = pgId(poolId(pool), seed)
    const told = { states, reportedEpoch, ...placeOf(id, this.client.osdMap) }
    return pgStatsOf(id, ++this.sequence, { ...told, ...more })
  }

  /** The one placement group of the pool `things`, made if it is missing. */
  async pgIs(states: readonly PgState[], more: Partial<PgStats> = {}): Promise<void> {
    const pools = (await this.run('osd pool ls')) as readonly unknown[]
    if (pools.length === 0) await this.run('osd pool create', { pool: 'things', pg_num: 1 })
    await this.says(0, {}, [this.pg(1, 0, states, more)])
  }

  async objectsOf(...counts: readonly number[]): Promise<void> {
    const pgs = counts.map((objects, i) => this.pg(i + 1, 0, ['active', 'clean'], { objects }))
    await this.says(0, {}, pgs)
  }

  async health(): Promise<HealthReport> {
    return (await this.run('health')) as HealthReport
  }
}

interface Trial {
  readonly raise: (ward: Ward) => Promise<unknown>
  readonly clear: (ward: Ward) => Promise<unknown>
}

const stats = (bad: Partial<OsdStats>): Trial => ({
  raise: (ward) => ward.says(1, bad),
  clear: (ward) => ward.says(1, {}),
})
const pgs = (states: readonly PgState[], more: Partial<PgStats> = {}): Trial => ({
  raise: (ward) => ward.pgIs(states, more),
  clear: (ward) => ward.pgIs(['active', 'clean']),
})
const options = (name: string, value: string): Trial => ({
  raise: (ward) => ward.option(name, value),
  clear: (ward) => ward.option(name, undefined),
})

/** A pool with 100 objects gets a quota. */
const quota = (objects: number): Trial => ({
  async raise(ward) {
    await ward.pgIs(['active', 'clean'], { objects: 100 })
    await ward.run('osd pool set-quota', { pool: 'things', field: 'max_objects', val: objects })
  },
  clear: (ward) => ward.run('osd pool set-quota', { pool: 'things', field: 'max_objects', val: 0 }),
})

/** All OSDs below one bucket of the type go down. */
const subtree = (type: string): Trial => ({
  async raise(ward) {
    if (type !== 'host' && type !== 'root') {
      await ward.run('osd crush add-bucket', { name: 'place', type, args: ['root=default'] })
      await ward.run('osd crush move', { name: 'host-1', args: [`${type}=place`] })
    }
    await ward.run('osd down', { ids: type === 'root' ? osds : [1] })
  },
  clear: (ward) => ward.boot(1, 2),
})

const trials: Readonly<Record<string, Trial>> = {
  MON_DOWN: {
    async raise(ward) {
      const follower = [...ward.mons.members.keys()].find((name) => name !== ward.mons.leader) as string
      ward.mons.powerCut(follower)
      await ward.mons.world.time.advance(8_000)
    },
    async clear(ward) {
      for (const { name, daemon } of ward.mons.members.values()) if (daemon === undefined) await ward.mons.start(name)
      await ward.mons.world.time.advance(3_000)
    },
  },
  OSD_DOWN: { raise: (ward) => ward.run('osd down', { ids: [1] }), clear: (ward) => ward.boot(1, 2) },
  ...Object.fromEntries(
    ['host', 'chassis', 'rack', 'row', 'room', 'datacenter', 'zone', 'region', 'root'].map((type) => [
      `OSD_${type.toUpperCase()}_DOWN`,
      subtree(type),
    ]),
  ),
  OSD_ORPHAN: {
    raise: (ward) => ward.run('osd crush add', { id: 'osd.9', weight: 1, args: ['root=default', 'host=host-9'] }),
    clear: (ward) => ward.run('osd crush rm', { name: 'osd.9' }),
  },
  OSDMAP_FLAGS: {
    raise: (ward) => ward.run('osd set', { key: 'noout' }),
    clear: (ward) => ward.run('osd unset', { key: 'noout' }),
  },
  TOO_FEW_OSDS: options('osd_pool_default_size', '5'),
  OSD_NO_DOWN_OUT_INTERVAL: options('mon_osd_down_out_interval', '0'),
  RECENT_CRASH: {
    raise: (ward) =>
      ward.run('crash post', {
        id: '2026-11-26T14:53:27.123Z_0011223344556677',
        entity: 'osd.1',
        wall_ms: ward.mons.world.machine('clock').start().clock.wallMs(),
        reason: 'uncaught exception',
      }),
    clear: (ward) => ward.run('crash archive-all'),
  },
  PG_AVAILABILITY: pgs(['peering']),
  PG_DEGRADED: pgs(['active', 'undersized', 'degraded'], { degradedCopies: 5 }),
  PG_DAMAGED: pgs(['incomplete']),
  OSD_SCRUB_ERRORS: pgs(['active', 'clean', 'inconsistent'], { scrubErrors: 2 }),
  PG_NOT_SCRUBBED: pgs(['active', 'clean'], { lastScrubMs: 1 }),
  PG_NOT_DEEP_SCRUBBED: pgs(['active', 'clean'], { lastDeepScrubMs: 1 }),
  OBJECT_UNFOUND: pgs(['active', 'degraded'], { unfoundObjects: 2 }),
  OBJECT_MISPLACED: {
    async raise(ward) {
      await ward.run('osd set', { key: 'norebalance' })
      await ward.pgIs(['active', 'remapped'], { misplacedCopies: 4 })
    },
    clear: (ward) => ward.run('osd unset', { key: 'norebalance' }),
  },
  OSD_FULL: stats({ usedBytes: 96 * gibibyte }),
  OSD_BACKFILLFULL: stats({ usedBytes: 92 * gibibyte }),
  OSD_NEARFULL: stats({ usedBytes: 87 * gibibyte }),
  PG_BACKFILL_FULL: pgs(['active', 'backfill_toofull']),
  PG_RECOVERY_FULL: pgs(['active', 'recovery_toofull']),
  POOL_FULL: quota(100),
  POOL_NEARFULL: quota(110),
  SLOW_OPS: stats({ slowOps: 3 }),
  BLOCK_REPAIRED: stats({ checksumErrors: 2, repairedBlocks: 2 }),
  TOO_MANY_PGS: {
    async raise(ward) {
      await ward.run('osd pool create', { pool: 'many', pg_num: 64 })
      await ward.option('mon_max_pg_per_osd', '60')
    },
    clear: (ward) => ward.option('mon_max_pg_per_osd', undefined),
  },
  POOL_TOO_FEW_PGS: {
    async raise(ward) {
      await ward.run('osd pool create', { pool: 'big', pg_num: 1 })
      await ward.run('osd pool create', { pool: 'small', pg_num: 32 })
      await ward.objectsOf(100_000, 100)
    },
    clear: (ward) => ward.objectsOf(5_000, 100),
  },
  POOL_TOO_MANY_PGS: {
    async raise(ward) {
      await ward.run('osd pool create', { pool: 'big', pg_num: 1 })
      await ward.run('osd pool create', { pool: 'small', pg_num: 32 })
      await ward.objectsOf(100_000, 100)
    },
    clear: (ward) => ward.run('osd pool rm', { pool: 'small', pool2: 'small', sure: true }),
  },
}

describe('health checks', () => {
  it.each(Object.entries(trials))('%s', async (code, { raise, clear }) => {
    const ward = await Ward.open(Object.keys(trials).indexOf(code) + 1)
    await ward.mons.world.time.advance(1_000)
    const codes = async () => (await ward.health()).checks.map((check) => check.code)
    expect(await codes()).not.toContain(code)
    await raise(ward)
    const check = (await ward.health()).checks.find((one) => one.code === code)
    expect(check).toMatchObject({ code, muted: false, mend: expect.stringMatching(/./) as string })
    expect(check?.count).toBeGreaterThan(0)
    await clear(ward)
    expect(await codes()).not.toContain(code)
  })

  it('say how a group that waits for min_size may serve before its members are back', async () => {
    const ward = await Ward.open(78)
    await ward.pgIs(['peered', 'undersized', 'degraded'])
    await ward.run('osd down', { ids: [1, 2] })
    await ward.mons.world.time.advance(1_000)
    await ward.pgIs(['peered', 'undersized', 'degraded'])
    const { mend } = (await ward.health()).checks.find(({ code }) => code === 'PG_AVAILABILITY') ?? {}
    expect(mend).toContain('shoal pool set things min_size 1')
  })

  it('do not take what was told of an earlier map for what is: a group whose members changed peers until it tells', async () => {
    const ward = await Ward.open(77)
    await ward.pgIs(['active', 'clean'])
    expect((await ward.health()).status).toBe('HEALTH_OK')
    const peers = async (state: string) => {
      const states = ((await ward.run('status')) as { readonly pgMap: { readonly states: readonly object[] } }).pgMap
        .states
      expect(states).toEqual([{ state, count: 1 }])
      const found = (await ward.health()).checks.find(({ code }) => code === 'PG_AVAILABILITY')
      expect(found?.summary).toContain('1 pg peering')
    }
    await ward.run('osd out', { ids: [1] })
    await peers('peering')
    await ward.pgIs(['active', 'undersized'])
    expect((await ward.health()).checks.map(({ code }) => code)).toEqual(['PG_DEGRADED'])
    await ward.run('osd in', { ids: [1] })
    await peers('peering+undersized')
    await ward.pgIs(['active', 'clean'])
    expect((await ward.health()).status).toBe('HEALTH_OK')
  })

  it('are all tried here, and each has its page', () => {
    expect(Object.keys(trials).sort()).toEqual([...healthCodes].sort())
    const page = readFileSync(join(import.meta.dirname, '../../../docs/mechanisms/health.md'), 'utf8')
    const sections = page.split('\n### ').slice(1)
    const described = (code: string) =>
      sections.some((section) => {
        const [title = '', ...body] = section.split('\n')
        return title.split(', ').includes(code) && /^Cause:/m.test(body.join('\n')) && /^Mend:/m.test(body.join('\n'))
      })
    expect(healthCodes.filter((code) => !described(code))).toEqual([])
  })
})

describe('muted checks', () => {
  const flagged = async (seed: number) => {
    const ward = await Ward.open(seed)
    await ward.mons.world.time.advance(10_000)
    await ward.run('osd set', { key: 'noout' })
    const status = async () => (await ward.health()).status
    const muted = async () => (await ward.health()).mutes.map((mute) => mute.code)
    return { ward, status, muted, wait: (ms: number) => ward.mons.world.time.advance(ms) }
  }

  it('do not count in the status, until their time is over', async () => {
    const { ward, status, muted, wait } = await flagged(101)
    expect(await status()).toBe('HEALTH_WARN')
    await ward.run('health mute', { code: 'osdmap_flags', ttl: '1m' })
    expect(await status()).toBe('HEALTH_OK')
    expect((await ward.health()).checks).toMatchObject([{ code: 'OSDMAP_FLAGS', muted: true }])
    await wait(50_000)
    expect(await status()).toBe('HEALTH_OK')
    await wait(15_000)
    expect(await status()).toBe('HEALTH_WARN')
    expect(await muted()).toEqual([])
  })

  it('are heard of again when they fail anew, or grow, unless the mute is sticky', async () => {
    const { ward, status, muted, wait } = await flagged(102)
    await ward.run('health mute', { code: 'OSDMAP_FLAGS' })
    await ward.run('osd set', { key: 'nodown' })
    expect(await status()).toBe('HEALTH_WARN')
    await wait(2_000)
    expect(await muted()).toEqual([])
    await ward.run('health mute', { code: 'OSDMAP_FLAGS' })
    for (const key of ['noout', 'nodown']) await ward.run('osd unset', { key })
    await wait(2_000)
    expect(await muted()).toEqual([])
    await ward.run('health mute', { code: 'OSDMAP_FLAGS', sticky: true })
    for (const key of ['noout', 'nodown']) await ward.run('osd set', { key })
    await wait(2_000)
    expect(await status()).toBe('HEALTH_OK')
    await ward.run('health unmute')
    expect(await status()).toBe('HEALTH_WARN')
  })

  it('are those that are failing, and have a name', async () => {
    const { ward } = await flagged(103)
    await expect(ward.run('health mute', { code: 'OSD_DOWN' })).rejects.toMatchObject({ code: 'ENOENT' })
    await expect(ward.run('health mute', { code: 'OSDMAP_FLAG' })).rejects.toThrow(/OSDMAP_FLAGS/)
    await expect(ward.run('health mute', { code: 'OSDMAP_FLAGS', ttl: '-1' })).rejects.toMatchObject({ code: 'EINVAL' })
  })
})

describe('the history of health', () => {
  it('goes on over a change of the leader, and tells what cleared meanwhile', async () => {
    const ward = await Ward.open(111)
    await ward.mons.world.time.advance(10_000)
    const history = async () =>
      ((await ward.run('health history')) as readonly HealthEventRow[])
        .filter((event) => event.code === 'OSDMAP_FLAGS')
        .map((event) => `${event.event} ${event.summary}`)
    await ward.run('osd set', { key: 'noout' })
    await ward.mons.world.time.advance(3_000)
    expect(await history()).toEqual(['failed noout flag(s) set'])
    ward.mons.powerCut(ward.mons.leader as string)
    await ward.run('osd unset', { key: 'noout' })
    await ward.mons.world.time.advance(15_000)
    expect(await history()).toEqual(['failed noout flag(s) set', 'cleared noout flag(s) set'])
  })
})
