/**
 * One line for all that uses the disk: operations of clients, recovery and backfill, scrub, trimming of snapshots. Who comes
 * next mClock decides (mclock-queue.ts), by shares that a profile sets, under Ceph's names and with Ceph's figures
 * (https://docs.ceph.com/en/latest/rados/configuration/mclock-config-ref/).
 *
 * The disk is taken for one that does `osd_mclock_max_sequential_bandwidth` bytes per second; an operation costs
 * `osd_mclock_cost_per_op` besides its bytes.
 *
 * Invariants
 * 1. While nothing but clients' operations wants the disk, none of them waits here; they are counted.
 * 2. Operations of clients reach their placement groups in the order in which they came, whether they waited or not.
 * 3. What was let in runs at once and once; nothing runs after `stop`.
 */
import type { Env, Timer } from '@shoal/base'
import type { BackgroundWork } from '@shoal/placement-group'
import { type ClassShare, MclockQueue } from './mclock-queue.ts'
import type { OsdSettings } from './settings.ts'

type Work = 'client' | BackgroundWork

type Fractions = Readonly<Record<Work, readonly [reservation: number, weight: number, limit: number]>>

const none = Number.POSITIVE_INFINITY

const profiles: Readonly<Record<string, Fractions>> = {
  high_client_ops: {
    client: [0.6, 2, none],
    recovery: [0.4, 1, none],
    scrub: [0, 1, 0.7],
    snaptrim: [0, 1, 0.7],
  },
  balanced: {
    client: [0.5, 1, none],
    recovery: [0.5, 1, none],
    scrub: [0, 1, 0.9],
    snaptrim: [0, 1, 0.9],
  },
  high_recovery_ops: {
    client: [0.3, 1, none],
    recovery: [0.7, 2, none],
    scrub: [0, 1, none],
    snaptrim: [0, 1, none],
  },
}

/** How far ahead of its clock the disk is given work: a timer is no finer. */
const aheadMs = 2
/** Weight of the newest piece of work in what the next is expected to move. */
const learning = 0.2

type SchedulerSettings = Pick<
  OsdSettings,
  'osd_mclock_profile' | 'osd_mclock_max_sequential_bandwidth' | 'osd_mclock_cost_per_op'
>

export class OpScheduler {
  private readonly env: Pick<Env, 'clock' | 'timers'>
  private readonly settings: SchedulerSettings
  private readonly queue: MclockQueue<Work, () => void>
  /** Bytes that a piece of work of each kind moves, as far as the last ones tell. */
  private readonly expected: Record<BackgroundWork, number> = { recovery: 0, scrub: 0, snaptrim: 0 }
  private readonly done: Record<Work, number> = { client: 0, recovery: 0, scrub: 0, snaptrim: 0 }
  /** When the disk will have done what it was given. */
  private busyUntilMs = 0
  private timer: Timer | undefined
  private running = false
  private stopped = false

  /** Settings are read at use, but for the shares: `onSettings` takes them over. */
  constructor(env: Pick<Env, 'clock' | 'timers'>, settings: SchedulerSettings) {
    this.env = env
    this.settings = settings
    this.queue = new MclockQueue(this.shares())
  }

  onSettings(): void {
    this.queue.setShares(this.shares())
    this.pump()
  }

  stop(): void {
    this.stopped = true
    this.timer?.cancel()
    this.queue.clear()
  }

  /** True: go on. False: something else has its turn, and the operation is to be given to `hold`. */
  admitsClient(bytes: number): boolean {
    if (this.queue.size > 0) return false
    const nowMs = this.env.clock.monotonicMs()
    const cost = this.costOf(bytes)
    const before = this.busyUntilMs
    this.queue.charge('client', cost, nowMs)
    this.occupy('client', cost, nowMs)
    // A disk that is quicker than it is taken for owes nothing: nobody else waited.
    this.busyUntilMs = Math.max(before, Math.min(this.busyUntilMs, nowMs + aheadMs))
    return true
  }

  hold(bytes: number, run: () => void): void {
    this.enqueue('client', bytes, run)
  }

  /** Calls `run` when it is the work's turn, at once or later. It is taken to move as much as the last ones did. */
  submit(work: BackgroundWork, run: () => void): void {
    this.enqueue(work, this.expected[work], run)
  }

  /** Bytes that work of this kind has moved after it was let in: what they are more than was expected. */
  spent(work: BackgroundWork, bytes: number): void {
    const more = bytes - this.expected[work]
    this.expected[work] += more * learning
    if (more <= 0) return
    this.queue.add(work, more)
    this.occupy(work, more, this.env.clock.monotonicMs())
  }

  /** Work that could not wait for its turn: what comes after it does. */
  charge(work: BackgroundWork, bytes: number): void {
    const nowMs = this.env.clock.monotonicMs()
    const cost = this.costOf(bytes)
    this.queue.charge(work, cost, nowMs)
    this.occupy(work, cost, nowMs)
  }

  /** For `daemon perf`. */
  summary(): object {
    const { osd_mclock_profile: profile } = this.settings
    const waiting = Object.fromEntries(
      (Object.keys(this.done) as Work[]).map((work) => [work, this.queue.waitingOf(work)]),
    )
    return { profile, waiting, cost: { ...this.done } }
  }

  private enqueue(work: Work, bytes: number, run: () => void): void {
    if (this.stopped) return
    this.queue.enqueue(work, this.costOf(bytes), run, this.env.clock.monotonicMs())
    this.pump()
  }

  private shares(): Readonly<Record<Work, ClassShare>> {
    const { osd_mclock_profile: name, osd_mclock_max_sequential_bandwidth: bytesPerSecond } = this.settings
    const profile = profiles[name] ?? (profiles['balanced'] as Fractions)
    const perMs = bytesPerSecond / 1_000
    const share = ([reservation, weight, limit]: Fractions[Work]): ClassShare => ({
      reservation: reservation * perMs,
      weight,
      limit: limit * perMs,
    })
    const { client, recovery, scrub, snaptrim } = profile
    return { client: share(client), recovery: share(recovery), scrub: share(scrub), snaptrim: share(snaptrim) }
  }

  private costOf(bytes: number): number {
    return bytes + this.settings.osd_mclock_cost_per_op
  }

  private occupy(work: Work, cost: number, nowMs: number): void {
    this.done[work] += cost
    const perMs = this.settings.osd_mclock_max_sequential_bandwidth / 1_000
    this.busyUntilMs = Math.max(this.busyUntilMs, nowMs) + cost / perMs
  }

  private pump(): void {
    // What runs may bring more.
    if (this.running || this.stopped) return
    this.running = true
    try {
      for (;;) {
        const nowMs = this.env.clock.monotonicMs()
        // What is due does not ask whether the disk is free: all reservations together are no more than it does.
        const freeMs = this.busyUntilMs - aheadMs
        const next = this.queue.next(nowMs, freeMs > nowMs)
        if (next === undefined) return
        if (next.kind === 'wait')
          return this.wakeAt(freeMs > nowMs ? Math.min(freeMs, next.untilMs) : next.untilMs, nowMs)
        this.occupy(next.of, next.cost, nowMs)
        next.item()
      }
    } finally {
      this.running = false
    }
  }

  private wakeAt(atMs: number, nowMs: number): void {
    if (this.queue.size === 0) return
    this.timer?.cancel()
    this.timer = this.env.timers.after(Math.max(0, atMs - nowMs), () => this.pump())
  }
}
