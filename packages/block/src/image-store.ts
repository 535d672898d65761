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
 * 4. grow of an image that was shrunk once: first as if it shrank from the new size, since a write that was under way for
 *    longer than a lease may have come after the removal; then the header takes the new size.
 */
import { ClusterError, type Env, emptyBytes, hexEncode, isClusterError, utf8Decode, utf8Encode } from '@shoal/base'
import type { ObjectOp } from '@shoal/wire'
import { headerLeaseMs, Image, truncateTo } from './image.ts'
import {
  createHeaderOps,
  dataIoOf,
  hasDataPool,
  type ImageHeader,
  readHeader,
  replaceHeader,
  type StoredHeader,
  wasShrunk,
} from './image-header.ts'
import type { ObjectIo } from './object-io.ts'
import { forEachIndex } from './parallel.ts'
import { dataObjectName, defaultObjectBytes, directoryObjectName, headerObjectName } from './striping.ts'

const imageNameBytesMax = 96
/** 2^53 would do; this keeps object numbers and NBD's signed offsets far from their edges. */
const imageBytesMax: number = 1024 ** 5
const listPage = 512
const removeWidthMax = 64
/** Other clocks may run slower than ours. */
const shrinkWaitMs = headerLeaseMs * 1.05

export interface ImageSummary {
  readonly id: string
  readonly name: string
}

export interface ImageUsage {
  readonly name: string
  readonly sizeBytes: number
  readonly usedBytes: number
  readonly objects: number
}

export type ProgressListener = (done: number, total: number) => void

const nameKey = (name: string): Uint8Array => utf8Encode(`name_${name}`)
const idKey = (id: string): Uint8Array => utf8Encode(`id_${id}`)

export class ImageStore {
  private readonly env: Pick<Env, 'clock' | 'random' | 'timers'>
  private readonly io: ObjectIo

  constructor(env: Pick<Env, 'clock' | 'random' | 'timers'>, io: ObjectIo) {
    this.env = env
    this.io = io
  }

  /** EEXIST when the name is taken, EINVAL for a bad name or size. */
  async create(
    name: string,
    sizeBytes: number,
    objectBytes: number = defaultObjectBytes,
    /** Id of the pool for its data, if that is another one. */
    dataPool?: number,
  ): Promise<ImageHeader> {
    checkName(name)
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
      await this.io.execute(directoryObjectName, [
        { kind: 'compare-omap', key: nameKey(name), mode: 'equal', value: emptyBytes },
        {
          kind: 'omap-set',
          entries: [
            { key: nameKey(name), value: utf8Encode(header.id) },
            { key: idKey(header.id), value: utf8Encode(name) },
          ],
        },
      ])
    } catch (error) {
      if (!isClusterError(error, 'ECANCELED')) throw error
      await this.io.execute(headerObjectName(header.id), [{ kind: 'remove' }])
      throw new ClusterError('EEXIST', `there is an image ${name} already`, { hint: 'shoal block ls' })
    }
    return header
  }

  /** Sorted by name. */
  async list(): Promise<readonly ImageSummary[]> {
    const prefix = utf8Encode('name_')
    const images: ImageSummary[] = []
    let after: Uint8Array | undefined
    for (;;) {
      const page = await this.directoryPage({ kind: 'omap-get-range', after, prefix, limit: listPage })
      for (const entry of page.entries) {
        images.push({ name: utf8Decode(entry.key.subarray(prefix.length)), id: utf8Decode(entry.value) })
      }
      if (!page.more) return images
      after = page.entries.at(-1)?.key
    }
  }

  /** The header, as it is stored. ENOENT when there is no such image. */
  async info(name: string): Promise<ImageHeader> {
    return (await this.find(name)).header
  }

  /** Ready for I/O; completes a shrink that was interrupted. */
  async open(name: string): Promise<Image> {
    const askedMs = this.env.clock.monotonicMs()
    const found = await this.find(name)
    if (found.header.removing) throw beingRemoved(name)
    const settled = await this.finishShrink(found)
    return new Image(this.io, this.env.clock, settled.header, askedMs)
  }

  /** A shrink takes a header lease longer than its removals: those who use the image learn of it meanwhile. */
  async resize(name: string, sizeBytes: number, onProgress: ProgressListener = () => undefined): Promise<ImageHeader> {
    checkSize(sizeBytes)
    const found = await this.find(name)
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

  /** Data first, name last. Run again after an interruption it goes on. */
  async remove(name: string, onProgress: ProgressListener = () => undefined): Promise<void> {
    const id = await this.idOf(name)
    const current = await readHeader(this.io, id).catch((error: unknown) => {
      if (isClusterError(error, 'ENOENT')) return undefined
      throw error
    })
    // An earlier removal came as far as the header.
    if (current === undefined) return this.removeName(name, id)
    const { header } = current.header.removing
      ? current
      : await this.replace(current, { ...current.header, removing: true })
    const objects = Math.ceil(Math.max(header.sizeBytes, header.shrinkingFromBytes) / header.objectBytes)
    await this.removeObjects(header, 0, objects, onProgress)
    await removeIfThere(this.io, headerObjectName(header.id))
    await this.removeName(name, header.id)
  }

  /** Bytes that are allocated, found by asking every object of the image. */
  async usage(name: string, onProgress: ProgressListener = () => undefined): Promise<ImageUsage> {
    const { header } = await this.find(name)
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

  private async idOf(name: string): Promise<string> {
    checkName(name)
    const page = await this.directoryPage({ kind: 'omap-get-keys', keys: [nameKey(name)] })
    const id = page.entries[0]?.value
    if (id === undefined) throw new ClusterError('ENOENT', `there is no image ${name}`, { hint: 'shoal block ls' })
    return utf8Decode(id)
  }

  /** The header and its bytes, as they are stored. ENOENT when there is no such image. */
  async find(name: string): Promise<StoredHeader> {
    const id = await this.idOf(name)
    try {
      return await readHeader(this.io, id)
    } catch (error) {
      if (!isClusterError(error, 'ENOENT')) throw error
      throw beingRemoved(name)
    }
  }

  private async removeName(name: string, id: string): Promise<void> {
    try {
      await this.io.execute(directoryObjectName, [
        { kind: 'compare-omap', key: nameKey(name), mode: 'equal', value: utf8Encode(id) },
        { kind: 'omap-remove', keys: [nameKey(name), idKey(id)] },
      ])
    } catch (error) {
      // Somebody else finished the same removal.
      if (!isClusterError(error, 'ECANCELED')) throw error
    }
  }

  private async directoryPage(op: ObjectOp): Promise<{
    readonly entries: readonly { readonly key: Uint8Array; readonly value: Uint8Array }[]
    readonly more: boolean
  }> {
    try {
      const result = (await this.io.execute(directoryObjectName, [op])).results[0]
      return result?.kind === 'omap' ? result : { entries: [], more: false }
    } catch (error) {
      if (isClusterError(error, 'ENOENT')) return { entries: [], more: false }
      throw error
    }
  }

  private async replace(current: StoredHeader, header: ImageHeader): Promise<StoredHeader> {
    try {
      return await replaceHeader(this.io, current, header)
    } catch (error) {
      if (!isClusterError(error, 'ECANCELED')) throw error
      throw new ClusterError('EBUSY', `image ${header.name} was changed by somebody else meanwhile`, {
        cause: error,
        retry: true,
        hint: 'look again: shoal block info',
      })
    }
  }

  private async finishShrink(
    current: StoredHeader,
    onProgress: ProgressListener = () => undefined,
  ): Promise<StoredHeader> {
    if (current.header.shrinkingFromBytes === 0) return current
    await new Promise<void>((resolve) => this.env.timers.after(shrinkWaitMs, resolve))
    return this.removeBeyond(current, onProgress)
  }

  /** From the size of the image to the size that the header remembers; then the memory goes. */
  private async removeBeyond(current: StoredHeader, onProgress: ProgressListener): Promise<StoredHeader> {
    const { header } = current
    const keptPart = header.sizeBytes % header.objectBytes
    const firstGone = Math.ceil(header.sizeBytes / header.objectBytes)
    if (keptPart > 0) {
      try {
        await dataIoOf(this.io, header).execute(dataObjectName(header.id, firstGone - 1), truncateTo(keptPart))
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
    let done = 0
    await forEachIndex(count, removeWidthMax, async (i) => {
      await removeIfThere(data, dataObjectName(header.id, from + i))
      onProgress(++done, count)
    })
  }
}

async function removeIfThere(io: ObjectIo, objectName: string): Promise<void> {
  try {
    await io.execute(objectName, [{ kind: 'remove' }])
  } catch (error) {
    if (!isClusterError(error, 'ENOENT')) throw error
  }
}

function beingRemoved(name: string): ClusterError {
  return new ClusterError('ENOENT', `image ${name} is being removed`, { hint: `shoal block rm ${name}, to finish` })
}

function checkName(name: string): void {
  const bytes = utf8Encode(name).length
  if (bytes === 0 || bytes > imageNameBytesMax || /[/@\0]/.test(name)) {
    throw new ClusterError('EINVAL', `not a name for an image: '${name}'`, {
      hint: `1 to ${imageNameBytesMax} bytes without '/' and '@'`,
    })
  }
}

function checkSize(sizeBytes: number): void {
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes <= 0 || sizeBytes > imageBytesMax) {
    throw new ClusterError('EINVAL', `not a size for an image: ${sizeBytes} bytes`, {
      hint: 'from 1 byte to 1 PiB: --size 10G',
    })
  }
}
