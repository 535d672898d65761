/** Virtual time: what happens next, by time and then by order of scheduling. A binary heap. */
interface Scheduled {
  readonly atMs: number
  readonly order: number
  readonly run: () => void
}

export interface Cancellable {
  cancelled: boolean
}

export class EventQueue {
  nowMs = 0
  private readonly heap: Scheduled[] = []
  private order = 0

  after(delayMs: number, run: () => void): Cancellable {
    const handle: Cancellable = { cancelled: false }
    const guarded = (): void => {
      if (!handle.cancelled) run()
    }
    this.push({ atMs: this.nowMs + delayMs, order: this.order++, run: guarded })
    return handle
  }

  /** False when nothing is left. */
  step(): boolean {
    const next = this.pop()
    if (next === undefined) return false
    this.nowMs = next.atMs
    next.run()
    return true
  }

  private push(item: Scheduled): void {
    const { heap } = this
    heap.push(item)
    let at = heap.length - 1
    while (at > 0) {
      const parent = (at - 1) >>> 1
      if (!isBefore(heap[at] as Scheduled, heap[parent] as Scheduled)) break
      swap(heap, at, parent)
      at = parent
    }
  }

  private pop(): Scheduled | undefined {
    const { heap } = this
    const first = heap[0]
    const last = heap.pop()
    if (first === undefined || last === undefined || heap.length === 0) return first
    heap[0] = last
    let at = 0
    for (;;) {
      let least = at
      for (const child of [2 * at + 1, 2 * at + 2]) {
        if (child < heap.length && isBefore(heap[child] as Scheduled, heap[least] as Scheduled)) least = child
      }
      if (least === at) return first
      swap(heap, at, least)
      at = least
    }
  }
}

function isBefore(a: Scheduled, b: Scheduled): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)
}

function swap(heap: Scheduled[], a: number, b: number): void {
  const kept = heap[a] as Scheduled
  heap[a] = heap[b] as Scheduled
  heap[b] = kept
}
