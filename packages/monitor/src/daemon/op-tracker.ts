/** Commands in flight and the slowest of late, with the time at which each reached each stage: what `daemon ops` shows. */
import { type Clock, Histogram, type HistogramSummary } from '@shoal/base'

const slowKept = 20
const slowMs = 100

interface Op {
  readonly prefix: string
  readonly requestId: string
  readonly startedMs: number
  readonly stages: { readonly stage: string; readonly atMs: number }[]
}

export interface OpReport {
  readonly prefix: string
  readonly requestId: string
  readonly ageMs: number
  readonly stages: readonly { readonly stage: string; readonly atMs: number }[]
}

export class OpTracker {
  private readonly clock: Clock
  private readonly running = new Set<Op>()
  private readonly slow: OpReport[] = []
  private readonly latencyMs = new Histogram()

  constructor(clock: Clock) {
    this.clock = clock
  }

  /** Runs the operation; it tells which stage it has reached. */
  async track<T>(prefix: string, requestId: string, run: (stage: (name: string) => void) => Promise<T>): Promise<T> {
    const op: Op = { prefix, requestId, startedMs: this.clock.monotonicMs(), stages: [] }
    this.running.add(op)
    try {
      return await run((stage) => op.stages.push({ stage, atMs: this.clock.monotonicMs() - op.startedMs }))
    } finally {
      this.running.delete(op)
      const report = this.report(op)
      this.latencyMs.record(report.ageMs)
      if (report.ageMs >= slowMs) this.slow.push(report)
      if (this.slow.length > slowKept) this.slow.shift()
    }
  }

  summary(): HistogramSummary {
    return this.latencyMs.summary()
  }

  reports(): { readonly inFlight: readonly OpReport[]; readonly slow: readonly OpReport[] } {
    return { inFlight: [...this.running].map((op) => this.report(op)), slow: [...this.slow] }
  }

  private report(op: Op): OpReport {
    const { prefix, requestId, startedMs, stages } = op
    return { prefix, requestId, ageMs: this.clock.monotonicMs() - startedMs, stages: [...stages] }
  }
}
