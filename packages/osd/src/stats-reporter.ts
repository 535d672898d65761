/**
 * Tells the monitors how the OSD and the placement groups that it leads are doing. Quiet when nothing changes.
 *
 * A change of a PG's states is told within a quarter of a second, for people wait for `active+clean`, and so is all that is
 * new when a pool has changed; changes of counters within the report interval; everything again each minute, so that a new
 * leader or a lost report does not matter.
 */
import type { Env, PgId, Timer } from '@shoal/base'
import { type OsdMap, onlyChangedPg, type PgStats } from '@shoal/cluster-map'
import type { OsdSettings } from './settings.ts'

/** Read at use. */
export type StatsReporterSettings = Pick<OsdSettings, 'osd_mon_report_interval' | 'osd_mon_report_refresh'>

const stateChangeMs = 250

export class StatsReporter {
  private readonly env: Env
  private readonly settings: StatsReporterSettings
  private readonly send: (pgs: readonly PgStats[]) => void
  private readonly latest = new Map<PgId, PgStats>()
  private readonly changed = new Set<PgId>()
  private timer: Timer | undefined
  private dueMs = Number.POSITIVE_INFINITY
  private stopped = false

  constructor(env: Env, settings: StatsReporterSettings, send: (pgs: readonly PgStats[]) => void) {
    this.env = env
    this.settings = settings
    this.send = send
  }

  publish(stats: PgStats): void {
    const before = this.latest.get(stats.pgId)
    this.latest.set(stats.pgId, stats)
    this.changed.add(stats.pgId)
    this.reportWithin(sameStates(before, stats) ? this.intervalMs : stateChangeMs)
  }

  /** It no longer leads this PG. */
  forget(pgId: PgId): void {
    this.latest.delete(pgId)
    this.changed.delete(pgId)
  }

  latestOf(pgId: PgId): PgStats | undefined {
    return this.latest.get(pgId)
  }

  /** What concerns the OSD as a whole has changed: how many placement groups lie here. */
  touch(): void {
    this.reportWithin(this.intervalMs)
  }

  /** All PGs have published what they are under this map. The next step of what changes their pool may wait for it. */
  onMap(map: OsdMap): void {
    for (const pool of map.pools.values()) {
      if (pool.lastChange === map.epoch && onlyChangedPg(pool) === undefined) this.reportWithin(stateChangeMs)
    }
  }

  /** Everything, now: after a boot. */
  reportAll(): void {
    for (const pgId of this.latest.keys()) this.changed.add(pgId)
    this.reportWithin(0)
  }

  stop(): void {
    this.stopped = true
    this.timer?.cancel()
  }

  private get intervalMs(): number {
    return this.settings.osd_mon_report_interval * 1000
  }

  private reportWithin(delayMs: number): void {
    if (this.stopped) return
    const dueMs = this.env.clock.monotonicMs() + delayMs
    if (dueMs >= this.dueMs) return
    this.timer?.cancel()
    this.dueMs = dueMs
    this.timer = this.env.timers.after(delayMs, () => this.report())
  }

  private report(): void {
    this.dueMs = Number.POSITIVE_INFINITY
    const pgs: PgStats[] = []
    for (const pgId of this.changed) {
      const stats = this.latest.get(pgId)
      if (stats !== undefined) pgs.push(stats)
    }
    this.changed.clear()
    this.send(pgs)
    if (this.stopped) return
    const refreshMs = this.settings.osd_mon_report_refresh * 1000
    this.dueMs = this.env.clock.monotonicMs() + refreshMs
    this.timer = this.env.timers.after(refreshMs, () => {
      for (const pgId of this.latest.keys()) this.changed.add(pgId)
      this.report()
    })
  }
}

function sameStates(before: PgStats | undefined, after: PgStats): boolean {
  if (before === undefined || before.states.length !== after.states.length) return false
  return before.states.every((state, at) => state === after.states[at])
}
