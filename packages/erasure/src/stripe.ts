/**
 * Where the bytes of an object lie in its shards, as Ceph's ECUtil has it. An object is cut into stripes of k units; unit i of
 * a stripe goes to data shard i, and each shard is its units one behind the other:
 *
 *   object   | 0 | 1 | 2 | 3 || 4 | 5 | 6 | 7 || 8 ...      k = 4
 *   shard 0  | 0 | 4 | 8 |      shard 1  | 1 | 5 | ...
 *
 * The last stripe is padded with zeros, so that all shards are of one length and every stripe has its parity.
 */
import { assert, ClusterError } from '@shoal/base'

export interface StripeLayout {
  /** Data shards. */
  readonly k: number
  /** Bytes of one stripe on one shard; Ceph's chunk_size, `stripe_unit` in a profile. */
  readonly chunkBytes: number
}

export interface ByteRange {
  readonly offset: number
  readonly length: number
}

/** A stretch of an object within one unit, and where it lies. */
export interface ShardExtent extends ByteRange {
  readonly shard: number
  readonly shardOffset: number
}

/** Bytes of an object in one stripe; Ceph's stripe_width. */
export function stripeWidth({ k, chunkBytes }: StripeLayout): number {
  return k * chunkBytes
}

export function isStripeAligned(layout: StripeLayout, offset: number): boolean {
  return offset % stripeWidth(layout) === 0
}

/** Start of the stripe that has the byte. */
export function previousStripeOffset(layout: StripeLayout, offset: number): number {
  return offset - (offset % stripeWidth(layout))
}

/** Start of the first stripe at the byte or behind it. */
export function nextStripeOffset(layout: StripeLayout, offset: number): number {
  return Math.ceil(offset / stripeWidth(layout)) * stripeWidth(layout)
}

/** Offset in every shard of the stripe that has the byte. */
export function previousChunkOffset(layout: StripeLayout, offset: number): number {
  return (previousStripeOffset(layout, offset) / stripeWidth(layout)) * layout.chunkBytes
}

/** Offset in every shard of the first stripe at the byte or behind it: the length of a shard of an object of that size. */
export function nextChunkOffset(layout: StripeLayout, offset: number): number {
  return (nextStripeOffset(layout, offset) / stripeWidth(layout)) * layout.chunkBytes
}

/** Offset in the object of the stripe that starts at an offset of a shard. */
export function chunkOffsetToLogical(layout: StripeLayout, shardOffset: number): number {
  assert(shardOffset % layout.chunkBytes === 0, 'the offset of a stripe in a shard is a multiple of the chunk size')
  return shardOffset * layout.k
}

/** The whole stripes that a range touches. */
export function stripeBounds(layout: StripeLayout, { offset, length }: ByteRange): ByteRange {
  const from = previousStripeOffset(layout, offset)
  return { offset: from, length: nextStripeOffset(layout, offset + length) - from }
}

/** The shard that has a byte of the object, and where. */
export function locate(layout: StripeLayout, offset: number): { readonly shard: number; readonly shardOffset: number } {
  const inStripe = offset % stripeWidth(layout)
  const shard = Math.floor(inStripe / layout.chunkBytes)
  return { shard, shardOffset: previousChunkOffset(layout, offset) + (inStripe % layout.chunkBytes) }
}

/** The byte of the object at an offset of a data shard: undoes {@link locate}. */
export function logicalOffset(layout: StripeLayout, shard: number, shardOffset: number): number {
  const inChunk = shardOffset % layout.chunkBytes
  return chunkOffsetToLogical(layout, shardOffset - inChunk) + shard * layout.chunkBytes + inChunk
}

/** A range of the object, unit by unit, in the object's order. */
export function shardExtents(layout: StripeLayout, { offset, length }: ByteRange): readonly ShardExtent[] {
  const extents: ShardExtent[] = []
  const end = offset + length
  for (let at = offset; at < end; ) {
    const unitEnd = at - (at % layout.chunkBytes) + layout.chunkBytes
    const piece = Math.min(end, unitEnd) - at
    extents.push({ ...locate(layout, at), offset: at, length: piece })
    at += piece
  }
  return extents
}

/** The k data shards of whole stripes; the last one is padded with zeros. One stripe without padding is not copied. */
export function splitStripes(layout: StripeLayout, bytes: Uint8Array): readonly Uint8Array[] {
  const { k, chunkBytes } = layout
  if (bytes.length === stripeWidth(layout)) {
    return Array.from({ length: k }, (_, shard) => bytes.subarray(shard * chunkBytes, (shard + 1) * chunkBytes))
  }
  const shardBytes = nextChunkOffset(layout, bytes.length)
  const shards = Array.from({ length: k }, () => new Uint8Array(shardBytes))
  for (const { shard, shardOffset, offset, length } of shardExtents(layout, { offset: 0, length: bytes.length })) {
    shards[shard]?.set(bytes.subarray(offset, offset + length), shardOffset)
  }
  return shards
}

/** The first `sizeBytes` of the stripes whose data shards are given: undoes {@link splitStripes}. */
export function joinStripes(layout: StripeLayout, shards: readonly Uint8Array[], sizeBytes: number): Uint8Array {
  const shardBytes = shards[0]?.length ?? 0
  if (shards.length !== layout.k || shards.some((shard) => shard.length !== shardBytes)) {
    throw new ClusterError('EINVAL', `${shards.length} shards of ${shardBytes} bytes or other lengths`, {
      hint: `pass the ${layout.k} data shards, all of one length`,
    })
  }
  if (sizeBytes > shardBytes * layout.k) {
    throw new ClusterError('ERANGE', `${sizeBytes} bytes of shards that hold ${shardBytes * layout.k}`, {
      hint: 'read the shards to their end first',
    })
  }
  const bytes = new Uint8Array(sizeBytes)
  for (const { shard, shardOffset, offset, length } of shardExtents(layout, { offset: 0, length: sizeBytes })) {
    const source = shards[shard] as Uint8Array
    bytes.set(source.subarray(shardOffset, shardOffset + length), offset)
  }
  return bytes
}
