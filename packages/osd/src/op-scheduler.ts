/**
 * One line for all that uses the disk: operations of clients, recovery and backfill, scrub, trimming of snapshots. Who comes
 * next mClock decides (mclock-queue.ts), by shares that a profile sets (mclock-profiles.ts); when, what is under way: so the
 * shares hold whatever the machine can do, and whatever limits it. docs/mechanisms/qos.md
 *
 * Invariants
 * 1. While nothing but clients' operations wants the disk, none of them waits here; they are counted.
 * 2. Operations of clients reach their placement groups in the order in which they came, whether they waited or not.
 * 3. What was let in runs at once and once; nothing runs after `stop`.
 * 4. Something of each side, clients and others, is always let in: either may wait for the other to end (a write for the
 *    recovery of its object).
 * 5. Background work that does not say when it is done counts as done after a while: what was lost must not take up room for
 *    good. What ends with an interval is given back at once.
 */
import { type Env, Histogram, type HistogramSummary, type Timer } from '@shoal/base'
import type { BackgroundWork } from '@shoal/placement-group'
import { type SchedulerSettings, type Shares, sharesOf, type Work } from './mclock-profiles.ts'
import { MclockQueue } from './mclock-queue.ts'

/** Weight of the newest piece of work in what the next is expected to move. */
const learning = 0.2
/** Invariant 5. */
const underWayMsMax = 500
/** Clients are there for so long after the last operation came: between two of them a disk is not idle, but about to be asked. */
const clientsStayMs = 50

interface Waiting {
  readonly run: () => void
  readonly sinceMs: number
  /** Of background work. */
  readonly owner?: WorkOwner
  readonly round?: number
}

/** Who has background work: a placement group. */
export interface WorkOwner {
  /** Grows with each interval: what was asked for before is nobody's work any more. */
  readonly round: number
}

interface UnderWay {
  readonly work: BackgroundWork
  readonly cost: number
  readonly sinceMs: number
  readonly owner: WorkOwner
}

interface ClassSummary {
  readonly waiting: number
  /** Let in so far, without those that did not wait. */
  readonly admitted: number
  readonly costBytes: number
  /** What others were given while the first one waits. */
  readonly passedBytes: number
  readonly waitUs: HistogramSummary
}

export interface SchedulerSummary {
  readonly profile: string
  readonly classes: Readonly<Record<Work, ClassSummary>>
}

function perWork<T>(make: (work: Work) => T): Record<Work, T> {
  return { client: make('client'), recovery: make('recovery'), scrub: make('scrub'), snaptrim: make('snaptrim') }
}

export class OpScheduler {
  private readonly env: Pick<Env, 'clock' | 'timers'>
  private readonly settings: SchedulerSettings
  private readonly clientOps: () => number
  private shares: Shares
  private readonly queue: MclockQueue<Work, Waiting>
  /** Bytes that a piece of work of each kind moves, as far as the last ones tell. */
  private readonly expected: Record<Work, number> = perWork(() => 0)
  private readonly costs: Record<Work, number> = perWork(() => 0)
  private readonly waitUs: Record<Work, Histogram> = perWork(() => new Histogram())
  /** Background work that was let in, oldest first. */
  private underWay: UnderWay[] = []
  /** Background work rests until then, while there are clients. */
  private restUntilMs = 0
  /** When the last operation of a client came. */
  private clientCameMs = Number.NEGATIVE_INFINITY
  private timer: Timer | undefined
  private running = false
  private stopped = false

  /**
   * Settings are read at use, but for the shares: `onSettings` takes them over. `clientOps`: operations of clients that are
   * not answered, those that wait here included.
   */
  constructor(env: Pick<Env, 'clock' | 'timers'>, settings: SchedulerSettings, clientOps: () => number) {
    this.env = env
    this.settings = settings
    this.clientOps = clientOps
    this.shares = sharesOf(settings)
    this.queue = new MclockQueue(this.shares.of)
  }

  onSettings(): void {
    this.shares = sharesOf(this.settings)
    this.queue.setShares(this.shares.of)
    this.pump()
  }

  stop(): void {
    this.stopped = true
    this.timer?.cancel()
    this.queue.clear()
  }

  /** True: go on. False: something else waits, too, and the operation is to be given to `hold`. */
  admitsClient(bytes: number): boolean {
    this.learn('client', bytes)
    const nowMs = this.env.clock.monotonicMs()
    this.clientCameMs = nowMs
    if (this.queue.size > 0) return false
    const cost = this.costOf(bytes)
    this.queue.charge('client', cost, nowMs)
    this.costs.client += cost
    return true
  }

  hold(bytes: number, run: () => void): void {
    this.enqueue('client', bytes, run)
  }

  /** A client's operation has ended. */
  onClientDone(): void {
    if (this.queue.size > 0) this.pump()
  }

  /** Calls `run` when it is the work's turn, at once or later. It is taken to move as much as the last ones did. */
  submit(owner: WorkOwner, work: BackgroundWork, run: () => void): void {
    this.enqueue(work, this.expected[work], run, owner)
  }

  /** Work of this kind that was let in is done, and has moved so many bytes: it pays what they are more than was expected. */
  spent(owner: WorkOwner, work: BackgroundWork, bytes: number): void {
    const more = bytes - this.expected[work]
    this.learn(work, bytes)
    if (more > 0) {
      this.queue.add(work, more)
      this.costs[work] += more
    }
    const at = this.underWay.findIndex((one) => one.owner === owner && one.work === work)
    const [done] = at >= 0 ? this.underWay.splice(at, 1) : []
    if (done !== undefined) {
      const nowMs = this.env.clock.monotonicMs()
      this.restUntilMs = nowMs + this.shares.rest * Math.min(nowMs - done.sinceMs, underWayMsMax)
    }
    this.pump()
  }

  /** None of the owner's work goes on. What waits takes up no room when its turn comes, once `round` has grown. */
  giveBack(owner: WorkOwner): void {
    const before = this.underWay.length
    this.underWay = this.underWay.filter((one) => one.owner !== owner)
    if (this.underWay.length < before) this.pump()
  }

  /** Work that could not wait for its turn: what comes after it does. */
  charge(work: BackgroundWork, bytes: number): void {
    const cost = this.costOf(bytes)
    this.queue.charge(work, cost, this.env.clock.monotonicMs())
    this.costs[work] += cost
  }

  /** For `daemon perf`. */
  summary(): SchedulerSummary {
    const { queue, costs, waitUs } = this
    const classes = perWork((work) => {
      const wait = waitUs[work].summary()
      const [waiting, passedBytes] = [queue.waitingOf(work), queue.passedOf(work)]
      return { waiting, admitted: wait.count, costBytes: costs[work], passedBytes, waitUs: wait }
    })
    return { profile: this.settings.osd_mclock_profile, classes }
  }

  private learn(work: Work, bytes: number): void {
    this.expected[work] += (bytes - this.expected[work]) * learning
  }

  private enqueue(work: Work, bytes: number, run: () => void, owner?: WorkOwner): void {
    if (this.stopped) return
    const nowMs = this.env.clock.monotonicMs()
    const item = owner === undefined ? { run, sinceMs: nowMs } : { run, sinceMs: nowMs, owner, round: owner.round }
    this.queue.enqueue(work, this.costOf(bytes), item, nowMs)
    this.pump()
  }

  private costOf(bytes: number): number {
    return bytes + this.settings.osd_mclock_cost_per_op
  }

  /** Whether what is under way leaves room for more; invariant 4. */
  private isOpen(): boolean {
    const clients = this.clientOps() - this.queue.waitingOf('client')
    if (clients <= 0 || this.underWay.length === 0) return true
    const background = this.underWay.reduce((sum, { cost }) => sum + cost, 0)
    return clients * this.costOf(this.expected.client) + background < this.shares.windowBytes
  }

  private hasClients(nowMs: number): boolean {
    return nowMs - this.clientCameMs < clientsStayMs || this.clientOps() > 0
  }

  private pump(): void {
    // What runs may bring more.
    if (this.running || this.stopped || this.queue.size === 0) return
    this.running = true
    try {
      for (;;) {
        const nowMs = this.env.clock.monotonicMs()
        while ((this.underWay[0]?.sinceMs ?? nowMs) <= nowMs - underWayMsMax) this.underWay.shift()
        // What is done pumps; what is lost must not be waited for longer.
        const lostMs = (this.underWay[0]?.sinceMs ?? Number.POSITIVE_INFINITY) + underWayMsMax
        if (!this.isOpen()) return this.wakeAt(lostMs, nowMs)
        const clientsOnly = nowMs < this.restUntilMs && this.hasClients(nowMs)
        const next = this.queue.next(nowMs, clientsOnly ? 'client' : undefined)
        if (next?.kind !== 'item') {
          const againMs = clientsOnly ? this.restUntilMs : Number.POSITIVE_INFINITY
          return this.wakeAt(Math.min(next?.untilMs ?? againMs, againMs), nowMs)
        }
        const { of: work, cost, item } = next
        this.costs[work] += cost
        this.waitUs[work].record((nowMs - item.sinceMs) * 1_000)
        const { owner, round } = item
        if (work !== 'client' && owner !== undefined && owner.round === round) {
          this.underWay.push({ work, cost, sinceMs: nowMs, owner })
        }
        item.run()
      }
    } finally {
      this.running = false
    }
  }

  private wakeAt(atMs: number, nowMs: number): void {
    this.timer?.cancel()
    if (this.queue.size === 0 || atMs === Number.POSITIVE_INFINITY) return
    this.timer = this.env.timers.after(Math.max(0, atMs - nowMs), () => this.pump())
  }
}
