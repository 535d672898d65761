/**
 * Watches and notifies on the primary: by which session each watcher is reached, when it was last heard of, and which
 * notifies wait for whom. Only what an operation asked about in this interval is known; who is registered stands in the
 * objects (object-watch.ts).
 *
 * Invariants
 * 1. A notify asks everybody who is registered when it begins, known by a session or not, and ends when each of them has
 *    acknowledged, has given its watch up, is dropped, or its time is over.
 * 2. An acknowledgement counts only from the session of the watcher's client, with its cookie, for a notify that asks it.
 * 3. A watcher is dropped only later than it has to take itself for dropped: it counts from when it sent its last ping that was
 *    answered, this side from when that ping came, and longer.
 * 4. What is under way ends with the interval; the notifier sends again, and it is another notify.
 */
import { wholePgId } from '@shoal/base'
import { isFenced, type OsdMap } from '@shoal/cluster-map'
import {
  type ClientOp,
  type NotifyOutcome,
  type ObjectId,
  type ObjectOp,
  type ObjectWatcher,
  objectKey,
  type WatchEvent,
  type WatchId,
  type WatchOp,
  zeroVersion,
} from '@shoal/wire'
import type { PgCore } from './core.ts'
import { describeWatch, isSameWatch } from './object-watch.ts'
import type { OpAnswers } from './op-answers.ts'

interface KnownWatch extends WatchId {
  readonly timeoutMs: number
  /** By which it is reached; undefined until it is heard of in this interval. */
  session: number | undefined
  deadlineMs: number
  /** It is on its way out of the object. */
  dropped: boolean
}

interface Notify {
  readonly id: number
  session: number
  op: ClientOp
  readonly data: Uint8Array
  readonly deadlineMs: number
  waiting: WatchId[]
  readonly acks: NotifyOutcome['acks'][number][]
  readonly timedOut: WatchId[]
}

interface WatchedObject {
  readonly object: ObjectId
  watches: KnownWatch[]
  readonly notifies: Map<number, Notify>
}

export interface WatchHooks {
  /** Takes a watcher out of the object for good. */
  drop(object: ObjectId, watch: WatchId): void
}

/** Of one placement group. */
const notifiesMax = 64
const notifyBytesMax = 1024 * 1024
const ackBytesMax = 1024 * 1024
/** Notifies of one interval. */
const idsPerInterval = 2 ** 20
/** How much longer than its watcher this side waits, against clocks that run apart. */
const graceFactor = 1.2

const noData = new Uint8Array(0)

type ReadingKind = 'list-watchers' | 'watch-ping' | 'notify'

/** The step of an operation that the object's watchers decide about, once they are read. */
export function watchReadOf(ops: readonly ObjectOp[]): Extract<WatchOp, { kind: ReadingKind }> | undefined {
  const op = ops[0]
  return op?.kind === 'notify' || op?.kind === 'watch-ping' || op?.kind === 'list-watchers' ? op : undefined
}

export class WatchTable {
  private readonly core: PgCore
  private readonly answers: OpAnswers
  private readonly hooks: WatchHooks
  private readonly objects = new Map<string, WatchedObject>()
  private notifyCount = 0
  private notifyBytes = 0
  private ackBytes = 0
  private ids = 0
  private timerMs: number | undefined
  private blocklist: OsdMap['blocklist'] | undefined

  constructor(core: PgCore, answers: OpAnswers, hooks: WatchHooks) {
    this.core = core
    this.answers = answers
    this.hooks = hooks
  }

  /** Objects that somebody watches, or notifies, as far as this interval knows. */
  get size(): number {
    return this.objects.size
  }

  /** The interval is over. Returns the notifies under way, for their answers. */
  reset(): readonly { readonly session: number; readonly op: ClientOp }[] {
    const notifies = [...this.objects.values()].flatMap(({ notifies: running }) => [...running.values()])
    this.objects.clear()
    this.notifyCount = 0
    this.notifyBytes = 0
    this.ackBytes = 0
    this.ids = 0
    if (this.timerMs !== undefined) this.core.emit({ kind: 'cancel-timer', timer: 'watch' })
    this.timerMs = undefined
    return notifies
  }

  /** The watchers of the object were read for this operation, in its turn. */
  onRead(
    session: number,
    op: ClientOp,
    step: Extract<WatchOp, { kind: ReadingKind }>,
    stored: readonly ObjectWatcher[],
  ): void {
    const entry = this.adopt(op.object, stored)
    const watches = entry.watches.filter(({ dropped }) => !dropped)
    if (step.kind === 'list-watchers') {
      const watchers = watches.map(({ client, cookie, timeoutMs }) => ({ client, cookie, timeoutMs }))
      this.answers.reply(session, op, [{ kind: 'watchers', watchers }], zeroVersion)
    } else if (step.kind === 'watch-ping') {
      const id = { client: op.request.client, cookie: step.cookie }
      const watch = watches.find((one) => isSameWatch(one, id))
      if (watch === undefined) {
        this.answers.fail(session, op, 'ENOTCONN', `${describeWatch(id)} does not watch it`)
      } else {
        this.heardOf(entry, watch, session)
        this.answers.reply(session, op, [{ kind: 'none' }], zeroVersion)
      }
    } else {
      this.begin(entry, watches, { session, op, step })
    }
    this.settle(entry)
  }

  /** An operation on the object is done that may have changed who watches it. */
  onWritten(session: number, op: ClientOp): void {
    const step = op.ops[0]
    if (step?.kind === 'watch') {
      const entry = this.entryOf(op.object)
      const id = { client: op.request.client, cookie: step.cookie }
      entry.watches = entry.watches.filter((watch) => !isSameWatch(watch, id))
      const watch: KnownWatch = { ...id, timeoutMs: step.timeoutMs, session: undefined, deadlineMs: 0, dropped: false }
      entry.watches.push(watch)
      this.heardOf(entry, watch, session)
      return
    }
    const entry = this.objects.get(objectKey(op.object))
    if (entry === undefined) return
    if (step?.kind === 'unwatch') {
      const own = step.client === 0
      const id = { client: own ? op.request.client : step.client, cookie: step.cookie }
      for (const watch of entry.watches) if (isSameWatch(watch, id)) this.leave(entry, watch, own)
    } else if (op.ops.some(({ kind }) => kind === 'remove')) {
      for (const watch of [...entry.watches]) this.leave(entry, watch, false)
    }
    this.settle(entry)
  }

  onAck(session: number, op: ClientOp, step: Extract<WatchOp, { kind: 'notify-ack' }>): void {
    const entry = this.objects.get(objectKey(op.object))
    const notify = entry?.notifies.get(step.notifyId)
    const id = { client: op.request.client, cookie: step.cookie }
    // Invariant 2.
    const asked = notify?.waiting.some((one) => isSameWatch(one, id)) === true
    if (entry === undefined || notify === undefined || !asked) {
      // Said twice, and the first time was heard.
      const known = notify?.acks.some((ack) => isSameWatch(ack, id)) === true
      if (known) this.answers.reply(session, op, [{ kind: 'none' }], zeroVersion)
      else this.answers.fail(session, op, 'ENOENT', `notify ${step.notifyId} does not wait for ${describeWatch(id)}`)
      return
    }
    if (this.ackBytes + step.data.length > ackBytesMax) {
      return this.answers.fail(session, op, 'EAGAIN', 'too many acknowledgements wait')
    }
    this.ackBytes += step.data.length
    notify.waiting = notify.waiting.filter((one) => !isSameWatch(one, id))
    notify.acks.push({ ...id, data: step.data.slice() })
    this.answers.reply(session, op, [{ kind: 'none' }], zeroVersion)
    this.maybeComplete(entry, notify)
    this.settle(entry)
  }

  /** A fence ends watches at once. */
  onMap(): void {
    const { map } = this.core
    if (map.blocklist === this.blocklist) return
    this.blocklist = map.blocklist
    for (const entry of [...this.objects.values()]) {
      for (const watch of [...entry.watches]) if (isFenced(map, watch.client)) this.drop(entry, watch)
      this.settle(entry)
    }
  }

  onTimer(): void {
    this.timerMs = undefined
    const nowMs = this.core.clock.monotonicMs()
    for (const entry of [...this.objects.values()]) {
      for (const watch of [...entry.watches]) if (watch.deadlineMs <= nowMs) this.drop(entry, watch)
      for (const notify of [...entry.notifies.values()]) {
        if (notify.deadlineMs > nowMs) continue
        notify.timedOut.push(...notify.waiting)
        notify.waiting = []
        this.maybeComplete(entry, notify)
      }
      this.settle(entry)
    }
  }

  /** For `pg query`. */
  summary(): object {
    let watchers = 0
    for (const { watches } of this.objects.values()) watchers += watches.length
    return { objects: this.objects.size, watchers, notifies: this.notifyCount }
  }

  // Watchers

  private entryOf(object: ObjectId): WatchedObject {
    const key = objectKey(object)
    let entry = this.objects.get(key)
    if (entry === undefined) {
      entry = { object, watches: [], notifies: new Map() }
      this.objects.set(key, entry)
    }
    return entry
  }

  /** Brings what is known in line with what is stored. One that is not known yet has its whole time to be heard of. */
  private adopt(object: ObjectId, stored: readonly ObjectWatcher[]): WatchedObject {
    const entry = this.entryOf(object)
    const { watches } = entry
    entry.watches = stored.map(
      (watcher) =>
        watches.find((watch) => isSameWatch(watch, watcher)) ?? {
          ...watcher,
          session: undefined,
          deadlineMs: this.deadlineOf(watcher.timeoutMs),
          dropped: false,
        },
    )
    for (const watch of [...entry.watches]) if (isFenced(this.core.map, watch.client)) this.drop(entry, watch)
    return entry
  }

  private deadlineOf(timeoutMs: number): number {
    return this.core.clock.monotonicMs() + timeoutMs * graceFactor
  }

  /** What it missed while it was reached by nothing, or by another session, is sent (again). */
  private heardOf(entry: WatchedObject, watch: KnownWatch, session: number): void {
    watch.deadlineMs = this.deadlineOf(watch.timeoutMs)
    this.wakeAt(watch.deadlineMs)
    if (watch.session === session) return
    watch.session = session
    for (const notify of entry.notifies.values()) {
      if (notify.waiting.some((one) => isSameWatch(one, watch))) this.tell(entry, watch, notify)
    }
  }

  private tell(entry: WatchedObject, watch: KnownWatch, notify: Notify | undefined): void {
    if (watch.session === undefined) return
    const event: WatchEvent = {
      type: 'watch-event',
      pgId: wholePgId(this.core.pgId),
      object: entry.object,
      cookie: watch.cookie,
      event: notify === undefined ? 'disconnect' : 'notify',
      notifyId: notify?.id ?? 0,
      notifier: notify?.op.request.client ?? 0,
      data: notify?.data ?? noData,
    }
    this.core.emit({ kind: 'watch-event', session: watch.session, event })
  }

  private drop(entry: WatchedObject, watch: KnownWatch): void {
    if (watch.dropped) return
    watch.dropped = true
    // Not asked about again before the object has forgotten it, or the interval ends.
    watch.deadlineMs = Number.POSITIVE_INFINITY
    this.tell(entry, watch, undefined)
    this.excuse(entry, watch, false)
    this.core.emit({
      kind: 'log',
      level: 'info',
      message: `${describeWatch(watch)} is dropped from the watchers of ${entry.object.name}`,
      cluster: false,
    })
    this.hooks.drop(entry.object, watch)
  }

  /** It is registered no more. */
  private leave(entry: WatchedObject, watch: KnownWatch, own: boolean): void {
    entry.watches = entry.watches.filter((one) => one !== watch)
    if (!own) this.tell(entry, watch, undefined)
    this.excuse(entry, watch, own)
  }

  /** No notify waits for it any more. */
  private excuse(entry: WatchedObject, watch: WatchId, own: boolean): void {
    for (const notify of [...entry.notifies.values()]) {
      const rest = notify.waiting.filter((one) => !isSameWatch(one, watch))
      if (rest.length === notify.waiting.length) continue
      notify.waiting = rest
      if (!own) notify.timedOut.push({ client: watch.client, cookie: watch.cookie })
      this.maybeComplete(entry, notify)
    }
  }

  // Notifies

  private begin(
    entry: WatchedObject,
    watches: readonly KnownWatch[],
    { session, op, step }: { session: number; op: ClientOp; step: Extract<WatchOp, { kind: 'notify' }> },
  ): void {
    const { request } = op
    for (const notify of entry.notifies.values()) {
      const known = notify.op.request
      if (known.client !== request.client || known.tid !== request.tid) continue
      // Its session broke, and it was sent again on another.
      notify.session = session
      notify.op = op
      return this.core.emit({ kind: 'park', session, tid: request.tid })
    }
    if (
      this.notifyCount >= notifiesMax ||
      this.notifyBytes + step.data.length > notifyBytesMax ||
      this.ids >= idsPerInterval
    ) {
      return this.answers.fail(session, op, 'EAGAIN', 'too many notifies are under way')
    }
    const notify: Notify = {
      id: this.core.interval.since * idsPerInterval + this.ids++,
      session,
      op,
      data: step.data.slice(),
      deadlineMs: this.core.clock.monotonicMs() + step.timeoutMs,
      waiting: watches.map(({ client, cookie }) => ({ client, cookie })),
      acks: [],
      timedOut: [],
    }
    entry.notifies.set(notify.id, notify)
    this.notifyCount++
    this.notifyBytes += notify.data.length
    this.core.count('notifies')
    if (watches.length > 0) {
      this.core.emit({ kind: 'park', session, tid: request.tid })
      this.wakeAt(notify.deadlineMs)
      for (const watch of watches) this.tell(entry, watch, notify)
    }
    this.maybeComplete(entry, notify)
  }

  private maybeComplete(entry: WatchedObject, notify: Notify): void {
    if (notify.waiting.length > 0 || !entry.notifies.delete(notify.id)) return
    this.notifyCount--
    this.notifyBytes -= notify.data.length
    for (const { data } of notify.acks) this.ackBytes -= data.length
    const { id: notifyId, acks, timedOut, session, op } = notify
    this.answers.reply(session, op, [{ kind: 'notified', notifyId, acks, timedOut }], zeroVersion)
  }

  // Time

  private settle(entry: WatchedObject): void {
    if (entry.watches.length === 0 && entry.notifies.size === 0) this.objects.delete(objectKey(entry.object))
    for (const { deadlineMs } of entry.watches) this.wakeAt(deadlineMs)
    for (const { deadlineMs } of entry.notifies.values()) this.wakeAt(deadlineMs)
  }

  private wakeAt(deadlineMs: number): void {
    if (!Number.isFinite(deadlineMs) || (this.timerMs !== undefined && this.timerMs <= deadlineMs)) return
    this.timerMs = deadlineMs
    const delayMs = Math.max(0, deadlineMs - this.core.clock.monotonicMs())
    this.core.emit({ kind: 'set-timer', timer: 'watch', delayMs })
  }
}
