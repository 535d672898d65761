/**
 * Which kind of work is next, when the disk cannot do all at once: mClock (Gulati, Merchant, Varman: "mClock: Handling
 * Throughput Variability for Hypervisor IO Scheduling", OSDI 2010), as Ceph's OSDs use it. Pure.
 *
 * Each class has a reservation and a limit, in cost per millisecond, and a weight. The first waiting item of a class has
 * three tags: when its reservation has it due (R), when its limit allows it (L), and its place in the shared line (P).
 *
 * Invariants
 * 1. Of a class, items leave in the order in which they came.
 * 2. What is due by its reservation goes first, earliest R first. Else, of what its limit allows, lowest P first.
 * 3. What went by its weight does not use up the reservation of what comes after it.
 * 4. A class that was idle has saved nothing up: its tags begin now, or with those of the others where these are late.
 */

export interface ClassShare {
  /** Cost per millisecond that it is due, whatever the others want; 0 for none. */
  readonly reservation: number
  /** Of what is left when all reservations are served. */
  readonly weight: number
  /** Cost per millisecond that it never exceeds; infinity for none. */
  readonly limit: number
}

interface ClassState<T> {
  share: ClassShare
  readonly waiting: { readonly cost: number; readonly item: T }[]
  /** Where the tags of the next item begin. */
  reservedMs: number
  limitedMs: number
  place: number
  /** Cost of the others that went since the first that waits is first. */
  passed: number
}

export type Next<K, T> =
  | { readonly kind: 'item'; readonly of: K; readonly item: T; readonly cost: number }
  /** Nothing may go before then. */
  | { readonly kind: 'wait'; readonly untilMs: number }

export class MclockQueue<K extends string, T> {
  private readonly classes: ReadonlyMap<K, ClassState<T>>
  /** P of what went last by its weight: where a class that was idle begins. */
  private line = 0
  private count = 0

  constructor(shares: Readonly<Record<K, ClassShare>>) {
    const states = Object.entries<ClassShare>(shares).map(([name, share]): [K, ClassState<T>] => [
      name as K,
      { share, waiting: [], reservedMs: 0, limitedMs: 0, place: 0, passed: 0 },
    ])
    this.classes = new Map(states)
  }

  get size(): number {
    return this.count
  }

  waitingOf(name: K): number {
    return this.stateOf(name).waiting.length
  }

  /** What others were given since the first of the class waits to be next: the measure of whether it starves. */
  passedOf(name: K): number {
    return this.stateOf(name).passed
  }

  setShares(shares: Readonly<Record<K, ClassShare>>): void {
    for (const [name, state] of this.classes) state.share = shares[name]
  }

  enqueue(name: K, cost: number, item: T, nowMs: number): void {
    const state = this.stateOf(name)
    // Invariant 4.
    if (state.waiting.length === 0) {
      this.wake(state, nowMs)
      state.passed = 0
    }
    state.waiting.push({ cost, item })
    this.count++
  }

  /** Work of the class that did not wait here. */
  charge(name: K, cost: number, nowMs: number): void {
    const state = this.stateOf(name)
    if (state.waiting.length === 0) this.wake(state, nowMs)
    // Nobody waits: the line moves with whoever works.
    if (this.count === 0) this.line = Math.max(this.line, state.place)
    this.advance(state, cost)
    // What nobody contended for is not held against the reservation later.
    if (state.share.reservation > 0) {
      const fromMs = this.count === 0 ? nowMs : state.reservedMs
      state.reservedMs = fromMs + cost / state.share.reservation
    }
  }

  /** What an item cost more than was known when it went. */
  add(name: K, cost: number): void {
    const state = this.stateOf(name)
    this.advance(state, cost)
    if (state.share.reservation > 0) state.reservedMs += cost / state.share.reservation
  }

  /** Takes the next item, of one class where that alone may go. Undefined when nothing such waits. */
  next(nowMs: number, only?: K): Next<K, T> | undefined {
    let due: [K, ClassState<T>] | undefined
    let allowed: [K, ClassState<T>] | undefined
    let untilMs = Number.POSITIVE_INFINITY
    for (const [name, state] of this.classes) {
      if (state.waiting.length === 0 || (only !== undefined && name !== only)) continue
      const reservedMs = state.share.reservation > 0 ? state.reservedMs : Number.POSITIVE_INFINITY
      if (reservedMs <= nowMs) {
        if (due === undefined || state.reservedMs < due[1].reservedMs) due = [name, state]
        continue
      }
      untilMs = Math.min(untilMs, reservedMs)
      if (state.limitedMs > nowMs) untilMs = Math.min(untilMs, state.limitedMs)
      else if (allowed === undefined || state.place < allowed[1].place) allowed = [name, state]
    }
    if (due !== undefined) return this.take(due[0], due[1], true)
    if (allowed !== undefined) return this.take(allowed[0], allowed[1], false)
    return untilMs === Number.POSITIVE_INFINITY ? undefined : { kind: 'wait', untilMs }
  }

  /** Drops everything that waits, for a driver that ends. */
  clear(): void {
    for (const state of this.classes.values()) {
      state.waiting.length = 0
      state.passed = 0
    }
    this.count = 0
  }

  private stateOf(name: K): ClassState<T> {
    return this.classes.get(name) as ClassState<T>
  }

  private wake(state: ClassState<T>, nowMs: number): void {
    // Where reservations are more than can be done, all that wait are late: whoever comes back joins them.
    let firstDueMs = nowMs
    for (const { waiting, share, reservedMs } of this.classes.values()) {
      if (waiting.length > 0 && share.reservation > 0) firstDueMs = Math.min(firstDueMs, reservedMs)
    }
    state.reservedMs = Math.max(state.reservedMs, firstDueMs)
    state.limitedMs = Math.max(state.limitedMs, nowMs)
    state.place = Math.max(state.place, this.line)
  }

  private take(of: K, state: ClassState<T>, byReservation: boolean): Next<K, T> {
    const { cost, item } = state.waiting.shift() as ClassState<T>['waiting'][number]
    this.count--
    if (byReservation) state.reservedMs += cost / state.share.reservation
    // Invariant 3: R stays, as if it had not been there.
    else this.line = state.place
    this.advance(state, cost)
    for (const other of this.classes.values()) if (other.waiting.length > 0) other.passed += cost
    state.passed = 0
    return { kind: 'item', of, item, cost }
  }

  private advance(state: ClassState<T>, cost: number): void {
    state.limitedMs += cost / state.share.limit
    state.place += cost / state.share.weight
  }
}
