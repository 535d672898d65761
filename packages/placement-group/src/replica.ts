/**
 * What a member does for the primary of its interval: answers questions while peering, follows writes, fetches objects.
 *
 * Durable before what: the merged log, the missing set and the new `lastEpochStarted` before `activated`; a write's
 * transaction and log entry before `replicated`.
 */
import type { Epoch, OsdId } from '@shoal/base'
import { noSnaps, subtractSnaps } from '@shoal/cluster-map'
import { compareVersions, minVersion, type ObjectId, objectKey, type TransactionOp, zeroVersion } from '@shoal/wire'
import type { PgCore } from './core.ts'
import { mergeLog } from './merge-log.ts'
import { MissingSet } from './missing-set.ts'
import { versionOf } from './object-attribute.ts'
import type { ObjectTransfer } from './object-transfer.ts'
import type { PeerMessage } from './peer-message.ts'
import { backfillStart, isFilled, newPgInfo } from './pg-info.ts'
import { type LogEntry, type LogSegment, PgLog } from './pg-log.ts'
import {
  clearLog,
  clearMissing,
  clearSnapRecords,
  removeLogEntries,
  removeMissing,
  setLogEntries,
  setMissing,
  setTrimmedRequests,
} from './pg-store.ts'

type RemoteSlot = 'remote-recovery' | 'remote-backfill'
type Of<K extends PeerMessage['kind']> = Extract<PeerMessage, { kind: K }>

const removePerTransaction = 256

export class Replica {
  private readonly core: PgCore
  private readonly transfer: ObjectTransfer
  /** Slots of this OSD that the primary of the interval has asked for. */
  private readonly reserved = new Map<RemoteSlot, { readonly primary: OsdId; readonly round: number }>()
  /** Has begun in this interval: follows writes. */
  active = false

  constructor(core: PgCore, transfer: ObjectTransfer) {
    this.core = core
    this.transfer = transfer
  }

  reset(): void {
    this.active = false
    for (const slot of this.reserved.keys()) this.core.emit({ kind: 'release', slot })
    this.reserved.clear()
  }

  /** What this copy is, and what it has promised to others than the asker. */
  sendInfo(to: OsdId): void {
    const { core } = this
    let untilMs = 0
    for (const primary of new Set(core.pastIntervals.map((interval) => interval.primary))) {
      if (primary !== to && primary !== core.whoami && primary >= 0)
        untilMs = Math.max(untilMs, core.leases.grantedUntilMs(primary, core.interval.since))
    }
    core.whenStored(() => {
      const leaseLeftMs = Math.max(0, untilMs - core.clock.monotonicMs())
      core.send(to, { kind: 'info', info: core.currentInfo(), pastIntervals: core.pastIntervals, leaseLeftMs })
    })
  }

  onQueryLog(from: OsdId, { since }: Of<'query-log'>): void {
    const { core } = this
    const segment = core.log.segmentSince(since)
    core.send(from, { kind: 'log', info: core.currentInfo(), segment, missing: [...core.missing.values()] })
  }

  onActivate(from: OsdId, message: Of<'activate'>): void {
    const { core } = this
    const steps = message.reset ? this.startOver(message) : mergeIntoCore(core, message.segment)
    core.info = {
      ...core.info,
      lastEpochStarted: Math.max(core.info.lastEpochStarted, message.info.lastEpochStarted) as Epoch,
      history: message.info.history,
      lastBackfill: message.info.lastBackfill,
    }
    core.objects = message.info.objects
    core.bytes = message.info.bytes
    core.pastIntervals = message.pastIntervals
    this.active = true
    core.transact([...steps, core.recordOp()], () => {
      const { roomBytes } = core.space
      if (core.rollback === undefined) core.send(from, { kind: 'activated', roomBytes })
      else core.send(from, { kind: 'shard-activated', roomBytes, missing: [...core.missing.values()] })
    })
  }

  private startOver({ segment, requests }: Of<'activate'>): readonly TransactionOp[] {
    const { core } = this
    core.log = new PgLog(segment.tail, segment.entries, requests, segment.head)
    core.missing = new MissingSet()
    core.info = { ...core.info, lastBackfill: backfillStart }
    return [
      ...(core.rollback?.clear() ?? []),
      clearLog(core.pgId),
      clearMissing(core.pgId),
      setLogEntries(core.pgId, segment.entries),
      setTrimmedRequests(core.pgId, core.log.trimmedRequests),
    ]
  }

  onHistory({ info, clean }: Of<'history'>): void {
    const { core } = this
    const { purgedSnaps = noSnaps } = info
    // Of these nothing is left on the primary, whose writes are applied here.
    const newly = subtractSnaps(purgedSnaps, core.info.purgedSnaps ?? noSnaps)
    core.info = { ...core.info, history: info.history, purgedSnaps: purgedSnaps.length === 0 ? undefined : purgedSnaps }
    if (clean) core.pastIntervals = []
    core.transact([...newly.map((span) => clearSnapRecords(core.pgId, span)), core.recordOp()])
  }

  onReplicate(from: OsdId, message: Of<'replicate'>): void {
    if (!this.active) return
    const { core } = this
    const { tid, entries, trimTo, transaction } = message
    const logStep = core.appendLog(entries)
    const steps = [...transaction.ops, logStep, ...core.trimLog(trimTo)]
    if (core.missing.size > 0 || transaction.ops.length === 0) {
      for (const entry of entries) steps.push(...this.lostSteps(entry, transaction.ops.length === 0))
    }
    core.transact(steps, () => core.send(from, { kind: 'replicated', tid, roomBytes: core.space.roomBytes }))
  }

  /**
   * What was unfound and is missed here was deleted by an operator; or it was reverted to what the primary has, and is to be
   * fetched from there. Other writes find nothing missing here, and have steps for every copy that they reach.
   */
  private lostSteps({ kind, object, version }: LogEntry, isEmpty: boolean): readonly TransactionOp[] {
    const { core } = this
    if (kind === 'delete' && core.missing.delete(object)) return [removeMissing(core.pgId, [object])]
    if (kind !== 'modify' || !isEmpty || !isFilled(core.info.lastBackfill, object)) return []
    const missing = { object, need: version }
    core.missing.set(missing)
    return [setMissing(core.pgId, [missing])]
  }

  // Recovery

  onRecover(from: OsdId, { object, version }: Of<'recover'>): void {
    this.transfer.fetch(object, version, from, (errno, bytes) =>
      this.core.send(from, { kind: 'recovered', object, version, errno, bytes }),
    )
  }

  onScan(from: OsdId, { scan, after, limit }: Of<'scan'>): void {
    const { core } = this
    const slot = this.reserved.get('remote-backfill')
    if (slot?.primary === from && core.space.isBackfillFull) {
      // It filled up meanwhile: what is being filled must leave room for what clients write.
      this.reserved.delete('remote-backfill')
      core.emit({ kind: 'release', slot: 'remote-backfill' })
      return core.send(from, { kind: 'release', backfill: true, round: slot.round, tooFull: true })
    }
    const token = core.expectInInterval((input) => {
      if (input.kind !== 'scanned') return
      const objects = input.objects.map(({ object, attribute }) => ({ object, version: versionOf(attribute) }))
      core.send(from, { kind: 'scanned', scan, objects, more: input.more })
    })
    core.emit({ kind: 'scan', after, limit, token })
  }

  onBackfilled(from: OsdId, { info, remove }: Of<'backfilled'>): void {
    const { core } = this
    const steps: TransactionOp[] = remove.map((object) => ({ kind: 'remove', collection: core.pgId, object }))
    core.info = { ...core.info, lastBackfill: info.lastBackfill }
    core.objects = info.objects
    core.bytes = info.bytes
    core.transact([...steps, core.recordOp()], () =>
      core.send(from, { kind: 'backfill-stored', info: core.currentInfo() }),
    )
  }

  // Reservations

  onReserve(from: OsdId, { backfill, priority, round }: Of<'reserve'>): void {
    const { core } = this
    if (backfill && core.space.isBackfillFull) {
      return core.send(from, { kind: 'release', backfill, round, tooFull: true })
    }
    const slot = slotFor(backfill)
    this.reserved.set(slot, { primary: from, round })
    core.emit({ kind: 'reserve', slot, priority, round })
  }

  onGranted(slot: RemoteSlot, round: number): void {
    const held = this.reserved.get(slot)
    if (held?.round !== round) return
    this.core.send(held.primary, { kind: 'reserved', backfill: slot === 'remote-backfill', round })
  }

  /** Somebody more urgent has it. */
  onRevoked(slot: RemoteSlot, round: number): void {
    const held = this.reserved.get(slot)
    if (held?.round !== round) return
    this.reserved.delete(slot)
    this.core.send(held.primary, { kind: 'release', backfill: slot === 'remote-backfill', round, tooFull: false })
  }

  onRelease({ backfill, round }: Of<'release'>): void {
    const slot = slotFor(backfill)
    if (this.reserved.get(slot)?.round !== round) return
    this.reserved.delete(slot)
    this.core.emit({ kind: 'release', slot })
  }

  // Removal

  /**
   * Drops this copy. Durable before what: that it counts for nothing, before its first object goes; a removal that is cut
   * off must not leave behind what looks like a whole copy.
   */
  removeAll(): void {
    const { core } = this
    core.log = new PgLog(zeroVersion, [])
    core.missing = new MissingSet()
    core.info = {
      ...newPgInfo(core.info.history.epochCreated),
      lastBackfill: backfillStart,
      history: core.info.history,
    }
    core.objects = 0
    core.bytes = 0
    core.transact([
      ...(core.rollback?.clear() ?? []),
      clearLog(core.pgId),
      clearMissing(core.pgId),
      setTrimmedRequests(core.pgId, []),
      core.recordOp(),
    ])
    this.removeNext()
  }

  private removeNext(): void {
    const { core } = this
    const token = core.expect((input) => {
      if (input.kind !== 'scanned') return
      const steps: TransactionOp[] = input.objects.map(({ object }) => ({
        kind: 'remove',
        collection: core.pgId,
        object,
      }))
      if (input.more) {
        core.emit({ kind: 'transact', transaction: { ops: steps }, token: core.expect(() => this.removeNext()) })
        return
      }
      steps.push({ kind: 'remove-collection', collection: core.pgId })
      core.emit({
        kind: 'transact',
        transaction: { ops: steps },
        token: core.expect(() => core.emit({ kind: 'removed' })),
      })
    })
    core.emit({ kind: 'scan', after: undefined, limit: removePerTransaction, token })
  }
}

function slotFor(backfill: boolean): RemoteSlot {
  return backfill ? 'remote-backfill' : 'remote-recovery'
}

/** Brings log and missing set of this copy up to the segment; returns the steps that store it. */
export function mergeIntoCore(core: PgCore, segment: LogSegment): readonly TransactionOp[] {
  const before = new Map([...core.missing.values()].map((one) => [objectKey(one.object), one.object]))
  const local = { tail: core.log.tail, head: core.log.head, entries: core.log.all(), cursor: core.info.lastBackfill }
  const { rollback } = core
  const canUndo = rollback === undefined ? undefined : (entry: LogEntry): boolean => rollback.canUndo(entry)
  const { divergent, added, removed, undone } = mergeLog(local, core.missing, segment, canUndo)
  core.log = joinLogs(core.log, segment)
  const last = core.log.all().at(-1)
  if (last !== undefined) {
    core.objects = last.pgObjects
    core.bytes = last.pgBytes
  }
  const steps: TransactionOp[] = rollback === undefined ? [] : [...rollback.undo(divergent, undone)]
  for (const object of removed) steps.push({ kind: 'remove', collection: core.pgId, object })
  if (undone.size > 0) core.count('shardsRolledBack', undone.size)
  if (divergent.length > 0) steps.push(removeLogEntries(core.pgId, divergent))
  if (added.length > 0) steps.push(setLogEntries(core.pgId, added))
  const gone: ObjectId[] = [...before.values()].filter((object) => !core.missing.has(object))
  if (gone.length > 0) steps.push(removeMissing(core.pgId, gone))
  if (core.missing.size > 0) steps.push(setMissing(core.pgId, core.missing.values()))
  return steps
}

/**
 * Own entries below the segment, then the segment; the tail is whichever reaches back further. The requests of what this
 * copy has cut are its own: it was there when they were done.
 */
function joinLogs(log: PgLog, segment: LogSegment): PgLog {
  const below = log.all().filter((entry) => compareVersions(entry.version, segment.tail) <= 0)
  const tail = minVersion(log.tail, segment.tail)
  return new PgLog(tail, [...below, ...segment.entries], log.trimmedRequests, segment.head)
}
