/**
 * Virtual time: the event loop of a simulated world. Everything that waits in it, waits here.
 *
 * Invariants
 * 1. Time never goes back, and passes only between events.
 * 2. Events of one instant run in the order in which they were scheduled. Before the next one runs, every promise
 *    reaction that could run has run: the order of all that happens follows from the order of the events alone.
 * 3. Nothing of a scope runs after the scope ended.
 */
import { assert, type Clock, must, type Timer, type Timers } from '@shoal/base'

class SimEvent implements Timer {
  readonly atMs: number
  readonly order: number
  readonly scope: SimScope | undefined
  readonly run: () => void
  cancelled = false

  constructor(atMs: number, order: number, scope: SimScope | undefined, run: () => void) {
    this.atMs = atMs
    this.order = order
    this.scope = scope
    this.run = run
  }

  cancel(): void {
    this.cancelled = true
  }
}

/**
 * Runs promise reactions until none is left, within this turn of the real event loop. Node calls it itself after each of
 * its callbacks; a real turn per event, the documented way, costs six times as much.
 */
const runMicrotasks: () => void = must(
  (process as { readonly _tickCallback?: () => void })._tickCallback,
  'a way to run microtasks',
)
/** Captured before anybody forbids it. */
const nextTurn: (run: () => void) => void = setImmediate

const defaultWithinMs = 600_000
/** Then the real event loop gets a turn, for whoever reports progress. */
const eventsPerTurn = 10_000

type DriveEnd = 'done' | 'late' | 'idle'

export class SimTime {
  readonly timers: Timers
  /** Events that ran so far. */
  events = 0
  /** Told of each event before it runs. */
  onEvent: ((atMs: number, order: number) => void) | undefined
  /** Takes what events throw; without it, it comes out of the call that drives the time. */
  onError: ((error: unknown, scope: SimScope | undefined) => void) | undefined
  /** Wraps each turn of events. */
  aroundTurn: <T>(run: () => T) => T = (run) => run()
  private readonly heap: SimEvent[] = []
  private nextOrder = 0
  private currentMs = 0
  private running = false

  constructor() {
    this.timers = this.timersOf(undefined)
  }

  get nowMs(): number {
    return this.currentMs
  }

  /** Timers and clock of one life of one process; none of its callbacks runs after `end`. */
  scope(originMs = 0, error: ClockError = trueClock): SimScope {
    return new SimScope(this, originMs, error)
  }

  /** Runs what falls due within the next `ms` milliseconds, then stands at their end. */
  async advance(ms: number): Promise<void> {
    const endMs = this.currentMs + ms
    await this.drive(endMs)
    this.currentMs = endMs
  }

  /** Runs until nothing is left to happen. Throws when that takes longer, as it does with a periodic timer. */
  async runUntilIdle(withinMs: number = defaultWithinMs): Promise<void> {
    const end = await this.drive(this.currentMs + withinMs)
    if (end === 'late') throw new Error(`not idle after ${withinMs} ms of virtual time`)
  }

  /** Runs until the condition holds. Throws when it does not within the time, or when nothing is left to happen. */
  async until(condition: () => boolean, withinMs: number = defaultWithinMs): Promise<void> {
    const end = await this.drive(this.currentMs + withinMs, condition)
    if (end === 'idle') throw new Error('nothing is left to happen')
    if (end === 'late') throw new Error(`not within ${withinMs} ms of virtual time`)
  }

  /** Runs until the promise is settled, and gives its outcome. */
  async settle<T>(work: Promise<T>, withinMs: number = defaultWithinMs): Promise<T> {
    let settled = false
    const note = (): void => {
      settled = true
    }
    work.then(note, note)
    await this.until(() => settled, withinMs)
    return work
  }

  /** For scopes. */
  schedule(delayMs: number, scope: SimScope | undefined, run: () => void): Timer {
    const event = new SimEvent(this.currentMs + Math.max(0, delayMs), this.nextOrder++, scope, run)
    this.push(event)
    return event
  }

  /** For scopes. */
  timersOf(scope: SimScope | undefined): Timers {
    return {
      after: (delayMs, callback) => this.schedule(delayMs, scope, callback),
      soon: (callback) => {
        this.schedule(0, scope, callback)
      },
    }
  }

  private async drive(endMs: number, isDone: () => boolean = () => false): Promise<DriveEnd> {
    assert(!this.running, 'one at a time drives the simulated time')
    this.running = true
    try {
      return await new Promise<DriveEnd>((resolve, reject) => {
        let wasIdle = false
        const turn = (): void => {
          try {
            const end = this.aroundTurn(() => this.runTurn(endMs, isDone))
            // What is outside of the simulation (a module that compiles) may still bring something.
            const again = end === undefined || (end === 'idle' && !wasIdle)
            wasIdle = end === 'idle'
            if (again) nextTurn(turn)
            else resolve(end)
          } catch (error) {
            reject(error as Error)
          }
        }
        nextTurn(turn)
      })
    } finally {
      this.running = false
    }
  }

  /** Undefined: there is more to run. */
  private runTurn(endMs: number, isDone: () => boolean): DriveEnd | undefined {
    runMicrotasks()
    for (let count = 0; count < eventsPerTurn; count++) {
      if (isDone()) return 'done'
      const event = this.peek()
      if (event === undefined) return 'idle'
      if (event.atMs > endMs) return 'late'
      this.pop()
      assert(event.atMs >= this.currentMs, 'invariant 1')
      this.currentMs = event.atMs
      this.run(event)
      runMicrotasks()
    }
    return undefined
  }

  private run(event: SimEvent): void {
    this.events++
    this.onEvent?.(event.atMs, event.order)
    if (this.onError === undefined) {
      event.run()
      return
    }
    try {
      event.run()
    } catch (error) {
      this.onError(error, event.scope)
    }
  }

  /** The next event that will run; what was cancelled falls away without time passing. */
  private peek(): SimEvent | undefined {
    for (;;) {
      const first = this.heap[0]
      if (first === undefined) return undefined
      const { scope } = first
      if (!first.cancelled && scope?.ended !== true) {
        if (scope?.paused !== true) return first
        scope.hold(first.run, first)
      }
      this.pop()
    }
  }

  private push(event: SimEvent): void {
    const { heap } = this
    let at = heap.length
    heap.push(event)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (isBefore(heap[parent] as SimEvent, event)) break
      heap[at] = heap[parent] as SimEvent
      at = parent
    }
    heap[at] = event
  }

  private pop(): void {
    const { heap } = this
    const last = heap.pop() as SimEvent
    if (heap.length === 0) return
    let at = 0
    for (;;) {
      let child = at * 2 + 1
      if (child >= heap.length) break
      const right = heap[child + 1]
      if (right !== undefined && isBefore(right, heap[child] as SimEvent)) child++
      if (isBefore(last, heap[child] as SimEvent)) break
      heap[at] = heap[child] as SimEvent
      at = child
    }
    heap[at] = last
  }
}

function isBefore(a: SimEvent, b: SimEvent): boolean {
  return a.atMs === b.atMs ? a.order < b.order : a.atMs < b.atMs
}

/** The milliseconds of the Unix epoch at which simulated worlds begin. */
const wallOriginMs = 1_700_000_000_000

/** How a host's clocks differ from true time. */
export interface ClockError {
  /** Seconds that its monotonic clock counts in a true second. */
  readonly rate: number
  readonly wallOffsetMs: number
}

export const trueClock: ClockError = { rate: 1, wallOffsetMs: 0 }

/**
 * The time of one life of one process. Its monotonic clock has an origin of its own, as those of real hosts have, and may
 * run fast or slow; its wall clock may jump. Paused, nothing of it runs; what fell due meanwhile runs when it goes on.
 */
export class SimScope {
  readonly clock: Clock
  readonly timers: Timers
  ended = false
  private readonly time: SimTime
  private error: ClockError
  private held: { readonly run: () => void; readonly event: { readonly cancelled: boolean } | undefined }[] | undefined
  /** The monotonic clock showed this at that true time; it has run at the present rate since. */
  private shown: { readonly localMs: number; readonly trueMs: number }

  constructor(time: SimTime, originMs: number, error: ClockError = trueClock) {
    this.time = time
    this.error = error
    this.shown = { localMs: originMs + time.nowMs, trueMs: time.nowMs }
    const own = time.timersOf(this)
    this.timers = {
      after: (delayMs, callback) => own.after(delayMs / this.error.rate, callback),
      soon: (callback) => own.soon(callback),
    }
    this.clock = {
      monotonicMs: () => this.shown.localMs + (time.nowMs - this.shown.trueMs) * this.error.rate,
      wallMs: () => wallOriginMs + time.nowMs + this.error.wallOffsetMs,
    }
  }

  get paused(): boolean {
    return this.held !== undefined
  }

  end(): void {
    this.ended = true
    this.held = undefined
  }

  setClock(error: ClockError): void {
    this.shown = { localMs: this.clock.monotonicMs(), trueMs: this.time.nowMs }
    this.error = error
  }

  pause(): void {
    if (!this.ended) this.held ??= []
  }

  resume(): void {
    const held = this.held ?? []
    this.held = undefined
    for (const { run, event } of held) {
      this.time.schedule(0, this, () => {
        if (event?.cancelled !== true) run()
      })
    }
  }

  /** Runs it when the process goes on. Only while it is paused. */
  hold(run: () => void, event?: { readonly cancelled: boolean }): void {
    this.held?.push({ run, event })
  }
}
