/**
 * What is known of an object's clones: the snapset, an attribute of the head, or, while the head is removed, of the object
 * that stands for it (the snapdir). Pure.
 *
 * Invariants
 * 1. Clones go from the oldest to the newest; each has the id of the newest snapshot that it serves.
 * 2. A snapshot above `seq` is served by the head: nobody has written since it was taken.
 * 3. Of head and snapdir at most one exists; a snapdir has clones.
 */
import { type Codec, decode, encode, versioned } from '@shoal/base'
import {
  type ByteSpan,
  headSnap,
  type ObjectId,
  type SnapClone,
  type SnapContext,
  type SnapSet,
  sameObjectIds,
  snapDirSnap,
  snapIdsCodec,
  snapSetCodec,
  type TransactionOp,
} from '@shoal/wire'

export const snapSetAttribute = '_snapset'
/** Of a clone: the snapshots that it serves. */
export const snapsAttribute = '_snaps'

export const noSnapSet: SnapSet = { seq: 0, clones: [] }

const storedSnapSetCodec: Codec<SnapSet> = versioned<SnapSet>(1, 1, 'snapset', snapSetCodec)
const storedSnapsCodec: Codec<readonly number[]> = versioned<readonly number[]>(1, 1, 'snaps of a clone', snapIdsCodec)

/** Attributes stay the same bytes from one write to the next: they are read once. */
const decoded = new WeakMap<Uint8Array, SnapSet>()

export function encodeSnapSet(set: SnapSet): Uint8Array {
  const encoded = encode(storedSnapSetCodec, set).slice()
  decoded.set(encoded, set)
  return encoded
}

export function snapSetIn(xattrs: ReadonlyMap<string, Uint8Array>): SnapSet | undefined {
  const encoded = xattrs.get(snapSetAttribute)
  if (encoded === undefined) return undefined
  let set = decoded.get(encoded)
  if (set === undefined) {
    set = decode(storedSnapSetCodec, encoded)
    decoded.set(encoded, set)
  }
  return set
}

export function encodeSnaps(snaps: readonly number[]): Uint8Array {
  return encode(storedSnapsCodec, snaps).slice()
}

export function snapsIn(xattrs: ReadonlyMap<string, Uint8Array>): readonly number[] {
  const encoded = xattrs.get(snapsAttribute)
  return encoded === undefined ? [] : decode(storedSnapsCodec, encoded)
}

/** Where an object is found as it was at a snapshot. */
export type SnapTarget =
  | { readonly kind: 'head' }
  | { readonly kind: 'clone'; readonly clone: SnapClone }
  /** It did not exist then. */
  | { readonly kind: 'absent' }

const absent: SnapTarget = { kind: 'absent' }

export function resolveSnap(set: SnapSet | undefined, headExists: boolean, snap: number): SnapTarget {
  if (set === undefined || snap > set.seq) return headExists ? { kind: 'head' } : absent
  const clone = set.clones.find(({ id }) => id >= snap)
  // The clone is of later snapshots only: the object came to be after this one.
  return clone !== undefined && (clone.snaps.at(-1) as number) <= snap ? { kind: 'clone', clone } : absent
}

/** The snapshots that a clone would serve that is made now, newest first; empty when none is needed. */
export function snapsSince(set: SnapSet, context: SnapContext): readonly number[] {
  return context.seq > set.seq ? context.snaps.filter((snap) => snap > set.seq) : []
}

export function withClone(set: SnapSet, snaps: readonly number[], sizeBytes: number): SnapSet {
  const overlap = sizeBytes === 0 ? [] : [{ offset: 0, length: sizeBytes }]
  const clone = { id: snaps[0] as number, snaps, sizeBytes, overlap }
  return { ...set, clones: [...withinBudget(set.clones), clone] }
}

/** The clone is gone; what its older neighbour has in common with the next is what both pairs had. */
export function withoutClone(set: SnapSet, id: number): SnapSet {
  const at = set.clones.findIndex((clone) => clone.id === id)
  const gone = set.clones[at]
  if (gone === undefined) return set
  const clones = set.clones.filter((clone) => clone !== gone)
  const older = set.clones[at - 1]
  if (older !== undefined) clones[at - 1] = { ...older, overlap: commonSpans(older.overlap, gone.overlap) }
  return { ...set, clones }
}

export function withSnapsOf(set: SnapSet, id: number, snaps: readonly number[]): SnapSet {
  return { ...set, clones: set.clones.map((clone) => (clone.id === id ? { ...clone, snaps } : clone)) }
}

/** After steps on the head: what they wrote it does not have in common with its newest clone any more. */
export function afterSteps(
  set: SnapSet,
  steps: readonly TransactionOp[],
  head: Parameters<typeof sameObjectIds>[0],
): SnapSet {
  const newest = set.clones.at(-1)
  if (newest === undefined || newest.overlap.length === 0) return set
  let { overlap } = newest
  for (const step of steps) {
    if (!('object' in step) || !sameObjectIds(step.object, head)) continue
    if (step.kind === 'write') overlap = cutSpan(overlap, step.offset, step.offset + step.data.length)
    else if (step.kind === 'zero') overlap = cutSpan(overlap, step.offset, step.offset + step.length)
    else if (step.kind === 'truncate') overlap = cutSpan(overlap, step.sizeBytes, Number.MAX_SAFE_INTEGER)
    else if (step.kind === 'remove') overlap = []
  }
  return overlap === newest.overlap ? set : withNewestOverlap(set, overlap)
}

/** After the head was made anew from one of its clones. */
export function afterRollback(set: SnapSet, id: number): SnapSet {
  const from = set.clones.find((clone) => clone.id === id)
  if (from === undefined) return set
  let overlap: readonly ByteSpan[] = from.sizeBytes === 0 ? [] : [{ offset: 0, length: from.sizeBytes }]
  // From the clone on, each with the next: what all have in common the newest has in common with it.
  for (const clone of set.clones)
    if (clone.id >= id && clone !== set.clones.at(-1)) overlap = commonSpans(overlap, clone.overlap)
  return withNewestOverlap(set, overlap)
}

function withNewestOverlap(set: SnapSet, overlap: readonly ByteSpan[]): SnapSet {
  const newest = set.clones.at(-1)
  if (newest === undefined) return set
  return { ...set, clones: [...set.clones.slice(0, -1), { ...newest, overlap: bounded(overlap) }] }
}

/** What clones take besides the head: bytes that no newer one has in common with them. */
export function cloneBytes(set: SnapSet): number {
  let total = 0
  for (const { sizeBytes, overlap } of set.clones) {
    total += sizeBytes
    for (const { length } of overlap) total -= length
  }
  return total
}

/** What an object adds to the objects and bytes of its group: a head or snapdir for its clones, too, which add nothing. */
export function countObject(
  { snap }: ObjectId,
  { sizeBytes, xattrs }: { readonly sizeBytes: number; readonly xattrs: ReadonlyMap<string, Uint8Array> },
): { readonly objects: number; readonly bytes: number } {
  if (snap < snapDirSnap) return { objects: 0, bytes: 0 }
  const set = snapSetIn(xattrs) ?? noSnapSet
  return { objects: (snap === headSnap ? 1 : 0) + set.clones.length, bytes: sizeBytes + cloneBytes(set) }
}

/**
 * Many small writes leave many spans, and the attribute is written with each: beyond this, what is shared counts as not.
 * Of one clone, and of all of an object.
 */
const overlapSpansMax = 128
const allSpansMax = 1024

function bounded(spans: readonly ByteSpan[], spansMax = overlapSpansMax): readonly ByteSpan[] {
  if (spans.length <= spansMax) return spans
  const kept = new Set(spans.toSorted((a, b) => b.length - a.length).slice(0, spansMax))
  return spans.filter((span) => kept.has(span))
}

/** The oldest give way. */
function withinBudget(clones: readonly SnapClone[]): readonly SnapClone[] {
  let left = allSpansMax
  return clones
    .toReversed()
    .map((clone) => {
      const overlap = bounded(clone.overlap, left)
      left -= overlap.length
      return overlap === clone.overlap ? clone : { ...clone, overlap }
    })
    .toReversed()
}

/** Returns the same array when nothing of it lies in the range. */
function cutSpan(spans: readonly ByteSpan[], from: number, to: number): readonly ByteSpan[] {
  if (from >= to || !spans.some(({ offset, length }) => offset < to && from < offset + length)) return spans
  const left: ByteSpan[] = []
  for (const { offset, length } of spans) {
    const end = offset + length
    if (offset < from) left.push({ offset, length: Math.min(end, from) - offset })
    const after = Math.max(offset, to)
    if (after < end) left.push({ offset: after, length: end - after })
  }
  return left
}

function commonSpans(a: readonly ByteSpan[], b: readonly ByteSpan[]): readonly ByteSpan[] {
  const common: ByteSpan[] = []
  for (const one of a) {
    for (const other of b) {
      const offset = Math.max(one.offset, other.offset)
      const end = Math.min(one.offset + one.length, other.offset + other.length)
      if (offset < end) common.push({ offset, length: end - offset })
    }
  }
  return common
}
