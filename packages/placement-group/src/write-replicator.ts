/**
 * Brings ordered writes to every member and tells when all have them on stable storage.
 *
 * Durable before what: an entry and its transaction, on every member of acting and every backfill target, before the write
 * is done. The log is cut in the same transaction as the write that makes it too long.
 */
import type { OsdId } from '@shoal/base'
import type { ClientOp, ObjectOpResult, PgEnvelope, RequestId, TransactionOp, Version } from '@shoal/wire'
import type { WriteSteps } from './backend.ts'
import type { PgCore } from './core.ts'
import type { LogEntry } from './pg-log.ts'
import { RequestMap } from './request-map.ts'

/** Who gets a write. */
export interface WriteTargets {
  readonly backfillTargets: readonly OsdId[]
  /** Whether the target's copy of the object is kept up to date by writes. */
  isWrittenTo(target: OsdId, object: LogEntry['object']): boolean
  readonly isDegraded: boolean
}

interface Answer {
  readonly session: number
  readonly op: ClientOp
  readonly results: readonly ObjectOpResult[]
}

export interface InFlightWrite<Q> {
  readonly queue: Q
  readonly request: RequestId
  readonly version: Version
  /** Of the first of its entries: a clone's, where it made one. */
  readonly first: Version
  /** Of a request that failed; 0 for one that changed something. */
  readonly errno: number
  readonly detail: string
  /** Who has not stored it yet. */
  readonly missing: Set<OsdId>
  /** To be answered when it is done: more than one when it was sent again. */
  readonly answers: Answer[]
  /** Of a write that no client asked for. */
  readonly onDone: (() => void) | undefined
}

export interface OwnWrite {
  readonly memberSteps?: WriteSteps
  readonly onDone?: () => void
}

/** `Q`: where the write was queued. */
export class WriteReplicator<Q> {
  protected readonly core: PgCore
  protected readonly targets: WriteTargets
  private readonly onDone: (write: InFlightWrite<Q>) => void
  private readonly inFlight = new Map<number, InFlightWrite<Q>>()
  private readonly byRequest = new RequestMap<InFlightWrite<Q>>()
  private nextTid = 1

  constructor(core: PgCore, targets: WriteTargets, onDone: (write: InFlightWrite<Q>) => void) {
    this.core = core
    this.targets = targets
    this.onDone = onDone
  }

  get size(): number {
    return this.inFlight.size
  }

  find(request: RequestId): InFlightWrite<Q> | undefined {
    return this.byRequest.get(request)
  }

  /** The interval is over: returns what was under way. */
  reset(): readonly InFlightWrite<Q>[] {
    const writes = [...this.inFlight.values()]
    this.inFlight.clear()
    this.byRequest.clear()
    return writes
  }

  /** The first version of the oldest write that is not on every member. */
  protected get oldestInFlight(): Version | undefined {
    for (const { first } of this.inFlight.values()) return first
    return undefined
  }

  /** `entries`: of one object and its clones, that of the request last. */
  replicate(queue: Q, entries: readonly LogEntry[], steps: WriteSteps, answer: Answer, detail: string): void {
    const entry = entries[entries.length - 1] as LogEntry
    const { request, version, errno } = entry
    const { version: first } = entries[0] as LogEntry
    const missing = this.membersNow()
    const answers = [answer]
    const write = { queue, request, version, first, errno, detail, missing, answers, onDone: undefined }
    this.byRequest.set(request, write)
    this.send(write, entries, steps, steps)
  }

  /** The same for what no client asked for. `memberSteps`: where others than this copy do something else. */
  replicateOwn(
    queue: Q,
    entries: readonly LogEntry[],
    steps: WriteSteps,
    { memberSteps = steps, onDone }: OwnWrite,
  ): void {
    const { request, version } = entries[entries.length - 1] as LogEntry
    const { version: first } = entries[0] as LogEntry
    const missing = this.membersNow()
    const write = { queue, request, version, first, errno: 0, detail: '', missing, answers: [], onDone }
    this.send(write, entries, steps, memberSteps)
  }

  private membersNow(): Set<OsdId> {
    return new Set<OsdId>([...this.core.mapping.acting, ...this.targets.backfillTargets])
  }

  private send(
    write: InFlightWrite<Q>,
    entries: readonly LogEntry[],
    steps: WriteSteps,
    memberSteps: WriteSteps,
  ): void {
    const { core } = this
    const tid = this.nextTid++
    this.inFlight.set(tid, write)
    const { missing, request, answers } = write
    this.distribute(tid, missing, entries, steps, memberSteps, () => this.onCommitted(tid, core.whoami))
    const session = answers[0]?.session
    if (session !== undefined) core.emit({ kind: 'mark', session, tid: request.tid, stage: 'replicated' })
  }

  /** Sends the write to the members and stores it here: `onCommit` when it is on stable storage here. */
  protected distribute(
    tid: number,
    members: ReadonlySet<OsdId>,
    entries: readonly LogEntry[],
    steps: WriteSteps,
    memberSteps: WriteSteps,
    onCommit: () => void,
  ): void {
    const { core, targets } = this
    const same = steps as readonly TransactionOp[]
    const others = memberSteps as readonly TransactionOp[]
    const { object } = entries[entries.length - 1] as LogEntry
    const logStep = core.appendLog(entries)
    const trimTo = this.trimPoint()
    const seal = (ops: readonly TransactionOp[]): PgEnvelope =>
      core.seal({ kind: 'replicate', tid, entries, trimTo, transaction: { ops } })
    let whole: PgEnvelope | undefined
    for (const osd of members) {
      if (osd === core.whoami) continue
      const applies = core.mapping.acting.includes(osd) || targets.isWrittenTo(osd, object)
      if (applies) whole ??= seal(others)
      core.sendSealed(osd, applies && whole !== undefined ? whole : seal([]))
    }
    core.transact([...same, logStep, ...core.trimLog(trimTo)], onCommit)
  }

  /** Cut in batches: a tenth of the log at a time, not an entry with every write. */
  protected trimPoint(): Version {
    const { log, settings } = this.core
    const keep = this.targets.isDegraded
      ? Math.max(settings.logEntriesMin, settings.logEntriesMax)
      : settings.logEntriesMin
    const isLong = log.length > keep * 1.1 || log.bytes > settings.logBytesMax
    return isLong ? (log.trimPoint(keep, settings.logBytesMax * 0.9) ?? log.tail) : log.tail
  }

  onCommitted(tid: number, osd: OsdId): void {
    const write = this.inFlight.get(tid)
    if (write === undefined) return
    write.missing.delete(osd)
    if (write.missing.size > 0) return
    this.inFlight.delete(tid)
    if (write.onDone === undefined) this.byRequest.delete(write.request)
    this.onDone(write)
    if (this.inFlight.size === 0) this.onAllDone()
  }

  /** Nothing is under way any more. */
  protected onAllDone(): void {}
}
