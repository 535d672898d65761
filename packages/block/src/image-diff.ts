/**
 * What changed in an image between two of its snapshots, or since one of them: found from what the clones of each object
 * have in common, without reading a byte. It may name too much (what clones share is bounded), never too little.
 */
import { assert, ClusterError } from '@shoal/base'
import type { ByteSpan, ObjectSnaps } from '@shoal/wire'
import type { Image } from './image.ts'
import { dataIoOf, type ImageHeader, readHeader } from './image-header.ts'
import { type ImageSnapshot, snapshotWithId } from './image-snapshot.ts'
import { ifThere, type ObjectIo } from './object-io.ts'
import { forEachIndex } from './parallel.ts'
import { overlapOf } from './parent-link.ts'
import { dataObjectName } from './striping.ts'

/** Objects that are looked at side by side, and whose changes are held until those before them are told. */
const widthMax = 64

/** A range that differs; `zero`: it reads as zeros at the end, and takes no space. */
export interface ImageChange {
  readonly offset: number
  readonly length: number
  readonly kind: 'data' | 'zero'
}

export interface DiffEnds {
  /** Undefined: from an image of zeros. */
  readonly from: ImageSnapshot | undefined
  /** Undefined: up to the image as it is; what is written meanwhile may be told or not. */
  readonly to: ImageSnapshot | undefined
  /** The image, opened at `to`. */
  readonly end: Pick<Image, 'extents'>
}

/**
 * In order of offsets, and inside the size at `to`; neighbours of one kind are one. From nothing, only data is told. Rejects
 * with EINVAL when `from` is not older than `to`, ENOENT when a snapshot went meanwhile. Of the objects that `range` touches,
 * when it is given: their changes, also those outside of it.
 */
export async function* diffImage(
  io: ObjectIo,
  header: ImageHeader,
  ends: DiffEnds,
  range: ByteSpan = { offset: 0, length: ends.to?.sizeBytes ?? header.sizeBytes },
): AsyncGenerator<ImageChange> {
  const { from, to } = ends
  if (from !== undefined && to !== undefined && from.id > to.id) {
    throw new ClusterError('EINVAL', `snapshot ${from.name} is newer than ${to.name}`, { hint: 'the older one first' })
  }
  const sizeBytes = to?.sizeBytes ?? header.sizeBytes
  const count = Math.ceil(Math.min(sizeBytes, range.offset + range.length) / header.objectBytes)
  let last: ImageChange | undefined
  for (let first = Math.floor(range.offset / header.objectBytes); first < count; first += widthMax) {
    const found: (readonly ImageChange[])[] = []
    await forEachIndex(Math.min(widthMax, count - first), widthMax, async (i) => {
      const at = (first + i) * header.objectBytes
      found[i] = await diffObject(io, header, ends, at, Math.min(header.objectBytes, sizeBytes - at))
    })
    for (const change of found.flat()) {
      if (last?.kind === change.kind && last.offset + last.length === change.offset) {
        last = { ...last, length: last.length + change.length }
        continue
      }
      if (last !== undefined) yield last
      last = change
    }
  }
  await expectSnapshots(io, header, [from, to])
  if (last !== undefined) yield last
}

/** Without its snapshot an object looks as if it had not been there. The header marks a removal before the id goes. */
async function expectSnapshots(
  io: ObjectIo,
  header: ImageHeader,
  snapshots: readonly (ImageSnapshot | undefined)[],
): Promise<void> {
  const now = (await readHeader(io, header.id)).header
  for (const snapshot of snapshots) if (snapshot !== undefined) snapshotWithId(now, snapshot.id)
}

/** Of the object that begins at `at` in the image, and its first `length` bytes. */
async function diffObject(
  io: ObjectIo,
  header: ImageHeader,
  { from, to, end: image }: DiffEnds,
  at: number,
  length: number,
): Promise<readonly ImageChange[]> {
  let changed: readonly ByteSpan[] = [{ offset: 0, length }]
  if (from !== undefined) {
    const object = dataObjectName(header.id, at / header.objectBytes)
    const listed = await ifThere(dataIoOf(io, header).execute(object, [{ kind: 'list-snaps' }]))
    const result = listed?.results[0]
    const under = (snapshot: ImageSnapshot | undefined): number =>
      Math.min(header.objectBytes, Math.max(0, overlapOf(header, snapshot) - at))
    changed = changedSpans(result?.kind === 'snaps' ? result.snaps : nothing, from.id, to?.id, {
      fromBytes: Math.max(0, from.sizeBytes - at),
      fromBelow: under(from),
      toBelow: under(to),
    })
    changed = common(changed, [{ offset: 0, length }])
  }
  const first = changed[0]
  const last = changed.at(-1)
  if (first === undefined || last === undefined) return []
  const extents = await image.extents(at + first.offset, last.offset + last.length - first.offset)
  const allocated: ByteSpan[] = []
  let offset = first.offset
  for (const extent of extents) {
    if (extent.allocated) allocated.push({ offset, length: extent.length })
    offset += extent.length
  }
  const changes = changed.flatMap((span) => classified(span, allocated))
  const told = from === undefined ? changes.filter(({ kind }) => kind === 'data') : changes
  return told.map((change) => ({ ...change, offset: at + change.offset }))
}

const nothing: ObjectSnaps = { seq: 0, clones: [], headBytes: undefined }

/** What else is known of an object at both ends. */
interface AroundObject {
  /** Beyond it lay the end of the image: what was there counted as zeros. */
  readonly fromBytes: number
  /** Where there is no object of its own, so much is the parent's. */
  readonly fromBelow: number
  readonly toBelow: number
}

const alone: AroundObject = { fromBytes: Number.MAX_SAFE_INTEGER, fromBelow: 0, toBelow: 0 }

/** Whether an object may be another than it was at a snapshot. */
export function differs(snaps: ObjectSnaps, from: number): boolean {
  return changedSpans(snaps, from, undefined, alone).length > 0
}

/** The bytes of an object that may differ between two snapshots, `to` undefined: between one and the object as it is. */
function changedSpans(
  snaps: ObjectSnaps,
  from: number,
  to: number | undefined,
  { fromBytes, fromBelow, toBelow }: AroundObject,
): readonly ByteSpan[] {
  const { clones } = snaps
  const [a, b] = [stateAt(snaps, from), stateAt(snaps, to)]
  const sizeAt = (state: number): number => clones[state]?.sizeBytes ?? snaps.headBytes ?? 0
  if (a === undefined && b === undefined) {
    const same = Math.min(fromBytes, fromBelow, toBelow)
    return complement([{ offset: 0, length: same }], Math.max(fromBelow, toBelow))
  }
  const end = Math.max(a === undefined ? fromBelow : sizeAt(a), b === undefined ? toBelow : sizeAt(b))
  if (a === undefined || b === undefined) return complement([], end)
  assert(a <= b, 'what an object was later comes later among its clones')
  let shared: readonly ByteSpan[] = [{ offset: 0, length: Math.min(fromBytes, sizeAt(a)) }]
  for (const clone of clones.slice(a, b)) shared = common(shared, clone.overlap)
  return complement(shared, end)
}

/** Which clone serves a snapshot, by its position; the head stands behind the last. Undefined: there was no object. */
function stateAt({ clones, seq, headBytes }: ObjectSnaps, snap: number | undefined): number | undefined {
  if (snap === undefined || snap > seq) return headBytes === undefined ? undefined : clones.length
  const at = clones.findIndex(({ id }) => id >= snap)
  return at >= 0 && (clones[at]?.snaps.at(-1) ?? 0) <= snap ? at : undefined
}

function common(a: readonly ByteSpan[], b: readonly ByteSpan[]): readonly ByteSpan[] {
  return a.flatMap((one) =>
    b.flatMap((other) => {
      const offset = Math.max(one.offset, other.offset)
      const end = Math.min(one.offset + one.length, other.offset + other.length)
      return offset < end ? [{ offset, length: end - offset }] : []
    }),
  )
}

/** What of [0, end) is not in the spans, which are in order. */
function complement(spans: readonly ByteSpan[], end: number): readonly ByteSpan[] {
  const left: ByteSpan[] = []
  let at = 0
  for (const { offset, length } of [...spans, { offset: end, length: 0 }]) {
    const to = Math.min(offset, end)
    if (to > at) left.push({ offset: at, length: to - at })
    at = Math.max(at, offset + length)
  }
  return left
}

function classified(span: ByteSpan, allocated: readonly ByteSpan[]): readonly ImageChange[] {
  const data = common(allocated, [span])
  const holes = complement(
    data.map(({ offset, length }) => ({ offset: offset - span.offset, length })),
    span.length,
  )
  const changes: ImageChange[] = [
    ...data.map((one) => ({ ...one, kind: 'data' as const })),
    ...holes.map(({ offset, length }) => ({ offset: offset + span.offset, length, kind: 'zero' as const })),
  ]
  return changes.sort((one, other) => one.offset - other.offset)
}
