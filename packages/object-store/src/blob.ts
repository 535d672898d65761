/**
 * Blobs: consecutive blocks of an object that were compressed as a whole and take fewer units than they have blocks.
 *
 * Invariants
 * 1. A blob is a value. Its units are never written again: what overwrites a part of it goes to units of its own, and
 *    the block map then says that those blocks are not seen in the blob any more (`live`). When none is, its units are
 *    freed.
 * 2. The checksums are over what is on the disk, and are verified before a byte is given to the decompressor.
 * 3. What comes out has exactly `count` blocks: the map says so, not the compressed bytes.
 */
import {
  type ByteReader,
  type ByteWriter,
  ClusterError,
  type CompressionAlgorithm,
  compressionAlgorithms,
} from '@shoal/base'
import { blockBytes, shardBlocks } from './layout.ts'

/** 128 KiB: `live` is one word. */
export const blobBlocksMax = 32

export interface Blob {
  readonly algorithm: CompressionAlgorithm
  /** Blocks that come out of it. */
  readonly count: number
  /** Compressed bytes; zeros fill the last unit. */
  readonly sizeBytes: number
  readonly units: readonly number[]
  /** Low xxh64 of each unit. */
  readonly checksums: readonly number[]
}

/** A blob in a shard. */
export interface BlobRef {
  /** The block of the shard that it begins at. */
  readonly first: number
  /** Bit i: block `first + i` is seen in the blob. Never 0. */
  readonly live: number
  readonly blob: Blob
}

export const noBlobs: readonly BlobRef[] = []

/** All blocks of a blob, as `live` has them. */
export function allLive(count: number): number {
  return count === 32 ? 0xffff_ffff : ((1 << count) >>> 0) - 1
}

export function countBits(word: number): number {
  let left = word - ((word >>> 1) & 0x5555_5555)
  left = (left & 0x3333_3333) + ((left >>> 2) & 0x3333_3333)
  return Math.imul((left + (left >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24
}

/** The blob that a block of the shard is seen in. */
export function findBlob(blobs: readonly BlobRef[], at: number): BlobRef | undefined {
  for (const ref of blobs) {
    const bit = at - ref.first
    if (bit >= 0 && bit < ref.blob.count && ((ref.live >>> bit) & 1) !== 0) return ref
  }
  return undefined
}

interface UnitPiece {
  readonly unit: number
  readonly count: number
}

/** Units in pieces that follow each other. */
function piecesOf(units: readonly number[]): UnitPiece[] {
  const pieces: { unit: number; count: number }[] = []
  for (const unit of units) {
    const last = pieces[pieces.length - 1]
    if (last !== undefined && last.unit + last.count === unit) last.count++
    else pieces.push({ unit, count: 1 })
  }
  return pieces
}

/** Algorithm, size and units: what shards and journal records have in common. The checksums follow elsewhere. */
export function writeBlobHead(writer: ByteWriter, blob: Blob): void {
  const pieces = piecesOf(blob.units)
  writer.u8(compressionAlgorithms.indexOf(blob.algorithm)).u32(blob.sizeBytes).u8(pieces.length)
  for (const { unit, count } of pieces) writer.u32(unit).u8(count)
}

/** Throws EBADMSG, or EPROTO for an algorithm of a newer version. */
export function readBlobHead(reader: ByteReader, count: number): Omit<Blob, 'checksums'> {
  const number = reader.u8()
  const algorithm = compressionAlgorithms[number]
  if (algorithm === undefined) {
    throw new ClusterError('EPROTO', `compression algorithm ${number} is newer than this daemon`, {
      hint: 'upgrade this daemon',
    })
  }
  const sizeBytes = reader.u32()
  const units: number[] = []
  for (let pieces = reader.u8(); pieces > 0; pieces--) {
    const unit = reader.u32()
    const length = reader.u8()
    if (unit === 0 || units.length + length > blobBlocksMax) malformed()
    for (let i = 0; i < length; i++) units.push(unit + i)
  }
  if (sizeBytes === 0 || units.length !== Math.ceil(sizeBytes / blockBytes) || units.length >= count) malformed()
  if (count > blobBlocksMax) malformed()
  return { algorithm, count, sizeBytes, units }
}

export function writeBlobs(writer: ByteWriter, blobs: readonly BlobRef[]): void {
  writer.u8(blobs.length)
  for (const { first, live, blob } of blobs) {
    writer.u8(first).u8(blob.count).u32(live)
    writeBlobHead(writer, blob)
    for (const checksum of blob.checksums) writer.u32(checksum)
  }
}

/** `mapped`: units of the shard's blocks, which no blob may show as well. */
export function readBlobs(reader: ByteReader, mapped: Uint32Array): BlobRef[] {
  const blobs: BlobRef[] = []
  for (let left = reader.u8(); left > 0; left--) {
    const first = reader.u8()
    const count = reader.u8()
    const live = reader.u32()
    const head = readBlobHead(reader, count)
    const checksums = head.units.map(() => reader.u32())
    if (first + count > shardBlocks || live === 0 || (live & ~allLive(count)) !== 0) malformed()
    for (let i = 0; i < count; i++) {
      if (((live >>> i) & 1) !== 0 && (mapped[first + i] !== 0 || findBlob(blobs, first + i) !== undefined)) malformed()
    }
    blobs.push({ first, live, blob: { ...head, checksums } })
  }
  return blobs
}

function malformed(): never {
  throw new ClusterError('EBADMSG', 'a blob of a block map is malformed')
}
