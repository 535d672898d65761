/** What a placement group shows of itself: its states and counters for the monitors, and everything for `pg query`. */
import { wholePgId } from '@shoal/base'
import type { PgState, PgStats } from '@shoal/cluster-map'
import { formatVersion } from '@shoal/wire'
import type { PgBackend } from './backend.ts'
import type { Backfill } from './backfill.ts'
import type { ClientIo } from './client-io.ts'
import type { PgCore } from './core.ts'
import { osdOf, placesOf } from './member.ts'
import type { Peering } from './peering.ts'
import type { QuotaShare } from './quota-share.ts'
import type { Recovery } from './recovery.ts'
import type { ScrubMember } from './scrub-member.ts'
import { countScrubErrors } from './scrub-record.ts'
import type { Scrubber } from './scrubber.ts'
import type { SnapTrimmer } from './snap-trimmer.ts'

export interface PgParts {
  readonly core: PgCore
  readonly backend: PgBackend
  readonly peering: Peering
  readonly recovery: Recovery
  readonly backfill: Backfill
  readonly clientIo: ClientIo
  readonly quota: QuotaShare
  readonly trimmer: SnapTrimmer
  readonly scrubber: Scrubber
  readonly scrubMember: ScrubMember
}

/** Counters of operations are told so long after they changed; changes of state at once. */
const statsMs = 500

export class PgReport {
  private readonly parts: PgParts
  private sequence = 0
  private readonly published: unknown[] = []
  private changed = false
  private publishedOps = 0
  private timerSet = false

  constructor(parts: PgParts) {
    this.parts = parts
  }

  publishChanges(): void {
    const { core, peering, clientIo, recovery, backfill, trimmer, scrubber, scrubMember } = this.parts
    const isOwedPromises = clientIo.lease.isLate
    this.changed = false
    this.note(0, core.map.epoch)
    this.note(1, peering.phase)
    this.note(2, core.clean)
    this.note(3, recovery.missingCopies)
    this.note(4, recovery.isRunning)
    this.note(5, recovery.isTooFull)
    this.note(6, recovery.unfoundCount)
    this.note(7, backfill.isNeeded)
    this.note(8, backfill.isRunning)
    this.note(9, backfill.isTooFull)
    this.note(10, isOwedPromises)
    this.note(11, recovery.isForced)
    this.note(12, backfill.isForced)
    this.note(13, trimmer.isNeeded)
    this.note(14, trimmer.isRunning)
    this.note(15, core.info.purgedSnaps)
    this.note(16, scrubber.isRunning)
    this.note(17, scrubMember.record)
    this.note(18, scrubber.isRepairing)
    this.note(19, this.isReadyToMerge)
    if (this.changed) this.publish()
    // A lease comes with time and heartbeats: nothing else may happen that would tell when it is there.
    const isLaggy = peering.phase === 'started' && isOwedPromises
    if ((this.publishedOps === this.operations && !isLaggy) || this.timerSet) return
    this.timerSet = true
    core.emit({ kind: 'set-timer', timer: 'stats', delayMs: statsMs })
  }

  /** After every step of the machine: no list is made to be compared. */
  private note(at: number, value: unknown): void {
    if (this.published[at] === value) return
    this.published[at] = value
    this.changed = true
  }

  onTimer(reports: boolean): void {
    this.timerSet = false
    if (reports) this.publish()
  }

  /** What is written from now on is nothing, as long as the map says that it is to be merged: the monitors rely on it. */
  private get isReadyToMerge(): boolean {
    const { core, recovery, clientIo } = this.parts
    return core.isMerging && core.clean && !recovery.isNeeded && clientIo.writesInFlight === 0
  }

  private get operations(): number {
    const { clientIo, recovery, backfill } = this.parts
    return clientIo.readOps + clientIo.writeOps + recovery.recoveredObjects + backfill.backfilledObjects
  }

  private publish(): void {
    this.publishedOps = this.operations
    this.sequence++
    this.parts.core.emit({ kind: 'publish-stats', stats: this.stats() })
  }

  private states(): readonly PgState[] {
    const { core, peering, clientIo, trimmer } = this.parts
    const { acting, up } = core.mapping
    const states: PgState[] = []
    const { phase } = peering
    const size = core.pool?.size ?? 0
    const small = acting.length < (core.pool?.minSize ?? 1)
    if (phase === 'started') states.push(small ? 'peered' : 'active')
    else if (phase === 'down' || phase === 'incomplete') states.push(phase)
    else states.push('peering')
    if (phase === 'wait-lease') states.push('wait')
    if (phase === 'started' && clientIo.lease.isLate) states.push('laggy')
    if (acting.length < size) states.push('undersized')
    if (acting.length < size || this.parts.recovery.isNeeded) states.push('degraded')
    if (acting.length !== up.length || acting.some((osd) => !up.includes(osd))) states.push('remapped')
    states.push(...this.recoveryStates())
    if (core.clean && !this.parts.recovery.isNeeded) states.push('clean')
    if (trimmer.isRunning) states.push('snaptrim')
    else if (core.clean && trimmer.isNeeded) states.push('snaptrim_wait')
    states.push(...this.scrubStates())
    if (this.isReadyToMerge) states.push('premerge')
    return states
  }

  private scrubStates(): readonly PgState[] {
    const { scrubber, scrubMember } = this.parts
    const states: PgState[] = []
    if (scrubber.isRunning) states.push('scrubbing')
    if (scrubber.isDeep) states.push('deep')
    if ((scrubMember.record?.inconsistent.length ?? 0) > 0) states.push('inconsistent')
    if (scrubber.isRepairing) states.push('repair')
    return states
  }

  private recoveryStates(): readonly PgState[] {
    const { peering, recovery, backfill } = this.parts
    const states: PgState[] = []
    if (recovery.isTooFull) states.push('recovery_toofull')
    else if (recovery.isRunning) states.push('recovering')
    else if (recovery.isWaiting && peering.phase === 'started') states.push('recovery_wait')
    if (recovery.isForced) states.push('forced_recovery')
    if (backfill.isForced) states.push('forced_backfill')
    if (backfill.isTooFull) states.push('backfill_toofull')
    else if (backfill.isRunning) states.push('backfilling')
    else if (backfill.isNeeded) states.push('backfill_wait')
    return states
  }

  private stats(): PgStats {
    const { core, recovery, backfill, clientIo, scrubMember } = this.parts
    const { acting } = core.mapping
    const size = core.pool?.size ?? acting.length
    const undersized = Math.max(0, size - acting.length - backfill.osds.length) * core.objects
    return {
      pgId: wholePgId(core.pgId),
      states: this.states(),
      reportedEpoch: core.map.epoch,
      reportedSequence: this.sequence,
      version: formatVersion(core.log.head),
      up: core.shard === undefined ? core.mapping.up : placesOf(core.mapping.up, size),
      acting: core.shard === undefined ? acting : placesOf(acting, size),
      actingPrimary: osdOf(core.mapping.actingPrimary),
      objects: core.objects,
      bytes: core.bytes,
      logEntries: core.log.length,
      degradedCopies: undersized + recovery.missingCopies,
      misplacedCopies: backfill.copiesLeft,
      unfoundObjects: recovery.unfoundCount,
      lastEpochClean: core.info.history.lastEpochClean,
      readOps: clientIo.readOps,
      writeOps: clientIo.writeOps,
      readBytes: clientIo.readBytes,
      writeBytes: clientIo.writeBytes,
      recoveredObjects: recovery.recoveredObjects + backfill.backfilledObjects,
      recoveredBytes: recovery.recoveredBytes + backfill.backfilledBytes,
      ...(core.info.purgedSnaps === undefined ? {} : { purgedSnaps: core.info.purgedSnaps }),
      lastScrubMs: scrubMember.record?.scrubbedMs ?? 0,
      lastDeepScrubMs: scrubMember.record?.deepScrubbedMs ?? 0,
      scrubErrors: countScrubErrors(scrubMember.record),
    }
  }

  /** For `pg query`. */
  query(hasMap: boolean): object {
    const { core, peering, recovery, backfill, clientIo, quota, trimmer, scrubber } = this.parts
    if (!hasMap) return { pgId: core.pgId, interval: core.interval, info: core.currentInfo() }
    const objects = [...core.missing.values()].slice(0, 20)
    const { tail, head, length, trimmedRequests } = core.log
    return {
      pgId: core.pgId,
      epoch: core.map.epoch,
      ...(core.shard === undefined ? {} : { shard: core.shard, writesKeptToUndo: core.rollback?.size }),
      role: core.isPrimary ? 'primary' : core.mapping.acting.includes(core.whoami) ? 'replica' : 'stray',
      interval: core.interval,
      pastIntervals: core.pastIntervals,
      info: core.currentInfo(),
      peering: { phase: peering.phase, blockedBy: [...peering.blockedBy] },
      log: {
        tail: formatVersion(tail),
        head: formatVersion(head),
        entries: length,
        requestsWithoutEntry: trimmedRequests.length,
      },
      missing: { count: core.missing.size, first: objects.map((one) => one.object.name) },
      peerMissing: Object.fromEntries([...recovery.peerMissing].map(([osd, missing]) => [osd, missing.size])),
      recovery: {
        running: recovery.isRunning,
        recoveredObjects: recovery.recoveredObjects,
        recoveredBytes: recovery.recoveredBytes,
        unfound: recovery.unfoundCount,
      },
      backfill: {
        targets: backfill.osds,
        running: backfill.isRunning,
        backfilledObjects: backfill.backfilledObjects,
        backfilledBytes: backfill.backfilledBytes,
      },
      clientIo: { writesInFlight: clientIo.writesInFlight, leaseIsHeld: clientIo.lease.isHeld },
      watches: clientIo.watches.summary(),
      ...(quota.isLimited ? { quota: quota.summary() } : {}),
      ...(core.pool?.snapshots === undefined
        ? {}
        : { snapTrim: { running: trimmer.isRunning, owed: trimmer.owed, trimmedClones: trimmer.trimmedClones } }),
      scrub: scrubber.query(),
      ...(core.isPrimary ? { stats: this.stats() } : {}),
    }
  }
}
