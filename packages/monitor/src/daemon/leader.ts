/**
 * What only the leader does: takes reports, marks OSDs down and out, changes the set of monitors. Its memory (statistics,
 * suspicions, clocks of absence) begins empty with each leadership; OSDs tell everything again.
 */
import type { Env, Epoch, Log, OsdId } from '@shoal/base'
import { noOsd, type OsdMap, pgIdsOf } from '@shoal/cluster-map'
import type { FailureReport, HealthCheck, OsdBoot, Report } from '@shoal/monitor-client'
import type { ClusterView } from '../commands/command.ts'
import type { MonitorSettings } from '../config.ts'
import type { ConsensusDriver } from '../consensus/consensus-driver.ts'
import { healthReport } from '../health/health-report.ts'
import { healthChanges, writeHealth } from '../health/health-watch.ts'
import { AutoOut } from '../services/auto-out.ts'
import { Balancer } from '../services/balancer.ts'
import { FailureDetector } from '../services/failure-detector.ts'
import { planMembershipStep } from '../services/monitor-membership.ts'
import { bootOsd, markDown, markOut, raiseUpThru, shutDownOsd } from '../services/osd-lifecycle.ts'
import { poolToScale } from '../services/pg-autoscaler.ts'
import { PgMerges, takeMergeStep } from '../services/pg-merges.ts'
import { concernsPgNum, poolsToStep, stepPool } from '../services/pg-num.ts'
import { QuotaLedger } from '../services/quota-ledger.ts'
import { notePurged, purgedSnaps } from '../services/snap-purge.ts'
import { Statistics } from '../services/statistics.ts'
import { setUpmapPrimary } from '../services/upmap-primaries.ts'
import type { ClusterState } from '../state/cluster-state.ts'
import type { ProposalDraft } from '../state/proposal-draft.ts'
import type { Proposer } from './proposer.ts'

/** OSDs repeat their statistics to a new leader within this time; until then it knows little. */
const healthSettleMs = 8_000
/** Epochs by which the history may exceed its bound before it is cut. */
const trimSlack = 50
const autoscaleEveryMs = 30_000

export interface LeaderOptions {
  readonly settings: MonitorSettings
  readonly state: ClusterState
  readonly consensus: ConsensusDriver
  readonly proposer: Proposer
  readonly view: () => ClusterView
  /** Voters that have sent something within the lease, and since this monitor leads; itself included. */
  readonly votersHeard: () => readonly number[]
}

export class Leader {
  readonly statistics: Statistics = new Statistics()
  readonly quotas: QuotaLedger = new QuotaLedger()
  readonly failures: FailureDetector
  private readonly env: Pick<Env, 'clock'>
  private readonly log: Log
  private readonly options: LeaderOptions
  readonly balancer: Balancer
  private readonly autoOut: AutoOut
  private readonly merges = new PgMerges()
  private readonly sinceMs: number
  private nextAutoscaleMs: number
  private changingMembers = false
  private steppingPgNums = false
  private health: ReadonlyMap<string, HealthCheck> | undefined

  constructor(env: Pick<Env, 'clock'>, log: Log, options: LeaderOptions) {
    this.env = env
    this.log = log
    this.options = options
    this.failures = new FailureDetector(options.settings)
    this.autoOut = new AutoOut(options.settings)
    this.sinceMs = env.clock.monotonicMs()
    this.nextAutoscaleMs = this.sinceMs + autoscaleEveryMs
    this.balancer = new Balancer(options.settings, this.sinceMs)
  }

  /**
   * Resolves once boots and answers are committed; rejects when a boot is refused for good. The rest is repeated by its
   * sender until the map shows it.
   */
  async report(reports: readonly Report[]): Promise<void> {
    const answers: Promise<unknown>[] = []
    for (const report of reports) {
      const pending = this.take(report)
      if (pending === undefined) continue
      if (report.kind === 'shutdown' || report.kind === 'boot') answers.push(pending)
      else
        pending.catch((error: unknown) =>
          this.log.debug('a report came to nothing', { kind: report.kind, error: String(error) }),
        )
    }
    await Promise.all(answers)
  }

  private take(report: Report): Promise<unknown> | undefined {
    const { proposer, state } = this.options
    switch (report.kind) {
      case 'stats':
        this.statistics.report(report.stats, state.osdMap, this.env.clock.monotonicMs())
        return concernsPgNum(report.stats.pgs, state.osdMap) ? this.stepPgNums() : undefined
      case 'failure':
        return this.onFailure(report.failure)
      case 'boot':
        return this.boot(report.boot)
      case 'shutdown':
        return proposer.mutate((draft) => shutDownOsd(draft, report.osd, report.incarnation))
      case 'up-thru':
        return proposer.mutate((draft) => raiseUpThru(draft, report.osd, report.epoch))
      case 'pg-temp':
        return proposer.mutate((draft) => {
          for (const [pgId, osds] of report.entries) setPgTemp(draft, report.osd, pgId, osds)
        })
      case 'log':
        return proposer.mutate((draft) => draft.addLogEntry(report.entry))
    }
  }

  private async boot(boot: OsdBoot): Promise<void> {
    const { proposer, settings } = this.options
    const result = await proposer.mutate((draft) => bootOsd(draft, boot, settings))
    // The former run had to end first: one epoch later the new one may begin.
    if (result === 'again') await proposer.mutate((draft) => bootOsd(draft, boot, settings))
    if (result !== 'refused') this.failures.onBoot(boot.osd, boot.incarnation, this.env.clock.monotonicMs())
  }

  private onFailure(report: FailureReport): Promise<unknown> | undefined {
    const { state } = this.options
    const nowMs = this.env.clock.monotonicMs()
    if (!this.failures.report(report, state.osdMap, nowMs)) return undefined
    return this.markFailed(nowMs)
  }

  private markFailed(nowMs: number): Promise<unknown> | undefined {
    const { state, settings, proposer } = this.options
    const failed = this.failures.failures(state.osdMap, nowMs)
    if (failed.length === 0) return undefined
    return proposer.mutate((draft) => {
      for (const { osd, reason } of failed) {
        const info = draft.map.osds.get(osd)
        if (info?.up !== true || draft.map.flags.has('nodown') || !mayGoDown(draft.map, settings)) continue
        markDown(draft, info, reason)
        this.failures.onMarkedDown(info, nowMs)
      }
    })
  }

  /** Once a second. */
  tick(): void {
    const nowMs = this.env.clock.monotonicMs()
    const { state, proposer } = this.options
    const { osdMap } = state
    this.statistics.prune(osdMap)
    this.quotas.prune(osdMap)
    const work = [this.markFailed(nowMs), this.markSilent(osdMap, nowMs), this.trimMaps()]
    const out = this.autoOut.due(osdMap, nowMs)
    if (out.length > 0) {
      work.push(
        proposer.mutate((draft) => {
          for (const { id } of out) {
            const osd = draft.map.osds.get(id)
            if (osd !== undefined && !osd.up) markOut(draft, osd, true)
          }
        }),
      )
    }
    const purged = purgedSnaps(osdMap, this.statistics)
    if (purged.size > 0) work.push(proposer.mutate((draft) => notePurged(draft, purged)))
    work.push(this.followMonitorMap(), this.logHealth(), this.expireBlocklist(osdMap), this.expireCrashes())
    work.push(this.balance(nowMs), this.stepPgNums(), this.autoscale(osdMap, nowMs))
    for (const one of work)
      one?.catch((error: unknown) => this.log.debug('a tick came to nothing', { error: String(error) }))
  }

  /** An OSD whose statistics have stopped coming may be cut off from everybody. */
  private markSilent(map: OsdMap, nowMs: number): Promise<unknown> | undefined {
    const { settings, proposer } = this.options
    const timeoutMs = settings.mon_osd_report_timeout * 1_000
    if (map.flags.has('nodown')) return undefined
    const silent = [...map.osds.values()].filter((osd) => {
      const heardMs = Math.max(this.statistics.lastReportMs(osd.id) ?? this.sinceMs, this.sinceMs)
      return osd.up && nowMs - heardMs > timeoutMs
    })
    if (silent.length === 0) return undefined
    return proposer.mutate((draft) => {
      for (const { id, incarnation } of silent) {
        const osd = draft.map.osds.get(id)
        if (osd?.up === true && osd.incarnation === incarnation)
          markDown(draft, osd, `no report for ${settings.mon_osd_report_timeout} s`)
      }
    })
  }

  /** Old maps are kept while a PG may still need them for its past intervals. */
  private trimMaps(): Promise<unknown> | undefined {
    const { state, settings, proposer } = this.options
    const { first, last } = state.osdMaps
    let keepFrom: number = last - settings.mon_min_osdmap_epochs
    if (Math.max(keepFrom, last - settings.mon_max_osdmap_epochs) - first < trimSlack) return undefined
    for (const row of this.statistics.rows(state.osdMap)) keepFrom = Math.min(keepFrom, row.stats?.lastEpochClean ?? 0)
    keepFrom = Math.max(keepFrom, last - settings.mon_max_osdmap_epochs)
    if (keepFrom - first < trimSlack) return undefined
    return proposer.mutate((draft) => draft.trimOsdMapsBefore(keepFrom as Epoch))
  }

  /** Fences end when their time is over, by the leader's wall clock, as they were set. */
  private expireBlocklist(map: OsdMap): Promise<unknown> | undefined {
    const wallMs = this.env.clock.wallMs()
    const over = [...map.blocklist].filter(([, untilMs]) => untilMs < wallMs).map(([session]) => session)
    if (over.length === 0) return undefined
    return this.options.proposer.mutate((draft) => {
      for (const session of over) if (draft.map.blocklist.has(session)) draft.osd.setBlocklist(session, null)
    })
  }

  private balance(nowMs: number): Promise<unknown> | undefined {
    const { state, proposer } = this.options
    const { upmapItems, upmapPrimaries } = this.balancer.plan(state.osdMap, this.statistics, nowMs)
    if (upmapItems.size + upmapPrimaries.size === 0) return undefined
    const { epoch } = state.osdMap
    return proposer.mutate((draft) => {
      // What was planned for another map would not fit this one.
      if (draft.osd.base.epoch !== epoch || !draft.osd.empty) return
      for (const [pgId, items] of upmapItems) draft.osd.setUpmapItems(pgId, items)
      for (const [pgId, osd] of upmapPrimaries) {
        if (osd === null) draft.osd.setUpmapPrimary(pgId, null)
        else setUpmapPrimary(draft.osd, pgId, osd)
      }
      const what = upmapItems.size > 0 ? 'moves a copy of' : 'gives another primary to'
      draft.log('info', `the balancer ${what} ${upmapItems.size + upmapPrimaries.size} placement groups`)
    })
  }

  /** One proposal at a time: the next one needs reports that know of this one. */
  private stepPgNums(): Promise<unknown> | undefined {
    const { state, proposer } = this.options
    if (this.steppingPgNums) return undefined
    const pools = poolsToStep(state.osdMap, this.statistics)
    const merges = this.merges.steps(state.osdMap, this.statistics, this.env.clock.monotonicMs())
    if (pools.length === 0 && merges.length === 0) return undefined
    this.steppingPgNums = true
    return proposer
      .mutate((draft) => {
        for (const pool of pools) if (draft.map.pools.get(pool.id) === pool) stepPool(draft, pool)
        for (const step of merges) takeMergeStep(draft, step)
      })
      .finally(() => {
        this.steppingPgNums = false
      })
  }

  private autoscale(map: OsdMap, nowMs: number): Promise<unknown> | undefined {
    if (nowMs < this.nextAutoscaleMs) return undefined
    this.nextAutoscaleMs = nowMs + autoscaleEveryMs
    const { settings, proposer } = this.options
    const wished = poolToScale({ map, statistics: this.statistics, settings })
    if (wished === undefined) return undefined
    const before = map.pools.get(wished.id)
    return proposer.mutate((draft) => {
      if (draft.map.pools.get(wished.id) !== before) return
      draft.osd.setPool(wished)
      draft.log('info', `pool '${wished.name}' should have ${wished.options.get('pg_num_target')} placement groups`)
    })
  }

  private expireCrashes(): Promise<unknown> | undefined {
    const { state, settings, proposer } = this.options
    const beforeMs = this.env.clock.wallMs() - settings.mon_crash_retain_interval * 1_000
    const old = [...(state.operations?.crashes.values() ?? [])].filter((crash) => crash.wallMs < beforeMs)
    if (old.length === 0) return undefined
    return proposer.mutate((draft) => {
      for (const { id } of old) if (draft.operations.value.crashes.has(id)) draft.operations.removeCrash(id)
    })
  }

  /** Makes consensus follow the monitor map, one step at a time. */
  private followMonitorMap(): Promise<unknown> | undefined {
    const { consensus, state } = this.options
    if (this.changingMembers) return undefined
    const { id, membership } = consensus.status()
    const heard = this.options.votersHeard()
    const step = planMembershipStep(state.monitorMap, membership, id, heard, (other) => consensus.lagOf(other))
    if (step === undefined) return undefined
    if (step.kind === 'hand-over') {
      consensus.transferLeadership(step.to)
      return undefined
    }
    this.log.info('changing the members of consensus', { why: step.why })
    this.changingMembers = true
    return consensus.changeMembership(step.membership).finally(() => {
      this.changingMembers = false
    })
  }

  /** Writes down every check of health that came, changed its severity, or went. */
  private logHealth(): Promise<unknown> | undefined {
    const { state, proposer, view } = this.options
    const report = healthReport(view())
    const before = this.health
    this.health = new Map(report.checks.map((check) => [check.code, check]))
    // The first look of a new leader finds nothing but OSDs that have not told it anything yet.
    if (before === undefined || this.env.clock.monotonicMs() - this.sinceMs < healthSettleMs) return undefined
    // A cluster of an earlier version keeps no health: then only this leader's memory counts.
    const known = state.operations?.failing ?? before
    if (healthChanges(report, known, this.env.clock.wallMs()) === undefined) return undefined
    return proposer.mutate((draft) =>
      writeHealth(draft, healthReport(view()), state.operations === undefined ? before : undefined),
    )
  }
}

function mayGoDown(map: OsdMap, settings: MonitorSettings): boolean {
  const up = [...map.osds.values()].filter((osd) => osd.up).length
  return (up - 1) / map.osds.size >= settings.mon_osd_min_up_ratio
}

/** Only an up member of the PG may ask, only for OSDs that exist. */
function setPgTemp(
  draft: ProposalDraft,
  from: OsdId,
  pgId: Parameters<typeof draft.osd.setPgTemp>[0],
  osds: readonly OsdId[],
): void {
  const { map } = draft
  const pool = map.pools.get(Number(pgId.slice(0, pgId.indexOf('.'))) as Parameters<typeof map.pools.get>[0])
  if (pool === undefined || !pgIdsOf(pool).includes(pgId) || map.osds.get(from)?.up !== true) return
  if (osds.length === 0) {
    if (map.pgTemp.has(pgId)) draft.osd.setPgTemp(pgId, null)
    return
  }
  const present = map.pgTemp.get(pgId)
  const same = present?.length === osds.length && osds.every((osd, at) => osd === present[at])
  const isKnown = (osd: OsdId): boolean => map.osds.has(osd) || (osd === noOsd && pool.type === 'erasure')
  if (!same && osds.every(isKnown)) draft.osd.setPgTemp(pgId, osds)
}
