/**
 * Decides from reports of peers which OSDs are down. Lives in the leader's memory only; a new leader learns from the
 * reports that OSDs repeat. Time comes in with every call.
 *
 * Invariant 1: an OSD is failed by reports about its present run only, by OSDs that are up themselves.
 * Invariant 2: without a refused connection, reports of enough distinct failure domains are needed, after the grace.
 *              When up OSDs span fewer domains than needed (all on one machine), single OSDs count as domains, and never
 *              more reporters are asked for than there are other OSDs.
 * Invariant 3: the grace grows for an OSD that came back in the same run, that is, was slow and not dead.
 */
import type { OsdId } from '@shoal/base'
import type { OsdInfo, OsdMap } from '@shoal/cluster-map'
import { ancestorOf } from '@shoal/crush'
import type { FailureReport } from '@shoal/monitor-client'
import type { MonitorSettings } from '../config.ts'

interface Reporter {
  readonly failedSinceMs: number
  readonly refused: boolean
}

interface Suspect {
  readonly incarnation: number
  readonly reporters: Map<OsdId, Reporter>
}

/** What is remembered about an OSD that was marked down though it lived. */
interface Slowness {
  readonly probability: number
  readonly intervalMs: number
  readonly downAtMs: number
  readonly incarnation: number
}

export interface Failure {
  readonly osd: OsdId
  readonly reason: string
}

export class FailureDetector {
  private readonly settings: MonitorSettings
  private readonly suspects = new Map<OsdId, Suspect>()
  private readonly slowness = new Map<OsdId, Slowness>()

  constructor(settings: MonitorSettings) {
    this.settings = settings
  }

  /** Takes a report in, or a retraction. False: it was void. */
  report(report: FailureReport, map: OsdMap, nowMs: number): boolean {
    const failed = map.osds.get(report.failed)
    const reporter = map.osds.get(report.reporter)
    if (failed?.up !== true || failed.incarnation !== report.incarnation) return false
    if (reporter?.up !== true || report.reporter === report.failed) return false
    let suspect = this.suspects.get(report.failed)
    if (suspect?.incarnation !== report.incarnation) {
      if (report.retracted) return false
      suspect = { incarnation: report.incarnation, reporters: new Map() }
      this.suspects.set(report.failed, suspect)
    }
    if (report.retracted) {
      suspect.reporters.delete(report.reporter)
      if (suspect.reporters.size === 0) this.suspects.delete(report.failed)
      return true
    }
    const before = suspect.reporters.get(report.reporter)
    const failedSinceMs = nowMs - report.silentForMs
    suspect.reporters.set(report.reporter, {
      failedSinceMs: before === undefined ? failedSinceMs : Math.min(before.failedSinceMs, failedSinceMs),
      refused: report.refused || before?.refused === true,
    })
    return true
  }

  /** Everyone who should be marked down now. Asking changes nothing but forgets void reports. */
  failures(map: OsdMap, nowMs: number): readonly Failure[] {
    const failures: Failure[] = []
    for (const [id, suspect] of this.suspects) {
      const osd = map.osds.get(id)
      for (const reporter of suspect.reporters.keys()) {
        if (map.osds.get(reporter)?.up !== true) suspect.reporters.delete(reporter)
      }
      if (osd?.up !== true || osd.incarnation !== suspect.incarnation || suspect.reporters.size === 0) {
        this.suspects.delete(id)
        continue
      }
      const reason = this.reasonToFail(map, osd, suspect, nowMs)
      if (reason !== undefined) failures.push({ osd: id, reason })
    }
    return failures
  }

  /** Who reports whom, for `health` and `perf`. */
  pending(): readonly { readonly osd: OsdId; readonly reporters: readonly OsdId[] }[] {
    return [...this.suspects].map(([osd, suspect]) => ({ osd, reporters: [...suspect.reporters.keys()] }))
  }

  /** An OSD was marked down by reports. */
  onMarkedDown(osd: OsdInfo, nowMs: number): void {
    this.suspects.delete(osd.id)
    const before = this.slowness.get(osd.id)
    this.slowness.set(osd.id, {
      probability: before?.probability ?? 0,
      intervalMs: before?.intervalMs ?? 0,
      downAtMs: nowMs,
      incarnation: osd.incarnation,
    })
  }

  /** An OSD came up. In the same run, it had been slow; in a new one, it had been dead. */
  onBoot(osd: OsdId, incarnation: number, nowMs: number): void {
    this.suspects.delete(osd)
    const before = this.slowness.get(osd)
    if (before === undefined) return
    const weight = this.settings.mon_osd_laggy_weight
    const slow = before.incarnation === incarnation
    const intervalMs = Math.min(nowMs - before.downAtMs, this.settings.mon_osd_laggy_max_interval * 1_000)
    this.slowness.set(osd, {
      ...before,
      probability: before.probability * (1 - weight) + (slow ? weight : 0),
      intervalMs: before.intervalMs * (1 - weight) + (slow ? intervalMs * weight : 0),
      incarnation,
    })
  }

  /** Silence that this OSD is allowed, as reported by these peers. */
  graceMs(id: OsdId, reporters: Iterable<OsdId>, nowMs: number): number {
    const graceMs = this.settings.osd_heartbeat_grace * 1_000
    if (!this.settings.mon_osd_adjust_heartbeat_grace) return graceMs
    let peersMs = 0
    let peers = 0
    for (const reporter of reporters) {
      peersMs += this.allowanceMs(reporter, nowMs)
      peers++
    }
    return graceMs + this.allowanceMs(id, nowMs) + (peers === 0 ? 0 : peersMs / peers)
  }

  private allowanceMs(id: OsdId, nowMs: number): number {
    const slowness = this.slowness.get(id)
    if (slowness === undefined) return 0
    const decay = 0.5 ** ((nowMs - slowness.downAtMs) / (this.settings.mon_osd_laggy_halflife * 1_000))
    return decay * slowness.probability * slowness.intervalMs
  }

  private reasonToFail(map: OsdMap, osd: OsdInfo, suspect: Suspect, nowMs: number): string | undefined {
    const refusedBy = [...suspect.reporters].find(([, reporter]) => reporter.refused)
    if (refusedBy !== undefined) return `osd.${refusedBy[0]} was refused a connection`
    let failedSinceMs = Number.NEGATIVE_INFINITY
    for (const reporter of suspect.reporters.values()) failedSinceMs = Math.max(failedSinceMs, reporter.failedSinceMs)
    const silentMs = nowMs - failedSinceMs
    if (silentMs < this.graceMs(osd.id, suspect.reporters.keys(), nowMs)) return undefined
    const { needed, domainOf, domainName } = this.domains(map, osd.id)
    const domains = new Set([...suspect.reporters.keys()].map(domainOf))
    if (domains.size < needed) return undefined
    const reporters = [...suspect.reporters.keys()].map((id) => `osd.${id}`).join(', ')
    return `silent for ${(silentMs / 1_000).toFixed(1)} s to ${reporters} (${domains.size} ${domainName}s)`
  }

  private domains(
    map: OsdMap,
    suspect: OsdId,
  ): { readonly needed: number; readonly domainOf: (id: OsdId) => number; readonly domainName: string } {
    const level = this.settings.mon_osd_reporter_subtree_level
    const wanted = Math.max(1, this.settings.mon_osd_min_down_reporters)
    const others = [...map.osds.values()].filter((osd) => osd.up && osd.id !== suspect)
    const above = new Map(others.map((osd) => [osd.id, ancestorOf(map.crush, osd.id, level) ?? osd.id]))
    if (new Set(above.values()).size >= wanted) {
      return { needed: wanted, domainOf: (id) => above.get(id) ?? id, domainName: level }
    }
    return { needed: Math.min(wanted, others.length), domainOf: (id) => id, domainName: 'osd' }
  }
}
