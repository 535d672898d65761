/**
 * A latency or size histogram with buckets that grow by powers of two, each split in four: any quantile is right to
 * within 19 %, in 256 counters. Bucket 0 holds values below 1.
 */
export class Histogram {
  private readonly counts = new Float64Array(256)
  count = 0
  sum = 0
  max = 0

  record(value: number): void {
    this.count++
    this.sum += value
    if (value > this.max) this.max = value
    const index = value < 1 ? 0 : Math.min(255, 1 + Math.floor(Math.log2(value) * 4))
    this.counts[index] = (this.counts[index] as number) + 1
  }

  /** The upper edge of the bucket that holds the given fraction (0 to 1) of all values; 0 when there are none. */
  quantile(fraction: number): number {
    if (this.count === 0) return 0
    let left = Math.ceil(this.count * fraction)
    for (let i = 0; i < this.counts.length; i++) {
      left -= this.counts[i] as number
      if (left <= 0) return Math.min(this.max, i === 0 ? 1 : 2 ** (i / 4))
    }
    return this.max
  }

  summary(): HistogramSummary {
    return {
      count: this.count,
      mean: this.count === 0 ? 0 : this.sum / this.count,
      p50: this.quantile(0.5),
      p99: this.quantile(0.99),
      max: this.max,
    }
  }
}

export interface HistogramSummary {
  readonly count: number
  readonly mean: number
  readonly p50: number
  readonly p99: number
  readonly max: number
}
