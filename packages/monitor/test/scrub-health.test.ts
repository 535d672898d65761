/** What health says of scrub: each code is raised and cleared. */
import type { Epoch, OsdId, PgId } from '@shoal/base'
import type { PgState, PgStats } from '@shoal/cluster-map'
import type { HealthReport } from '@shoal/monitor-client'
import { describe, expect, it } from 'vitest'
import { bootOf, MonitorCluster } from './support/monitor-cluster.ts'
import { osdStatsOf, pgStatsOf } from './support/told-stats.ts'

const day = 86_400_000
const pgId = '1.0' as PgId

function statsOf(sequence: number, change: Partial<PgStats>): PgStats {
  const alone = { up: [0 as OsdId], acting: [0 as OsdId] }
  return pgStatsOf(pgId, sequence, { ...alone, reportedEpoch: 100 as Epoch, lastEpochClean: 2 as Epoch, ...change })
}

describe('health of scrub', () => {
  it('raises and clears OSD_SCRUB_ERRORS, PG_DAMAGED, PG_NOT_SCRUBBED, PG_NOT_DEEP_SCRUBBED and OSDMAP_FLAGS', async () => {
    const mons = new MonitorCluster(51, 1)
    await mons.found()
    const client = await mons.started(mons.client())
    await mons.settle(client.boot(bootOf(0)))
    await mons.command(client, { prefix: 'osd pool create', pool: 'p', pg_num: 1, size: 1 })
    const wallMs = client.osdMap?.modifiedMs ?? 0
    let sequence = 0
    const codes = async (change: Partial<PgStats>): Promise<ReadonlyMap<string, string>> => {
      client.reportStats({
        osd: osdStatsOf(0, { pgs: 1 }),
        incarnation: 1,
        epoch: 100 as Epoch,
        pgs: [statsOf(++sequence, change)],
      })
      await mons.world.time.advance(200)
      const { checks } = (await mons.command(client, { prefix: 'health' })).data as HealthReport
      return new Map(checks.map(({ code, severity, summary }) => [code, `${severity}: ${summary}`]))
    }
    const fresh = { lastScrubMs: wallMs, lastDeepScrubMs: wallMs }
    const bad = { ...fresh, states: ['active', 'clean', 'inconsistent'] as PgState[], scrubErrors: 2 }
    const scrubCodes = ['OSD_SCRUB_ERRORS', 'PG_DAMAGED', 'PG_NOT_SCRUBBED', 'PG_NOT_DEEP_SCRUBBED', 'OSDMAP_FLAGS']
    const noneOf = (found: ReadonlyMap<string, string>): void => {
      expect(scrubCodes.filter((code) => found.has(code))).toEqual([])
    }
    noneOf(await codes(fresh))
    const damaged = await codes(bad)
    expect(damaged.get('OSD_SCRUB_ERRORS')).toBe('error: 2 scrub errors')
    expect(damaged.get('PG_DAMAGED')).toBe('error: Possible data damage: 1 pg inconsistent')
    noneOf(await codes(fresh))
    const late = await codes({ lastScrubMs: wallMs - 11 * day, lastDeepScrubMs: wallMs - 11 * day })
    expect(late.get('PG_NOT_SCRUBBED')).toBe('warning: 1 pg not scrubbed in time')
    expect(late.has('PG_NOT_DEEP_SCRUBBED')).toBe(false)
    const later = await codes({ lastScrubMs: wallMs, lastDeepScrubMs: wallMs - 13 * day })
    expect([...later.keys()]).not.toContain('PG_NOT_SCRUBBED')
    expect(later.get('PG_NOT_DEEP_SCRUBBED')).toBe('warning: 1 pg not deep-scrubbed in time')
    noneOf(await codes(fresh))
    // Of a report from before the first scrub nothing is said.
    noneOf(await codes({}))
    await mons.command(client, { prefix: 'osd set', key: 'noscrub' })
    await mons.command(client, { prefix: 'osd set', key: 'nodeep-scrub' })
    expect((await codes(fresh)).get('OSDMAP_FLAGS')).toBe('warning: nodeep-scrub,noscrub flag(s) set')
    await mons.command(client, { prefix: 'osd unset', key: 'noscrub' })
    await mons.command(client, { prefix: 'osd unset', key: 'nodeep-scrub' })
    noneOf(await codes(fresh))
  })
})
