/**
 * Sets of snapshot ids as spans. Ids are given in a row, so that what was removed gathers in few spans: at most one more
 * than there are snapshots left between them.
 *
 * Invariant: spans are in order, do not meet and do not touch. (Ceph's `interval_set<snapid_t>`.)
 */
import { array, type Codec, struct, u64 } from '@shoal/base'

/** Both ends belong to it. */
export interface SnapInterval {
  readonly first: number
  readonly last: number
}

export type SnapIntervals = readonly SnapInterval[]

export const noSnaps: SnapIntervals = []

export const snapIntervalsCodec: Codec<SnapIntervals> = array(struct<SnapInterval>({ first: u64(), last: u64() }))

export function hasSnap(set: SnapIntervals, snap: number): boolean {
  return set.some(({ first, last }) => first <= snap && snap <= last)
}

/** Whatever spans are given, in whatever order: a set that holds the invariant. */
function normalized(spans: readonly SnapInterval[]): SnapIntervals {
  const merged: { first: number; last: number }[] = []
  for (const { first, last } of spans.toSorted((a, b) => a.first - b.first)) {
    const before = merged.at(-1)
    if (before !== undefined && first <= before.last + 1) before.last = Math.max(before.last, last)
    else merged.push({ first, last })
  }
  return merged
}

export function uniteSnaps(a: SnapIntervals, b: SnapIntervals): SnapIntervals {
  if (b.length === 0) return a
  return a.length === 0 ? b : normalized([...a, ...b])
}

export function withSnap(set: SnapIntervals, snap: number): SnapIntervals {
  return uniteSnaps(set, [{ first: snap, last: snap }])
}

export function intersectSnaps(a: SnapIntervals, b: SnapIntervals): SnapIntervals {
  const common: SnapInterval[] = []
  for (const one of a) {
    for (const other of b) {
      const first = Math.max(one.first, other.first)
      const last = Math.min(one.last, other.last)
      if (first <= last) common.push({ first, last })
    }
  }
  return common
}

/** What `a` holds and `b` does not. */
export function subtractSnaps(a: SnapIntervals, b: SnapIntervals): SnapIntervals {
  if (a.length === 0 || b.length === 0) return a
  const left: SnapInterval[] = []
  for (const { first, last } of a) {
    let from = first
    for (const gap of b) {
      if (gap.last < from || gap.first > last) continue
      if (gap.first > from) left.push({ first: from, last: gap.first - 1 })
      from = gap.last + 1
    }
    if (from <= last) left.push({ first: from, last })
  }
  return left
}

export function countSnaps(set: SnapIntervals): number {
  return set.reduce((sum, { first, last }) => sum + last - first + 1, 0)
}

export function sameSnaps(a: SnapIntervals, b: SnapIntervals): boolean {
  return a.length === b.length && a.every((span, at) => span.first === b[at]?.first && span.last === b[at]?.last)
}
