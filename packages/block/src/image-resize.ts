/**
 * The size of an image, and its data objects on their way out.
 *
 * 1. shrink: the header takes the new size and remembers the old one; everybody who uses the image learns of it within a
 *    header lease; data beyond goes; the memory is cleared. Whoever opens the image next completes it, before anything can
 *    grow it again and bring old bytes back to light. A clone lies over less of its parent from then on, and its snapshots
 *    first get what they have from the parent beyond the new end.
 * 2. grow of an image that was shrunk once: first as if it shrank from the new size, since a write that was under way for
 *    longer than a lease may have come after the removal; then the header takes the new size.
 */
import { ClusterError, isClusterError } from '@shoal/base'
import { truncateTo } from './image.ts'
import type { ImageClones } from './image-clones.ts'
import {
  changedMeanwhile,
  dataIoOf,
  type ImageHeader,
  readHeader,
  replaceHeader,
  type StoredHeader,
  wasShrunk,
} from './image-header.ts'
import { snapContextOf } from './image-snapshot.ts'
import { ifThere, type ObjectIo, type ObjectIoOptions } from './object-io.ts'
import { forEachIndex } from './parallel.ts'
import { noProgress, type ProgressListener, type StoreServices } from './store-services.ts'
import { dataObjectName } from './striping.ts'

/** 2^53 would do; this keeps object numbers and NBD's signed offsets far from their edges. */
const imageBytesMax: number = 1024 ** 5
const removeWidthMax = 64

export class ImageResizer {
  private readonly services: StoreServices
  private readonly clones: Pick<ImageClones, 'copyForSnapshots'>

  constructor(services: StoreServices, clones: Pick<ImageClones, 'copyForSnapshots'>) {
    this.services = services
    this.clones = clones
  }

  /** `current`: as no shrink is under way. */
  async resize(current: StoredHeader, sizeBytes: number, onProgress: ProgressListener): Promise<StoredHeader> {
    const { header } = current
    if (sizeBytes < header.sizeBytes) {
      return this.finishShrink(await this.replace(current, shrunk(header, sizeBytes)), onProgress)
    }
    const cleared =
      sizeBytes > header.sizeBytes && (header.compatibleFeatures & wasShrunk) !== 0
        ? await this.removeBeyond(await this.replace(current, { ...header, shrinkingFromBytes: sizeBytes }), onProgress)
        : current
    return this.replace(cleared, { ...cleared.header, sizeBytes })
  }

  async finishShrink(current: StoredHeader, onProgress: ProgressListener = noProgress): Promise<StoredHeader> {
    if (current.header.shrinkingFromBytes === 0) return current
    await this.services.waitForLease()
    return this.removeBeyond(current, onProgress)
  }

  /** EBUSY when the header is another one by now. */
  async replace(current: StoredHeader, header: ImageHeader): Promise<StoredHeader> {
    const { io, quiescer } = this.services
    try {
      const replaced = await replaceHeader(io, current, header)
      await quiescer.changed(header)
      return replaced
    } catch (error) {
      if (!isClusterError(error, 'ECANCELED')) throw error
      throw changedMeanwhile(header, error)
    }
  }

  /** From the size of the image to the size that the header remembers; then the memory goes. */
  private async removeBeyond(current: StoredHeader, onProgress: ProgressListener): Promise<StoredHeader> {
    const { header } = current
    const { io } = this.services
    await this.clones.copyForSnapshots(header)
    const keptPart = header.sizeBytes % header.objectBytes
    const firstGone = Math.ceil(header.sizeBytes / header.objectBytes)
    if (keptPart > 0) {
      const last = dataObjectName(header.id, firstGone - 1)
      const options = { snapContext: snapContextOf(header) }
      await ifThere(dataIoOf(io, header).execute(last, truncateTo(keptPart), options))
    }
    await this.removeObjects(header, firstGone, Math.ceil(header.shrinkingFromBytes / header.objectBytes), onProgress)
    try {
      return await this.replace(current, { ...header, shrinkingFromBytes: 0 })
    } catch (error) {
      // Who opened the image meanwhile may have finished the same work.
      const now = await readHeader(io, header.id)
      if (now.header.shrinkingFromBytes === 0 && now.header.sizeBytes === header.sizeBytes) return now
      throw error
    }
  }

  async removeObjects(header: ImageHeader, from: number, to: number, onProgress: ProgressListener): Promise<void> {
    const count = Math.max(0, to - from)
    const data = dataIoOf(this.services.io, header)
    const options = { snapContext: snapContextOf(header) }
    let done = 0
    await forEachIndex(count, removeWidthMax, async (i) => {
      await removeIfThere(data, dataObjectName(header.id, from + i), options)
      onProgress(++done, count)
    })
  }
}

function shrunk(header: ImageHeader, sizeBytes: number): ImageHeader {
  const { parent } = header
  return {
    ...header,
    sizeBytes,
    shrinkingFromBytes: header.sizeBytes,
    compatibleFeatures: header.compatibleFeatures | wasShrunk,
    ...(parent === undefined ? {} : { parent: { ...parent, overlapBytes: Math.min(parent.overlapBytes, sizeBytes) } }),
  }
}

export async function removeIfThere(io: ObjectIo, objectName: string, options: ObjectIoOptions = {}): Promise<void> {
  await ifThere(io.execute(objectName, [{ kind: 'remove' }], options))
}

export function checkSize(sizeBytes: number): void {
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes <= 0 || sizeBytes > imageBytesMax) {
    throw new ClusterError('EINVAL', `not a size for an image: ${sizeBytes} bytes`, {
      hint: 'from 1 byte to 1 PiB: --size 10G',
    })
  }
}
