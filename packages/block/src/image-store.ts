/**
 * The images of one pool: create, list, look up, open, resize, remove, measure; and what else there is to images:
 * `snapshots`, `clones`, `trash`, `meta`.
 *
 * Order of steps, so that a crash between any two leaves nothing half visible and the same command finishes the work:
 * 1. create: header first, then the name (one compare-and-set in the directory). A crash between leaves a header that
 *    no name points to.
 * 2. rm: mark the header, remove data, leave the parent, remove the header, remove the name. Run again, it goes on where it
 *    was.
 * 3. rename: the copy of the name in the header, which only messages show, then the name (one compare-and-set).
 * 4. resize: image-resize.ts.
 */
import { ClusterError, type Env, hexEncode, isClusterError } from '@shoal/base'
import type { ObjectOp, ObjectSnaps } from '@shoal/wire'
import { putStone, takeStone } from './header-stone.ts'
import { headerLeaseMs, type Image } from './image.ts'
import { ImageClones } from './image-clones.ts'
import { diffImage, type ImageChange } from './image-diff.ts'
import { beingRemoved, checkImageName, ImageDirectory, type ImageSummary } from './image-directory.ts'
import {
  beingRolledBack,
  changedMeanwhile,
  changeHeader,
  createHeaderOps,
  dataIoOf,
  hasDataPool,
  type ImageHeader,
  readHeader,
  type StoredHeader,
} from './image-header.ts'
import { openImage } from './image-layers.ts'
import { ImageMeta } from './image-meta.ts'
import { checkSize, ImageResizer, removeIfThere } from './image-resize.ts'
import { rollbackImage } from './image-rollback.ts'
import { type ImageSnapshot, parseImageSpec, type SnapshotKind, snapshotNamed, takenFor } from './image-snapshot.ts'
import { ImageSnapshots } from './image-snapshots.ts'
import { ImageTrash } from './image-trash.ts'
import { ifThere, type ObjectIo } from './object-io.ts'
import { forEachIndex } from './parallel.ts'
import { nobodyHears, type Quiescer } from './quiescer.ts'
import { finishRemovals } from './snapshot-removal.ts'
import { noProgress, type ProgressListener, type StoreServices } from './store-services.ts'
import { dataObjectName, defaultObjectBytes, headerObjectName } from './striping.ts'

const measureWidthMax = 64
/** Other clocks may run slower than ours. */
const leaseWaitMs = headerLeaseMs * 1.05

export interface ImageUsage {
  readonly name: string
  readonly sizeBytes: number
  /** Of the image as it is; of a clone, what it does not have from its parent. */
  readonly usedBytes: number
  readonly objects: number
  /** What its snapshots keep besides, at most: holes count as bytes there. */
  readonly snapshotBytes: number
}

export class ImageStore {
  readonly snapshots: ImageSnapshots
  readonly clones: ImageClones
  readonly trash: ImageTrash
  readonly meta: ImageMeta
  private readonly services: StoreServices
  private readonly resizer: ImageResizer

  constructor(env: Pick<Env, 'clock' | 'random' | 'timers'>, io: ObjectIo, quiescer: Quiescer = nobodyHears) {
    this.services = {
      env,
      io,
      directory: new ImageDirectory(io),
      quiescer,
      waitForLease: () => new Promise((resolve) => env.timers.after(leaseWaitMs, resolve)),
      settle: (found) => this.settle(found),
    }
    this.snapshots = new ImageSnapshots(this.services)
    this.clones = new ImageClones(this.services)
    this.trash = new ImageTrash(this.services, (id, onProgress) => this.removeTrashed(id, onProgress))
    this.meta = new ImageMeta(this.services)
    this.resizer = new ImageResizer(this.services, this.clones)
  }

  /** EEXIST when the name is taken, EINVAL for a bad name or size. */
  async create(
    name: string,
    sizeBytes: number,
    objectBytes: number = defaultObjectBytes,
    /** Id of the pool for its data, if that is another one. */
    dataPool?: number,
  ): Promise<ImageHeader> {
    const { env, io, directory } = this.services
    checkImageName(name)
    checkSize(sizeBytes)
    if (!Number.isInteger(Math.log2(objectBytes)) || objectBytes < 4096 || objectBytes > 32 * 1024 * 1024) {
      throw new ClusterError('EINVAL', `object size ${objectBytes} is not a power of two from 4 KiB to 32 MiB`)
    }
    const header: ImageHeader = {
      id: hexEncode(env.random.bytes(8)),
      name,
      sizeBytes,
      objectBytes,
      createdMs: env.clock.wallMs(),
      incompatibleFeatures: dataPool === undefined ? 0 : hasDataPool,
      compatibleFeatures: 0,
      removing: false,
      shrinkingFromBytes: 0,
      ...(dataPool === undefined ? {} : { dataPool }),
    }
    dataIoOf(io, header)
    await io.execute(headerObjectName(header.id), createHeaderOps(header))
    try {
      await directory.add(name, header.id)
    } catch (error) {
      if (isClusterError(error, 'EEXIST')) await io.execute(headerObjectName(header.id), [{ kind: 'remove' }])
      throw error
    }
    return header
  }

  /** EEXIST when the new name is taken. Who has the image open goes on with it. */
  async rename(from: string, to: string): Promise<void> {
    const { directory, io } = this.services
    checkImageName(to)
    const { header } = await directory.find(from)
    if (header.removing) throw beingRemoved(from)
    if (from === to) return
    await changeHeader(io, header.id, (current) => ({ ...current, name: to }))
    try {
      await directory.rename(header.id, from, to)
    } catch (error) {
      if (!isClusterError(error, 'EEXIST')) throw error
      await changeHeader(io, header.id, (current) => ({ ...current, name: from }))
      throw error
    }
  }

  /** Sorted by name. */
  list(): Promise<readonly ImageSummary[]> {
    return this.services.directory.list()
  }

  /** The header of an `IMAGE` or `IMAGE@SNAPSHOT`, as it is stored. ENOENT when there is no such image, or snapshot. */
  async info(spec: string): Promise<ImageHeader> {
    const { name, snapshot } = parseImageSpec(spec)
    const { header } = await this.services.directory.find(name)
    if (snapshot !== undefined) snapshotNamed(header, snapshot)
    return header
  }

  /**
   * `IMAGE`, ready for I/O, or `IMAGE@SNAPSHOT`, to be read; completes a shrink or a flatten that was interrupted. EBUSY while
   * it is rolled back.
   */
  async open(spec: string): Promise<Image> {
    const { name, snapshot } = parseImageSpec(spec)
    const { directory, env, io } = this.services
    const found = await directory.find(name)
    if (snapshot === undefined) await this.settle(found)
    else if (found.header.removing) throw beingRemoved(name)
    const pick = (header: ImageHeader): ImageSnapshot | undefined =>
      snapshot === undefined ? undefined : snapshotNamed(header, snapshot)
    return openImage(io, env.clock, found.header.id, pick)
  }

  /**
   * What changed between two snapshots, the older one first: `from` undefined: since an image of zeros, `to` undefined: up to
   * the image as it is. See {@link diffImage} for what is told, and in which order.
   */
  async *diff(name: string, from: string | undefined, to: string | undefined): AsyncGenerator<ImageChange> {
    const end = await this.open(to === undefined ? name : `${name}@${to}`)
    const { header } = end
    const named = (snapshot: string | undefined): ImageSnapshot | undefined =>
      snapshot === undefined ? undefined : snapshotNamed(header, snapshot)
    yield* diffImage(this.services.io, header, { from: named(from), to: named(to), end })
  }

  /** A shrink takes a header lease longer than its removals: those who use the image learn of it meanwhile. */
  async resize(name: string, sizeBytes: number, onProgress: ProgressListener = noProgress): Promise<ImageHeader> {
    checkSize(sizeBytes)
    const current = await this.settle(await this.services.directory.find(name))
    return (await this.resizer.resize(current, sizeBytes, onProgress)).header
  }

  /**
   * Makes the image what it was at a snapshot, its size, too; its snapshots stay. Nobody can use it meanwhile (EBUSY). Done
   * again after an interruption it goes on.
   */
  async rollback(name: string, snapshot: string, onProgress: ProgressListener = noProgress): Promise<ImageHeader> {
    const found = await this.services.directory.find(name)
    if (found.header.removing) throw beingRemoved(name)
    const current = await this.resizer.finishShrink(found)
    return rollbackImage(this.services, current.header.id, snapshot, onProgress)
  }

  /** Data first, name last. Run again after an interruption it goes on. EBUSY while the image has snapshots. */
  async remove(name: string, onProgress: ProgressListener = noProgress): Promise<void> {
    const { directory, io } = this.services
    const id = await directory.idOf(name)
    const current = await ifThere(readHeader(io, id))
    if (current === undefined) return this.removeName(name, id)
    await this.removeAllButName(current, onProgress)
    await directory.remove(name, id)
  }

  private async removeAllButName(current: StoredHeader, onProgress: ProgressListener): Promise<void> {
    const { io } = this.services
    const settled = await finishRemovals(io, current)
    expectNoSnapshots(settled.header)
    const { header } = settled.header.removing
      ? settled
      : await this.resizer.replace(settled, { ...settled.header, removing: true })
    const objects = Math.ceil(Math.max(header.sizeBytes, header.shrinkingFromBytes) / header.objectBytes)
    await this.resizer.removeObjects(header, 0, objects, onProgress)
    await this.clones.leaveParent(header)
    await removeIfThere(io, headerObjectName(header.id))
  }

  private async removeTrashed(id: string, onProgress: ProgressListener): Promise<void> {
    const current = await ifThere(readHeader(this.services.io, id))
    // Undefined: an earlier removal came as far as the header.
    if (current !== undefined) await this.removeAllButName(current, onProgress)
  }

  /** An earlier removal came as far as the header; or a clone never got one, and must not any more. */
  private async removeName(name: string, id: string): Promise<void> {
    const { directory, io } = this.services
    if (!(await putStone(io, id))) throw changedMeanwhile({ name })
    await directory.remove(name, id)
    await takeStone(io, id)
  }

  /** Completes what was interrupted, for who is to use the image. */
  private async settle(found: StoredHeader): Promise<StoredHeader> {
    const { header } = found
    if (header.removing) throw beingRemoved(header.name)
    if (header.snapshots !== undefined && header.snapshots.rollingBackTo !== 0) throw beingRolledBack(header)
    return this.clones.finishLeaving(await this.resizer.finishShrink(found))
  }

  /** Bytes that are allocated, found by asking every object of the image, and what there is for its snapshots. */
  async usage(name: string, onProgress: ProgressListener = noProgress): Promise<ImageUsage> {
    const { directory, io } = this.services
    const { header } = await directory.find(name)
    const snapshots = header.snapshots?.entries ?? []
    const bytes = Math.max(header.sizeBytes, ...snapshots.map(({ sizeBytes }) => sizeBytes))
    const count = Math.ceil(bytes / header.objectBytes)
    const data = dataIoOf(io, header)
    const usage = { usedBytes: 0, objects: 0, snapshotBytes: 0 }
    let done = 0
    await forEachIndex(count, measureWidthMax, async (index) => {
      const object = dataObjectName(header.id, index)
      const map: ObjectOp[] = [{ kind: 'map-extents', offset: 0, length: header.objectBytes }]
      const mapped = (await ifThere(data.execute(object, map)))?.results[0]
      if (mapped?.kind === 'extents') {
        usage.objects++
        for (const extent of mapped.extents) usage.usedBytes += extent.length
      }
      if (snapshots.length > 0) {
        const listed = (await ifThere(data.execute(object, [{ kind: 'list-snaps' }])))?.results[0]
        if (listed?.kind === 'snaps') usage.snapshotBytes += cloneBytes(listed.snaps)
      }
      onProgress(++done, count)
    })
    return { name, sizeBytes: header.sizeBytes, ...usage }
  }
}

/** What the clones of an object have that no newer one has. */
function cloneBytes({ clones }: ObjectSnaps): number {
  let total = 0
  for (const { sizeBytes, overlap } of clones) {
    total += sizeBytes
    for (const { length } of overlap) total -= length
  }
  return total
}

/** Their bytes would stay behind: nobody would know of the ids any more. */
function expectNoSnapshots({ name, snapshots }: ImageHeader): void {
  const entries = snapshots?.entries ?? []
  if (entries.length === 0) return
  const kinds = new Set(entries.map(({ kind }) => kind))
  const waiting = kinds.has('trash') && kinds.size === 1
  const what = `${entries.length} snapshot${entries.length === 1 ? '' : 's'}${waiting ? ' that clones need' : ''}`
  throw new ClusterError('EBUSY', `image ${name} has ${what}`, { hint: waysToRemove(name, kinds) })
}

function waysToRemove(name: string, kinds: ReadonlySet<SnapshotKind>): string {
  if (kinds.has('user')) return `shoal block snap purge ${name}`
  if (kinds.has('group')) return takenFor.group.removal
  if (kinds.has('mirror')) return takenFor.mirror.removal
  return `shoal block trash mv ${name}: it goes when they do not any more; or shoal block flatten, for each of shoal block children ${name}`
}
