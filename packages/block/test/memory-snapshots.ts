/** Snapshots that clients manage, for a pool in memory: what is cloned when, who serves a snapshot, what clones share. */
import { ClusterError } from '@shoal/base'
import type { ByteSpan, ObjectOp, ObjectSnaps, SnapContext } from '@shoal/wire'
import { copyOf, type MemoryObject } from './memory-object.ts'

interface Clone {
  readonly id: number
  /** Newest first. */
  snaps: readonly number[]
  readonly object: MemoryObject
  /** Bytes that are the same in the next newer clone, or in the head. */
  readonly shared: Uint8Array
}

interface SnapSet {
  seq: number
  /** Oldest first. */
  clones: Clone[]
}

export class MemorySnapshots {
  private readonly sets = new Map<string, SnapSet>()
  private readonly removed = new Set<number>()
  private seq = 0

  create(): number {
    return ++this.seq
  }

  /** Trims at once. */
  remove(snap: number): void {
    this.removed.add(snap)
    for (const set of this.sets.values()) {
      for (const clone of [...set.clones]) {
        clone.snaps = clone.snaps.filter((one) => one !== snap)
        if (clone.snaps.length > 0) continue
        const at = set.clones.indexOf(clone)
        const older = set.clones[at - 1]
        older?.shared.forEach((shared, i) => {
          older.shared[i] = shared & (clone.shared[i] ?? 0)
        })
        set.clones.splice(at, 1)
      }
    }
  }

  at(name: string, head: MemoryObject | undefined, snap: number): MemoryObject | undefined {
    if (snap > this.seq || this.removed.has(snap)) throw new ClusterError('ENOENT', `the pool has no snapshot ${snap}`)
    const set = this.sets.get(name)
    if (set === undefined || snap > set.seq) return head
    const clone = set.clones.find(({ id }) => id >= snap)
    return clone !== undefined && (clone.snaps.at(-1) as number) <= snap ? clone.object : undefined
  }

  list(name: string, head: MemoryObject | undefined): ObjectSnaps {
    const set = this.sets.get(name) ?? { seq: 0, clones: [] }
    if (head === undefined && set.clones.length === 0) throw new ClusterError('ENOENT', 'no such object')
    const clones = set.clones.map(({ id, snaps, object, shared }) => {
      return { id, snaps, sizeBytes: object.bytes.length, overlap: spansOf(shared) }
    })
    return { seq: set.seq, clones, headBytes: head?.bytes.length }
  }

  /** How many clones there are of all objects. */
  get cloneCount(): number {
    return [...this.sets.values()].reduce((sum, { clones }) => sum + clones.length, 0)
  }

  beforeWrite(name: string, head: MemoryObject | undefined, context: SnapContext | undefined): void {
    if (context === undefined) return
    if (context.seq > this.seq) throw new ClusterError('EINVAL', `no snapshot ${context.seq} was given`)
    const set = this.sets.get(name) ?? { seq: 0, clones: [] }
    const snaps = context.snaps.filter((snap) => snap > set.seq && !this.removed.has(snap))
    if (head !== undefined && context.seq > set.seq && snaps.length > 0) {
      const shared = new Uint8Array(head.bytes.length).fill(1)
      set.clones.push({ id: snaps[0] as number, snaps, object: copyOf(head), shared })
    }
    set.seq = Math.max(set.seq, context.seq)
    this.sets.set(name, set)
  }

  afterWrite(name: string, ops: readonly ObjectOp[], after: MemoryObject | undefined): void {
    const clones = this.sets.get(name)?.clones ?? []
    const shared = clones.at(-1)?.shared
    if (shared === undefined) return
    for (const op of ops) {
      if (op.kind === 'write') shared.fill(0, op.offset, op.offset + op.data.length)
      else if (op.kind === 'zero') shared.fill(0, op.offset, op.offset + op.length)
      else if (op.kind === 'truncate') shared.fill(0, op.sizeBytes)
      else if (op.kind === 'remove') shared.fill(0)
      else if (op.kind === 'rollback') this.shareAfterRollback(clones, op.snap, shared, after)
    }
  }

  private shareAfterRollback(
    clones: readonly Clone[],
    snap: number,
    shared: Uint8Array,
    after: MemoryObject | undefined,
  ): void {
    const from = clones.findIndex(({ id }) => id >= snap)
    const newest = clones.at(-1)?.object.bytes
    if (from < 0) return
    shared.fill(0)
    // Byte for byte is what a snapset only says of what nobody wrote; it may say less, never more.
    after?.bytes.forEach((byte, i) => {
      if (i < shared.length && newest?.[i] === byte) shared[i] = 1
    })
  }
}

function spansOf(shared: Uint8Array): readonly ByteSpan[] {
  const spans: { offset: number; length: number }[] = []
  shared.forEach((one, offset) => {
    if (one === 0) return
    const last = spans.at(-1)
    if (last !== undefined && last.offset + last.length === offset) last.length++
    else spans.push({ offset, length: 1 })
  })
  return spans
}
