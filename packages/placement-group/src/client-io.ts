/**
 * Client operations on the primary: order, execution, replication, answers.
 *
 * Invariants
 * 1. Operations on one object take effect in the order in which they came.
 * 2. A write is answered when every member of acting and every backfill target has it on stable storage. One whose interval
 *    ended before that is answered, when it comes again, once recovery has brought its object to all: until then a single
 *    disk may hold the only copy.
 * 3. A read sees only writes that were answered or could have been: it waits for the writes in flight on its object, and
 *    writes wait for reads in progress. The same holds for a failed guard, which tells something of the object too.
 * 4. A request that the log knows is never executed again.
 * 5. Reads are executed only while every other member of acting has promised this primary its lease.
 */
import { assert, type ErrorCode, errorTable, must, type OsdId } from '@shoal/base'
import { isFenced } from '@shoal/cluster-map'
import {
  type ClientOp,
  headOf,
  headSnap,
  isWriteOp,
  type ObjectId,
  type ObjectOpResult,
  objectKey,
  snapDirOf,
  type Version,
  type WatchId,
  zeroVersion,
} from '@shoal/wire'
import type { PgBackend, WriteSteps } from './backend.ts'
import type { PgCore } from './core.ts'
import type { ObjectState } from './effects.ts'
import { missingForLists, withMissing } from './list-missing.ts'
import type { ObjectCache } from './object-cache.ts'
import {
  forgetLoaded,
  newQueue,
  ObjectLoader,
  type ObjectQueue,
  type TrimRequest,
  type Waiting,
} from './object-queue.ts'
import { bytesOf, noResults, OpAnswers, withoutTemporaries } from './op-answers.ts'
import { type Execution, executeWrite, type RollbackTarget } from './op-executor.ts'
import { needsSpace, spaceBytesOf } from './op-space.ts'
import type { LogEntry } from './pg-log.ts'
import { type Family, type PlannedSnapWrite, planSnapWrite, planTrim } from './plan-snapshots.ts'
import { type PlannedWrite, planFailure, planWrite } from './plan-write.ts'
import type { QuotaShare } from './quota-share.ts'
import { ReadLease } from './read-lease.ts'
import type { DoneRequest } from './request-table.ts'
import { readsSnaps, rollbackSnapOf, SnapshotFamilies } from './snapshot-family.ts'
import { WatchTable, watchReadOf } from './watch-table.ts'
import type { InFlightWrite, WriteReplicator, WriteTargets } from './write-replicator.ts'

/** What client I/O must know of recovery. */
export interface RecoveryView extends WriteTargets {
  /** The object cannot be read here now. */
  blocksReads(object: ObjectId): boolean
  /** The object, or one of its clones, cannot be read here now. */
  blocksSnapReads(head: ObjectId): boolean
  /** Writing would leave a copy behind: recover it first. */
  blocksWrites(object: ObjectId): boolean
  /** A clone of this object, or what stands for it while it is removed, that some member has yet to get. */
  missingCloneOf(head: ObjectId): ObjectId | undefined
  /** Somebody waits for this object. */
  prioritize(object: ObjectId): void
  /** A write is on stable storage everywhere. */
  onWritten(): void
  /** Attributes of an object here cannot be read. */
  onUnreadable(): void
  /** This copy turned out to be bad. */
  onBadCopy(object: ObjectId, version: Version): void
}

/** What is wrong with the request itself, whatever the object is. */
const failuresOfRequests: ReadonlySet<ErrorCode> = new Set(['EINVAL', 'E2BIG', 'EFBIG', 'EOPNOTSUPP'])
/** The driver holds sessions back long before: this bounds what gets past it. */
const waitingMax = 4_096
/** No session has this id. */
const nobody = -1
const ownOpsPerInterval = 2 ** 20

export class ClientIo {
  private readonly core: PgCore
  private readonly backend: PgBackend
  private readonly recovery: RecoveryView
  private readonly quota: QuotaShare
  private readonly queues = new Map<string, ObjectQueue>()
  private readonly writes: WriteReplicator<ObjectQueue>
  private readonly answers: OpAnswers
  private readonly cache: ObjectCache
  private readonly families: SnapshotFamilies
  private readonly loader: ObjectLoader
  readonly lease: ReadLease
  readonly watches: WatchTable
  private waitingForActive: { readonly session: number; readonly op: ClientOp }[] = []
  private active = false
  /** Operations of the placement group itself, of this interval. */
  private ownOps = 0
  readOps = 0
  writeOps = 0
  readBytes = 0
  writeBytes = 0

  constructor(core: PgCore, backend: PgBackend, recovery: RecoveryView, quota: QuotaShare) {
    this.core = core
    this.backend = backend
    this.recovery = recovery
    this.quota = quota
    this.cache = backend.cache
    this.answers = new OpAnswers(core)
    this.families = new SnapshotFamilies(core, this.cache)
    this.loader = new ObjectLoader(core, backend, {
      run: (queue) => this.run(queue),
      onFailed: ({ session, op, trim }, errno, detail) => {
        if (trim === undefined) this.answers.failWith(session, op, errno, detail)
        else trim.onFailed(errno, detail)
      },
      onBadCopy: (object, version) => recovery.onBadCopy(object, version),
      onUnreadable: () => recovery.onUnreadable(),
    })
    this.lease = new ReadLease(core)
    this.watches = new WatchTable(core, this.answers, { drop: (object, watch) => this.dropWatch(object, watch) })
    this.writes = backend.createReplicator(recovery, (write) => this.onWritten(write))
  }

  get writesInFlight(): number {
    return this.writes.size
  }

  /** The interval is over: everything under way is handed back; its outcome is in the log, and clients ask again. */
  reset(): void {
    this.active = false
    const detail = 'the placement group changes hands'
    for (const { session, op } of this.waitingForActive) this.fail(session, op, 'ESTALE', detail)
    for (const queue of this.queues.values()) {
      for (const { session, op, trim } of queue.waiting) {
        if (trim === undefined) this.fail(session, op, 'ESTALE', detail)
      }
    }
    for (const write of this.writes.reset()) {
      for (const { session, op } of write.answers) this.fail(session, op, 'ESTALE', detail)
    }
    for (const { session, op } of this.watches.reset()) this.fail(session, op, 'ESTALE', detail)
    this.waitingForActive = []
    this.ownOps = 0
    this.queues.clear()
    this.cache.clear()
  }

  activate(): void {
    this.active = true
    for (const { session, op } of this.waitingForActive.splice(0)) this.onOp(session, op)
  }

  /** The session is gone: what was not begun is dropped. */
  onSessionClosed(session: number): void {
    this.waitingForActive = this.waitingForActive.filter((one) => one.session !== session)
    for (const { waiting } of this.queues.values()) {
      // Not the first: something may be on its way for it.
      for (let at = waiting.length - 1; at > 0; at--) if (waiting[at]?.session === session) waiting.splice(at, 1)
    }
  }

  onOp(session: number, op: ClientOp): void {
    if (!this.core.isPrimary) return this.fail(session, op, 'ESTALE', `osd.${this.core.whoami} is not the primary`)
    // Sent in an earlier interval: what the same client sent before it may have gone down with that interval and come again
    // later, and two writes of one client would change places. It sends again, in its order, when it knows this interval.
    if (op.epoch < this.core.interval.since)
      return this.fail(session, op, 'ESTALE', 'the operation is of an earlier interval')
    if (!this.active) {
      if (this.waitingForActive.length >= waitingMax)
        return this.fail(session, op, 'EAGAIN', 'too many operations wait')
      this.waitingForActive.push({ session, op })
      return
    }
    const [first] = op.ops
    if (first?.kind === 'notify-ack') return this.watches.onAck(session, op, first)
    this.lease.want()
    const writes = op.ops.some(isWriteOp)
    if (writes && this.answerKnown(session, op)) return
    const queue = this.queueOf(headOf(op.object))
    queue.waiting.push({ session, op, writes })
    this.run(queue)
  }

  /** Takes removed snapshots from a clone, in its turn among what clients do. */
  trim(request: TrimRequest): void {
    const object = headOf(request.clone)
    const { pgId, map } = this.core
    const op: ClientOp = {
      type: 'client-op',
      request: { client: 0, tid: 0 },
      oldestTid: 0,
      pgId,
      epoch: map.epoch,
      object,
      ops: [],
      attempt: 0,
    }
    const queue = this.queueOf(object)
    queue.waiting.push({ session: nobody, op, writes: true, trim: request })
    this.run(queue)
  }

  /** Recovery has finished with an object, or the lease is back. */
  retry(object?: ObjectId): void {
    if (object === undefined) {
      for (const queue of [...this.queues.values()]) this.run(queue)
      return
    }
    const queue = this.queues.get(objectKey(headOf(object)))
    if (queue !== undefined) this.run(queue)
  }

  onLeaseTimer(): void {
    this.lease.onTimer()
    this.retry()
  }

  /** Some copy of the object was replaced as a whole. */
  forget(object: ObjectId): void {
    this.cache.delete(object)
    const queue = this.queues.get(objectKey(headOf(object)))
    if (queue !== undefined) forgetLoaded(queue)
  }

  // Known requests

  private answerKnown(session: number, op: ClientOp): boolean {
    const inFlight = this.writes.find(op.request)
    if (inFlight !== undefined) {
      inFlight.answers.push({ session, op, results: noResults(op) })
      return true
    }
    const { log } = this.core
    const done = log.findRequest(op.request)
    if (done !== undefined) {
      if (done.errno === 0 && this.isBehind(op.object)) this.enqueue({ session, op, writes: true, done })
      else if (done.errno !== 0) this.answers.failWith(session, op, done.errno, 'it failed when it was first tried')
      else this.answerWrite(session, op, noResults(op), done.version)
      return true
    }
    if (log.isRequestOver(op.request)) {
      this.fail(session, op, 'ESTALE', 'its client does not wait for it any more')
      return true
    }
    return this.replaceWaiting({ session, op, writes: true })
  }

  /**
   * Whether some member has yet to get the object in its newest version, or one of its clones: what was acknowledged before
   * the write that made the clone is in the clone alone.
   */
  private isBehind(object: ObjectId): boolean {
    const { recovery } = this
    return (
      recovery.blocksReads(object) || recovery.blocksWrites(object) || recovery.missingCloneOf(object) !== undefined
    )
  }

  private enqueue(waiting: Waiting): void {
    if (this.replaceWaiting(waiting)) return
    const queue = this.queueOf(waiting.op.object)
    queue.waiting.push(waiting)
    this.run(queue)
  }

  /** It may be waiting already: its session broke and the client sent it again on another. */
  private replaceWaiting(waiting: Waiting): boolean {
    const { object, request } = waiting.op
    const queue = this.queues.get(objectKey(object))
    const at =
      queue?.waiting.findIndex(({ op }) => op.request.tid === request.tid && op.request.client === request.client) ?? -1
    if (queue === undefined || at < 0) return false
    queue.waiting[at] = waiting
    return true
  }

  // Order

  private queueOf(object: ObjectId): ObjectQueue {
    const key = objectKey(object)
    let queue = this.queues.get(key)
    if (queue === undefined) {
      queue = newQueue(object)
      this.queues.set(key, queue)
    }
    return queue
  }

  private run(queue: ObjectQueue): void {
    while (queue.waiting.length > 0) {
      const head = queue.waiting[0] as Waiting
      // Looked at again when it begins: it may have waited for long.
      if (!queue.loading && isFenced(this.core.map, head.op.request.client)) {
        queue.waiting.shift()
        forgetLoaded(queue)
        this.fail(head.session, head.op, 'ESHUTDOWN', 'this client session is fenced')
        continue
      }
      if (!(head.writes ? this.startWrite(queue, head) : this.startRead(queue, head))) return
    }
    if (queue.inFlight === 0 && queue.reading === 0 && !queue.loading) this.queues.delete(objectKey(queue.object))
  }

  // Reads

  private startRead(queue: ObjectQueue, { session, op }: Waiting): boolean {
    if (queue.inFlight > 0 || queue.loading) return false
    const { recovery } = this
    if (recovery.blocksReads(queue.object) || (readsSnaps(op) && recovery.blocksSnapReads(queue.object))) {
      recovery.prioritize(queue.object)
      return false
    }
    if (!this.lease.isHeld) {
      this.lease.want()
      this.lease.waitFor()
      return false
    }
    this.lease.onUsed()
    queue.waiting.shift()
    queue.reading++
    if (
      op.object.snap !== headSnap &&
      this.core.missing.size > 0 &&
      op.ops.some(({ kind }) => kind === 'list-objects')
    ) {
      // What is missing here may have been there at the snapshot, or not.
      queue.reading--
      this.fail(session, op, 'EAGAIN', 'objects are being recovered')
      return true
    }
    const missing = missingForLists(op.ops, this.core.missing)
    const token = this.core.expectInInterval((input) => {
      if (input.kind !== 'read-done') return
      queue.reading--
      if (input.errno === errorTable.ECHECKSUM.errno) {
        queue.waiting.unshift({ session, op, writes: false })
        this.loader.reportBadCopy(queue, input.badObject ?? queue.object)
        return
      }
      if (!this.lease.isHeld) {
        // Invariant 5: the promise ran out while the disk was read, so another primary may have written since.
        queue.waiting.unshift({ session, op, writes: false })
        return this.lease.waitFor()
      }
      const watching = watchReadOf(op.ops)
      const [stored] = input.results
      if (watching !== undefined && stored?.kind === 'watchers') {
        this.watches.onRead(session, op, watching, stored.watchers)
        return this.run(queue)
      }
      this.readOps++
      this.readBytes += bytesOf(input.results)
      const results = input.results.map((result, at) =>
        withoutTemporaries(missing === undefined ? result : withMissing(op.ops[at], result, missing)),
      )
      if (input.errno === 0) this.answers.reply(session, op, results, zeroVersion)
      else this.answers.failWith(session, op, input.errno, input.detail)
      this.run(queue)
    })
    this.backend.executeRead(op, token)
    return true
  }

  // Writes

  private startWrite(queue: ObjectQueue, head: Waiting): boolean {
    if (queue.reading > 0 || queue.loading) return false
    const { object } = queue
    if (head.done !== undefined) return this.answerDone(queue, head, head.done)
    // From here on something may be written, and not before the map shows that the merge is done, or given up.
    if (this.core.isMerging) return false
    if (head.trim !== undefined) return this.startTrim(queue, head, head.trim)
    if (needsSpace(head.op.ops) && !this.hasSpaceFor(head.op)) {
      queue.waiting.shift()
      this.fail(head.session, head.op, 'ENOSPC', 'an OSD of the placement group is full: remove objects or add OSDs')
      return true
    }
    if (this.isBehind(object)) {
      this.recovery.prioritize(object)
      return false
    }
    const state = this.loader.stateFor(queue, head.op)
    if (state === undefined) return false
    let family: Family | undefined
    let rollback: RollbackTarget | undefined
    if (this.families.concerns(head.op)) {
      family = this.families.familyOf(object, state, (related) => this.loader.load(queue, related))
      if (family === undefined) return false
      const snap = rollbackSnapOf(head.op)
      if (snap !== undefined) {
        rollback = this.families.rollbackOf(head.op, snap, state, family, (related) => this.loader.load(queue, related))
        if (rollback === undefined) return false
      }
    }
    const caller = { client: head.op.request.client, nowMs: this.core.clock.wallMs() }
    const execution = executeWrite(this.core.pgId, object, head.op.ops, state, caller, rollback)
    const changes = execution.kind === 'done' && (execution.steps.length > 0 || execution.after.exists)
    // Invariant 3: what is told about the object must not depend on a write that may yet be lost.
    if (execution.kind === 'done' && !changes && queue.inFlight > 0) return false
    const planned = changes ? this.plan(head.op, state, execution, family) : undefined
    if (planned !== undefined && this.quota.isLimited && !this.isWithinQuota(queue, head, state, planned))
      return queue.waiting[0] !== head
    forgetLoaded(queue)
    queue.waiting.shift()
    if (execution.kind === 'failed') this.onFailed(queue, head, execution)
    else if (planned !== undefined) this.order(queue, head, state, planned, execution)
    else this.answers.reply(head.session, head.op, execution.results, zeroVersion)
    return true
  }

  private answerDone(queue: ObjectQueue, { session, op }: Waiting, { version }: DoneRequest): boolean {
    if (this.isBehind(queue.object)) {
      this.recovery.prioritize(queue.object)
      return false
    }
    queue.waiting.shift()
    this.answerWrite(session, op, noResults(op), version)
    return true
  }

  private hasSpaceFor(op: ClientOp): boolean {
    const { space, mapping } = this.core
    const bytes = spaceBytesOf(op.ops)
    return space.admits(mapping.acting, bytes) && space.admits(this.recovery.backfillTargets, bytes)
  }

  /** False: it is refused, or waits at the head of its queue until the quota's share is known. */
  private isWithinQuota(queue: ObjectQueue, head: Waiting, before: ObjectState, { entries }: PlannedWrite): boolean {
    // With the clone that it makes, and what clones no longer share with it.
    const { pgBytes, pgObjects } = must(entries.at(-1), 'an entry')
    const verdict = this.quota.admits(pgBytes - this.core.bytes, pgObjects - this.core.objects)
    if (verdict === 'yes') return true
    if (verdict === 'wait') {
      queue.loaded = before
      return false
    }
    queue.loaded = undefined
    queue.waiting.shift()
    this.core.count('quotaRefusals')
    this.fail(head.session, head.op, 'EDQUOT', 'the pool has reached its quota: remove objects or raise it')
    return false
  }

  private onFailed(
    queue: ObjectQueue,
    { session, op }: Waiting,
    failure: Extract<Execution, { kind: 'failed' }>,
  ): void {
    const { code, detail } = failure
    if (failuresOfRequests.has(code)) return this.fail(session, op, code, detail)
    const entry = planFailure(this.core, op, code)
    this.replicate(queue, [entry], [], { session, op, results: [] }, detail)
  }

  private plan(
    op: ClientOp,
    before: ObjectState,
    execution: Extract<Execution, { kind: 'done' }>,
    family: Family | undefined,
  ): PlannedWrite & Partial<PlannedSnapWrite> {
    if (family === undefined) return planWrite(this.core, op, before, execution)
    return planSnapWrite(this.core, op, before, family, this.families.contextOf(op), execution)
  }

  private order(
    queue: ObjectQueue,
    { session, op }: Waiting,
    before: ObjectState,
    planned: PlannedWrite & Partial<PlannedSnapWrite>,
    execution: Extract<Execution, { kind: 'done' }>,
  ): void {
    this.cache.set(op.object, planned.after)
    if (planned.dirAfter !== undefined) this.cache.set(snapDirOf(op.object), planned.dirAfter)
    if (planned.cloned === true) this.core.count('clonesMade')
    this.writeOps++
    for (const step of execution.steps) if (step.kind === 'write') this.writeBytes += step.data.length
    const { entries, steps, after } = planned
    this.cache.forgetClones(entries)
    const plan = this.backend.plan(entries, steps, { before, after })
    this.replicate(queue, entries, plan, { session, op, results: execution.results })
    if (this.quota.isLimited) this.quota.onOrdered()
  }

  private startTrim(queue: ObjectQueue, { op }: Waiting, trim: NonNullable<Waiting['trim']>): boolean {
    const { object } = queue
    if (this.isBehind(object)) {
      this.recovery.prioritize(object)
      return false
    }
    const state = this.loader.stateFor(queue, op)
    if (state === undefined) return false
    const family = this.families.familyOf(object, state, (related) => this.loader.load(queue, related))
    if (family === undefined) return false
    const clone = this.loader.load(queue, trim.clone)
    if (clone === undefined) return false
    const planned = planTrim(this.core, trim.clone, clone, { object, state }, family)
    forgetLoaded(queue)
    queue.waiting.shift()
    if (planned === undefined) {
      trim.onDone()
      return true
    }
    if (planned.head !== undefined) this.cache.set(object, planned.head)
    if (planned.dir !== undefined) this.cache.set(snapDirOf(object), planned.dir)
    this.cache.forgetClones(planned.entries)
    queue.inFlight++
    this.writes.replicateOwn(queue, planned.entries, this.backend.plan(planned.entries, planned.steps), trim)
    return true
  }

  private replicate(
    queue: ObjectQueue,
    entries: readonly LogEntry[],
    steps: WriteSteps,
    answer: { readonly session: number; readonly op: ClientOp; readonly results: readonly ObjectOpResult[] },
    detail = '',
  ): void {
    queue.inFlight++
    this.writes.replicate(queue, entries, steps, answer, detail)
  }

  /** Not of a client: an operator gave up what is unfound. Waits for nothing; clients' operations on it wait for recovery. */
  orderLost(entry: LogEntry, steps: WriteSteps, memberSteps: WriteSteps): void {
    this.forget(entry.object)
    const queue = this.queueOf(entry.object)
    queue.inFlight++
    this.writes.replicateOwn(queue, [entry], steps, { memberSteps })
  }

  orderGivenUp(entry: LogEntry): void {
    const { steps, memberSteps } = this.backend.planGivenUp(entry.object)
    this.orderLost(entry, steps, memberSteps)
  }

  /** A member has a write on stable storage. */
  onCommitted(tid: number, osd: OsdId): void {
    this.writes.onCommitted(tid, osd)
  }

  private onWritten(write: InFlightWrite<ObjectQueue>): void {
    const { queue } = write
    queue.inFlight--
    assert(queue.inFlight >= 0, 'writes in flight are counted')
    for (const { session, op, results } of write.answers) {
      if (write.errno === 0) this.answerWrite(session, op, results, write.version)
      else this.answers.failWith(session, op, write.errno, write.detail)
    }
    write.onDone?.()
    this.run(queue)
    this.recovery.onWritten()
  }

  /** Whether writes to such objects are under way. */
  isWriting(inside: (object: ObjectId) => boolean): boolean {
    for (const { object, inFlight } of this.queues.values()) if (inFlight > 0 && inside(object)) return true
    return false
  }

  private answerWrite(session: number, op: ClientOp, results: readonly ObjectOpResult[], version: Version): void {
    this.answers.reply(session, op, results, version)
    if (this.watches.size > 0 || op.ops[0]?.kind === 'watch') this.watches.onWritten(session, op)
  }

  /** A write of the placement group's own, which nobody waits for. Its id is this primary's in this interval alone. */
  private dropWatch(object: ObjectId, { client, cookie }: WatchId): void {
    const { pgId, whoami, map, interval } = this.core
    const tid = interval.since * ownOpsPerInterval + ++this.ownOps
    this.onOp(nobody, {
      type: 'client-op',
      request: { client: Number.MAX_SAFE_INTEGER - whoami, tid },
      oldestTid: tid,
      pgId,
      epoch: map.epoch,
      object,
      ops: [{ kind: 'unwatch', client, cookie }],
      attempt: 0,
    })
  }

  private fail(session: number, op: ClientOp, code: ErrorCode, detail: string): void {
    this.answers.fail(session, op, code, detail)
  }
}
