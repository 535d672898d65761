/**
 * Reads blocks: from the images still pending, from a cache of blocks read before, from the data file; each verified
 * against the checksum of its block map, wherever it came from.
 *
 * A cached block that fails is only stale (its unit was written again) and is read anew. A block of the data file that
 * fails is damage if the object has not changed since the read began; else the read starts over with the new block map.
 */
import { ClusterError, type Compression, concatBytes, type FileHandle, uninitializedBytes } from '@shoal/base'
import { formatObjectId, type ObjectId } from '@shoal/wire'
import type { Blob } from './blob.ts'
import type { Checksums } from './checksum.ts'
import { CleanCache } from './clean-cache.ts'
import { blockBytes } from './layout.ts'
import type { Extent } from './object-store.ts'
import { joinAdjacent, type PendingData } from './pending-data.ts'

/** Bytes that fail their checksum and were not returned. */
export class ChecksumError extends ClusterError {
  readonly object: ObjectId
  /** What is bad, in bytes of the object, merged and in order. */
  readonly badExtents: readonly Extent[]

  constructor(object: ObjectId, badExtents: readonly Extent[]) {
    const ranges = badExtents.map((extent) => `${extent.offset}+${extent.length}`).join(', ')
    super('ECHECKSUM', `${formatObjectId(object)}: bytes ${ranges} fail their checksum`, {
      hint: 'the range is repaired by writing it again from a good replica',
    })
    this.object = object
    this.badExtents = badExtents
  }
}

export interface WantedBlock {
  /** Of a block in a blob: the blob's first. */
  readonly unit: number
  readonly checksum: number
  /** The block is this one of what comes out of a blob. */
  readonly blob: Blob | undefined
  readonly at: number
}

/** A unit of the data file and what it should hash to. */
export interface WantedUnit {
  readonly unit: number
  readonly checksum: number
}

/** `at`: the place among those that were asked for. */
export type OnGoodBlock = (at: number, bytes: Uint8Array) => void

/** Of the memory for clean blocks, this part is for what came out of blobs. */
const blobCacheParts = 4

const cachedRunBlocksMax = 32

export class DataReader {
  private readonly file: FileHandle
  private readonly checksums: Checksums
  private readonly pending: PendingData
  private readonly compression: Compression
  private readonly cache: CleanCache<number, Uint8Array>
  /** By the blob itself: another one on the same units is another key. */
  private readonly blobCache: CleanCache<Blob, Uint8Array>
  checksumFailures = 0
  private diskReads = 0
  private diskBytes = 0
  private decompressions = 0
  private decompressedBytes = 0
  private decompressFailures = 0

  constructor(
    file: FileHandle,
    checksums: Checksums,
    pending: PendingData,
    compression: Compression,
    cacheBytesMax: number,
  ) {
    this.file = file
    this.checksums = checksums
    this.pending = pending
    this.compression = compression
    this.cache = new CleanCache(cacheBytesMax)
    this.blobCache = new CleanCache(cacheBytesMax / blobCacheParts)
  }

  perf(): Record<string, number> {
    return {
      checksum_failures: this.checksumFailures,
      data_reads: this.diskReads,
      data_read_bytes: this.diskBytes,
      data_cache_bytes: this.cache.bytes,
      data_cache_hits: this.cache.hits,
      decompress_count: this.decompressions,
      decompress_bytes: this.decompressedBytes,
      decompress_failures: this.decompressFailures,
    }
  }

  /** The verified block if it is in memory; valid until the next turn of the event loop. */
  peek(unit: number, checksum: number): Uint8Array | undefined {
    const data = this.pending.peek(unit) ?? this.cache.get(unit)
    return data !== undefined && this.checksums.low32(data) === checksum ? data : undefined
  }

  forget(unit: number): void {
    this.cache.delete(unit)
  }

  /** One block for a merge. An unreadable one counts as bad, its bytes as zeros. */
  async readUnit(unit: number, checksum: number): Promise<{ readonly data: Uint8Array; readonly bad: boolean }> {
    const data = this.pending.peek(unit)?.slice() ?? (await this.readRun(unit, 1)) ?? new Uint8Array(blockBytes)
    const bad = this.checksums.low32(data) !== checksum
    if (bad) this.checksumFailures++
    return { data, bad }
  }

  /**
   * The blocks in order, undefined for those that fail. Blocks on consecutive units are read together and come as views
   * that follow each other in one buffer.
   */
  async readBlocks(wanted: readonly WantedUnit[]): Promise<(Uint8Array | undefined)[]> {
    const blocks: (Uint8Array | undefined)[] = new Array(wanted.length).fill(undefined)
    const reads: Promise<void>[] = []
    for (let at = 0; at < wanted.length; ) {
      const first = wanted[at] as WantedUnit
      const isPending = this.pending.has(first.unit)
      const known = this.peek(first.unit, first.checksum)
      if (known !== undefined || isPending) {
        // An image's memory is used again once it is in the data file: the reader gets a copy.
        blocks[at++] = isPending ? known?.slice() : known
        continue
      }
      let count = 1
      while (at + count < wanted.length) {
        const next = wanted[at + count] as WantedUnit
        if (next.unit !== first.unit + count || this.pending.has(next.unit)) break
        count++
      }
      reads.push(this.fetch(wanted, blocks, at, count))
      at += count
    }
    if (reads.length === 1) await reads[0]
    else await Promise.all(reads)
    return blocks
  }

  /** All blocks that come out of the blob; undefined when a unit fails its checksum, or what it holds is no such blob. */
  async readBlob(blob: Blob): Promise<Uint8Array | undefined> {
    const known = this.blobCache.get(blob)
    if (known !== undefined) return known
    const wanted = blob.units.map((unit, at) => ({ unit, checksum: blob.checksums[at] as number }))
    const units: Uint8Array[] = []
    for (const unit of await this.readBlocks(wanted)) {
      if (unit === undefined) return undefined
      units.push(unit)
    }
    const bytes = await this.decompress(blob, concatBytes(joinAdjacent(units)))
    if (bytes !== undefined) this.blobCache.set(blob, bytes, bytes.length + 100)
    return bytes
  }

  private async decompress(blob: Blob, stored: Uint8Array): Promise<Uint8Array | undefined> {
    const sizeBytes = blob.count * blockBytes
    const bytes = await this.compression.decompress(blob.algorithm, stored.subarray(0, blob.sizeBytes), sizeBytes)
    if (bytes === undefined) {
      this.decompressFailures++
      return undefined
    }
    this.decompressions++
    this.decompressedBytes += sizeBytes
    return bytes
  }

  /** What `readBlob` gives, if it is in memory. */
  peekBlob(blob: Blob): Uint8Array | undefined {
    return this.blobCache.get(blob)
  }

  /**
   * Whether each block has its checksum on stable storage: what is still to be written there counts, caches do not. `onGood`
   * is given those that have; the bytes are valid within the call.
   */
  async verify(wanted: readonly WantedUnit[], onGood?: OnGoodBlock): Promise<readonly boolean[]> {
    const good: boolean[] = new Array(wanted.length).fill(false)
    for (let at = 0; at < wanted.length; ) {
      const { unit, checksum } = wanted[at] as WantedUnit
      const image = this.pending.peek(unit)
      if (image !== undefined) {
        good[at] = this.checksums.low32(image) === checksum
        if (good[at] === true) onGood?.(at, image)
        at++
        continue
      }
      let count = 1
      while (at + count < wanted.length && wanted[at + count]?.unit === unit + count && !this.pending.has(unit + count))
        count++
      await this.verifyRun(wanted, good, at, count, onGood)
      at += count
    }
    return good
  }

  private async verifyRun(
    wanted: readonly WantedUnit[],
    good: boolean[],
    at: number,
    count: number,
    onGood: OnGoodBlock | undefined,
  ): Promise<void> {
    const run = await this.readRun((wanted[at] as WantedUnit).unit, count)
    if (run === undefined && count > 1) {
      for (let i = 0; i < count; i++) await this.verifyRun(wanted, good, at + i, 1, onGood)
      return
    }
    if (run === undefined) return
    for (let i = 0; i < count; i++) {
      const block = run.subarray(i * blockBytes, (i + 1) * blockBytes)
      good[at + i] = this.checksums.low32(block) === wanted[at + i]?.checksum
      if (good[at + i] === true) onGood?.(at + i, block)
    }
  }

  /** As `readBlob`, from where `verify` looks. At most one blob's units and content are in memory. */
  async readStoredBlob(blob: Blob): Promise<Uint8Array | undefined> {
    const { units, checksums } = blob
    const stored = new Uint8Array(units.length * blockBytes)
    for (let at = 0; at < units.length; ) {
      const first = units[at] as number
      const image = this.pending.peek(first)
      let count = 1
      if (image === undefined) {
        while (units[at + count] === first + count && !this.pending.has(first + count)) count++
      }
      const run = image ?? (await this.readRun(first, count))
      if (run === undefined) return undefined
      stored.set(run, at * blockBytes)
      at += count
    }
    for (const [at, checksum] of checksums.entries()) {
      if (this.checksums.low32(stored.subarray(at * blockBytes, (at + 1) * blockBytes)) !== checksum) return undefined
    }
    return this.decompress(blob, stored)
  }

  private async fetch(
    wanted: readonly WantedUnit[],
    blocks: (Uint8Array | undefined)[],
    at: number,
    count: number,
  ): Promise<void> {
    const run = await this.readRun((wanted[at] as WantedUnit).unit, count)
    if (run === undefined && count > 1) {
      // One unreadable sector must not take its neighbours with it.
      for (let i = 0; i < count; i++) await this.fetch(wanted, blocks, at + i, 1)
      return
    }
    if (run === undefined) return
    for (let i = 0; i < count; i++) {
      const { unit, checksum } = wanted[at + i] as WantedUnit
      const block = run.subarray(i * blockBytes, (i + 1) * blockBytes)
      if (this.checksums.low32(block) !== checksum) continue
      blocks[at + i] = block
      if (count <= cachedRunBlocksMax) this.cache.set(unit, block, blockBytes + 100)
    }
  }

  /** Undefined when the device fails the read; zeros where the sparse file ends early. */
  private async readRun(unit: number, count: number): Promise<Uint8Array | undefined> {
    const buffer = uninitializedBytes(count * blockBytes)
    this.diskReads++
    this.diskBytes += buffer.length
    try {
      const readBytes = await this.file.read(buffer, unit * blockBytes)
      return readBytes === buffer.length ? buffer : buffer.fill(0, readBytes)
    } catch {
      return undefined
    }
  }
}
