/**
 * Reading and writing an open image. Every write is on stable storage on all its replicas when its promise resolves, so
 * a flush only has to wait for the writes that were begun before it.
 */
import { assert, type Clock, ClusterError, isClusterError } from '@shoal/base'
import type { ObjectOp, ObjectOpResult } from '@shoal/wire'
import { CopyUp } from './copy-up.ts'
import { diffImage, type ImageChange } from './image-diff.ts'
import { beingRolledBack, dataIoOf, type ImageHeader, readHeader } from './image-header.ts'
import { type ImageSnapshot, snapContextOf, snapshotNamed, snapshotWithId } from './image-snapshot.ts'
import { changedRole } from './mirror/mirror-copy.ts'
import type { ObjectIo, ObjectIoOptions } from './object-io.ts'
import { forEachIndex } from './parallel.ts'
import { overlapOf } from './parent-link.ts'
import { dataObjectName, type ObjectPart, splitRange } from './striping.ts'

/** Object operations that one request of a caller runs at once. */
const widthMax = 16
/** Zeros that must be allocated are written in pieces of this size. */
const zeroPieceBytes = 1024 * 1024
/** An object that was copied up is not there again only if the image was shrunk or rolled back meanwhile. */
const copyUpAttemptsMax = 3

/**
 * How long a header may be believed after it was asked for. Whoever shrinks an image publishes the new size, waits so long,
 * and only then removes what lies beyond: by then nobody begins a write there any more.
 */
export const headerLeaseMs = 6_000
/** An image in use asks again, beside its work, when what it knows is so old. */
const headerRefreshMs = 1_500

/** A piece of what was read: bytes, or a hole of so many zeros. */
export type ImageData =
  | { readonly kind: 'data'; readonly data: Uint8Array }
  | { readonly kind: 'hole'; readonly length: number }

export interface ImageExtent {
  readonly length: number
  readonly allocated: boolean
}

export class Image {
  private readonly io: ObjectIo
  private readonly data: ObjectIo
  private readonly clock: Pick<Clock, 'monotonicMs'>
  private readonly writes = new Set<Promise<void>>()
  private known: ImageHeader
  private askedMs: number
  private refreshing: Promise<void> | undefined
  /** Steps in front of each look at the header, without which it is not believed: of whom the image's lock is. */
  guards: readonly ObjectOp[] = []
  /** Told of each change that failed; its caller is told, too. */
  onFailedWrite: ((error: unknown) => void) | undefined
  /** Which snapshot is read; undefined: the image as it is. */
  private snapshot: ImageSnapshot | undefined
  /** The snapshot that it is a clone of. */
  private readonly parent: Image | undefined
  private readonly copyUp: CopyUp | undefined
  /** How much of it lies over its parent; 0 without one. */
  private overlapBytes = 0
  private readonly readOptions: ObjectIoOptions | undefined
  /** With the snapshots that the known header shows. */
  private writeOptions: ObjectIoOptions | undefined
  /** What a write waits for before it begins; undefined almost always. */
  private held: Promise<void> | undefined
  private release: () => void = () => undefined
  private pauses = 0
  private drained: Promise<unknown> = Promise.resolve()

  /**
   * `askedMs`: when the header was asked for. With a snapshot the image is what it was then, and read-only. A clone takes its
   * parent, opened at the snapshot.
   */
  constructor(
    io: ObjectIo,
    clock: Pick<Clock, 'monotonicMs'>,
    header: ImageHeader,
    askedMs: number,
    { snapshot, parent }: { readonly snapshot?: ImageSnapshot | undefined; readonly parent?: Image | undefined } = {},
  ) {
    this.io = io
    this.data = dataIoOf(io, header)
    this.clock = clock
    this.known = header
    this.askedMs = askedMs
    this.snapshot = snapshot
    this.readOptions = snapshot === undefined ? undefined : { snap: snapshot.id }
    this.parent = parent
    this.copyUp = parent === undefined ? undefined : new CopyUp(this.data, header, parent)
    this.learn(header, askedMs)
  }

  get header(): ImageHeader {
    return this.known
  }

  /** As it was known last; it changes when somebody resizes the image. A snapshot's stays. */
  get sizeBytes(): number {
    return this.snapshot === undefined ? this.known.sizeBytes : this.snapshot.sizeBytes
  }

  get readOnly(): boolean {
    return this.snapshot !== undefined
  }

  /** Reads the header again. ENOENT when the image has been removed. */
  refresh(): Promise<void> {
    this.refreshing ??= this.readAgain().finally(() => {
      this.refreshing = undefined
    })
    return this.refreshing
  }

  /** The same, and not as it was before the call. */
  async refreshAnew(): Promise<void> {
    await this.refreshing?.catch(() => undefined)
    return this.refresh()
  }

  private async readAgain(): Promise<void> {
    const askedMs = this.clock.monotonicMs()
    const { header } = await readHeader(this.io, this.known.id, this.guards)
    if (header.removing) throw new ClusterError('ENOENT', `image ${header.name} is being removed`)
    if (header.snapshots !== undefined && header.snapshots.rollingBackTo !== 0) throw beingRolledBack(header)
    if (this.snapshot !== undefined) this.snapshot = snapshotWithId(header, this.snapshot.id)
    else if (header.mirrorCopy?.state !== this.known.mirrorCopy?.state) throw changedRole(header)
    this.learn(header, askedMs)
  }

  /** Writes that begin from here on are made in the context of the snapshots that the header shows. */
  private learn(header: ImageHeader, askedMs: number): void {
    this.known = header
    this.askedMs = askedMs
    this.writeOptions = writeOptionsOf(header)
    this.overlapBytes = this.parent === undefined ? 0 : overlapOf(header, this.snapshot)
  }

  /** Resolves once the writes under way are over; no other begins until `resume`, called as often as this was. */
  async pause(): Promise<void> {
    this.pauses++
    if (this.held === undefined) {
      this.drained = Promise.allSettled(this.writes)
      this.held = new Promise((resolve) => {
        this.release = resolve
      })
    }
    await this.drained
  }

  /** Lets writes begin again, by a header that is read anew. */
  async resume(): Promise<void> {
    assert(this.pauses > 0, 'what is resumed was paused')
    if (--this.pauses > 0) return
    // Should that fail, each write asks again, and fails with it.
    this.askedMs = Number.NEGATIVE_INFINITY
    await this.refreshAnew().catch(() => undefined)
    if (this.pauses > 0) return
    this.held = undefined
    this.release()
  }

  /** Runs the task with a header that may be believed. */
  private whenCurrent<T>(task: () => Promise<T>): Promise<T> {
    const ageMs = this.clock.monotonicMs() - this.askedMs
    if (ageMs < headerRefreshMs) return task()
    const refreshed = this.refresh()
    if (ageMs >= headerLeaseMs) return refreshed.then(task)
    // Whoever comes when the lease is over meets the failure.
    refreshed.catch(() => undefined)
    return task()
  }

  private whenWritable(task: () => Promise<void>): Promise<void> {
    if (this.snapshot !== undefined) return Promise.reject(readOnlyError(this.known, this.snapshot))
    return this.held === undefined ? this.whenCurrent(task) : this.held.then(() => this.whenWritable(task))
  }

  /** Exactly `length` bytes, in order. EINVAL outside the image. */
  read(offset: number, length: number): Promise<readonly ImageData[]> {
    return this.whenCurrent(() => this.readParts(offset, length))
  }

  private async readParts(offset: number, length: number): Promise<readonly ImageData[]> {
    const parts = this.split(offset, length)
    const [only] = parts
    if (only !== undefined && parts.length === 1) return this.readPart(only)
    const pieces: (readonly ImageData[])[] = []
    await forEachIndex(parts.length, widthMax, async (i) => {
      pieces[i] = await this.readPart(parts[i] as ObjectPart)
    })
    return pieces.flat()
  }

  /** Durable when it resolves; ENOSPC beyond the end. A write that fails part way may have changed some of its objects. */
  write(offset: number, data: Uint8Array): Promise<void> {
    return this.track(
      this.whenWritable(async () => {
        if (offset + data.length > this.sizeBytes) {
          throw new ClusterError('ENOSPC', `a write ends at ${offset + data.length}, the image at ${this.sizeBytes}`)
        }
        await this.onParts(offset, data.length, async (part) => {
          const bytes = data.subarray(part.at, part.at + part.length)
          await this.writePart(part, { kind: 'write', offset: part.offset, data: bytes })
        })
      }),
    )
  }

  /** Resolves once every write begun before is durable. Their failures are reported to their own callers. */
  async flush(): Promise<void> {
    await Promise.allSettled(this.writes)
  }

  /** The range reads as zeros afterwards; whole objects go, parts of objects become holes. */
  discard(offset: number, length: number): Promise<void> {
    return this.track(this.whenWritable(() => this.onParts(offset, length, (part) => this.discardPart(part))))
  }

  /** Zeros; unless `punchHole`, the space is allocated. */
  writeZeroes(offset: number, length: number, punchHole: boolean): Promise<void> {
    if (punchHole) return this.discard(offset, length)
    const zero = async (part: ObjectPart): Promise<void> => {
      const end = part.offset + part.length
      for (let at = part.offset; at < end; at += zeroPieceBytes) {
        const data = new Uint8Array(Math.min(zeroPieceBytes, end - at))
        await this.writePart(part, { kind: 'write', offset: at, data })
      }
    }
    return this.track(this.whenWritable(() => this.onParts(offset, length, zero)))
  }

  /** The range as extents in order; neighbours differ in `allocated`. */
  extents(offset: number, length: number): Promise<readonly ImageExtent[]> {
    return this.whenCurrent(() => this.extentsOfParts(offset, length))
  }

  /**
   * What of the range may have changed since an older snapshot, up to what this image shows. In order; see {@link diffImage}
   * for what is told. ENOENT when there is no such snapshot.
   */
  changes(since: string, offset: number, length: number): Promise<readonly ImageChange[]> {
    return this.whenCurrent(async () => {
      const ends = { from: snapshotNamed(this.known, since), to: this.snapshot, end: this }
      const end = offset + length
      const changes: ImageChange[] = []
      for await (const change of diffImage(this.io, this.known, ends, { offset, length })) {
        const from = Math.max(offset, change.offset)
        const to = Math.min(end, change.offset + change.length)
        if (from < to) changes.push({ ...change, offset: from, length: to - from })
      }
      return changes
    })
  }

  private async extentsOfParts(offset: number, length: number): Promise<readonly ImageExtent[]> {
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
    const tracked: Promise<void> = write.then(
      () => void this.writes.delete(tracked),
      (error: unknown) => {
        this.writes.delete(tracked)
        this.onFailedWrite?.(error)
        throw error
      },
    )
    this.writes.add(tracked)
    return tracked
  }

  private async execute(
    part: ObjectPart,
    ops: readonly ObjectOp[],
    options: ObjectIoOptions | undefined,
  ): Promise<readonly ObjectOpResult[]> {
    return (await this.data.execute(dataObjectName(this.header.id, part.index), ops, options)).results
  }

  /** Undefined where the object does not exist: a hole. */
  private async executeOnExisting(
    part: ObjectPart,
    ops: readonly ObjectOp[],
    options: ObjectIoOptions | undefined,
  ): Promise<readonly ObjectOpResult[] | undefined> {
    try {
      return await this.execute(part, ops, options)
    } catch (error) {
      if (!isClusterError(error, 'ENOENT')) throw error
      await this.expectPool()
      // At a snapshot that is gone nothing is found, either. Its entry is marked before its id goes.
      if (this.snapshot !== undefined) await this.refreshAnew()
      return undefined
    }
  }

  /** Without its pool an object is not a hole. Throws ENXIO. */
  private async expectPool(): Promise<void> {
    try {
      await this.data.poolId?.()
    } catch (cause) {
      if (!isClusterError(cause, 'ENOENT')) throw cause
      throw new ClusterError('ENXIO', `the pool with the data of image ${this.header.name} is gone`, {
        cause,
        hint: 'shoal pool ls; a backup is the only way back',
      })
    }
  }

  private async readPart(part: ObjectPart): Promise<readonly ImageData[]> {
    const ops: ObjectOp[] = [{ kind: 'read', offset: part.offset, length: part.length }]
    const results = await this.executeOnExisting(part, ops, this.readOptions)
    if (results === undefined) {
      const below = await this.below(part, holeOf, (parent, at, length) => parent.read(at, length))
      return below ?? this.readPart(part)
    }
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
    // Whether an object ends with the image is not for us to say: the image may have grown, and more been written, since.
    const toTheEnd = part.offset + part.length === this.header.objectBytes
    if (toTheEnd && part.offset === 0) return this.discardObject(part)
    const ops = toTheEnd
      ? truncateTo(part.offset)
      : [{ kind: 'assert-exists' as const }, { kind: 'zero' as const, offset: part.offset, length: part.length }]
    if (await this.changeCovered(part, ops)) return
    await this.executeOnExisting(part, ops, this.writeOptions)
  }

  /** What hides a parent, or may meet a late copy of its bytes, is emptied and stays. */
  private async discardObject(part: ObjectPart): Promise<void> {
    const covered = this.known.parent?.coveredBytes ?? 0
    if (part.index * this.known.objectBytes >= covered) {
      await this.executeOnExisting(part, [{ kind: 'remove' }], this.writeOptions)
    } else if (this.isCovered(part) && (this.writeOptions?.snapContext?.snaps.length ?? 0) === 0) {
      const ops: ObjectOp[] = [
        { kind: 'create', exclusive: false },
        { kind: 'truncate', sizeBytes: 0 },
      ]
      await this.execute(part, ops, this.writeOptions)
    } else if (!(await this.changeCovered(part, truncateTo(0)))) {
      await this.executeOnExisting(part, truncateTo(0), this.writeOptions)
    }
  }

  private writePart(part: ObjectPart, op: ObjectOp): Promise<unknown> {
    if (this.overlapBytes > 0 && this.isCovered(part)) return this.writeCovered(part, op)
    return this.execute(part, [op], this.writeOptions)
  }

  private async writeCovered(part: ObjectPart, op: ObjectOp): Promise<void> {
    if (await this.changeCovered(part, [{ kind: 'assert-exists' }, op])) return
    await this.execute(part, [op], this.writeOptions)
  }

  private isCovered(part: ObjectPart): boolean {
    return part.index * this.known.objectBytes < this.overlapBytes
  }

  /** Changes an object that lies over the parent; first it gets the parent's bytes, if it is not there. False: it does not. */
  private async changeCovered(part: ObjectPart, ops: readonly ObjectOp[]): Promise<boolean> {
    for (let attempt = 1; this.isCovered(part); attempt++) {
      try {
        await this.execute(part, ops, this.writeOptions)
        return true
      } catch (error) {
        if (!isClusterError(error, 'ENOENT') || attempt > copyUpAttemptsMax) throw error
      }
      await this.expectPool()
      await this.whileLinked(() => this.copyUp?.object(part.index, this.overlapBytes))
    }
    return false
  }

  /**
   * What the parent has of an object that is not there, in the range that lies over it; the rest is a hole. Undefined when
   * the image was flattened since the object was asked: it may be there now.
   */
  private async below<T>(
    part: ObjectPart,
    hole: (length: number) => T,
    ask: (parent: Image, offset: number, length: number) => Promise<readonly T[]>,
  ): Promise<readonly T[] | undefined> {
    const at = part.index * this.known.objectBytes + part.offset
    const length = Math.min(part.length, this.overlapBytes - at)
    const { parent } = this
    if (parent === undefined || length <= 0) return [hole(part.length)]
    const found = await this.whileLinked(() => ask(parent, at, length))
    if (found === undefined) return undefined
    return length === part.length ? found : [...found, hole(part.length - length)]
  }

  /** Undefined when the parent is gone, since nothing depends on it any more. Throws ENXIO when something does. */
  private async whileLinked<T>(ask: () => Promise<T> | undefined): Promise<T | undefined> {
    try {
      return await ask()
    } catch (cause) {
      if (!isClusterError(cause, 'ENOENT')) throw cause
      await this.refreshAnew()
      if (this.overlapBytes === 0) return undefined
      throw new ClusterError('ENXIO', `what image ${this.known.name} is a clone of is gone`, { cause })
    }
  }

  private async partExtents(part: ObjectPart): Promise<readonly ImageExtent[]> {
    const ops: ObjectOp[] = [{ kind: 'map-extents', offset: part.offset, length: part.length }]
    const results = await this.executeOnExisting(part, ops, this.readOptions)
    if (results === undefined) {
      const below = await this.below(part, unallocated, (parent, at, length) => parent.extents(at, length))
      return below ?? this.partExtents(part)
    }
    const result = results[0]
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

function writeOptionsOf(header: ImageHeader): ObjectIoOptions | undefined {
  const snapContext = snapContextOf(header)
  return snapContext === undefined ? undefined : { snapContext }
}

const holeOf = (length: number): ImageData => ({ kind: 'hole', length })
const unallocated = (length: number): ImageExtent => ({ length, allocated: false })

function readOnlyError(header: ImageHeader, snapshot: ImageSnapshot): ClusterError {
  return new ClusterError('EROFS', `snapshot ${header.name}@${snapshot.name} is read-only`, {
    hint: 'write to the image, or to a clone of the snapshot',
  })
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
