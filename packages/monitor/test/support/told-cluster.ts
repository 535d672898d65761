/** One monitor that is told what OSDs and primaries would tell it. */
import type { Epoch, OsdId, PgId } from '@shoal/base'
import { featureQuotas, type PgStats } from '@shoal/cluster-map'
import type { HealthReport, HuntingMonitorClient, PlacementReply } from '@shoal/monitor-client'
import { bootOf, MonitorCluster } from './monitor-cluster.ts'
import { gibibyte, osdStatsOf, pgStatsOf, placeOf } from './told-stats.ts'

/** Three OSDs and a pool of one PG, as far as the monitors know. */
export class Told {
  readonly mons: MonitorCluster
  client!: HuntingMonitorClient
  private sequence = 0
  private osds: readonly OsdId[] = []

  constructor(seed: number) {
    this.mons = new MonitorCluster(seed, 1)
  }

  async found(features = featureQuotas, osds: readonly number[] = [0, 1, 2]): Promise<this> {
    await this.mons.found()
    this.client = await this.mons.started(this.mons.client())
    this.osds = osds as readonly OsdId[]
    for (const osd of osds) {
      await this.mons.settle(this.client.boot({ ...bootOf(osd, 1, `host-${osd}`), features }))
    }
    await this.command({ prefix: 'osd pool create', pool: 'p', pg_num: 1 })
    // The map with the pool comes to the OSDs.
    await this.mons.world.time.advance(1_000)
    return this
  }

  command(command: { readonly prefix: string; readonly [argument: string]: unknown }) {
    return this.mons.command(this.client, command)
  }

  /** `used`: share of osd.0; `pgs`: held by each OSD. osd.0 reports the one PG. */
  async tell(used: number, pg: Partial<PgStats> = {}, pgs = 1): Promise<void> {
    const map = this.client.osdMap
    for (const osd of this.osds) {
      this.client.reportStats({
        osd: osdStatsOf(osd, { usedBytes: (osd === 0 ? used : 0.1) * 100 * gibibyte, pgs }),
        incarnation: 1,
        epoch: map?.epoch ?? (0 as Epoch),
        pgs: osd === 0 ? [this.stats(pg)] : [],
      })
      await this.mons.world.time.advance(100)
    }
  }

  private stats(pg: Partial<PgStats>): PgStats {
    const reported = { reportedEpoch: 100 as Epoch, lastEpochClean: 1 as Epoch }
    const id = '1.0' as PgId
    return pgStatsOf(id, ++this.sequence, { ...reported, ...placeOf(id, this.client.osdMap), ...pg })
  }

  async acting(): Promise<readonly OsdId[]> {
    const { data } = await this.command({ prefix: 'pg map', pgid: '1.0' })
    return (data as PlacementReply).acting as readonly OsdId[]
  }

  async codes(): Promise<readonly string[]> {
    const { data } = await this.command({ prefix: 'health' })
    return (data as HealthReport).checks.map(({ code }) => code)
  }
}
