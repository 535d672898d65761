/** What `daemon perf` shows: counters and histograms by name, a few hundred bytes each, made at first use. */
import { Histogram, type HistogramSummary } from '@shoal/base'

export interface PerfSummary {
  readonly counters: Readonly<Record<string, number>>
  /** Units are last in the names: `Us`, `Bytes`. */
  readonly histograms: Readonly<Record<string, HistogramSummary>>
}

export class PerfCounters {
  /** Of client operations, arrival to reply. */
  readonly readLatencyUs: Histogram = new Histogram()
  readonly writeLatencyUs: Histogram = new Histogram()
  /** `submit` to durable, of every transaction. */
  readonly commitLatencyUs: Histogram = new Histogram()
  /** Reads of the store. */
  readonly storeReadLatencyUs: Histogram = new Histogram()
  readonly heartbeatRoundTripUs: Histogram = new Histogram()
  private readonly counters = new Map<string, number>()

  add(counter: string, by = 1): void {
    this.counters.set(counter, (this.counters.get(counter) ?? 0) + by)
  }

  get(counter: string): number {
    return this.counters.get(counter) ?? 0
  }

  summary(): PerfSummary {
    return {
      counters: Object.fromEntries([...this.counters].sort(([a], [b]) => (a < b ? -1 : 1))),
      histograms: {
        opReadLatencyUs: this.readLatencyUs.summary(),
        opWriteLatencyUs: this.writeLatencyUs.summary(),
        commitLatencyUs: this.commitLatencyUs.summary(),
        storeReadLatencyUs: this.storeReadLatencyUs.summary(),
        heartbeatRoundTripUs: this.heartbeatRoundTripUs.summary(),
      },
    }
  }
}
