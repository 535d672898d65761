/**
 * Hands out a bounded number of slots by priority, first come first served among equals (Ceph's AsyncReserver). An OSD
 * has two: one for what it drives as primary, one for what it receives as replica.
 *
 * Invariant 1: never more grants are out than there are slots.
 * Invariant 2: a key is at most once in the reserver, waiting or granted; a repeated request changes nothing but, while it
 *              waits, its priority.
 * Invariant 3: nobody waits while somebody of a lower priority holds a slot: the holder of the lowest priority that came
 *              last is preempted. It is out of the reserver then, and may ask again.
 * Grants and preemptions are told by callback, possibly inside the call that caused them; callbacks may call back.
 */

export interface ReservationCallbacks {
  onGranted(): void
  onPreempted(): void
}

interface Request {
  readonly priority: number
  readonly order: number
  readonly callbacks: ReservationCallbacks
}

export interface ReserverSummary {
  readonly slots: number
  readonly granted: readonly string[]
  readonly waiting: readonly string[]
  /** Since the start. */
  readonly grants: number
  readonly preemptions: number
}

export class Reserver {
  private readonly granted = new Map<string, Request>()
  private readonly waiting = new Map<string, Request>()
  private slotsMax: number
  private order = 0
  private granting = false
  private grants = 0
  private preemptions = 0

  constructor(slotsMax: number) {
    this.slotsMax = slotsMax
  }

  setSlots(slotsMax: number): void {
    this.slotsMax = slotsMax
    this.grantAll()
  }

  request(key: string, priority: number, callbacks: ReservationCallbacks): void {
    if (this.granted.has(key)) return
    const before = this.waiting.get(key)
    this.waiting.set(key, { priority, order: before?.order ?? this.order++, callbacks })
    this.grantAll()
  }

  /** Gives the slot back, or leaves the queue. Idempotent. */
  release(key: string): void {
    this.waiting.delete(key)
    if (this.granted.delete(key)) this.grantAll()
  }

  /** For `daemon perf` and `status`. */
  summary(): ReserverSummary {
    const { slotsMax, grants, preemptions } = this
    return {
      slots: slotsMax,
      granted: [...this.granted.keys()],
      waiting: [...this.waiting.keys()],
      grants,
      preemptions,
    }
  }

  /** One step after the other, each on what the callbacks of the one before have left. */
  private grantAll(): void {
    if (this.granting) return
    this.granting = true
    try {
      while (this.grantOne()) continue
    } finally {
      this.granting = false
    }
  }

  /** False: nothing to do. */
  private grantOne(): boolean {
    const next = first(this.waiting, comesBefore)
    if (next === undefined || this.slotsMax === 0) return false
    const [key, request] = next
    if (this.granted.size >= this.slotsMax) {
      const victim = first(this.granted, (a, b) => comesBefore(b, a))
      if (victim === undefined || victim[1].priority >= request.priority) return false
      this.granted.delete(victim[0])
      this.preemptions++
      this.grant(key, request)
      victim[1].callbacks.onPreempted()
    } else {
      this.grant(key, request)
    }
    return true
  }

  private grant(key: string, request: Request): void {
    this.waiting.delete(key)
    this.granted.set(key, request)
    this.grants++
    request.callbacks.onGranted()
  }
}

function comesBefore(a: Request, b: Request): boolean {
  return a.priority > b.priority || (a.priority === b.priority && a.order < b.order)
}

function first(
  requests: ReadonlyMap<string, Request>,
  before: (a: Request, b: Request) => boolean,
): readonly [string, Request] | undefined {
  let best: readonly [string, Request] | undefined
  for (const entry of requests) if (best === undefined || before(entry[1], best[1])) best = entry
  return best
}
