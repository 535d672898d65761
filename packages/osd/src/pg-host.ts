/**
 * Drives one placement group: feeds its machine one input at a time and carries out what it wants.
 *
 * Invariant 1: the machine is never entered twice: an input that arises while effects run waits until they are done.
 * Invariant 2: effects start in the order given; `transact`s reach the store in that order, and so their commits return.
 * Invariant 3: a broken invariant, of the machine or of the store, ends the daemon with the machine's state in the log.
 */
import { ClusterError, compareBytes, errorTable, isClusterError, type PgId, type Timer, unreachable } from '@shoal/base'
import type {
  FrozenPg,
  OperatorAnswer,
  OperatorCommand,
  PgEffect,
  PgInput,
  PgTimer,
  ReservationSlot,
} from '@shoal/placement-group'
import { headSnap, type ObjectId, type ObjectOp, type ObjectOpResult } from '@shoal/wire'
import type { WorkOwner } from './op-scheduler.ts'
import type { PgServices } from './pg-services.ts'
import { ReadExecutor } from './read-executor.ts'
import { examineCopies } from './scrub-reader.ts'
import { loadObject, readPiece, scanObjects } from './store-reader.ts'

/** What the host needs of a machine; `PlacementGroup` is one. */
export interface PgMachine {
  step(input: PgInput): readonly PgEffect[]
  /** For `pg query` and dumps. */
  query(): unknown
  /** What scrub has found. */
  inconsistent(): unknown
  /** Ends it, for a split; undefined for one that has nothing to split, which goes on. */
  freeze(): FrozenPg | undefined
}

type Effect<K extends PgEffect['kind']> = Extract<PgEffect, { kind: K }>

export class PgHost implements WorkOwner {
  readonly pgId: PgId
  /** Grows when what waits for its turn at the disk is of no use any more. */
  round = 0
  private readonly machine: PgMachine
  private readonly services: PgServices
  private readonly reads: ReadExecutor
  private readonly timers = new Map<PgTimer, Timer>()
  private readonly reserved = new Set<ReservationSlot>()
  private queue: PgInput[] = []
  private readonly operators = new Map<number, (answer: OperatorAnswer) => void>()
  private operatorCount = 0
  private running = false
  private closed = false

  constructor(pgId: PgId, machine: PgMachine, services: PgServices) {
    this.pgId = pgId
    this.machine = machine
    this.services = services
    this.reads = new ReadExecutor(services.store, pgId)
  }

  /** Runs the machine to completion, unless it is running already. */
  feed(input: PgInput): void {
    if (this.closed) return
    if (this.running) {
      this.queue.push(input)
      return
    }
    this.running = true
    try {
      this.step(input)
      while (this.queue.length > 0) {
        const inputs = this.queue
        this.queue = []
        for (const next of inputs) this.step(next)
      }
    } catch (error) {
      this.abort(error)
    } finally {
      this.running = false
    }
  }

  query(): unknown {
    return this.machine.query()
  }

  inconsistent(): unknown {
    return this.machine.inconsistent()
  }

  /** Stops the machine, unless it has nothing to be split or merged. */
  freeze(): FrozenPg | undefined {
    const frozen = this.machine.freeze()
    if (frozen !== undefined) this.close()
    return frozen
  }

  /** Rejects with what the placement group says against it, and with ESHUTDOWN when it is gone from here. */
  operate(command: OperatorCommand): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const id = ++this.operatorCount
      this.operators.set(id, (answer) => {
        this.operators.delete(id)
        if (answer.kind === 'done') resolve(answer.result)
        else reject(answer.error)
      })
      this.feed({ kind: 'operator', id, command })
      // Without a map the machine takes no input, and after its end neither.
      const error = new ClusterError('EAGAIN', `this OSD does not serve ${this.pgId} now`, { retry: true })
      if (!this.running) this.operators.get(id)?.({ kind: 'failed', error })
    })
  }

  /** No further input; timers and reservations are given up. */
  close(): void {
    this.closed = true
    this.queue = []
    for (const timer of this.timers.values()) timer.cancel()
    for (const slot of this.reserved) this.releaseSlot(slot)
    this.giveBack()
  }

  private giveBack(): void {
    this.round++
    this.services.scheduler.giveBack(this)
  }

  private step(input: PgInput): void {
    if (this.closed) return
    for (const effect of this.machine.step(input)) this.run(effect)
  }

  private abort(error: unknown): never {
    const { env } = this.services
    let state: unknown
    try {
      state = this.machine.query()
    } catch (failure) {
      state = String(failure)
    }
    env.log.error('placement group failed', { pgId: this.pgId, state })
    return env.abort(`placement group ${this.pgId}`, error)
  }

  private run(effect: PgEffect): void {
    const { services } = this
    switch (effect.kind) {
      case 'send':
        return services.send(effect.to, effect.message)
      case 'reply':
        return services.reply(effect.session, effect.reply)
      case 'watch-event':
        return services.sendEvent(effect.session, effect.event)
      case 'park':
        return services.park(effect.session, effect.tid)
      case 'admit': {
        const { work, token } = effect
        return services.scheduler.submit(this, work, () => this.feed({ kind: 'admitted', token }))
      }
      case 'spent':
        return effect.admitted
          ? services.scheduler.spent(this, effect.work, effect.bytes)
          : services.scheduler.charge(effect.work, effect.bytes)
      case 'give-back':
        return this.giveBack()
      case 'transact':
        return this.transact(effect)
      case 'load':
        return this.load(effect)
      case 'execute-read':
        return this.executeRead(effect)
      case 'read-piece':
        return this.readPiece(effect)
      case 'scan':
        return this.scan(effect)
      case 'examine':
        return this.examine(effect)
      case 'list-records':
        return this.listRecords(effect)
      case 'set-timer':
        return this.setTimer(effect.timer, effect.delayMs)
      case 'cancel-timer':
        this.timers.get(effect.timer)?.cancel()
        this.timers.delete(effect.timer)
        return
      case 'reserve':
        return this.reserve(effect)
      case 'release':
        return this.releaseSlot(effect.slot)
      case 'removed':
        this.close()
        return services.removed(this.pgId)
      default:
        return this.tell(effect)
    }
  }

  /** Effects that only pass something on. */
  private tell(
    effect: Effect<
      | 'request-up-thru'
      | 'request-pg-temp'
      | 'publish-stats'
      | 'ask-quota'
      | 'operator-answer'
      | 'log'
      | 'count'
      | 'mark'
    >,
  ): void {
    const { services } = this
    switch (effect.kind) {
      case 'mark':
        return services.mark(effect.session, effect.tid, effect.stage)
      case 'count':
        return services.counters.add(effect.counter, effect.by)
      case 'publish-stats':
        return services.publishStats(effect.stats)
      case 'ask-quota':
        return services.askQuota(effect.ask)
      case 'operator-answer':
        return this.operators.get(effect.id)?.(effect.answer)
      case 'request-up-thru':
        return services.requestUpThru(effect.epoch)
      case 'request-pg-temp':
        return services.requestPgTemp(this.pgId, effect.osds)
      case 'log':
        return services.log(this.pgId, effect.level, effect.message, effect.cluster)
      default:
        return unreachable(effect)
    }
  }

  /**
   * A transaction that the machine has ordered cannot fail: its log entry is part of the PG's history by now. The space
   * that it needs was there when it was ordered (space-watch.ts).
   */
  private transact({ transaction, token }: Effect<'transact'>): void {
    const { store, env, counters, space } = this.services
    const submittedMs = env.clock.monotonicMs()
    const onDurable = space.onSubmit(transaction)
    store.submit(transaction).then(
      () => {
        onDurable()
        counters.commitLatencyUs.record((env.clock.monotonicMs() - submittedMs) * 1000)
        this.feed({ kind: 'committed', token })
      },
      (error: unknown) => {
        if (isClusterError(error, 'ESHUTDOWN')) return
        if (!this.closed) env.abort(`placement group ${this.pgId}: the store refused a transaction`, error)
      },
    )
  }

  private load({ request, token }: Effect<'load'>): void {
    loadObject(this.services.store, this.pgId, request).then(
      (state) => this.feed({ kind: 'loaded', token, state }),
      (error: unknown) => {
        const { errno, detail } = this.expected(error)
        this.feed({ kind: 'load-failed', token, errno, detail })
      },
    )
  }

  private executeRead({ client, object, ops, token }: Effect<'execute-read'>): void {
    const { store, env, counters } = this.services
    const startMs = env.clock.monotonicMs()
    const done = (errno: number, detail: string, results: readonly ObjectOpResult[], badObject?: ObjectId): void => {
      counters.storeReadLatencyUs.record((env.clock.monotonicMs() - startMs) * 1000)
      this.feed({ kind: 'read-done', token, errno, detail, results, badObject })
    }
    const single = singleRead(ops)
    if (single !== undefined && object.snap === headSnap) {
      // The usual operation, without the executor's bookkeeping.
      store.read(this.pgId, object, single.offset, single.length).then(
        (data) => done(0, '', [{ kind: 'data', data }]),
        (error: unknown) => {
          const { errno, detail } = this.expected(error)
          done(errno, detail, [])
        },
      )
      return
    }
    this.reads.execute(object, ops, { client, nowMs: env.clock.wallMs() }).then(
      (outcome) => {
        if (outcome.errno === errorTable.ECHECKSUM.errno) this.onChecksumError(outcome.detail)
        done(outcome.errno, outcome.detail, outcome.results, outcome.object)
      },
      (error: unknown) => this.abort(error),
    )
  }

  /** Whoever pulls it has waited for its turn at its own disk: here it only pays. */
  private readPiece(effect: Effect<'read-piece'>): void {
    const { token } = effect
    const { store, scheduler } = this.services
    readPiece(store, this.pgId, effect).then(
      (piece) => {
        scheduler.charge('recovery', piece?.extents.reduce((sum, { data }) => sum + data.length, 0) ?? 0)
        this.feed({ kind: 'piece-read', token, errno: piece === undefined ? errorTable.ENOENT.errno : 0, piece })
      },
      (error: unknown) => this.feed({ kind: 'piece-read', token, errno: this.expected(error).errno, piece: undefined }),
    )
  }

  private scan({ after, limit, token }: Effect<'scan'>): void {
    scanObjects(this.services.store, this.pgId, after, limit).then(
      ({ objects, more }) => this.feed({ kind: 'scanned', token, objects, more }),
      (error: unknown) => this.abort(error),
    )
  }

  private examine({ range, records, token }: Effect<'examine'>): void {
    if (records) this.services.scrubOwnRecords()
    examineCopies(this.services.store, this.pgId, range, records).then(
      (found) => {
        for (const { damage } of found.objects) if (damage !== 0) this.services.counters.add('scrubChecksumErrors')
        this.feed({ kind: 'examined', token, errno: 0, ...found })
      },
      (error: unknown) => {
        const { errno, detail } = this.expected(error)
        this.services.log(this.pgId, 'error', `scrub cannot read the store: ${detail}`, true)
        this.feed({ kind: 'examined', token, errno, objects: [], through: undefined, damagedRecords: [] })
      },
    )
  }

  /** Values are not asked for: a record whose value is damaged counts. */
  private listRecords({ from, to, limit, token }: Effect<'list-records'>): void {
    this.services.store.readableEntries(this.pgId, from, to, limit).then(
      ({ entries, damaged, more }) => {
        const keys = [...entries.map(({ key }) => key), ...damaged]
        if (damaged.length > 0) keys.sort(compareBytes)
        this.feed({ kind: 'records-listed', token, keys, more })
      },
      (error: unknown) => this.abort(error),
    )
  }

  private setTimer(timer: PgTimer, delayMs: number): void {
    this.timers.get(timer)?.cancel()
    this.timers.set(
      timer,
      this.services.env.timers.after(delayMs, () => {
        this.timers.delete(timer)
        this.feed({ kind: 'timer', timer })
      }),
    )
  }

  private reserve({ slot, priority, round }: Effect<'reserve'>): void {
    this.reserved.add(slot)
    this.services.reservers.of(slot).request(`${this.pgId} ${slot}`, priority, {
      onGranted: () => this.feed({ kind: 'reservation-granted', slot, round }),
      onPreempted: () => this.feed({ kind: 'reservation-revoked', slot, round }),
    })
  }

  private releaseSlot(slot: ReservationSlot): void {
    this.reserved.delete(slot)
    this.services.reservers.of(slot).release(`${this.pgId} ${slot}`)
  }

  private onChecksumError(detail: string): void {
    this.services.counters.add('storeChecksumErrors')
    this.services.log(this.pgId, 'error', `read found a bad block, repairing from another copy: ${detail}`, true)
  }

  /** An operating error of the store; anything else is a bug. */
  private expected(error: unknown): { readonly errno: number; readonly detail: string } {
    if (!isClusterError(error)) return this.abort(error)
    if (error.code === 'ECHECKSUM') this.onChecksumError(error.message)
    return { errno: error.errno, detail: error.message }
  }
}

function singleRead(ops: readonly ObjectOp[]): Extract<ObjectOp, { kind: 'read' }> | undefined {
  const [op] = ops
  return ops.length === 1 && op?.kind === 'read' && op.length <= singleReadBytesMax ? op : undefined
}

const singleReadBytesMax = 4 * 1024 * 1024
