/**
 * Whole images out of streams. The image has another name until all of it is there: nobody meets half of one, and a crash
 * leaves only what the next import of that name removes before it begins.
 */
import { ClusterError, isClusterError } from '@shoal/base'
import type { DiffRecord, ImageRecord } from '@shoal/image-streams'
import type { ImageHeader } from '../image-header.ts'
import type { ImageStore } from '../image-store.ts'
import { applyExtents } from './apply-extents.ts'
import type { Extent } from './export-image.ts'

export interface ImportImageOptions {
  /** Left out: that of the stream, or the default. */
  readonly objectBytes?: number | undefined
  /** Id of the pool for its data, if that is another one. */
  readonly dataPool?: number | undefined
  /** Bytes that were written, of this diff. */
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void
}

export interface ImportedImage {
  readonly header: ImageHeader
  readonly snapshots: number
  /** What the stream says of the image and we do not keep. */
  readonly skippedMetadata: readonly string[]
}

const metadataNamesMax = 64

/** The name of an image that is not all there. */
const partialName = (name: string): string => `${name}~import`

/** An image with its snapshots. EEXIST when the name is taken, EINVAL for a damaged stream. */
export async function importImage(
  store: ImageStore,
  name: string,
  records: AsyncGenerator<ImageRecord>,
  options: ImportImageOptions = {},
): Promise<ImportedImage> {
  return whole(store, name, records, async (partial) => {
    const { order, diffs, skippedMetadata } = await readHead(records)
    let snapshots = 0
    let created = false
    for (let left = diffs; left > 0; left--) {
      const { sizeBytes, to, isProtected, extents } = await nextDiff(records)
      if (created) await fit(store, partial, sizeBytes)
      else {
        const objectBytes = options.objectBytes ?? (order === undefined ? undefined : 2 ** order)
        await store.create(partial, sizeBytes, objectBytes, options.dataPool)
      }
      created = true
      await applyExtents(await store.open(partial), extents, (done) => options.onProgress?.(done, sizeBytes))
      if (to === undefined) continue
      await store.snapshots.create(partial, to)
      if (isProtected) await store.snapshots.protect(partial, to, true)
      snapshots++
    }
    // The stream has been read to its very end: what is wrong behind the last diff is told before the image is there.
    if ((await records.next()).done !== true)
      throw new ClusterError('EINVAL', 'the stream goes on behind its last diff')
    return { snapshots, skippedMetadata }
  })
}

/** The bytes of an image, in order, without gaps. `sizeBytes` undefined: it becomes as large as they are. */
export async function importContent(
  store: ImageStore,
  name: string,
  extents: AsyncGenerator<Extent>,
  sizeBytes: number | undefined,
  options: ImportImageOptions = {},
): Promise<ImportedImage> {
  return whole(store, name, extents, async (partial) => {
    if (sizeBytes === 0) throw new ClusterError('EINVAL', 'there is nothing to import', { hint: 'shoal block create' })
    const first = await extents.next()
    if (first.done === true)
      throw new ClusterError('EINVAL', 'there is nothing to import', { hint: 'shoal block create' })
    await store.create(partial, sizeBytes ?? endOf(first.value), options.objectBytes, options.dataPool)
    const image = await store.open(partial)
    async function* growing(): AsyncGenerator<Extent, void, void> {
      for (let next: IteratorResult<Extent> = first; next.done !== true; next = await extents.next()) {
        if (endOf(next.value) > image.sizeBytes) {
          await store.resize(partial, endOf(next.value))
          await image.refresh()
        }
        yield next.value
      }
    }
    await applyExtents(image, growing(), (done) => options.onProgress?.(done, sizeBytes ?? done))
    return { snapshots: 0, skippedMetadata: [] }
  })
}

const endOf = (extent: Extent): number => extent.offset + (extent.kind === 'data' ? extent.data.length : extent.length)

async function whole(
  store: ImageStore,
  name: string,
  input: AsyncGenerator<ImageRecord>,
  fill: (partial: string) => Promise<Omit<ImportedImage, 'header'>>,
): Promise<ImportedImage> {
  const partial = partialName(name)
  try {
    await expectFree(store, name)
    await removeIfThere(store, partial)
    const filled = await fill(partial)
    await store.rename(partial, name)
    return { header: await store.info(name), ...filled }
  } finally {
    await input.return(undefined)
  }
}

async function expectFree(store: ImageStore, name: string): Promise<void> {
  const names = (await store.list()).map((image) => image.name)
  if (!names.includes(name)) return
  throw new ClusterError('EEXIST', `there is an image ${name} already`, { hint: 'shoal block ls' })
}

/** What an import left that did not come to its end. */
async function removeIfThere(store: ImageStore, partial: string): Promise<void> {
  try {
    for (const snapshot of await store.snapshots.list(partial)) {
      if (snapshot.protected) await store.snapshots.protect(partial, snapshot.name, false)
      await store.snapshots.remove(partial, snapshot.name, snapshot.kind)
    }
    await store.remove(partial)
  } catch (error) {
    // Its removal may have come as far as its header.
    if (!isClusterError(error, 'ENOENT')) throw error
    await store.remove(partial).catch((cause: unknown) => {
      if (!isClusterError(cause, 'ENOENT')) throw cause
    })
  }
}

async function fit(store: ImageStore, name: string, sizeBytes: number): Promise<void> {
  if ((await store.info(name)).sizeBytes !== sizeBytes) await store.resize(name, sizeBytes)
}

interface StreamHead {
  readonly order: number | undefined
  readonly diffs: number
  readonly skippedMetadata: readonly string[]
}

async function readHead(records: AsyncIterator<ImageRecord>): Promise<StreamHead> {
  let order: number | undefined
  const skippedMetadata: string[] = []
  for (;;) {
    const next = await records.next()
    if (next.done === true) throw new ClusterError('EINVAL', 'the stream has no diffs')
    const record = next.value
    if (record.kind === 'order') order = record.order
    if (record.kind === 'metadata' && skippedMetadata.length < metadataNamesMax) skippedMetadata.push(record.key)
    if (record.kind === 'diffs') return { order, diffs: record.count, skippedMetadata }
  }
}

interface NextDiff {
  readonly sizeBytes: number
  readonly to: string | undefined
  readonly isProtected: boolean
  /** To be read to the end before the next diff is asked for. */
  readonly extents: AsyncIterable<Extent>
}

async function nextDiff(records: AsyncIterator<ImageRecord>): Promise<NextDiff> {
  let sizeBytes: number | undefined
  let to: string | undefined
  let isProtected = false
  for (;;) {
    const next = await records.next()
    if (next.done === true) throw new ClusterError('EINVAL', 'the stream has fewer diffs than it says')
    const record = next.value as DiffRecord
    if (record.kind === 'size') sizeBytes = record.sizeBytes
    else if (record.kind === 'to') to = record.snapshot
    else if (record.kind === 'protected') isProtected = record.isProtected
    else if (record.kind !== 'from') {
      if (sizeBytes === undefined) throw new ClusterError('EINVAL', 'a diff of the stream does not tell the size')
      return { sizeBytes, to, isProtected, extents: extentsUntilEnd(record, records) }
    }
  }
}

async function* extentsUntilEnd(
  first: DiffRecord,
  records: AsyncIterator<ImageRecord>,
): AsyncGenerator<Extent, void, void> {
  for (let record: ImageRecord = first; record.kind !== 'end'; ) {
    if (record.kind === 'data' || record.kind === 'zero') yield record
    const next = await records.next()
    if (next.done === true) throw new ClusterError('EINVAL', 'the stream ends inside of a diff')
    record = next.value
  }
}
