/**
 * The images of one pool: create, list, look up, resize, remove, measure.
 *
 * Order of steps, so that a crash between any two leaves nothing half visible and the same command finishes the work:
 * 1. create: header first, then the name (one compare-and-set in the directory). A crash between leaves a header that
 *    no name points to.
 * 2. rm: mark the header, remove data, remove the header, remove the name. Run again, it goes on where it was.
 * 3. shrink: the header takes the new size and remembers the old one; everybody who uses the image learns of it within a
 *    header lease; data beyond goes; the memory is cleared. Whoever opens the image next completes it, before anything can
 *    grow it again and bring old bytes back to light.
 * 4. rename: the copy of the name in the header, which only messages show, then the name (one compare-and-set).
 * 5. grow of an image that was shrunk once: first as if it shrank from the new size, since a write that was under way for
 *    longer than a lease may have come after the removal; then the header takes the new size.
 */
import { ClusterError, type Env, hexEncode, isClusterError } from '@shoal/base'
import type { ObjectOp } from '@shoal/wire'
import { headerLeaseMs, Image, truncateTo } from './image.ts'
import { diffImage, type ImageChange } from './image-diff.ts'
import { beingRemoved, checkImageName, ImageDirectory, type ImageSummary } from './image-directory.ts'
import {
  changedMeanwhile,
  changeHeader,
  createHeaderOps,
  dataIoOf,
  hasDataPool,
  type ImageHeader,
  readHeader,
  replaceHeader,
  type StoredHeader,
  wasShrunk,
} from './image-header.ts'
import { type ImageSnapshot, parseImageSpec, snapContextOf, snapshotNamed } from './image-snapshot.ts'
import { ImageSnapshots } from './image-snapshots.ts'
import type { ObjectIo, ObjectIoOptions } from './object-io.ts'
import { forEachIndex } from './parallel.ts'
import { nobodyHears, type Quiescer } from './quiescer.ts'
import { dataObjectName, defaultObjectBytes, headerObjectName } from './striping.ts'

/** 2^53 would do; this keeps object numbers and NBD's signed offsets far from their edges. */
const imageBytesMax: number = 1024 ** 5
const removeWidthMax = 64
/** Other clocks may run slower than ours. */
const leaseWaitMs = headerLeaseMs * 1.05

export interface ImageUsage {
  readonly name: string
  readonly sizeBytes: number
  readonly usedBytes: number
  readonly objects: number
}

export type ProgressListener = (done: number, total: number) => void

export class ImageStore {
  readonly snapshots: ImageSnapshots
  private readonly env: Pick<Env, 'clock' | 'random' | 'timers'>
  private readonly io: ObjectIo
  private readonly directory: ImageDirectory
  private readonly quiescer: Quiescer

  constructor(env: Pick<Env, 'clock' | 'random' | 'timers'>, io: ObjectIo, quiescer: Quiescer = nobodyHears) {
    this.env = env
    this.io = io
    this.directory = new ImageDirectory(io)
    this.quiescer = quiescer
    const waitForLease = (): Promise<void> => this.waitForLease()
    this.snapshots = new ImageSnapshots({ env, io, directory: this.directory, quiescer, waitForLease })
  }

  /** EEXIST when the name is taken, EINVAL for a bad name or size. */
  async create(
    name: string,
    sizeBytes: number,
    objectBytes: number = defaultObjectBytes,
    /** Id of the pool for its data, if that is another one. */
    dataPool?: number,
  ): Promise<ImageHeader> {
    checkImageName(name)
    checkSize(sizeBytes)
    if (!Number.isInteger(Math.log2(objectBytes)) || objectBytes < 4096 || objectBytes > 32 * 1024 * 1024) {
      throw new ClusterError('EINVAL', `object size ${objectBytes} is not a power of two from 4 KiB to 32 MiB`)
    }
    const header: ImageHeader = {
      id: hexEncode(this.env.random.bytes(8)),
      name,
      sizeBytes,
      objectBytes,
      createdMs: this.env.clock.wallMs(),
      incompatibleFeatures: dataPool === undefined ? 0 : hasDataPool,
      compatibleFeatures: 0,
      removing: false,
      shrinkingFromBytes: 0,
      ...(dataPool === undefined ? {} : { dataPool }),
    }
    dataIoOf(this.io, header)
    await this.io.execute(headerObjectName(header.id), createHeaderOps(header))
    try {
      await this.directory.add(name, header.id)
    } catch (error) {
      if (!isClusterError(error, 'ECANCELED')) throw error
      await this.io.execute(headerObjectName(header.id), [{ kind: 'remove' }])
      throw nameTaken(name)
    }
    return header
  }

  /** EEXIST when the new name is taken. Who has the image open goes on with it. */
  async rename(from: string, to: string): Promise<void> {
    checkImageName(to)
    const { header } = await this.directory.find(from)
    if (header.removing) throw beingRemoved(from)
    if (from === to) return
    await changeHeader(this.io, header.id, (current) => ({ ...current, name: to }))
    try {
      await this.directory.rename(header.id, from, to)
    } catch (error) {
      if (!isClusterError(error, 'ECANCELED')) throw error
      await changeHeader(this.io, header.id, (current) => ({ ...current, name: from }))
      throw nameTaken(to)
    }
  }

  /** Sorted by name. */
  list(): Promise<readonly ImageSummary[]> {
    return this.directory.list()
  }

  /** The header of an `IMAGE` or `IMAGE@SNAPSHOT`, as it is stored. ENOENT when there is no such image, or snapshot. */
  async info(spec: string): Promise<ImageHeader> {
    const { name, snapshot } = parseImageSpec(spec)
    const { header } = await this.directory.find(name)
    if (snapshot !== undefined) snapshotNamed(header, snapshot)
    return header
  }

  /** `IMAGE`, ready for I/O, or `IMAGE@SNAPSHOT`, to be read; completes a shrink that was interrupted. */
  async open(spec: string): Promise<Image> {
    const { name, snapshot } = parseImageSpec(spec)
    const askedMs = this.env.clock.monotonicMs()
    const found = await this.directory.find(name)
    if (found.header.removing) throw beingRemoved(name)
    if (snapshot !== undefined) {
      const { header } = found
      return new Image(this.io, this.env.clock, header, askedMs, snapshotNamed(header, snapshot))
    }
    const settled = await this.finishShrink(found)
    return new Image(this.io, this.env.clock, settled.header, askedMs)
  }

  /**
   * What changed between two snapshots, the older one first: `from` undefined: since an image of zeros, `to` undefined: up to
   * the image as it is. See {@link diffImage} for what is told, and in which order.
   */
  async *diff(name: string, from: string | undefined, to: string | undefined): AsyncGenerator<ImageChange> {
    const { header } = await this.directory.find(name)
    const named = (snapshot: string | undefined): ImageSnapshot | undefined =>
      snapshot === undefined ? undefined : snapshotNamed(header, snapshot)
    yield* diffImage(this.io, header, { from: named(from), to: named(to) })
  }

  /** A shrink takes a header lease longer than its removals: those who use the image learn of it meanwhile. */
  async resize(name: string, sizeBytes: number, onProgress: ProgressListener = () => undefined): Promise<ImageHeader> {
    checkSize(sizeBytes)
    const found = await this.directory.find(name)
    if (found.header.removing) throw beingRemoved(name)
    const current = await this.finishShrink(found)
    const { header } = current
    if (sizeBytes < header.sizeBytes) {
      const compatibleFeatures = header.compatibleFeatures | wasShrunk
      const shrinking = { ...header, sizeBytes, shrinkingFromBytes: header.sizeBytes, compatibleFeatures }
      return (await this.finishShrink(await this.replace(current, shrinking), onProgress)).header
    }
    const cleared =
      sizeBytes > header.sizeBytes && (header.compatibleFeatures & wasShrunk) !== 0
        ? await this.removeBeyond(await this.replace(current, { ...header, shrinkingFromBytes: sizeBytes }), onProgress)
        : current
    return (await this.replace(cleared, { ...cleared.header, sizeBytes })).header
  }

  /** Data first, name last. Run again after an interruption it goes on. EBUSY while the image has snapshots. */
  async remove(name: string, onProgress: ProgressListener = () => undefined): Promise<void> {
    const id = await this.directory.idOf(name)
    const current = await readHeader(this.io, id).catch((error: unknown) => {
      if (isClusterError(error, 'ENOENT')) return undefined
      throw error
    })
    // An earlier removal came as far as the header.
    if (current === undefined) return this.directory.remove(name, id)
    const settled = await this.snapshots.finishRemovals(current)
    expectNoSnapshots(settled.header)
    const { header } = settled.header.removing
      ? settled
      : await this.replace(settled, { ...settled.header, removing: true })
    const objects = Math.ceil(Math.max(header.sizeBytes, header.shrinkingFromBytes) / header.objectBytes)
    await this.removeObjects(header, 0, objects, onProgress)
    await removeIfThere(this.io, headerObjectName(header.id))
    await this.directory.remove(name, header.id)
  }

  /** Bytes that are allocated, found by asking every object of the image. */
  async usage(name: string, onProgress: ProgressListener = () => undefined): Promise<ImageUsage> {
    const { header } = await this.directory.find(name)
    const count = Math.ceil(header.sizeBytes / header.objectBytes)
    const data = dataIoOf(this.io, header)
    let usedBytes = 0
    let objects = 0
    let done = 0
    await forEachIndex(count, removeWidthMax, async (index) => {
      try {
        const ops: ObjectOp[] = [{ kind: 'map-extents', offset: 0, length: header.objectBytes }]
        const result = (await data.execute(dataObjectName(header.id, index), ops)).results[0]
        objects++
        if (result?.kind === 'extents') for (const extent of result.extents) usedBytes += extent.length
      } catch (error) {
        if (!isClusterError(error, 'ENOENT')) throw error
      }
      onProgress(++done, count)
    })
    return { name, sizeBytes: header.sizeBytes, usedBytes, objects }
  }

  private async replace(current: StoredHeader, header: ImageHeader): Promise<StoredHeader> {
    try {
      const replaced = await replaceHeader(this.io, current, header)
      await this.quiescer.changed(header)
      return replaced
    } catch (error) {
      if (!isClusterError(error, 'ECANCELED')) throw error
      throw changedMeanwhile(header, error)
    }
  }

  private async finishShrink(
    current: StoredHeader,
    onProgress: ProgressListener = () => undefined,
  ): Promise<StoredHeader> {
    if (current.header.shrinkingFromBytes === 0) return current
    await this.waitForLease()
    return this.removeBeyond(current, onProgress)
  }

  private waitForLease(): Promise<void> {
    return new Promise((resolve) => this.env.timers.after(leaseWaitMs, resolve))
  }

  /** From the size of the image to the size that the header remembers; then the memory goes. */
  private async removeBeyond(current: StoredHeader, onProgress: ProgressListener): Promise<StoredHeader> {
    const { header } = current
    const keptPart = header.sizeBytes % header.objectBytes
    const firstGone = Math.ceil(header.sizeBytes / header.objectBytes)
    if (keptPart > 0) {
      try {
        const options = { snapContext: snapContextOf(header) }
        await dataIoOf(this.io, header).execute(dataObjectName(header.id, firstGone - 1), truncateTo(keptPart), options)
      } catch (error) {
        if (!isClusterError(error, 'ENOENT')) throw error
      }
    }
    await this.removeObjects(header, firstGone, Math.ceil(header.shrinkingFromBytes / header.objectBytes), onProgress)
    try {
      return await this.replace(current, { ...header, shrinkingFromBytes: 0 })
    } catch (error) {
      // Who opened the image meanwhile may have finished the same work.
      const now = await readHeader(this.io, header.id)
      if (now.header.shrinkingFromBytes === 0 && now.header.sizeBytes === header.sizeBytes) return now
      throw error
    }
  }

  private async removeObjects(
    header: ImageHeader,
    from: number,
    to: number,
    onProgress: ProgressListener,
  ): Promise<void> {
    const count = Math.max(0, to - from)
    const data = dataIoOf(this.io, header)
    const options = { snapContext: snapContextOf(header) }
    let done = 0
    await forEachIndex(count, removeWidthMax, async (i) => {
      await removeIfThere(data, dataObjectName(header.id, from + i), options)
      onProgress(++done, count)
    })
  }
}

async function removeIfThere(io: ObjectIo, objectName: string, options: ObjectIoOptions = {}): Promise<void> {
  try {
    await io.execute(objectName, [{ kind: 'remove' }], options)
  } catch (error) {
    if (!isClusterError(error, 'ENOENT')) throw error
  }
}

function nameTaken(name: string): ClusterError {
  return new ClusterError('EEXIST', `there is an image ${name} already`, { hint: 'shoal block ls' })
}

function checkSize(sizeBytes: number): void {
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes <= 0 || sizeBytes > imageBytesMax) {
    throw new ClusterError('EINVAL', `not a size for an image: ${sizeBytes} bytes`, {
      hint: 'from 1 byte to 1 PiB: --size 10G',
    })
  }
}

/** Their bytes would stay behind: nobody would know of the ids any more. */
function expectNoSnapshots({ name, snapshots }: ImageHeader): void {
  const count = snapshots?.entries.length ?? 0
  if (count === 0) return
  throw new ClusterError('EBUSY', `image ${name} has ${count} snapshot${count === 1 ? '' : 's'}`, {
    hint: `shoal block snap purge ${name}`,
  })
}
