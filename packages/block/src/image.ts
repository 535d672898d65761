/**
 * Reading and writing an open image. Every write is on stable storage on all its replicas when its promise resolves, so
 * a flush only has to wait for the writes that were begun before it.
 */
import { assert, ClusterError, isClusterError } from '@shoal/base'
import type { ObjectOp, ObjectOpResult } from '@shoal/wire'
import type { ImageHeader } from './image-header.ts'
import type { ObjectIo } from './object-io.ts'
import { forEachIndex } from './parallel.ts'
import { dataObjectName, type ObjectPart, splitRange } from './striping.ts'

/** Object operations that one request of a caller runs at once. */
const widthMax = 16
/** Zeros that must be allocated are written in pieces of this size. */
const zeroPieceBytes = 1024 * 1024

/** A piece of what was read: bytes, or a hole of so many zeros. */
export type ImageData =
  | { readonly kind: 'data'; readonly data: Uint8Array }
  | { readonly kind: 'hole'; readonly length: number }

export interface ImageExtent {
  readonly length: number
  readonly allocated: boolean
}

export class Image {
  readonly header: ImageHeader
  private readonly io: ObjectIo
  private readonly writes = new Set<Promise<void>>()

  constructor(io: ObjectIo, header: ImageHeader) {
    this.io = io
    this.header = header
  }

  get sizeBytes(): number {
    return this.header.sizeBytes
  }

  /** Exactly `length` bytes, in order. EINVAL outside the image. */
  async read(offset: number, length: number): Promise<readonly ImageData[]> {
    const parts = this.split(offset, length)
    const pieces: (readonly ImageData[])[] = []
    await forEachIndex(parts.length, widthMax, async (i) => {
      pieces[i] = await this.readPart(parts[i] as ObjectPart)
    })
    return pieces.flat()
  }

  /** Durable when it resolves. A write that fails part way may have changed some of its objects. */
  write(offset: number, data: Uint8Array): Promise<void> {
    return this.track(
      this.onParts(offset, data.length, async (part) => {
        const bytes = data.subarray(part.at, part.at + part.length)
        await this.execute(part, [{ kind: 'write', offset: part.offset, data: bytes }])
      }),
    )
  }

  /** Resolves once every write begun before is durable. Their failures are reported to their own callers. */
  async flush(): Promise<void> {
    await Promise.allSettled(this.writes)
  }

  /** The range reads as zeros afterwards; whole objects go, parts of objects become holes. */
  discard(offset: number, length: number): Promise<void> {
    return this.track(this.onParts(offset, length, (part) => this.discardPart(part)))
  }

  /** Zeros; unless `punchHole`, the space is allocated. */
  writeZeroes(offset: number, length: number, punchHole: boolean): Promise<void> {
    if (punchHole) return this.discard(offset, length)
    return this.track(
      this.onParts(offset, length, async (part) => {
        const end = part.offset + part.length
        for (let at = part.offset; at < end; at += zeroPieceBytes) {
          const data = new Uint8Array(Math.min(zeroPieceBytes, end - at))
          await this.execute(part, [{ kind: 'write', offset: at, data }])
        }
      }),
    )
  }

  /** The range as extents in order; neighbours differ in `allocated`. */
  async extents(offset: number, length: number): Promise<readonly ImageExtent[]> {
    const parts = this.split(offset, length)
    const pieces: (readonly ImageExtent[])[] = []
    await forEachIndex(parts.length, widthMax, async (i) => {
      pieces[i] = await this.partExtents(parts[i] as ObjectPart)
    })
    return mergeExtents(pieces.flat())
  }

  private split(offset: number, length: number): readonly ObjectPart[] {
    if (offset < 0 || length < 0 || offset + length > this.sizeBytes) {
      throw new ClusterError(
        'EINVAL',
        `bytes ${offset} to ${offset + length} lie outside the image of ${this.sizeBytes}`,
      )
    }
    return splitRange(offset, length, this.header.objectBytes)
  }

  private async onParts(offset: number, length: number, task: (part: ObjectPart) => Promise<void>): Promise<void> {
    const parts = this.split(offset, length)
    if (parts.length === 1) return task(parts[0] as ObjectPart)
    return forEachIndex(parts.length, widthMax, (i) => task(parts[i] as ObjectPart))
  }

  private track(write: Promise<void>): Promise<void> {
    const tracked = write.finally(() => this.writes.delete(tracked))
    this.writes.add(tracked)
    return tracked
  }

  private async execute(part: ObjectPart, ops: readonly ObjectOp[]): Promise<readonly ObjectOpResult[]> {
    return (await this.io.execute(dataObjectName(this.header.id, part.index), ops)).results
  }

  /** Undefined where the object does not exist: a hole. */
  private async executeOnExisting(
    part: ObjectPart,
    ops: readonly ObjectOp[],
  ): Promise<readonly ObjectOpResult[] | undefined> {
    try {
      return await this.execute(part, ops)
    } catch (error) {
      if (isClusterError(error, 'ENOENT')) return undefined
      throw error
    }
  }

  private async readPart(part: ObjectPart): Promise<readonly ImageData[]> {
    const results = await this.executeOnExisting(part, [{ kind: 'read', offset: part.offset, length: part.length }])
    if (results === undefined) return [{ kind: 'hole', length: part.length }]
    const result = results[0]
    assert(
      result?.kind === 'data' && result.data.length <= part.length,
      'a read answers with at most what was asked for',
    )
    const missing = part.length - result.data.length
    const data: ImageData[] = result.data.length === 0 ? [] : [{ kind: 'data', data: result.data }]
    return missing === 0 ? data : [...data, { kind: 'hole', length: missing }]
  }

  private async discardPart(part: ObjectPart): Promise<void> {
    // The last object may be shorter: nothing of it lies beyond the image.
    const { objectBytes } = this.header
    const toTheEnd = part.offset + part.length === Math.min(objectBytes, this.sizeBytes - part.index * objectBytes)
    if (toTheEnd && part.offset === 0) {
      await this.executeOnExisting(part, [{ kind: 'remove' }])
    } else if (toTheEnd) {
      await this.executeOnExisting(part, truncateTo(part.offset))
    } else {
      await this.executeOnExisting(part, [
        { kind: 'assert-exists' },
        { kind: 'zero', offset: part.offset, length: part.length },
      ])
    }
  }

  private async partExtents(part: ObjectPart): Promise<readonly ImageExtent[]> {
    const results = await this.executeOnExisting(part, [
      { kind: 'map-extents', offset: part.offset, length: part.length },
    ])
    const result = results?.[0]
    const extents: ImageExtent[] = []
    let at = part.offset
    const end = part.offset + part.length
    for (const extent of result?.kind === 'extents' ? result.extents : []) {
      const from = Math.max(at, extent.offset)
      const to = Math.min(end, extent.offset + extent.length)
      if (to <= from) continue
      if (from > at) extents.push({ length: from - at, allocated: false })
      extents.push({ length: to - from, allocated: true })
      at = to
    }
    if (at < end) extents.push({ length: end - at, allocated: false })
    return extents
  }
}

/** Cuts an object that exists; a shorter one is not grown, since `zero` and `truncate` would otherwise allocate. */
export function truncateTo(sizeBytes: number): readonly ObjectOp[] {
  return [{ kind: 'assert-exists' }, { kind: 'truncate', sizeBytes }]
}

function mergeExtents(extents: readonly ImageExtent[]): readonly ImageExtent[] {
  const merged: { length: number; readonly allocated: boolean }[] = []
  for (const extent of extents) {
    const last = merged.at(-1)
    if (last !== undefined && last.allocated === extent.allocated) last.length += extent.length
    else merged.push({ ...extent })
  }
  return merged
}
