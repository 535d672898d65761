/**
 * The log in memory: everything after the snapshot. Which of it is durable is known (`stable`), so that nothing is
 * promised before it is.
 *
 * Invariants
 * 1. Entries are consecutive: the first has index `snapshotIndex + 1`.
 * 2. A committed entry is never replaced.
 */
import { assert } from '@shoal/base'
import type { Entry, Snapshot } from './messages.ts'

export class RaftLog {
  snapshotIndex: number
  snapshotTerm: number
  private entries: Entry[]
  /** Of the data of all entries. */
  bytes = 0
  /** Highest index known to be on stable storage here. */
  stable: number

  constructor(snapshot: Snapshot | undefined, entries: readonly Entry[]) {
    this.snapshotIndex = snapshot?.index ?? 0
    this.snapshotTerm = snapshot?.term ?? 0
    this.entries = [...entries]
    this.bytes = dataBytes(entries)
    assert(
      this.entries.every((entry, i) => entry.index === this.snapshotIndex + 1 + i),
      'invariant 1',
    )
    this.stable = this.lastIndex
  }

  get lastIndex(): number {
    return this.snapshotIndex + this.entries.length
  }

  get lastTerm(): number {
    return this.entries.at(-1)?.term ?? this.snapshotTerm
  }

  get length(): number {
    return this.entries.length
  }

  /** Undefined for an index that is not in the log (any more). */
  termAt(index: number): number | undefined {
    return index === this.snapshotIndex ? this.snapshotTerm : this.entries[index - this.snapshotIndex - 1]?.term
  }

  at(index: number): Entry | undefined {
    return this.entries[index - this.snapshotIndex - 1]
  }

  /** Entries [from, to], as many as fit in `bytesMax`, at least one. */
  slice(from: number, to: number, bytesMax: number = Number.POSITIVE_INFINITY): readonly Entry[] {
    assert(from > this.snapshotIndex, `entry ${from} is not behind the snapshot at ${this.snapshotIndex}`)
    const taken: Entry[] = []
    let bytes = 0
    for (let index = from; index <= Math.min(to, this.lastIndex); index++) {
      const entry = this.at(index) as Entry
      bytes += entry.data.length
      if (taken.length > 0 && bytes > bytesMax) break
      taken.push(entry)
    }
    return taken
  }

  /**
   * Where a leader whose entry at `index` is not ours should look next: below our end, and below all entries of the term
   * that conflicts (section 5.3, one rejection per term instead of one per entry), but not below what is committed.
   */
  lastBeforeConflict(index: number, commit: number): number {
    let hint = Math.min(this.lastIndex, index - 1)
    const conflicting = this.termAt(index)
    if (conflicting === undefined) return hint
    for (; hint > commit && this.termAt(hint) === conflicting; ) hint--
    return hint
  }

  append(entry: Entry): void {
    assert(entry.index === this.lastIndex + 1, 'invariant 1')
    this.entries.push(entry)
    this.bytes += entry.data.length
  }

  /** Drops entries from `index` on: they conflict with a leader's. */
  truncateFrom(index: number, commit: number): void {
    assert(index > commit, `invariant 2: entry ${index} is committed (${commit})`)
    this.bytes -= dataBytes(this.entries.splice(index - this.snapshotIndex - 1))
    this.stable = Math.min(this.stable, index - 1)
  }

  /** Forgets entries up to `index`, which a snapshot covers now. */
  compact(index: number): void {
    const term = this.termAt(index)
    assert(term !== undefined, `entry ${index} is in the log`)
    this.bytes -= dataBytes(this.entries.splice(0, index - this.snapshotIndex))
    this.snapshotIndex = index
    this.snapshotTerm = term
  }

  /** Replaces everything: the snapshot is ahead of all we have. */
  reset(snapshot: Snapshot): void {
    this.entries = []
    this.bytes = 0
    this.snapshotIndex = snapshot.index
    this.snapshotTerm = snapshot.term
    this.stable = snapshot.index
  }

  /** Section 5.4.1: the log with the later last term, or the longer one, is more up to date. */
  isUpToDate(lastIndex: number, lastTerm: number): boolean {
    return lastTerm > this.lastTerm || (lastTerm === this.lastTerm && lastIndex >= this.lastIndex)
  }
}

function dataBytes(entries: readonly Entry[]): number {
  return entries.reduce((sum, entry) => sum + entry.data.length, 0)
}
