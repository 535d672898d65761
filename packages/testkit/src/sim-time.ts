/**
 * Virtual time: the event loop of a simulated world. Everything that waits in it, waits here.
 *
 * Invariants
 * 1. Time never goes back, and passes only between events.
 * 2. Events of one instant run in the order in which they were scheduled. Before the next one runs, every promise
 *    reaction that could run has run: the order of all that happens follows from the order of the events alone.
 * 3. Nothing of a scope runs after the scope ended.
 */
import { assert, type Clock, type Timer, type Timers } from '@shoal/base'

interface SimEvent {
  readonly atMs: number
  readonly order: number
  readonly scope: SimScope | undefined
  readonly run: () => void
  cancelled: boolean
}

/** Lets every promise reaction run that can: the macrotask comes only when no microtask is left. */
function settleMicrotasks(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

const defaultWithinMs = 600_000

export class SimTime {
  readonly timers: Timers
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
  scope(originMs = 0): SimScope {
    return new SimScope(this, originMs)
  }

  /** Runs what falls due within the next `ms` milliseconds, then stands at their end. */
  async advance(ms: number): Promise<void> {
    const endMs = this.currentMs + ms
    await this.exclusively(async () => {
      while (await this.runNext(endMs)) continue
    })
    this.currentMs = endMs
  }

  /** Runs until nothing is left to happen. Throws when that takes longer, as it does with a periodic timer. */
  async runUntilIdle(withinMs: number = defaultWithinMs): Promise<void> {
    const endMs = this.currentMs + withinMs
    await this.exclusively(async () => {
      while (await this.runNext(endMs)) continue
    })
    const next = this.peek()
    if (next !== undefined) throw new Error(`not idle after ${withinMs} ms of virtual time`)
  }

  /** Runs until the condition holds. Throws when it does not within the time, or when nothing is left to happen. */
  async until(condition: () => boolean, withinMs: number = defaultWithinMs): Promise<void> {
    const endMs = this.currentMs + withinMs
    await this.exclusively(async () => {
      await settleMicrotasks()
      while (!condition()) {
        if (await this.runNext(endMs)) continue
        const idle = this.peek() === undefined
        throw new Error(idle ? 'nothing is left to happen' : `not within ${withinMs} ms of virtual time`)
      }
    })
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
    const atMs = this.currentMs + Math.max(0, delayMs)
    const event: SimEvent = { atMs, order: this.nextOrder++, scope, run, cancelled: false }
    this.push(event)
    return {
      cancel: () => {
        event.cancelled = true
      },
    }
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

  private async exclusively(work: () => Promise<void>): Promise<void> {
    assert(!this.running, 'one at a time drives the simulated time')
    this.running = true
    try {
      await work()
    } finally {
      this.running = false
    }
  }

  /** False when nothing is due by `endMs`. */
  private async runNext(endMs: number): Promise<boolean> {
    await settleMicrotasks()
    const event = this.peek()
    if (event === undefined || event.atMs > endMs) return false
    this.pop()
    assert(event.atMs >= this.currentMs, 'invariant 1')
    this.currentMs = event.atMs
    event.run()
    await settleMicrotasks()
    return true
  }

  /** The next event that will run; what was cancelled falls away without time passing. */
  private peek(): SimEvent | undefined {
    for (;;) {
      const first = this.heap[0]
      if (first === undefined) return undefined
      if (!first.cancelled && first.scope?.ended !== true) return first
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

/** The time of one life of one process. Its monotonic clock has an origin of its own, as those of real hosts have. */
export class SimScope {
  readonly clock: Clock
  readonly timers: Timers
  ended = false

  constructor(time: SimTime, originMs: number) {
    this.timers = time.timersOf(this)
    this.clock = {
      monotonicMs: () => originMs + time.nowMs,
      wallMs: () => wallOriginMs + time.nowMs,
    }
  }

  end(): void {
    this.ended = true
  }
}
