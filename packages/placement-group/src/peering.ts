/**
 * How a new interval begins on its primary: find out what was acknowledged, agree on one log, and only then serve.
 * docs/mechanisms/peering.md has the picture; {@link peeringTransitions} is the table of moves that are allowed.
 *
 * Invariants
 * 1. Nothing is served before every past interval that may have written has been heard from (prior set).
 * 2. Nothing is served before the map records that this interval may write (up_thru), so that a later primary knows whom to
 *    ask; counter-example: an interval that dies before anybody hears of it would block the PG for ever otherwise.
 * 3. Nothing is served before the leases of earlier primaries have run out.
 * 4. Nothing is served before every member has stored the agreed log and this interval's start.
 */
import { assert, type Epoch, type OsdId } from '@shoal/base'
import { equalVersions, minVersion, type Version } from '@shoal/wire'
import { type ActingChoice, findBestInfo, type PeeringRules } from './choose-acting.ts'
import type { PgCore } from './core.ts'
import { osdOf } from './member.ts'
import { isContiguous, mergeLog } from './merge-log.ts'
import { MissingSet } from './missing-set.ts'
import type { PeerMessage } from './peer-message.ts'
import { backfillStart, mergeHistory, type PastInterval, type PgInfo } from './pg-info.ts'
import type { LogSegment } from './pg-log.ts'
import { buildPriorSet } from './prior-set.ts'
import { mergeIntoCore } from './replica.ts'

export const peeringPhases = [
  'idle',
  'get-info',
  'down',
  'incomplete',
  'wait-acting-change',
  'get-log',
  'get-missing',
  'wait-up-thru',
  'wait-lease',
  'activating',
  'started',
] as const
export type PeeringPhase = (typeof peeringPhases)[number]

/** Every phase may also fall back to `idle` (a new interval) and to `get-info` (a member of the prior set is gone). */
export const peeringTransitions: Readonly<Record<PeeringPhase, readonly PeeringPhase[]>> = {
  idle: [],
  'get-info': ['down', 'incomplete', 'wait-acting-change', 'get-log', 'get-missing'],
  down: [],
  incomplete: [],
  'wait-acting-change': [],
  'get-log': ['get-missing'],
  'get-missing': ['wait-up-thru'],
  'wait-up-thru': ['wait-lease'],
  'wait-lease': ['activating'],
  activating: ['started'],
  started: [],
}

export interface PeeringEvents {
  /** The agreement holds; `infos` are the other copies', `backfill` those of them that must be filled. */
  onStarted(infos: ReadonlyMap<OsdId, PgInfo>, backfill: ReadonlyMap<OsdId, PgInfo>): void
  setPeerMissing(osd: OsdId, missing: MissingSet): void
}

interface PeerPlan {
  readonly osd: OsdId
  info: PgInfo
  /** Starts from nothing. */
  readonly reset: boolean
  /** What it will be sent, once its own log has been compared. */
  segment: LogSegment | undefined
}

const retryMs = 1_000

export class Peering {
  phase: PeeringPhase = 'idle'
  blockedBy: ReadonlySet<OsdId> = new Set()
  private readonly core: PgCore
  private readonly rules: PeeringRules
  private readonly events: PeeringEvents
  private probed: ReadonlySet<OsdId> = new Set()
  private readonly asked = new Set<OsdId>()
  private readonly infos = new Map<OsdId, PgInfo>()
  private choice: ActingChoice | undefined
  private best: OsdId | undefined
  private readonly plans = new Map<OsdId, PeerPlan>()
  private readonly awaiting = new Set<OsdId>()
  private ownCommitted = false
  /** What this OSD itself has is on stable storage. */
  private ownStored = false
  private leaseWaitUntilMs = 0
  private wanted: readonly OsdId[] | undefined

  constructor(core: PgCore, rules: PeeringRules, events: PeeringEvents) {
    this.core = core
    this.rules = rules
    this.events = events
  }

  private become(phase: PeeringPhase): void {
    const free = phase === 'idle' || phase === 'get-info'
    assert(free || peeringTransitions[this.phase].includes(phase), `peering moves from ${this.phase} to ${phase}`)
    this.phase = phase
  }

  reset(): void {
    this.become('idle')
    this.asked.clear()
    this.infos.clear()
    this.plans.clear()
    this.awaiting.clear()
    this.choice = undefined
    this.best = undefined
    this.wanted = undefined
    this.ownCommitted = false
    this.leaseWaitUntilMs = 0
    this.blockedBy = new Set()
    this.probed = new Set()
  }

  get backfillOsds(): readonly OsdId[] {
    return this.choice?.backfill ?? []
  }

  // GetInfo

  begin(): void {
    this.become('get-info')
    this.asked.clear()
    this.infos.clear()
    this.plans.clear()
    this.awaiting.clear()
    this.ownStored = false
    this.query()
    this.core.whenStored(() => {
      this.ownStored = true
      this.maybeHaveInfos()
    })
  }

  private query(): void {
    const { core } = this
    const prior = this.priorSet()
    this.probed = prior.probe
    this.blockedBy = prior.blockedBy
    for (const osd of prior.probe) {
      if (this.infos.has(osd) || this.asked.has(osd)) continue
      this.asked.add(osd)
      core.send(osd, { kind: 'query-info' })
    }
    core.emit({ kind: 'set-timer', timer: 'peering-retry', delayMs: retryMs })
    this.maybeHaveInfos()
  }

  private priorSet(): { readonly probe: ReadonlySet<OsdId>; readonly blockedBy: ReadonlySet<OsdId> } {
    const { core, rules } = this
    const { map, mapping, whoami } = core
    const infos = new Map([...this.infos, [whoami, core.currentInfo()]])
    const { history } = core.info
    const prior = buildPriorSet(map, mapping, history, core.pastIntervals, infos, whoami, rules.tellersNeeded)
    // Who served is not known: everybody who may have must answer.
    if (core.historyKnown) return prior
    if (rules.asksMembersFirst && [...prior.probe].some((osd) => !this.infos.has(osd))) return prior
    const probe = new Set(prior.probe)
    const blockedBy = new Set(prior.blockedBy)
    for (const member of rules.everybody(map, core.pool?.size ?? 0)) {
      const osd = map.osds.get(osdOf(member))
      if (member === whoami || osd === undefined) continue
      if (osd.up) probe.add(member)
      else if (osd.lostAt === 0) blockedBy.add(member)
    }
    return { probe, blockedBy }
  }

  onInfo(from: OsdId, message: Extract<PeerMessage, { kind: 'info' }>): void {
    const { core } = this
    this.leaseWaitUntilMs = Math.max(this.leaseWaitUntilMs, core.clock.monotonicMs() + message.leaseLeftMs)
    if (this.phase === 'started' || this.phase === 'activating') return
    this.infos.set(from, message.info)
    this.learnHistory(message.info, message.pastIntervals)
    if (this.phase === 'down' || this.phase === 'incomplete') return this.begin()
    if (this.phase === 'get-info') this.query()
  }

  private learnHistory(info: PgInfo, intervals: readonly PastInterval[]): void {
    const { core } = this
    // A member that knows has told: its past is ours.
    if (!core.historyKnown && info.history.epochCreated > 0) core.pastIntervals = intervals
    core.info = { ...core.info, history: mergeHistory(core.info.history, info.history) }
    core.pastIntervals = core.pastIntervals.filter((interval) => interval.last >= core.info.history.lastEpochClean)
  }

  private maybeHaveInfos(): void {
    if (this.phase !== 'get-info' || !this.ownStored) return
    for (const osd of this.probed) if (!this.infos.has(osd)) return
    if (this.blockedBy.size > 0) return this.become('down')
    if (!this.core.historyKnown) {
      // Everybody answered, nobody knows the PG: it is new after all.
      const created = this.core.pool?.created ?? (0 as Epoch)
      this.core.setHistory({ epochCreated: created })
    }
    this.choose()
  }

  /** A new map within the interval: somebody asked may be down now, or one that was down may be back. */
  onMap(): void {
    if (this.phase === 'idle' || this.phase === 'started') return
    if (this.phase === 'wait-up-thru') return this.maybeHaveUpThru()
    const prior = this.priorSet()
    const changed =
      prior.probe.size !== this.probed.size ||
      [...prior.probe].some((osd) => !this.probed.has(osd)) ||
      prior.blockedBy.size !== this.blockedBy.size
    const lost = [...this.awaiting].some((osd) => !this.core.isUp(osd))
    if (changed || lost) this.restart()
  }

  /** Begins again within the interval. Only before anybody was told to begin: afterwards a member's end is a new interval. */
  private restart(): void {
    if (this.phase === 'activating' || this.phase === 'wait-acting-change') return
    this.begin()
  }

  /** A question may have met a copy that was being removed, a request a monitor that failed: ask again. */
  onRetryTimer(): void {
    if (this.phase === 'get-info') {
      this.asked.clear()
      return this.query()
    }
    if (this.phase === 'wait-acting-change' && this.wanted !== undefined) this.requestActing(this.wanted)
    if (this.phase === 'wait-up-thru') this.requestUpThru()
  }

  // ChooseActing

  private choose(): void {
    const { core } = this
    const all = new Map<OsdId, PgInfo>([[core.whoami, core.currentInfo()], ...this.infos])
    const best = findBestInfo(all, core.whoami, this.rules)
    if (best === undefined) return this.become('incomplete')
    this.best = best
    const choice = this.rules.chooseActing(all, best, core.mapping, core.pool?.size ?? core.mapping.acting.length)
    this.choice = choice
    const { acting, actingPrimary } = core.mapping
    const same = acting.length === choice.acting.length && choice.acting.every((osd) => acting.includes(osd))
    if (!same || choice.primary !== actingPrimary) {
      this.become('wait-acting-change')
      this.wanted = choice.acting
      return this.requestActing(choice.acting)
    }
    if (best === core.whoami) return this.getMissing()
    this.become('get-log')
    const since = this.lowestUpdate(choice)
    this.awaiting.add(best)
    core.send(best, { kind: 'query-log', since })
  }

  private requestActing(acting: readonly OsdId[]): void {
    const isUp = this.rules.isUp(acting, this.core.mapping)
    this.core.emit({ kind: 'request-pg-temp', osds: isUp ? [] : acting })
    this.core.emit({ kind: 'set-timer', timer: 'peering-retry', delayMs: retryMs })
  }

  /** The log must reach back to the member that is furthest behind, as far as it can. */
  private lowestUpdate(choice: ActingChoice): Version {
    const best = this.infos.get(this.best as OsdId) as PgInfo
    let lowest = this.core.log.head
    for (const osd of choice.acting) {
      if (osd !== this.core.whoami) lowest = minVersion(lowest, (this.infos.get(osd) as PgInfo).lastUpdate)
    }
    return isContiguous(lowest, { tail: best.logTail, head: best.lastUpdate, entries: [] }) ? lowest : best.logTail
  }

  // GetLog

  onLog(from: OsdId, message: Extract<PeerMessage, { kind: 'log' }>): void {
    if (!this.awaiting.delete(from)) return
    if (this.phase === 'get-log') return this.onBestLog(from, message)
    if (this.phase === 'get-missing') this.onPeerLog(from, message)
  }

  private onBestLog(from: OsdId, message: Extract<PeerMessage, { kind: 'log' }>): void {
    const { core } = this
    const { segment } = message
    if (segment === undefined) return this.restart()
    const steps = mergeIntoCore(core, segment)
    core.objects = message.info.objects
    core.bytes = message.info.bytes
    core.transact([...steps, core.recordOp()])
    this.infos.set(from, message.info)
    this.getMissing()
  }

  // GetMissing

  private getMissing(): void {
    const { core } = this
    const choice = this.choice as ActingChoice
    this.adoptCounts()
    this.become('get-missing')
    for (const osd of [...choice.acting, ...choice.backfill]) {
      if (osd === core.whoami) continue
      this.planFor(osd, this.infos.get(osd) as PgInfo)
    }
    this.maybeHaveMissing()
  }

  /** A part of a PG that was split while this copy missed objects counts too little; a copy that has them all knows better. */
  private adoptCounts(): void {
    const { core } = this
    if (core.missing.size === 0) return
    const whole = [...this.infos.values()].find(
      ({ lastUpdate, lastBackfill, missingCount }) =>
        equalVersions(lastUpdate, core.log.head) && lastBackfill.kind === 'complete' && missingCount === 0,
    )
    if (whole === undefined) return
    core.objects = whole.objects
    core.bytes = whole.bytes
  }

  private planFor(osd: OsdId, info: PgInfo): void {
    const { core } = this
    const since = this.newestKnownUpTo(info.lastUpdate)
    if (since === undefined) {
      assert(this.backfillOsds.includes(osd), 'whoever serves is brought up to date by log')
      const segment = core.log.whole()
      this.plans.set(osd, { osd, info: { ...info, lastBackfill: backfillStart }, reset: true, segment })
      this.events.setPeerMissing(osd, new MissingSet())
      return
    }
    const same = equalVersions(info.lastUpdate, core.log.head) && info.missingCount === 0
    this.plans.set(osd, { osd, info, reset: false, segment: same ? core.log.segmentSince(core.log.head) : undefined })
    if (same) {
      this.events.setPeerMissing(osd, new MissingSet())
      return
    }
    this.awaiting.add(osd)
    core.send(osd, { kind: 'query-log', since })
  }

  /** Our newest entry (or tail) that is not above the peer's head: everything above it may differ. Undefined: trimmed. */
  private newestKnownUpTo(head: Version): Version | undefined {
    return this.core.log.segmentSince(head)?.tail
  }

  private onPeerLog(from: OsdId, message: Extract<PeerMessage, { kind: 'log' }>): void {
    const { core } = this
    const plan = this.plans.get(from) as PeerPlan
    const missing = new MissingSet(message.missing)
    // Its log starts where ours is known to agree; whatever it has above is compared entry by entry.
    const since =
      message.segment === undefined ? message.info.logTail : minVersion(message.segment.tail, message.info.lastUpdate)
    const segment = core.log.segmentSince(since) ?? core.log.whole()
    const local = {
      tail: message.info.logTail,
      head: message.info.lastUpdate,
      entries: message.segment?.entries ?? [],
      cursor: message.info.lastBackfill,
    }
    mergeLog(local, missing, segment)
    plan.info = message.info
    plan.segment = segment
    this.events.setPeerMissing(from, missing)
    this.maybeHaveMissing()
  }

  private maybeHaveMissing(): void {
    if (this.phase !== 'get-missing' || this.awaiting.size > 0) return
    this.become('wait-up-thru')
    this.requestUpThru()
    this.maybeHaveUpThru()
  }

  // WaitUpThru, WaitLease

  private get hasUpThru(): boolean {
    const { map, whoami, interval } = this.core
    return (map.osds.get(osdOf(whoami))?.upThru ?? 0) >= interval.since
  }

  private requestUpThru(): void {
    if (this.hasUpThru) return
    this.core.emit({ kind: 'request-up-thru', epoch: this.core.interval.since })
    this.core.emit({ kind: 'set-timer', timer: 'peering-retry', delayMs: retryMs })
  }

  private maybeHaveUpThru(): void {
    if (this.phase !== 'wait-up-thru' || !this.hasUpThru) return
    this.become('wait-lease')
    this.onLeaseTimer()
  }

  onLeaseTimer(): void {
    if (this.phase !== 'wait-lease') return
    const { core } = this
    let untilMs = this.leaseWaitUntilMs
    // What this OSD itself has promised to earlier primaries.
    for (const { primary } of core.pastIntervals) {
      if (primary === core.whoami || primary < 0) continue
      untilMs = Math.max(untilMs, core.leases.grantedUntilMs(primary, core.interval.since))
    }
    const leftMs = untilMs - core.clock.monotonicMs()
    if (leftMs > 0) core.emit({ kind: 'set-timer', timer: 'wait-previous-lease', delayMs: leftMs })
    else this.activate()
  }

  // Activating

  private activate(): void {
    const { core } = this
    this.become('activating')
    if (core.mayServe) core.info = { ...core.info, lastEpochStarted: core.interval.since }
    for (const plan of this.plans.values()) {
      this.awaiting.add(plan.osd)
      const info = { ...core.currentInfo(), lastBackfill: plan.info.lastBackfill }
      const segment = plan.segment as LogSegment
      const requests = plan.reset ? core.log.trimmedRequests : []
      const { pastIntervals } = core
      core.send(plan.osd, { kind: 'activate', info, segment, reset: plan.reset, requests, pastIntervals })
    }
    core.transact([core.recordOp()], () => {
      this.ownCommitted = true
      this.maybeStarted()
    })
  }

  onActivated(from: OsdId): void {
    if (this.phase !== 'activating') return
    this.awaiting.delete(from)
    this.maybeStarted()
  }

  private maybeStarted(): void {
    if (this.awaiting.size > 0 || !this.ownCommitted) return
    const { core } = this
    this.become('started')
    if (core.mayServe) core.setHistory({ lastEpochStarted: core.interval.since })
    core.transact([core.recordOp()])
    for (const osd of this.plans.keys()) core.send(osd, { kind: 'history', info: core.currentInfo(), clean: false })
    const backfill = new Map<OsdId, PgInfo>()
    for (const osd of (this.choice as ActingChoice).backfill) backfill.set(osd, (this.plans.get(osd) as PeerPlan).info)
    this.events.onStarted(this.infos, backfill)
  }
}
