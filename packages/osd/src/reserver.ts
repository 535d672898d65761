/**
 * Hands out a bounded number of slots by priority, first come first served among equals (Ceph's AsyncReserver). An OSD
 * has two: one for what it drives as primary, one for what it receives as replica.
 *
 * Invariant 1: never more grants are out than there are slots.
 * Invariant 2: a key is at most once in the reserver, waiting or granted; a repeated request changes nothing but, while it
 *              waits, its priority.
 * Grants are told by callback, possibly inside the call that caused them.
 */

interface Waiting {
  readonly priority: number
  readonly order: number
  readonly grant: () => void
}

export class Reserver {
  private readonly granted = new Set<string>()
  private readonly waiting = new Map<string, Waiting>()
  private slotsMax: number
  private order = 0

  constructor(slotsMax: number) {
    this.slotsMax = slotsMax
  }

  setSlots(slotsMax: number): void {
    this.slotsMax = slotsMax
    this.grantNext()
  }

  request(key: string, priority: number, grant: () => void): void {
    if (this.granted.has(key)) return
    const before = this.waiting.get(key)
    this.waiting.set(key, { priority, order: before?.order ?? this.order++, grant })
    this.grantNext()
  }

  /** Gives the slot back, or leaves the queue. Idempotent. */
  release(key: string): void {
    this.waiting.delete(key)
    if (this.granted.delete(key)) this.grantNext()
  }

  /** For `daemon perf` and `status`. */
  summary(): { readonly slots: number; readonly granted: readonly string[]; readonly waiting: readonly string[] } {
    return { slots: this.slotsMax, granted: [...this.granted], waiting: [...this.waiting.keys()] }
  }

  private grantNext(): void {
    while (this.granted.size < this.slotsMax && this.waiting.size > 0) {
      let best: readonly [string, Waiting] | undefined
      for (const entry of this.waiting) {
        if (best === undefined || comesBefore(entry[1], best[1])) best = entry
      }
      if (best === undefined) return
      this.waiting.delete(best[0])
      this.granted.add(best[0])
      best[1].grant()
    }
  }
}

function comesBefore(a: Waiting, b: Waiting): boolean {
  return a.priority > b.priority || (a.priority === b.priority && a.order < b.order)
}
