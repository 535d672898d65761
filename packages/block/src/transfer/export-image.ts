/**
 * Images as streams of records: a diff between two snapshots, an image with all its snapshots, the bytes alone. Only what
 * changed is read, some pieces ahead of the consumer and in order.
 *
 * A snapshot stays as it is while it is exported. The head does not: what is written meanwhile may be in the stream, or not.
 */
import type { DiffRecord, ImageRecord } from '@shoal/image-streams'
import type { Image } from '../image.ts'
import type { ImageChange } from '../image-diff.ts'
import type { ImageStore } from '../image-store.ts'
import type { ProgressListener } from '../store-services.ts'
import { inOrder } from './in-order.ts'

/** Reads under way at once; with pieces of this size they bound what an export keeps in memory. */
const readsMax = 16
const pieceBytesMax = 1024 * 1024

export interface ExportDiffOptions {
  /** The older snapshot; left out: the stream begins with an empty image. */
  readonly from?: string | undefined
  /** Left out: the image as it is. */
  readonly to?: string | undefined
  /** Objects of which a byte changed are sent whole. */
  readonly wholeObject?: boolean
  /** Bytes of the image that were gone through, and all. */
  readonly onProgress?: ProgressListener
}

export type Extent = Extract<DiffRecord, { readonly kind: 'data' | 'zero' }>

/** What leads from one snapshot to another, as `rbd export-diff` tells it. ENOENT, EINVAL when `from` is the newer one. */
export async function* exportDiff(
  store: ImageStore,
  name: string,
  { from, to, wholeObject = false, onProgress = () => undefined }: ExportDiffOptions = {},
): AsyncGenerator<DiffRecord, void, void> {
  const image = await store.open(to === undefined ? name : `${name}@${to}`)
  const { sizeBytes } = image
  if (from !== undefined) yield { kind: 'from', snapshot: from }
  if (to !== undefined) yield { kind: 'to', snapshot: to }
  yield { kind: 'size', sizeBytes }
  yield* changedExtents(store, name, image, { from, to, wholeObject, onProgress })
  onProgress(sizeBytes, sizeBytes)
  yield { kind: 'end' }
}

/** The bytes of an `IMAGE` or `IMAGE@SNAPSHOT` that are not holes, in order. */
export async function* exportContent(
  store: ImageStore,
  name: string,
  to: string | undefined,
  onProgress: ProgressListener = () => undefined,
): AsyncGenerator<Extent, void, void> {
  const image = await store.open(to === undefined ? name : `${name}@${to}`)
  yield* changedExtents(store, name, image, { from: undefined, to, wholeObject: false, onProgress })
  onProgress(image.sizeBytes, image.sizeBytes)
}

/** The image with all snapshots that people took, as `rbd export --export-format 2` tells it. */
export async function* exportImage(
  store: ImageStore,
  name: string,
  onProgress: ProgressListener = () => undefined,
): AsyncGenerator<ImageRecord, void, void> {
  const { objectBytes } = await store.info(name)
  const snapshots = (await store.snapshots.list(name)).filter(({ kind }) => kind === 'user')
  yield { kind: 'order', order: Math.log2(objectBytes) }
  yield { kind: 'stripe-unit', bytes: objectBytes }
  yield { kind: 'stripe-count', count: 1 }
  yield { kind: 'diffs', count: snapshots.length + 1 }
  let from: string | undefined
  for (const [index, snapshot] of [...snapshots, undefined].entries()) {
    const onDiff: ProgressListener = (done, total) => onProgress(index * total + done, (snapshots.length + 1) * total)
    for await (const record of exportDiff(store, name, { from, to: snapshot?.name, onProgress: onDiff })) {
      yield record
      if (record.kind === 'to') yield { kind: 'protected', isProtected: snapshot?.protected === true }
    }
    from = snapshot?.name
  }
}

async function* changedExtents(
  store: ImageStore,
  name: string,
  image: Image,
  {
    from,
    to,
    wholeObject,
    onProgress,
  }: Required<Pick<ExportDiffOptions, 'wholeObject' | 'onProgress'>> & ExportDiffOptions,
): AsyncGenerator<Extent, void, void> {
  const { objectBytes } = image.header
  const { sizeBytes } = image
  const changes = store.diff(name, from, to)
  const wanted = pieces(wholeObject ? wholeObjects(changes, objectBytes, sizeBytes) : changes, sizeBytes)
  for await (const extents of inOrder(wanted, readsMax, (change) => readChange(image, change))) {
    yield* extents
    onProgress(extents.at(-1)?.offset ?? 0, sizeBytes)
  }
}

async function* wholeObjects(
  changes: AsyncIterable<ImageChange>,
  objectBytes: number,
  sizeBytes: number,
): AsyncGenerator<ImageChange, void, void> {
  let told = 0
  for await (const { offset, length } of changes) {
    const begin = Math.max(told, Math.floor(offset / objectBytes) * objectBytes)
    const end = Math.min(sizeBytes, Math.ceil((offset + length) / objectBytes) * objectBytes)
    if (begin >= end) continue
    yield { kind: 'data', offset: begin, length: end - begin }
    told = end
  }
}

/** Ranges of data short enough to be held; the head may have shrunk since its size was told. */
export async function* pieces(
  changes: AsyncIterable<ImageChange>,
  sizeBytes: number,
): AsyncGenerator<ImageChange, void, void> {
  for await (const change of changes) {
    const end = Math.min(change.offset + change.length, sizeBytes)
    if (change.kind === 'zero') {
      if (end > change.offset) yield { ...change, length: end - change.offset }
      continue
    }
    for (let offset = change.offset; offset < end; ) {
      // Cut at multiples, so that a piece is part of one object.
      const length = Math.min(end, (Math.floor(offset / pieceBytesMax) + 1) * pieceBytesMax) - offset
      yield { kind: 'data', offset, length }
      offset += length
    }
  }
}

export async function readChange(image: Image, { kind, offset, length }: ImageChange): Promise<readonly Extent[]> {
  if (kind === 'zero') return [{ kind, offset, length }]
  const extents: Extent[] = []
  let at = offset
  for (const piece of await image.read(offset, length)) {
    const bytes = piece.kind === 'data' ? piece.data.length : piece.length
    extents.push(
      piece.kind === 'data'
        ? { kind: 'data', offset: at, data: piece.data }
        : { kind: 'zero', offset: at, length: bytes },
    )
    at += bytes
  }
  return extents
}
