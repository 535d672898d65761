/**
 * Makes an image what it was at a snapshot: its objects, one by one, and its size.
 *
 * Order of steps: the header says what it is rolled back to; a header lease later nobody writes any more (EBUSY); each object
 * that differs is rolled back; the header takes the size of then and forgets. Done again after a crash it goes on, for what
 * has been rolled back does not differ.
 *
 * Somebody else may do the same, be faster, and the image be in use again: before each batch the header is looked at *after*
 * the versions of its objects are known, and each is rolled back only in that version. What was written since the header
 * said nothing any more has another.
 */
import { assert, ClusterError, isClusterError } from '@shoal/base'
import type { ObjectOp } from '@shoal/wire'
import { differs } from './image-diff.ts'
import {
  beingRolledBack,
  changeHeader,
  dataIoOf,
  type ImageHeader,
  readHeader,
  type StoredHeader,
  wasShrunk,
  withSnapshots,
} from './image-header.ts'
import { type ImageSnapshot, snapContextOf, snapshotNamed, snapshotWithId } from './image-snapshot.ts'
import { ifThere, type ObjectIo } from './object-io.ts'
import { forEachIndex } from './parallel.ts'
import { noProgress, type ProgressListener, type StoreServices } from './store-services.ts'
import { dataObjectName } from './striping.ts'

const batchMax = 64

/** An object that differs from what it was; its version, undefined when it is not there now. */
interface Differing {
  readonly object: string
  readonly version: number | undefined
}

/** EBUSY while another rollback is not finished, or when somebody else finished this one. */
export async function rollbackImage(
  services: StoreServices,
  imageId: string,
  name: string,
  onProgress: ProgressListener = noProgress,
): Promise<ImageHeader> {
  const { io, quiescer, waitForLease } = services
  const { header } = await markRollback(io, imageId, name)
  // Whoever writes goes on by the header as it is now, and so does not.
  const hold = await quiescer.pause(header)
  await hold.resume()
  if (!hold.everybody) await waitForLease()
  const { id, sizeBytes } = snapshotWithId(header, header.snapshots?.rollingBackTo ?? 0)
  const bytes = Math.max(header.sizeBytes, sizeBytes)
  const count = Math.ceil(bytes / header.objectBytes)
  for (let first = 0; first < count; first += batchMax) {
    const width = Math.min(batchMax, count - first)
    await rollbackBatch(io, header, id, first, width)
    onProgress(first + width, count)
  }
  return (await finishRollback(io, imageId, id)).header
}

function markRollback(io: ObjectIo, imageId: string, name: string): Promise<StoredHeader> {
  return changeHeader(io, imageId, (current) => {
    const { id } = snapshotNamed(current, name)
    const { snapshots } = current
    assert(snapshots !== undefined, 'an image with a snapshot has a table of them')
    if (snapshots.rollingBackTo === id) return current
    if (snapshots.rollingBackTo !== 0 || current.removing) throw beingRolledBack(current)
    return withSnapshots(current, { ...snapshots, rollingBackTo: id })
  })
}

/**
 * The image may be smaller then: growth clears what a write that comes too late leaves beyond the end, as after a shrink. How
 * much lies over a parent stays: where that has become less, a shrink gave the snapshots all that they had from it.
 */
function finishRollback(io: ObjectIo, imageId: string, id: number): Promise<StoredHeader> {
  return changeHeader(io, imageId, (current) => {
    const { snapshots } = current
    if (snapshots?.rollingBackTo !== id) return current
    const { sizeBytes } = snapshotWithId(current, id)
    const compatibleFeatures = current.compatibleFeatures | wasShrunk
    return { ...withSnapshots(current, { ...snapshots, rollingBackTo: 0 }), sizeBytes, compatibleFeatures }
  })
}

async function rollbackBatch(
  io: ObjectIo,
  header: ImageHeader,
  snap: ImageSnapshot['id'],
  first: number,
  width: number,
): Promise<void> {
  const data = dataIoOf(io, header)
  const differing: Differing[] = []
  await forEachIndex(width, batchMax, async (i) => {
    const found = await lookAt(data, dataObjectName(header.id, first + i), snap)
    if (found !== undefined) differing.push(found)
  })
  if (differing.length === 0) return
  const now = (await readHeader(io, header.id)).header
  if (now.snapshots?.rollingBackTo !== snap) throw finishedMeanwhile(header)
  const options = { snapContext: snapContextOf(header) }
  await forEachIndex(differing.length, batchMax, async (i) => {
    const { object, version } = differing[i] as Differing
    const guards: readonly ObjectOp[] = version === undefined ? [] : [{ kind: 'assert-version', version }]
    try {
      await data.execute(object, [...guards, { kind: 'rollback', snap }], options)
    } catch (error) {
      if (isClusterError(error, 'ERANGE')) throw finishedMeanwhile(header, error)
      if (!isClusterError(error, 'ENOENT')) throw error
    }
  })
}

async function lookAt(data: ObjectIo, object: string, snap: number): Promise<Differing | undefined> {
  const snaps = (await ifThere(data.execute(object, [{ kind: 'list-snaps' }])))?.results[0]
  if (snaps?.kind !== 'snaps' || !differs(snaps.snaps, snap)) return undefined
  const stat = (await ifThere(data.execute(object, [{ kind: 'stat' }])))?.results[0]
  return { object, version: stat?.kind === 'stat' ? stat.version : undefined }
}

function finishedMeanwhile(header: ImageHeader, cause?: unknown): ClusterError {
  return new ClusterError('EBUSY', `somebody else has rolled image ${header.name} back meanwhile`, {
    cause,
    hint: 'look at the image: it may have been written since',
  })
}
