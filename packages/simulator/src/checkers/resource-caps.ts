/** Everything is bounded: queues, retries, memory. What daemons count of themselves stays within what they promise. */
import type { Violation } from '../history.ts'

export interface ResourceCap {
  /** A name, or a pattern, of counters. */
  readonly counter: string | RegExp
  readonly max: number
}

export interface ResourceObservation {
  readonly daemon: string
  readonly atMs: number
  /** Gauges, by name: what is queued, held or used now. */
  readonly counters: Readonly<Record<string, number>>
}

export class ResourceCapChecker {
  /** The first time of each daemon and counter. */
  readonly violations: Violation[] = []
  /** The highest values seen. */
  readonly peaks: Map<string, number> = new Map()
  private readonly caps: readonly ResourceCap[]
  private readonly reported = new Set<string>()

  constructor(caps: readonly ResourceCap[]) {
    this.caps = caps
  }

  observe({ daemon, atMs, counters }: ResourceObservation): void {
    for (const [name, value] of Object.entries(counters)) {
      const cap = this.caps.find(({ counter }) => (typeof counter === 'string' ? counter === name : counter.test(name)))
      if (cap === undefined) continue
      this.peaks.set(name, Math.max(this.peaks.get(name) ?? 0, value))
      const sound = Number.isFinite(value) && value >= 0 && value <= cap.max
      if (sound || this.reported.has(`${daemon} ${name}`)) continue
      this.reported.add(`${daemon} ${name}`)
      const message = `${daemon}: ${name} is ${value} at ${atMs.toFixed(0)} ms; the cap is ${cap.max}`
      this.violations.push({ checker: 'resource-caps', message, details: counters })
    }
  }
}
