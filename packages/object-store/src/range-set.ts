/** Disjoint, ascending, non-touching half-open ranges of keys. A value: changes make a new set. */
import type { Key } from './layout.ts'

export interface KeySpan {
  readonly from: Key
  readonly to: Key
}

export class RangeSet {
  static readonly empty: RangeSet = new RangeSet([])
  readonly spans: readonly KeySpan[]

  private constructor(spans: readonly KeySpan[]) {
    this.spans = spans
  }

  has(key: Key): boolean {
    const span = this.spans[this.firstEndingAfter(key)]
    return span !== undefined && span.from <= key
  }

  /** The end of the span that holds the key. */
  endOf(key: Key): Key | undefined {
    const span = this.spans[this.firstEndingAfter(key)]
    return span !== undefined && span.from <= key ? span.to : undefined
  }

  with(from: Key, to: Key): RangeSet {
    if (from >= to) return this
    let first = this.firstEndingAfter(from)
    const before = this.spans[first - 1]
    if (before !== undefined && before.to === from) first--
    let end = first
    let low = from
    let high = to
    for (let span = this.spans[end]; span !== undefined && span.from <= to; span = this.spans[++end]) {
      if (span.from < low) low = span.from
      if (span.to > high) high = span.to
    }
    return new RangeSet([...this.spans.slice(0, first), { from: low, to: high }, ...this.spans.slice(end)])
  }

  /** Index of the first span with `to` above the key. */
  private firstEndingAfter(key: Key): number {
    let low = 0
    let high = this.spans.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.spans[middle] as KeySpan).to <= key) low = middle + 1
      else high = middle
    }
    return low
  }
}
