/**
 * One placement group on one OSD: takes inputs, returns effects (effects.ts). This file owns the interval: which map it
 * acts on, when a new interval begins, and what follows when it has begun.
 *
 *     peering     a new interval's primary agrees with the others on the history
 *     clientIo    operations of clients on the primary
 *     recovery    brings missing objects to members, by log
 *     backfill    fills copies from nothing
 *     trimmer     takes removed snapshots from clones
 *     replica     does what the primary of the interval asks
 *     backend     keeps objects as copies, or as shards of a code
 *     transfer    moves one object
 *     operators   answers what they ask
 *     scrubber    compares the copies, as primary; scrubMember looks at this one
 */
import { assert, type Clock, type Epoch, isClusterError, type OsdId, type PgId, pgPool, pgShard } from '@shoal/base'
import { isMerging, isNewInterval, noPrimary, type OsdMap, type PgMapping } from '@shoal/cluster-map'
import { type Message, type ObjectId, type TransactionOp, zeroVersion } from '@shoal/wire'
import { CopyBackend, type PgBackend } from './backend.ts'
import { Backfill } from './backfill.ts'
import { isSettled } from './choose-acting.ts'
import { ClientIo } from './client-io.ts'
import { defaultPgSettings, PgCore, type PgLeases, type PgSettings, type PgSpace } from './core.ts'
import type { PgEffect, PgInput } from './effects.ts'
import { RollbackLog } from './erasure/rollback-log.ts'
import { ShardBackend } from './erasure/shard-backend.ts'
import { InputRouter } from './input-router.ts'
import { LostObjects } from './lost-objects.ts'
import { osdOf } from './member.ts'
import { MissingSet } from './missing-set.ts'
import type { ObjectTransfer } from './object-transfer.ts'
import { OperatorDesk } from './operator-desk.ts'
import { openEnvelope, type PeerMessage, senderOf } from './peer-message.ts'
import { Peering } from './peering.ts'
import { newPgInfo, type PastInterval } from './pg-info.ts'
import { PgLog } from './pg-log.ts'
import { PgReport } from './pg-report.ts'
import type { FrozenPg, StoredPg } from './pg-store.ts'
import { QuotaShare } from './quota-share.ts'
import { Recovery } from './recovery.ts'
import { Replica } from './replica.ts'
import { ScrubMember } from './scrub-member.ts'
import { describeInconsistent, type InconsistentObject } from './scrub-record.ts'
import { Scrubber } from './scrubber.ts'
import { SnapTrimmer } from './snap-trimmer.ts'

export interface PlacementGroupOptions {
  readonly pgId: PgId
  readonly whoami: OsdId
  readonly leases: PgLeases
  readonly space: PgSpace
  readonly clock: Clock
  /** Read when they are needed: they may change. */
  readonly settings?: PgSettings
  /** What `loadPgState` found; undefined for a PG that this OSD has nothing of. */
  readonly stored: StoredPg | undefined
  /** Of a part of a PG that was split: the last map that the whole has seen. The next one ends the interval. */
  readonly lastMap?: OsdMap
}

const noEpoch = 0 as Epoch
const requestRetryMs = 1_000
const storeMapsEvery = 32

export class PlacementGroup {
  private readonly core: PgCore
  private readonly backend: PgBackend
  private readonly peering: Peering
  private readonly clientIo: ClientIo
  private readonly recovery: Recovery
  private readonly backfill: Backfill
  private readonly replica: Replica
  private readonly transfer: ObjectTransfer
  private readonly quota: QuotaShare
  private readonly operators: OperatorDesk
  private readonly trimmer: SnapTrimmer
  private readonly scrubMember: ScrubMember
  private readonly scrubber: Scrubber
  private hasCollection: boolean
  private intervalPending = true
  private removing = false
  /** In this interval, and since this OSD is up. */
  private toldPrimary = false
  private readonly report: PgReport
  private readonly router: InputRouter
  /** The map that the stored record takes into account. */
  private storedMapEpoch: Epoch

  constructor(options: PlacementGroupOptions) {
    const { pgId, whoami, leases, space, clock, stored } = options
    this.hasCollection = stored !== undefined
    this.storedMapEpoch = stored?.record.interval.mapEpoch ?? noEpoch
    this.core = new PgCore({
      pgId,
      whoami,
      settings: options.settings ?? defaultPgSettings,
      leases,
      space,
      clock,
      info: stored?.record.info ?? newPgInfo(noEpoch),
      log: stored?.log ?? new PgLog(zeroVersion, []),
      missing: stored?.missing ?? new MissingSet(),
      rollback: pgShard(pgId) === undefined ? undefined : new RollbackLog(pgId, stored?.stashes ?? []),
      pastIntervals: stored?.record.pastIntervals ?? [],
      interval: stored?.record.interval ?? {
        mapEpoch: noEpoch,
        since: noEpoch,
        up: [],
        acting: [],
        upPrimary: noPrimary,
        actingPrimary: noPrimary,
        incarnations: [],
      },
    })
    if (options.lastMap !== undefined) {
      const { up, acting, upPrimary, actingPrimary } = this.core.interval
      this.core.map = options.lastMap
      this.core.mapping = { up, acting, upPrimary, actingPrimary }
    }
    this.backend = this.makeBackend(stored?.temporaries ?? [])
    this.transfer = this.backend.transfer
    this.replica = new Replica(this.core, this.transfer)
    this.scrubMember = new ScrubMember(this.core, stored?.scrub)
    this.scrubber = new Scrubber(this.core, this.scrubMember, {
      isWhole: () => this.isWhole,
      onUnblocked: () => this.clientIo.retry(),
      isWriting: (inside) => this.clientIo.isWriting(inside),
      shardCheck: () => this.backend.shardCheck(),
      operations: () => this.clientIo.readOps + this.clientIo.writeOps,
      onBadCopies: (copies) => this.onBadCopies(copies),
    })
    this.recovery = new Recovery(this.core, this.backend, {
      onNeeded: () => this.backfill.stop(),
      onObjectRecovered: (object) => {
        this.clientIo.forget(object)
        this.backend.retry(object)
        this.clientIo.retry(object)
      },
      onRecovered: () => this.onRecovered(),
    })
    this.backfill = new Backfill(this.core, {
      onUnblocked: (object) => this.clientIo.retry(object),
      onBackfilled: () => this.onBackfilled(),
      onBadCopy: (object, version) => this.recovery.onBadCopy(object, version),
      recoverMessage: (object, version) => this.backend.recoverMessage(object, version, this.recovery.sources(object)),
    })
    this.quota = new QuotaShare(this.core)
    const view = this.recoveryView()
    this.clientIo = new ClientIo(this.core, this.backend, view, this.quota)
    this.peering = new Peering(this.core, this.backend.rules, {
      onStarted: (infos, backfill) => {
        this.backfill.setTargets(backfill)
        this.onStarted(infos)
      },
      setPeerMissing: (osd, missing) => this.recovery.peerMissing.set(osd, missing),
    })
    this.trimmer = new SnapTrimmer(this.core, { trim: (request) => this.clientIo.trim(request) })
    const { core, backend, peering, recovery, backfill, clientIo, replica, transfer, quota } = this
    const lost = new LostObjects(this.core, recovery, this.clientIo, view)
    this.operators = new OperatorDesk(this.core, { peering, lost, recovery, backfill })
    const { trimmer, scrubber, scrubMember } = this
    const parts = {
      core,
      backend,
      peering,
      recovery,
      backfill,
      clientIo,
      replica,
      transfer,
      quota,
      trimmer,
      scrubber,
      scrubMember,
    }
    this.report = new PgReport(parts)
    this.router = new InputRouter(parts, {
      onInfo: (from, message) => this.onInfo(from, message),
      onRemove: () => this.onRemove(),
    })
  }

  private makeBackend(temporaries: readonly ObjectId[]): PgBackend {
    const { core } = this
    if (core.shard === undefined) return new CopyBackend(core, temporaries)
    return new ShardBackend(core, temporaries, {
      holders: (object) => this.recovery.holders(object),
      onBadCopy: (object, version) => this.recovery.onBadCopy(object, version),
      onBadPeer: (from, object, version) => this.recovery.onBadPeer(from, object, version),
      onStalled: (object) => this.recovery.prioritize(object),
      isActive: () => this.replica.active,
      onActivated: (from, missing) => {
        this.recovery.peerMissing.set(from, missing)
        this.peering.onActivated(from)
      },
    })
  }

  private recoveryView(): ConstructorParameters<typeof ClientIo>[2] {
    const { core, backend, recovery, backfill, scrubber } = this
    return {
      blocksReads: (object) => !backend.isReadable(object),
      blocksSnapReads: (head) => !backend.isReadable(head) || core.missing.cloneOf(head) !== undefined,
      blocksWrites: (object) =>
        recovery.isMissingAnywhere(object) ||
        recovery.isRecovering(object) ||
        backfill.blocksWrites(object) ||
        scrubber.blocksWrites(object),
      missingCloneOf: (head) => recovery.missingCloneOf(head),
      onWritten: () => scrubber.onWritten(),
      onUnreadable: () => scrubber.request('scrub'),
      prioritize: (object) => recovery.prioritize(object),
      onBadCopy: (object, version) => recovery.onBadCopy(object, version),
      get backfillTargets() {
        return backfill.osds
      },
      isWrittenTo: (target, object) => backfill.isWrittenTo(target, object),
      get isDegraded() {
        return recovery.isNeeded || backfill.isNeeded || core.mapping.acting.length < (core.pool?.size ?? 0)
      },
    }
  }

  /** Takes one input and says what must happen, in order. */
  step(input: PgInput): readonly PgEffect[] {
    // After a restart nothing can be judged before the first map.
    if (!this.hasMap && input.kind !== 'map') return []
    this.dispatch(input)
    if (this.reports) this.report.publishChanges()
    return this.core.takeEffects()
  }

  /** Only primaries tell how the placement group is doing. */
  private get reports(): boolean {
    return this.core.isPrimary && !this.removing
  }

  private get hasMap(): boolean {
    return (this.core.map as OsdMap | undefined) !== undefined
  }

  private dispatch(input: PgInput): void {
    switch (input.kind) {
      case 'map':
        return this.onMap(input.map, input.mapping)
      case 'activate-map':
        return this.activateMap()
      case 'message':
        return this.onMessage(input.from, input.message)
      case 'client-op':
        return this.clientIo.onOp(input.session, input.op)
      case 'session-closed':
        return this.clientIo.onSessionClosed(input.session)
      case 'committed':
      case 'transact-failed':
      case 'loaded':
      case 'load-failed':
      case 'read-done':
      case 'piece-read':
      case 'scanned':
      case 'records-listed':
      case 'examined':
      case 'admitted':
        return this.core.answer(input.token, input)
      case 'timer':
        return this.onTimer(input.timer)
      case 'operator':
        return this.operators.onCommand(input.id, input.command)
      case 'quota-answer':
        if (this.quota.onAnswer(input.answer)) this.clientIo.retry()
        return
      case 'quota-forgotten':
        return this.quota.onForgotten()
      case 'scrub':
        if (this.core.isPrimary) this.scrubber.request(input.what)
        return
      case 'scrub-schedule':
        return this.scrubber.onSchedule()
      case 'reservation-granted':
      case 'reservation-revoked':
        return this.router.onReservation(input)
    }
  }

  private onTimer(timer: Extract<PgInput, { kind: 'timer' }>['timer']): void {
    switch (timer) {
      case 'lease-renew':
        return this.clientIo.onLeaseTimer()
      case 'wait-previous-lease':
        return this.peering.onLeaseTimer()
      case 'peering-retry':
        return this.peering.onRetryTimer()
      case 'watch':
        return this.clientIo.watches.onTimer()
      case 'quota':
        if (this.quota.onTimer()) this.clientIo.retry()
        return
      case 'stats':
        return this.report.onTimer(this.reports)
      case 'scrub':
        return this.scrubber.onTimer()
      case 'scrub-chunk':
        return this.scrubber.onChunkTimer()
      case 'settle':
        return this.backend.onTimer()
      case 'snaptrim-retry':
        return this.trimmer.onRetryTimer()
      case 'recovery-retry':
        if (this.peering.phase !== 'started') return
        return this.continueRecovery()
    }
  }

  // Intervals

  private incarnationsOf(map: OsdMap, mapping: PgMapping): readonly number[] {
    return [...mapping.acting, ...mapping.up].map((osd) => map.osds.get(osdOf(osd))?.incarnation ?? 0)
  }

  private onMap(map: OsdMap, mapping: PgMapping): void {
    const { core } = this
    const before = core.map as OsdMap | undefined
    const incarnations = this.incarnationsOf(map, mapping)
    const { interval } = core
    const first = interval.since === noEpoch
    // Maps that are gone may have held intervals: the past is to be learnt from others.
    if (!first && map.epoch > interval.mapEpoch + 1) core.setHistory({ epochCreated: noEpoch })
    const ended =
      first ||
      isNewInterval(core.pgId, { mapping: interval, map: before ?? map }, { mapping, map }) ||
      incarnations.some((incarnation, at) => incarnation !== interval.incarnations[at])
    core.map = map
    core.mapping = mapping
    if (!ended) {
      core.interval = { ...interval, mapEpoch: map.epoch }
      const wasMerging = isMerging(before?.pools.get(pgPool(core.pgId)), core.pgId)
      const goesOn = wasMerging && !core.isMerging
      if (this.quota.onMap() || goesOn) this.clientIo.retry()
      return
    }
    if (first) this.beginLife(map.epoch)
    else this.endInterval(before ?? map, map.epoch)
    const { up, acting, upPrimary, actingPrimary } = mapping
    core.interval = { mapEpoch: map.epoch, since: map.epoch, up, acting, upPrimary, actingPrimary, incarnations }
    this.intervalPending = true
    this.resetParts()
  }

  /** The first map of a PG that this OSD has nothing of: only if it begins here is its whole past known. */
  private beginLife(epoch: Epoch): void {
    const created = this.core.pool?.created ?? noEpoch
    if (epoch <= created) this.core.setHistory({ epochCreated: created })
  }

  /** `lastMap`: the last one of the interval, whose up_thru says whether its primary may have written. */
  private endInterval(lastMap: OsdMap, epoch: Epoch): void {
    const { core } = this
    const { since, acting, up, actingPrimary } = core.interval
    const primary = lastMap.osds.get(osdOf(actingPrimary))
    const minSize = lastMap.pools.get(pgPool(core.pgId))?.minSize ?? 1
    const maybeWrote =
      actingPrimary !== noPrimary &&
      acting.length >= minSize &&
      primary !== undefined &&
      primary.upFrom <= since &&
      primary.upThru >= since
    const interval: PastInterval = {
      first: since,
      last: (epoch - 1) as Epoch,
      acting,
      up,
      primary: actingPrimary,
      maybeWrote,
    }
    core.pastIntervals = [...core.pastIntervals, interval]
  }

  private resetParts(): void {
    this.core.clean = false
    this.core.emit({ kind: 'give-back' })
    this.strays.clear()
    this.clientIo.reset()
    this.quota.reset()
    this.recovery.reset()
    this.backfill.reset()
    this.backend.reset()
    this.replica.reset()
    this.trimmer.reset()
    this.scrubber.reset()
    this.peering.reset()
  }

  private activateMap(): void {
    const { core } = this
    if (this.removing) return
    if (core.pool === undefined) return this.removeAll()
    if (!this.intervalPending) {
      // So that a restart need not go back to maps that nobody keeps any more.
      if (core.map.epoch - this.storedMapEpoch >= storeMapsEvery) this.storeMapEpoch()
      this.transfer.onMap()
      if (core.isPrimary) this.onMapWithinInterval()
      else if (!this.toldPrimary) this.tellPrimary()
      return
    }
    this.intervalPending = false
    this.storeInterval()
    if (core.isPrimary) this.peering.begin()
    else this.tellPrimary()
  }

  private onMapWithinInterval(): void {
    this.clientIo.watches.onMap()
    this.peering.onMap()
    if (this.peering.phase !== 'started') return
    this.continueRecovery()
    this.trimmer.update()
    this.scrubber.onMap()
  }

  /** Flags, sources or space may be others than when it stopped. */
  private continueRecovery(): void {
    this.recovery.retry()
    this.backend.retry()
    if (this.recovery.isNeeded) return
    if (this.backfill.isNeeded) this.backfill.retry()
    else this.onBackfilled()
  }

  /** A new interval: nobody gathers objects for the last one any more. */
  private storeInterval(): void {
    if (this.hasCollection) return this.storeMapEpoch(this.transfer.dropTemporaries())
    this.hasCollection = true
    this.storeMapEpoch([{ kind: 'create-collection', collection: this.core.pgId }])
  }

  /** In the middle of an interval objects are being gathered: those stay. */
  private storeMapEpoch(before: readonly TransactionOp[] = []): void {
    this.storedMapEpoch = this.core.map.epoch
    this.core.transact([...before, this.core.recordOp()])
  }

  /**
   * Every copy offers itself to whoever leads the interval, who may not know of it, or may have asked too early. Nobody
   * listens to an OSD that is not up yet: a stray, whose start begins no interval, offers itself again when it is.
   */
  private tellPrimary(): void {
    const { core } = this
    const { actingPrimary } = core.mapping
    this.toldPrimary = core.isUp(core.whoami)
    if (actingPrimary !== noPrimary && core.isUp(actingPrimary)) this.replica.sendInfo(actingPrimary)
  }

  private removeAll(): void {
    this.removing = true
    this.resetParts()
    if (this.hasCollection) this.replica.removeAll()
    else this.core.emit({ kind: 'removed' })
  }

  // Messages

  private onMessage(from: OsdId, message: Message): void {
    if (message.type !== 'pg' || this.removing) return
    // Said in an earlier interval: void in this one.
    if (message.epoch < this.core.interval.since) return
    let peer: PeerMessage
    try {
      peer = openEnvelope(message)
    } catch (error) {
      if (!isClusterError(error)) throw error
      const text = `a message of osd.${from} cannot be read: ${error.message}`
      return this.core.emit({ kind: 'log', level: 'warn', message: text, cluster: false })
    }
    this.router.onMessage(this.core.shard === undefined ? from : senderOf(from, message), peer)
  }

  private onRemove(): void {
    const { acting, up } = this.core.mapping
    const { whoami } = this.core
    assert(!acting.includes(whoami) && !up.includes(whoami), 'only a stray is told to drop its copy')
    this.removeAll()
  }

  private onInfo(from: OsdId, message: Extract<PeerMessage, { kind: 'info' }>): void {
    if (!this.core.isPrimary) return
    if (this.peering.phase !== 'started') return this.peering.onInfo(from, message)
    const { acting, up } = this.core.mapping
    if (acting.includes(from) || up.includes(from)) return
    if (this.core.clean) return this.core.send(from, { kind: 'remove' })
    this.strays.add(from)
    this.recovery.onStray(from, message.info)
  }

  /** Copies that are not needed once the PG is clean. */
  private readonly strays = new Set<OsdId>()

  // After peering

  private onStarted(infos: Parameters<Recovery['start']>[0]): void {
    const { core } = this
    for (const osd of infos.keys()) {
      if (!core.mapping.acting.includes(osd) && !core.mapping.up.includes(osd)) this.strays.add(osd)
    }
    // First: client I/O asks what the members miss.
    this.recovery.start(infos, [...core.mapping.acting, ...this.backfill.osds])
    this.backend.onStarted()
    if (core.mayServe) {
      this.quota.activate()
      this.clientIo.activate()
    }
    if (!this.recovery.isNeeded) this.onRecovered()
  }

  private onRecovered(): void {
    if (this.backfill.isNeeded) this.backfill.start()
    else this.onBackfilled()
  }

  private onBackfilled(): void {
    const { core } = this
    if (this.recovery.isNeeded || this.backfill.isNeeded) return
    if (!isSettled(core.mapping, core.pool?.size ?? 0)) {
      core.emit({ kind: 'request-pg-temp', osds: [] })
      return core.emit({ kind: 'set-timer', timer: 'recovery-retry', delayMs: requestRetryMs })
    }
    if (core.mapping.acting.length < (core.pool?.size ?? 0)) return
    // Clean for long, but copies that turned out to be bad were mended.
    if (core.clean) return this.scrubber.onWhole()
    this.becomeClean()
  }

  private get isWhole(): boolean {
    return this.peering.phase === 'started' && this.core.clean && !this.recovery.isNeeded && !this.backfill.isNeeded
  }

  /** Found by scrub: what should not be there is dropped, the rest is recovered from the good copies. */
  private onBadCopies(copies: readonly InconsistentObject[]): void {
    const { core } = this
    const removals = copies.filter(({ remove }) => remove)
    for (const osd of new Set(removals.flatMap(({ bad }) => bad))) {
      const remove = removals.filter(({ bad }) => bad.includes(osd)).map(({ object }) => object)
      const message = { kind: 'mend', missing: [], remove } as const
      if (osd === core.whoami) this.scrubMember.onMessage(osd, message)
      else core.send(osd, { kind: 'scrub', message })
    }
    for (const { object } of copies) this.clientIo.forget(object)
    this.recovery.onBadCopies(copies.filter(({ remove }) => !remove))
  }

  /** For `pg list-inconsistent`. */
  inconsistent(): object {
    return describeInconsistent(this.scrubMember.record, this.core.shard !== undefined)
  }

  private becomeClean(): void {
    const { core } = this
    core.clean = true
    core.setHistory({ lastEpochClean: core.interval.since })
    core.pastIntervals = []
    core.transact([core.recordOp()])
    for (const osd of core.mapping.acting) {
      if (osd !== core.whoami) core.send(osd, { kind: 'history', info: core.currentInfo(), clean: true })
    }
    for (const osd of this.strays) if (core.isUp(osd)) core.send(osd, { kind: 'remove' })
    this.strays.clear()
    this.scrubber.tellMembers()
    this.scrubber.onWhole()
    this.trimmer.update()
  }

  /**
   * What the store holds once all that this machine has given it is done; the machine is not used any more. Undefined for
   * one that has nothing in the store, or removes it.
   */
  freeze(): FrozenPg | undefined {
    const { core } = this
    if (!this.hasCollection || this.removing) return undefined
    const { log, missing, pastIntervals, interval } = core
    const steps = this.transfer.dropTemporaries()
    const record = { info: core.currentInfo(), pastIntervals, interval }
    return { stored: { record, log, missing, scrub: this.scrubMember.record, temporaries: [], stashes: [] }, steps }
  }

  /** For `pg query`. */
  query(): object {
    return this.report.query(this.hasMap)
  }
}
