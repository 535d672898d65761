/**
 * Diffs into images. Unlike `rbd`, an image takes a diff only if it proves to be what the diff begins with.
 *
 * Order of steps, so that a client that dies between any two leaves an image whose import can be run again:
 * 1. The marker, with the snapshot that the image equals, is on disk before anything changes.
 * 2. Size and bytes. Whoever imports next goes back to that snapshot first: what was written of an earlier stream never
 *    mixes with what this one says.
 * 3. The snapshot that the diff leads to, taken when all bytes are durable.
 * 4. The marker goes. An image that has both is complete.
 */
import { ClusterError } from '@shoal/base'
import { type DiffRecord, openDiff } from '@shoal/image-streams'
import type { Image } from '../image.ts'
import type { ImageHeader } from '../image-header.ts'
import type { ImageStore } from '../image-store.ts'
import { copyIsReadOnly } from '../mirror/mirror-copy.ts'
import type { ObjectIo } from '../object-io.ts'
import { applyExtents } from './apply-extents.ts'
import { asData, findDifference } from './compare-images.ts'
import { type Extent, pieces, readChange } from './export-image.ts'
import { clearMarker, type ImportMarker, readMarker, setMarker } from './import-marker.ts'
import { inOrder } from './in-order.ts'

const readsMax = 16

/** The images of a pool, and the pool. */
export interface TransferServices {
  readonly store: ImageStore
  readonly io: ObjectIo
}

export interface ImportDiffOptions {
  /** Writes over an image that is not what the diff begins with. */
  readonly force?: boolean
  /** Bytes of the image that were gone through, and all. */
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void
}

export interface ImportedDiff {
  readonly from: string | undefined
  readonly to: string | undefined
  readonly sizeBytes: number
  /** An earlier run had come to the end, but for the marker: nothing was left to do. */
  readonly wasComplete: boolean
}

/**
 * ENOENT without the snapshot that the diff begins with, EEXIST when the image has the one it ends with, EINVAL when the
 * image is not what the diff begins with, or the stream is damaged.
 */
export async function importDiff(
  services: TransferServices,
  name: string,
  records: AsyncGenerator<DiffRecord>,
  { force = false, onProgress = () => undefined }: ImportDiffOptions = {},
): Promise<ImportedDiff> {
  const { store, io } = services
  try {
    const { head, extents } = await openDiff(records)
    const { from, to, sizeBytes } = head
    const header = await store.info(name)
    if (header.mirrorCopy !== undefined) throw copyIsReadOnly(header)
    const { id } = header
    const finished = await settleEarlier(services, name, force)
    if (finished !== undefined && finished.from === from && finished.to === to) {
      return { ...head, wasComplete: true }
    }
    await expectEnds(store, name, from, to)
    if (!force) await expectBase(store, name, from)
    await setMarker(io, id, 'import', { from, to, forced: force })
    await applyDiff(store, name, sizeBytes, extents, (done) => onProgress(done, sizeBytes))
    if (to !== undefined) await store.snapshots.create(name, to)
    await clearMarker(io, id, 'import')
    onProgress(sizeBytes, sizeBytes)
    return { ...head, wasComplete: false }
  } finally {
    await records.return(undefined)
  }
}

/** Size, then bytes: durable when it resolves. */
export async function applyDiff(
  store: ImageStore,
  name: string,
  sizeBytes: number,
  extents: AsyncIterable<Extent>,
  onProgress: (doneBytes: number) => void = () => undefined,
  openImage: () => Promise<Image> = () => store.open(name),
): Promise<void> {
  if ((await store.info(name)).sizeBytes !== sizeBytes) await store.resize(name, sizeBytes)
  await applyExtents(await openImage(), extents, onProgress)
}

/** What an import left that did not come to its end: its marker, if it only had to be cleared; its bytes are undone. */
async function settleEarlier(
  { store, io }: TransferServices,
  name: string,
  force: boolean,
): Promise<ImportMarker | undefined> {
  const header = await store.info(name)
  const marker = await readMarker(io, header.id, 'import')
  if (marker === undefined) return undefined
  if (marker.to !== undefined && hasSnapshot(header, marker.to)) {
    await clearMarker(io, header.id, 'import')
    return marker
  }
  if (!marker.forced) await rewind(store, name, marker.from)
  else if (!force) {
    const what = marker.to === undefined ? 'a diff' : `the diff to snapshot ${marker.to}`
    throw new ClusterError(
      'EBUSY',
      `${what} was being imported with --force into image ${name}, and is not all there`,
      {
        hint: 'import it again, with --force',
      },
    )
  }
  await clearMarker(io, header.id, 'import')
  return undefined
}

export function hasSnapshot(header: ImageHeader, snapshot: string | undefined): boolean {
  return header.snapshots?.entries.some((one) => one.kind !== 'trash' && one.name === snapshot) === true
}

/** The image as it was at a snapshot; without one, an image of zeros. Can be done again. */
export async function rewind(
  store: ImageStore,
  name: string,
  snapshot: string | undefined,
  openImage?: () => Promise<Image>,
): Promise<void> {
  const base = snapshot === undefined ? undefined : await store.open(`${name}@${snapshot}`)
  const sizeBytes = base?.sizeBytes ?? (await store.info(name)).sizeBytes
  const changes = pieces(asData(store.diff(name, snapshot, undefined)), sizeBytes)
  const extents = inOrder(
    changes,
    readsMax,
    async (change): Promise<readonly Extent[]> =>
      base === undefined ? [{ ...change, kind: 'zero' }] : readChange(base, change),
  )
  await applyDiff(store, name, sizeBytes, flat(extents), undefined, openImage)
}

async function* flat<T>(lists: AsyncIterable<readonly T[]>): AsyncGenerator<T, void, void> {
  for await (const list of lists) yield* list
}

async function expectEnds(
  store: ImageStore,
  name: string,
  from: string | undefined,
  to: string | undefined,
): Promise<void> {
  const header = await store.info(name)
  if (from !== undefined && !hasSnapshot(header, from)) {
    throw new ClusterError('ENOENT', `the diff begins with snapshot ${from}, which image ${name} does not have`, {
      hint: `import the diff that ends with it first; shoal block snap ls ${name}`,
    })
  }
  if (to !== undefined && hasSnapshot(header, to)) {
    throw new ClusterError('EEXIST', `the diff ends with snapshot ${to}, which image ${name} has already`, {
      hint: `it was imported before, or it is another one of that name; shoal block snap ls ${name}`,
    })
  }
}

async function expectBase(store: ImageStore, name: string, from: string | undefined): Promise<void> {
  const difference = await findDifference(store, name, from)
  if (difference === undefined) return
  const begins = from === undefined ? 'an empty image' : `snapshot ${from}`
  const hint =
    from === undefined
      ? 'import it into a new image; --force writes over what is there'
      : `go back to it: shoal block snap rollback ${name}@${from}; --force writes over what is there`
  throw new ClusterError(
    'EINVAL',
    `the diff begins with ${begins}; image ${name} differs from that at byte ${difference}`,
    { hint },
  )
}
