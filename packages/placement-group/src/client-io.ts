/**
 * Client operations on the primary: order, execution, replication, answers.
 *
 * Invariants
 * 1. Operations on one object take effect in the order in which they came.
 * 2. A write is answered when every member of acting and every backfill target has it on stable storage.
 * 3. A read sees only writes that were answered or could have been: it waits for the writes in flight on its object, and
 *    writes wait for reads in progress. The same holds for a failed guard, which tells something of the object too.
 * 4. A request that the log knows is never executed again.
 * 5. Reads are executed only while every other member of acting has promised this primary its lease.
 */
import { assert, type ErrorCode, errorTable, type OsdId } from '@shoal/base'
import {
  type ClientOp,
  type ClientOpReply,
  isWriteOp,
  type ObjectId,
  type ObjectOpResult,
  objectKey,
  type PgEnvelope,
  type RequestId,
  type TransactionOp,
  type Version,
  zeroVersion,
} from '@shoal/wire'
import type { PgCore } from './core.ts'
import type { ObjectState } from './effects.ts'
import { encodeObjectAttribute, objectAttributeName, versionOf } from './object-attribute.ts'
import { isTemporary } from './object-transfer.ts'
import { type CachedObject, type Execution, executeWrite, loadRequestFor } from './op-executor.ts'
import type { LogEntry } from './pg-log.ts'
import { removeLogEntries } from './pg-store.ts'
import { RequestMap } from './request-map.ts'

/** What client I/O must know of recovery. */
export interface RecoveryView {
  /** The object cannot be read here now. */
  blocksReads(object: ObjectId): boolean
  /** Writing would leave a copy behind: recover it first. */
  blocksWrites(object: ObjectId): boolean
  /** Somebody waits for this object. */
  prioritize(object: ObjectId): void
  /** This copy turned out to be bad. */
  onBadCopy(object: ObjectId, version: Version): void
  readonly backfillTargets: readonly OsdId[]
  /** Whether the target's copy of the object is kept up to date by writes. */
  isWrittenTo(target: OsdId, object: ObjectId): boolean
  readonly isDegraded: boolean
}

interface Waiting {
  readonly session: number
  readonly op: ClientOp
  readonly writes: boolean
}

interface ObjectQueue {
  readonly object: ObjectId
  readonly waiting: Waiting[]
  /** Writes that are not committed everywhere. */
  inFlight: number
  reading: number
  loading: boolean
  /** Loaded for the write at the head, which needs more than the cached state. */
  loaded: ObjectState | undefined
}

interface InFlightWrite {
  readonly tid: number
  readonly queue: ObjectQueue
  readonly request: RequestId
  readonly version: Version
  /** Of a request that failed; 0 for one that changed something. */
  readonly errno: number
  readonly detail: string
  readonly missing: Set<OsdId>
  readonly replies: { readonly session: number; readonly op: ClientOp; readonly results: readonly ObjectOpResult[] }[]
}

/** What is wrong with the request itself, whatever the object is. */
const failuresOfRequests: ReadonlySet<ErrorCode> = new Set(['EINVAL', 'E2BIG', 'EFBIG', 'EOPNOTSUPP'])
const cachedObjectsMax = 512
const leaseRetryMs = 50
/** The driver holds sessions back long before: this bounds what gets past it. */
const waitingMax = 4_096

export class ClientIo {
  private readonly core: PgCore
  private readonly recovery: RecoveryView
  private readonly queues = new Map<string, ObjectQueue>()
  private readonly inFlight = new Map<number, InFlightWrite>()
  private readonly inFlightByRequest = new RequestMap<InFlightWrite>()
  private readonly cache = new Map<string, CachedObject>()
  private waitingForActive: { readonly session: number; readonly op: ClientOp }[] = []
  private active = false
  private nextTid = 1
  private leaseTimerSet = false
  readOps = 0
  writeOps = 0
  readBytes = 0
  writeBytes = 0

  constructor(core: PgCore, recovery: RecoveryView) {
    this.core = core
    this.recovery = recovery
  }

  get writesInFlight(): number {
    return this.inFlight.size
  }

  /** The interval is over: everything under way is handed back; its outcome is in the log, and clients ask again. */
  reset(): void {
    this.active = false
    const detail = 'the placement group changes hands'
    for (const { session, op } of this.waitingForActive) this.fail(session, op, 'ESTALE', detail)
    for (const queue of this.queues.values()) {
      for (const { session, op } of queue.waiting) this.fail(session, op, 'ESTALE', detail)
    }
    for (const write of this.inFlight.values()) {
      for (const { session, op } of write.replies) this.fail(session, op, 'ESTALE', detail)
    }
    this.waitingForActive = []
    this.queues.clear()
    this.inFlight.clear()
    this.inFlightByRequest.clear()
    this.cache.clear()
  }

  activate(): void {
    this.active = true
    for (const { session, op } of this.waitingForActive.splice(0)) this.onOp(session, op)
  }

  /** The session is gone: what was not begun is dropped. */
  onSessionClosed(session: number): void {
    this.waitingForActive = this.waitingForActive.filter((one) => one.session !== session)
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
    const writes = op.ops.some(isWriteOp)
    if (writes && this.answerKnown(session, op)) return
    const queue = this.queueOf(op.object)
    queue.waiting.push({ session, op, writes })
    this.run(queue)
  }

  /** Recovery has finished with an object, or the lease is back. */
  retry(object?: ObjectId): void {
    if (object === undefined) {
      for (const queue of [...this.queues.values()]) this.run(queue)
      return
    }
    const queue = this.queues.get(objectKey(object))
    if (queue !== undefined) this.run(queue)
  }

  onLeaseTimer(): void {
    this.leaseTimerSet = false
    this.retry()
  }

  /** Some copy of the object was replaced as a whole. */
  forget(object: ObjectId): void {
    const key = objectKey(object)
    this.cache.delete(key)
    const queue = this.queues.get(key)
    if (queue !== undefined) queue.loaded = undefined
  }

  /** Whether every other member of acting has promised not to let another primary serve now. */
  get leaseIsHeld(): boolean {
    const { mapping, whoami, leases, clock } = this.core
    const nowMs = clock.monotonicMs()
    return mapping.acting.every((osd) => osd === whoami || leases.heldUntilMs(osd) > nowMs)
  }

  // Known requests

  private answerKnown(session: number, op: ClientOp): boolean {
    const inFlight = this.inFlightByRequest.get(op.request)
    if (inFlight !== undefined) {
      inFlight.replies.push({ session, op, results: noResults(op) })
      return true
    }
    const entry = this.core.log.findRequest(op.request)
    if (entry !== undefined) {
      if (entry.kind === 'error') this.failWith(session, op, entry.errno, 'as when it was first tried')
      else this.reply(session, op, noResults(op), entry.version)
      return true
    }
    // It may be waiting already: its session broke and the client sent it again on another.
    const queue = this.queues.get(objectKey(op.object))
    const at =
      queue?.waiting.findIndex(
        ({ op: { request } }) => request.tid === op.request.tid && request.client === op.request.client,
      ) ?? -1
    if (queue === undefined || at < 0) return false
    queue.waiting[at] = { session, op, writes: true }
    return true
  }

  // Order

  private queueOf(object: ObjectId): ObjectQueue {
    const key = objectKey(object)
    let queue = this.queues.get(key)
    if (queue === undefined) {
      queue = { object, waiting: [], inFlight: 0, reading: 0, loading: false, loaded: undefined }
      this.queues.set(key, queue)
    }
    return queue
  }

  private run(queue: ObjectQueue): void {
    while (queue.waiting.length > 0) {
      const head = queue.waiting[0] as Waiting
      if (!(head.writes ? this.startWrite(queue, head) : this.startRead(queue, head))) return
    }
    if (queue.inFlight === 0 && queue.reading === 0 && !queue.loading) this.queues.delete(objectKey(queue.object))
  }

  // Reads

  private startRead(queue: ObjectQueue, { session, op }: Waiting): boolean {
    if (queue.inFlight > 0 || queue.loading) return false
    if (this.recovery.blocksReads(queue.object)) {
      this.recovery.prioritize(queue.object)
      return false
    }
    if (!this.leaseIsHeld) {
      this.waitForLease()
      return false
    }
    queue.waiting.shift()
    queue.reading++
    const token = this.core.expectInInterval((input) => {
      if (input.kind !== 'read-done') return
      queue.reading--
      if (input.errno === errorTable.ECHECKSUM.errno) {
        queue.waiting.unshift({ session, op, writes: false })
        this.reportBadCopy(queue)
        return
      }
      if (!this.leaseIsHeld) {
        // Invariant 5: the promise ran out while the disk was read, so another primary may have written since.
        queue.waiting.unshift({ session, op, writes: false })
        return this.waitForLease()
      }
      this.readOps++
      this.readBytes += bytesOf(input.results)
      const results = input.results.map(withoutTemporaries)
      if (input.errno === 0) this.reply(session, op, results, zeroVersion)
      else this.failWith(session, op, input.errno, input.detail)
      this.run(queue)
    })
    this.core.emit({ kind: 'execute-read', object: op.object, ops: op.ops, token })
    return true
  }

  private waitForLease(): void {
    if (this.leaseTimerSet) return
    this.leaseTimerSet = true
    this.core.emit({ kind: 'set-timer', timer: 'lease-renew', delayMs: leaseRetryMs })
  }

  /** Finds out which version the bad copy should be, then has it replaced. */
  private reportBadCopy(queue: ObjectQueue): void {
    queue.loading = true
    this.core.count('checksumErrors')
    const token = this.core.expectInInterval((input) => {
      queue.loading = false
      const attribute = input.kind === 'loaded' ? input.state.xattrs.get(objectAttributeName) : undefined
      const version = attribute === undefined ? this.core.log.latestOf(queue.object)?.version : versionOf(attribute)
      if (version !== undefined) this.recovery.onBadCopy(queue.object, version)
      this.run(queue)
    })
    this.core.emit({ kind: 'load', request: { object: queue.object, omapKeys: [], extents: [] }, token })
  }

  // Writes

  private startWrite(queue: ObjectQueue, head: Waiting): boolean {
    if (queue.reading > 0 || queue.loading) return false
    const { object } = queue
    if (this.recovery.blocksReads(object) || this.recovery.blocksWrites(object)) {
      this.recovery.prioritize(object)
      return false
    }
    const state = this.stateFor(queue, head.op)
    if (state === undefined) return false
    const execution = executeWrite(this.core.pgId, object, head.op.ops, state)
    const changes = execution.kind === 'done' && (execution.steps.length > 0 || execution.after.exists)
    // Invariant 3: what is told about the object must not depend on a write that may yet be lost.
    if (execution.kind === 'done' && !changes && queue.inFlight > 0) return false
    queue.loaded = undefined
    queue.waiting.shift()
    if (execution.kind === 'failed') this.onFailed(queue, head, execution)
    else if (changes) this.order(queue, head, state, execution)
    else this.reply(head.session, head.op, execution.results, zeroVersion)
    return true
  }

  /**
   * A failure that depends on the object is ordered like a write, so that a resend fails again instead of succeeding after
   * its client has been told that it failed. (Ceph logs such errors, too.)
   */
  private onFailed(
    queue: ObjectQueue,
    { session, op }: Waiting,
    failure: Extract<Execution, { kind: 'failed' }>,
  ): void {
    const { code, detail } = failure
    if (failuresOfRequests.has(code)) return this.fail(session, op, code, detail)
    const { core } = this
    const entry: LogEntry = {
      kind: 'error',
      version: { epoch: core.map.epoch, version: core.log.head.version + 1 },
      priorVersion: zeroVersion,
      object: op.object,
      request: op.request,
      modifiedMs: core.clock.wallMs(),
      errno: errorTable[code].errno,
      pgObjects: core.objects,
      pgBytes: core.bytes,
    }
    this.replicate(queue, entry, [], { session, op, results: [] }, detail)
  }

  /** The object's state, from memory if that is enough; otherwise it is loaded and `run` is called again. */
  private stateFor(queue: ObjectQueue, op: ClientOp): ObjectState | undefined {
    if (queue.loaded !== undefined) return queue.loaded
    const key = objectKey(queue.object)
    const cached = this.cache.get(key)
    const wanted = loadRequestFor(queue.object, op.ops)
    if (cached !== undefined && wanted === undefined) return { ...cached, omap: [], extents: [] }
    queue.loading = true
    const request = wanted ?? { object: queue.object, omapKeys: [], extents: [] }
    const token = this.core.expectInInterval((input) => {
      queue.loading = false
      if (input.kind === 'loaded') {
        queue.loaded = input.state
        this.run(queue)
      } else if (input.kind === 'load-failed' && input.errno === errorTable.ECHECKSUM.errno) {
        this.reportBadCopy(queue)
      } else if (input.kind === 'load-failed') {
        const head = queue.waiting.shift()
        if (head !== undefined) this.failWith(head.session, head.op, input.errno, input.detail)
        this.run(queue)
      }
    })
    this.core.emit({ kind: 'load', request, token })
    return undefined
  }

  private order(
    queue: ObjectQueue,
    { session, op }: Waiting,
    before: ObjectState,
    execution: Extract<Execution, { kind: 'done' }>,
  ): void {
    const { core } = this
    const version: Version = { epoch: core.map.epoch, version: core.log.head.version + 1 }
    const { after } = execution
    const steps = [...execution.steps]
    const modifiedMs = core.clock.wallMs()
    let xattrs = after.xattrs
    if (after.exists) {
      const attribute = encodeObjectAttribute({
        version,
        userVersion: version.version,
        modifiedMs,
        request: op.request,
      })
      xattrs = new Map(xattrs).set(objectAttributeName, attribute)
      const attributes = new Map([[objectAttributeName, attribute]])
      steps.push({ kind: 'set-xattrs', collection: core.pgId, object: op.object, xattrs: attributes })
    }
    this.remember(op.object, { ...after, xattrs })
    const entry: LogEntry = {
      kind: after.exists ? 'modify' : 'delete',
      version,
      priorVersion: before.exists ? versionOf(before.xattrs.get(objectAttributeName)) : zeroVersion,
      object: op.object,
      request: op.request,
      modifiedMs,
      errno: 0,
      pgObjects: core.objects + (after.exists ? 1 : 0) - (before.exists ? 1 : 0),
      pgBytes: core.bytes + after.sizeBytes - before.sizeBytes,
    }
    this.writeOps++
    for (const step of execution.steps) if (step.kind === 'write') this.writeBytes += step.data.length
    this.replicate(queue, entry, steps, { session, op, results: execution.results })
  }

  private remember(object: ObjectId, state: CachedObject): void {
    const key = objectKey(object)
    this.cache.delete(key)
    this.cache.set(key, state)
    if (this.cache.size <= cachedObjectsMax) return
    const oldest = this.cache.keys().next().value
    if (oldest !== undefined) this.cache.delete(oldest)
  }

  private replicate(
    queue: ObjectQueue,
    entry: LogEntry,
    steps: readonly TransactionOp[],
    answer: InFlightWrite['replies'][number],
    detail = '',
  ): void {
    const { core } = this
    const tid = this.nextTid++
    const { request } = entry
    const missing = new Set<OsdId>([...core.mapping.acting, ...this.recovery.backfillTargets])
    const { version, errno } = entry
    const write: InFlightWrite = { tid, queue, request, version, errno, detail, missing, replies: [answer] }
    this.inFlight.set(tid, write)
    this.inFlightByRequest.set(request, write)
    queue.inFlight++
    const logStep = core.appendLog([entry])
    const trimTo = this.trimPoint()
    const seal = (ops: readonly TransactionOp[]): PgEnvelope =>
      core.seal({ kind: 'replicate', tid, entries: [entry], trimTo, transaction: { ops } })
    let whole: PgEnvelope | undefined
    for (const osd of missing) {
      if (osd === core.whoami) continue
      const applies = core.mapping.acting.includes(osd) || this.recovery.isWrittenTo(osd, entry.object)
      if (applies) whole ??= seal(steps)
      core.sendSealed(osd, applies && whole !== undefined ? whole : seal([]))
    }
    const trimmed = core.log.trim(trimTo)
    const own =
      trimmed.length === 0
        ? [...steps, logStep]
        : [...steps, logStep, core.recordOp(), removeLogEntries(core.pgId, trimmed)]
    core.emit({ kind: 'mark', session: answer.session, tid: answer.op.request.tid, stage: 'replicated' })
    core.transact(own, () => this.onCommitted(tid, core.whoami))
  }

  /** Cut in batches: a tenth of the log at a time, not an entry with every write. */
  private trimPoint(): Version {
    const { log, settings } = this.core
    const keep = this.recovery.isDegraded
      ? Math.max(settings.logEntriesMin, settings.logEntriesMax)
      : settings.logEntriesMin
    return log.length > keep * 1.1 ? (log.trimPoint(keep) ?? log.tail) : log.tail
  }

  onCommitted(tid: number, osd: OsdId): void {
    const write = this.inFlight.get(tid)
    if (write === undefined) return
    write.missing.delete(osd)
    if (write.missing.size > 0) return
    this.inFlight.delete(tid)
    this.inFlightByRequest.delete(write.request)
    write.queue.inFlight--
    assert(write.queue.inFlight >= 0, 'writes in flight are counted')
    for (const { session, op, results } of write.replies) {
      if (write.errno === 0) this.reply(session, op, results, write.version)
      else this.failWith(session, op, write.errno, write.detail)
    }
    this.run(write.queue)
  }

  // Answers

  private reply(session: number, op: ClientOp, results: readonly ObjectOpResult[], version: Version): void {
    this.core.emit({ kind: 'reply', session, reply: this.answer(op, 0, '', results, version) })
  }

  private fail(session: number, op: ClientOp, code: ErrorCode, detail: string): void {
    this.failWith(session, op, errorTable[code].errno, detail)
  }

  private failWith(session: number, op: ClientOp, errno: number, detail: string): void {
    this.core.emit({ kind: 'reply', session, reply: this.answer(op, errno, detail, [], zeroVersion) })
  }

  private answer(
    op: ClientOp,
    errno: number,
    detail: string,
    results: readonly ObjectOpResult[],
    version: Version,
  ): ClientOpReply {
    const { request, pgId, attempt } = op
    return {
      type: 'client-op-reply',
      request,
      pgId,
      epoch: this.core.map.epoch,
      errno,
      detail,
      results,
      version,
      attempt,
    }
  }
}

/** A request that was done before is answered with its version; what its reads said then is not kept. */
function noResults(op: ClientOp): readonly ObjectOpResult[] {
  return op.ops.map(() => ({ kind: 'none' }))
}

function withoutTemporaries(result: ObjectOpResult): ObjectOpResult {
  if (result.kind !== 'objects' || !result.objects.some(isTemporary)) return result
  return { ...result, objects: result.objects.filter((object) => !isTemporary(object)) }
}

function bytesOf(results: readonly ObjectOpResult[]): number {
  let total = 0
  for (const result of results) if (result.kind === 'data' || result.kind === 'extents') total += result.data.length
  return total
}
