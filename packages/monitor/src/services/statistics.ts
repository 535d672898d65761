/**
 * The newest statistics of OSDs and PGs, in the leader's memory only: they are many, they age in seconds, and a new
 * leader is told all of them again.
 *
 * Invariant 1: of two reports about a PG the one with the later epoch, then the later sequence, stays.
 * Invariant 2: only reports of an OSD's present run count.
 */
import { type Epoch, type OsdId, type PgId, type PoolId, pgId, pgPool } from '@shoal/base'
import type { OsdMap, OsdStats, PgState, PgStats, PoolCompressionStats } from '@shoal/cluster-map'
import type { StatsReport } from '@shoal/monitor-client'

const rateWindowSeconds = 10

export interface IoRates {
  readonly readOpsPerSecond: number
  readonly writeOpsPerSecond: number
  readonly readBytesPerSecond: number
  readonly writeBytesPerSecond: number
  readonly recoveredObjectsPerSecond: number
  readonly recoveredBytesPerSecond: number
}

const rateFields = ['readOps', 'writeOps', 'readBytes', 'writeBytes', 'recoveredObjects', 'recoveredBytes'] as const
type Counters = Record<(typeof rateFields)[number], number>

/** Counts per second over the last ten seconds, in one slot per second. */
class RateWindow {
  private readonly slots: { second: number; counters: Counters }[] = []

  add(nowMs: number, counters: Counters): void {
    const second = Math.floor(nowMs / 1_000)
    const last = this.slots.at(-1)
    if (last?.second === second) for (const field of rateFields) last.counters[field] += counters[field]
    else this.slots.push({ second, counters: { ...counters } })
    while (this.slots.length > rateWindowSeconds + 1) this.slots.shift()
  }

  rates(nowMs: number): IoRates {
    const from = Math.floor(nowMs / 1_000) - rateWindowSeconds
    const per = (field: keyof Counters) =>
      this.slots.reduce((sum, slot) => (slot.second > from ? sum + slot.counters[field] : sum), 0) / rateWindowSeconds
    return {
      readOpsPerSecond: per('readOps'),
      writeOpsPerSecond: per('writeOps'),
      readBytesPerSecond: per('readBytes'),
      writeBytesPerSecond: per('writeBytes'),
      recoveredObjectsPerSecond: per('recoveredObjects'),
      recoveredBytesPerSecond: per('recoveredBytes'),
    }
  }
}

export interface PgSummaryRow {
  readonly pgId: PgId
  /** Undefined until a primary reported since this leader leads. */
  readonly stats: PgStats | undefined
  readonly states: readonly PgState[]
}

export class Statistics {
  private readonly osds = new Map<OsdId, { readonly stats: OsdStats; readonly epoch: Epoch; readonly atMs: number }>()
  private readonly pgs = new Map<PgId, PgStats>()
  private readonly windows = new Map<PoolId, RateWindow>()

  report(report: StatsReport, map: OsdMap, nowMs: number): void {
    const osd = map.osds.get(report.osd.osd)
    if (osd === undefined || (osd.up && osd.incarnation !== report.incarnation)) return
    this.osds.set(report.osd.osd, { stats: report.osd, epoch: report.epoch, atMs: nowMs })
    for (const pg of report.pgs) this.onPg(pg, map, nowMs)
  }

  /** Forgets what was removed from the map. */
  prune(map: OsdMap): void {
    for (const id of this.osds.keys()) if (!map.osds.has(id)) this.osds.delete(id)
    for (const id of this.windows.keys()) if (!map.pools.has(id)) this.windows.delete(id)
    for (const id of this.pgs.keys()) if (!map.pools.has(pgPool(id))) this.pgs.delete(id)
  }

  osd(id: OsdId): OsdStats | undefined {
    return this.osds.get(id)?.stats
  }

  /** The map that it had when it last reported. */
  lastReportEpoch(id: OsdId): Epoch | undefined {
    return this.osds.get(id)?.epoch
  }

  /** When it last reported, on the clock of `report`. */
  lastReportMs(id: OsdId): number | undefined {
    return this.osds.get(id)?.atMs
  }

  pg(id: PgId): PgStats | undefined {
    return this.pgs.get(id)
  }

  /** Every PG of the map, by pool and seed. A PG whose last reporter is down is stale. */
  *rows(map: OsdMap, onlyPool?: PoolId): Generator<PgSummaryRow> {
    for (const pool of map.pools.values()) {
      if (onlyPool !== undefined && pool.id !== onlyPool) continue
      for (let seed = 0; seed < pool.pgNum; seed++) {
        const id = pgId(pool.id, seed)
        const stats = this.pgs.get(id)
        yield { pgId: id, stats, states: statesOf(stats, map) }
      }
    }
  }

  /** What lies compressed of a pool on the OSDs that are up. */
  compression(pool: PoolId, map: OsdMap): Omit<PoolCompressionStats, 'pool'> {
    const sum = { originalBytes: 0, compressedBytes: 0, allocatedBytes: 0, operations: 0 }
    for (const [id, { stats }] of this.osds) {
      if (map.osds.get(id)?.up !== true) continue
      for (const row of stats.compression ?? []) {
        if (row.pool !== pool) continue
        for (const field of Object.keys(sum) as (keyof typeof sum)[]) sum[field] += row[field]
      }
    }
    return sum
  }

  rates(pool: PoolId, nowMs: number): IoRates {
    return (this.windows.get(pool) ?? new RateWindow()).rates(nowMs)
  }

  private onPg(pg: PgStats, map: OsdMap, nowMs: number): void {
    const pool = map.pools.get(pgPool(pg.pgId))
    if (pool === undefined) return
    const before = this.pgs.get(pg.pgId)
    if (before !== undefined) {
      if (pg.reportedEpoch < before.reportedEpoch) return
      if (pg.reportedEpoch === before.reportedEpoch && pg.reportedSequence < before.reportedSequence) return
      this.count(pool.id, before, pg, nowMs)
    }
    this.pgs.set(pg.pgId, pg)
  }

  /** Counters of one primary grow; another primary's begin anew, and a drop is never counted. */
  private count(pool: PoolId, before: PgStats, after: PgStats, nowMs: number): void {
    if (before.actingPrimary !== after.actingPrimary) return
    const counters = {} as Counters
    for (const field of rateFields) counters[field] = Math.max(0, after[field] - before[field])
    let window = this.windows.get(pool)
    if (window === undefined) {
      window = new RateWindow()
      this.windows.set(pool, window)
    }
    window.add(nowMs, counters)
  }
}

function statesOf(stats: PgStats | undefined, map: OsdMap): readonly PgState[] {
  if (stats === undefined) return ['unknown']
  const alive = map.osds.get(stats.actingPrimary)?.up === true
  if (alive || stats.states.includes('stale')) return stats.states
  return ['stale', ...stats.states]
}
