/**
 * What changed in an image between two of its snapshots, or since one of them: found from what the clones of each object
 * have in common, without reading a byte. It may name too much (what clones share is bounded), never too little.
 */
import { assert, ClusterError, isClusterError } from '@shoal/base'
import type { ByteSpan, ObjectSnaps } from '@shoal/wire'
import { dataIoOf, type ImageHeader, readHeader } from './image-header.ts'
import { type ImageSnapshot, snapshotWithId } from './image-snapshot.ts'
import type { ObjectIo } from './object-io.ts'
import { forEachIndex } from './parallel.ts'
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
}

/**
 * In order of offsets, and inside the size at `to`; neighbours of one kind are one. From nothing, only data is told. Rejects
 * with EINVAL when `from` is not older than `to`, ENOENT when a snapshot went meanwhile. Of the objects that `range` touches,
 * when it is given: their changes, also those outside of it.
 */
export async function* diffImage(
  io: ObjectIo,
  header: ImageHeader,
  { from, to }: DiffEnds,
  range: ByteSpan = { offset: 0, length: to?.sizeBytes ?? header.sizeBytes },
): AsyncGenerator<ImageChange> {
  if (from !== undefined && to !== undefined && from.id > to.id) {
    throw new ClusterError('EINVAL', `snapshot ${from.name} is newer than ${to.name}`, { hint: 'the older one first' })
  }
  const data = dataIoOf(io, header)
  const sizeBytes = to?.sizeBytes ?? header.sizeBytes
  const count = Math.ceil(Math.min(sizeBytes, range.offset + range.length) / header.objectBytes)
  let last: ImageChange | undefined
  for (let first = Math.floor(range.offset / header.objectBytes); first < count; first += widthMax) {
    const found: (readonly ImageChange[])[] = []
    await forEachIndex(Math.min(widthMax, count - first), widthMax, async (i) => {
      const at = (first + i) * header.objectBytes
      const length = Math.min(header.objectBytes, sizeBytes - at)
      found[i] = await diffObject(data, dataObjectName(header.id, first + i), { at, length }, { from, to })
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

/** Where an object begins in the image, and how much of it lies inside. */
interface Place {
  readonly at: number
  readonly length: number
}

async function diffObject(
  data: ObjectIo,
  object: string,
  place: Place,
  ends: DiffEnds,
): Promise<readonly ImageChange[]> {
  const { from, to } = ends
  let changed: readonly ByteSpan[] = [{ offset: 0, length: place.length }]
  if (from !== undefined) {
    const snaps = await ifThere(data.execute(object, [{ kind: 'list-snaps' }]))
    const result = snaps?.results[0]
    if (result?.kind !== 'snaps') return []
    const fromBytes = Math.max(0, from.sizeBytes - place.at)
    changed = clip(changedSpans(result.snaps, from.id, to?.id, fromBytes), place.length)
  }
  const begin = changed[0]
  const end = changed.at(-1)
  if (begin === undefined || end === undefined) return []
  const range = { offset: begin.offset, length: end.offset + end.length - begin.offset }
  const mapped = await ifThere(data.execute(object, [{ kind: 'map-extents', ...range }], { snap: to?.id }))
  const result = mapped?.results[0]
  const allocated = result?.kind === 'extents' ? result.extents : []
  const changes = changed.flatMap((span) => classified(span, allocated))
  const told = from === undefined ? changes.filter(({ kind }) => kind === 'data') : changes
  return told.map((change) => ({ ...change, offset: place.at + change.offset }))
}

async function ifThere<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked
  } catch (error) {
    if (isClusterError(error, 'ENOENT')) return undefined
    throw error
  }
}

/**
 * The bytes of an object that may differ between two snapshots, `to` undefined: between one and the object as it is. What
 * lies beyond `fromBytes` lay outside of the image then: it counted as zeros.
 */
function changedSpans(
  snaps: ObjectSnaps,
  from: number,
  to: number | undefined,
  fromBytes: number = Number.MAX_SAFE_INTEGER,
): readonly ByteSpan[] {
  const { clones } = snaps
  const [a, b] = [stateAt(snaps, from), stateAt(snaps, to)]
  if (a === undefined && b === undefined) return []
  const sizeAt = (state: number | undefined): number =>
    state === undefined ? 0 : (clones[state]?.sizeBytes ?? snaps.headBytes ?? 0)
  const end = Math.max(sizeAt(a), sizeAt(b))
  if (a === undefined || b === undefined) return end === 0 ? [] : [{ offset: 0, length: end }]
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

function clip(spans: readonly ByteSpan[], end: number): readonly ByteSpan[] {
  return common(spans, [{ offset: 0, length: end }])
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
