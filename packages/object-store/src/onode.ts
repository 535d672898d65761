/**
 * Onodes (an object's attributes) and the shards of their block maps.
 *
 * Invariants
 * 1. Onodes are values: once the transaction that made one has been ordered it never changes. A transaction replaces what
 *    it touches by copies (`stamp` says which transaction owns a copy), so that a read sees by the onode's identity
 *    whether its object has changed.
 * 2. Shards are values for checkpoints: one that an active layer owns (`layer` says which) is changed in place, any
 *    other is copied first. A read takes units and checksums out of them in one turn.
 * 3. Bytes of the last block beyond the size are zeros; so are holes.
 * 4. `present` has the bit of every shard that maps at least one block, and of no other.
 * 5. A block has a unit of its own, or is seen in one blob, or is a hole.
 */
import { ByteReader, ByteWriter, bytes, ClusterError, type Codec, map, string, versioned } from '@shoal/base'
import { type ObjectId, objectIdCodec } from '@shoal/wire'
import { type BlobRef, noBlobs, readBlobs, writeBlobs } from './blob.ts'
import { bytesToKey, type Key, keyToBytes, onodeNumberBytes, shardBlocks } from './layout.ts'

export interface Onode {
  readonly kind: 'onode'
  readonly id: ObjectId
  /** What its shards and omap are filed under; stays the same when the object is renamed. */
  readonly number: Key
  sizeBytes: number
  /** Units that its block map names, those of blobs included. */
  allocatedBlocks: number
  /** Omap entries may exist. */
  hasOmap: boolean
  omapHeader: Uint8Array
  xattrs: ReadonlyMap<string, Uint8Array>
  /** One bit per shard. */
  present: Uint8Array
  /** Sequence of the transaction that made this copy. */
  readonly stamp: number
}

export interface Shard {
  readonly kind: 'shard'
  /** Unit of each block; 0 is a hole, or a block that is seen in a blob. */
  readonly units: Uint32Array
  readonly checksums: Uint32Array
  /** Units may be shared with other shards (clones). */
  shared: boolean
  /** Compressed blocks. A value: a change replaces the array. */
  blobs: readonly BlobRef[]
  /** Number of the layer that owns it; 0 for one that was read from `level`. */
  readonly layer: number
}

const none = new Uint8Array(0)
const noXattrs: ReadonlyMap<string, Uint8Array> = new Map()

export function newOnode(id: ObjectId, number: Key, stamp: number): Onode {
  return {
    kind: 'onode',
    id,
    number,
    sizeBytes: 0,
    allocatedBlocks: 0,
    hasOmap: false,
    omapHeader: none,
    xattrs: noXattrs,
    present: none,
    stamp,
  }
}

/** Written out: a spread copies property by property, and every write copies an onode. */
export function copyOnode(onode: Onode, stamp: number): Onode {
  const { id, number, sizeBytes, allocatedBlocks, hasOmap, omapHeader, xattrs, present } = onode
  return { kind: 'onode', id, number, sizeBytes, allocatedBlocks, hasOmap, omapHeader, xattrs, present, stamp }
}

export function newShard(layer: number): Shard {
  return {
    kind: 'shard',
    units: new Uint32Array(shardBlocks),
    checksums: new Uint32Array(shardBlocks),
    shared: false,
    blobs: noBlobs,
    layer,
  }
}

export function copyShard(shard: Shard, layer: number): Shard {
  return {
    kind: 'shard',
    units: shard.units.slice(),
    checksums: shard.checksums.slice(),
    shared: shard.shared,
    blobs: shard.blobs,
    layer,
  }
}

export function shardIsEmpty(shard: Shard): boolean {
  if (shard.blobs.length > 0) return false
  for (let i = 0; i < shardBlocks; i++) if (shard.units[i] !== 0) return false
  return true
}

export function hasShard(onode: Onode, index: number): boolean {
  const byte = onode.present[index >>> 3]
  return byte !== undefined && (byte & (1 << (index & 7))) !== 0
}

/** `present` with one bit changed. */
export function withShard(present: Uint8Array, index: number, there: boolean): Uint8Array {
  const length = Math.max(present.length, (index >>> 3) + 1)
  const copy = new Uint8Array(length)
  copy.set(present)
  const at = index >>> 3
  const bit = 1 << (index & 7)
  copy[at] = there ? (copy[at] as number) | bit : (copy[at] as number) & ~bit
  let end = length
  while (end > 0 && copy[end - 1] === 0) end--
  return copy.subarray(0, end)
}

/** Indexes of the shards that meet blocks [first, end), ascending. */
export function shardsInRange(onode: Onode, firstBlock: number, endBlock: number): number[] {
  const indexes: number[] = []
  const last = Math.min(Math.ceil(endBlock / shardBlocks), onode.present.length * 8)
  for (let index = Math.floor(firstBlock / shardBlocks); index < last; index++) {
    if (hasShard(onode, index)) indexes.push(index)
  }
  return indexes
}

const xattrsCodec = map(string(), bytes())

export const onodeCodec: Codec<Onode> = versioned<Onode>(1, 1, 'onode', {
  write(writer: ByteWriter, onode: Onode) {
    writer.raw(keyToBytes(onode.number))
    objectIdCodec.write(writer, onode.id)
    writer.u64(onode.sizeBytes).u32(onode.allocatedBlocks)
    writer.u8(onode.hasOmap ? 1 : 0).bytes(onode.omapHeader)
    xattrsCodec.write(writer, onode.xattrs)
    writer.bytes(onode.present)
  },
  read(reader: ByteReader): Onode {
    return {
      kind: 'onode',
      number: bytesToKey(reader.raw(onodeNumberBytes)),
      id: objectIdCodec.read(reader),
      sizeBytes: reader.u64(),
      allocatedBlocks: reader.u32(),
      hasOmap: (reader.u8() & 1) !== 0,
      omapHeader: reader.bytes(),
      xattrs: xattrsCodec.read(reader),
      present: reader.bytes(),
      stamp: 0,
    }
  },
})

const plainVersion = 1
/** Blobs follow. */
const blobsVersion = 2
const sharedFlag = 1

/** Runs of consecutive units, then the checksums of the mapped blocks in order, then the blobs, if there are any. */
export function encodeShard(shard: Shard): Uint8Array {
  const writer = new ByteWriter(320)
  writer
    .u8(shard.blobs.length === 0 ? plainVersion : blobsVersion)
    .u8(shard.shared ? sharedFlag : 0)
    .u8(0)
  let runs = 0
  for (let i = 0; i < shardBlocks; ) {
    const unit = shard.units[i] as number
    if (unit === 0) {
      i++
      continue
    }
    let count = 1
    while (i + count < shardBlocks && shard.units[i + count] === unit + count) count++
    writer.u8(i).u8(count).u32(unit)
    runs++
    i += count
  }
  for (let i = 0; i < shardBlocks; i++) if (shard.units[i] !== 0) writer.u32(shard.checksums[i] as number)
  if (shard.blobs.length > 0) writeBlobs(writer, shard.blobs)
  const encoded = writer.finish()
  encoded[2] = runs
  return encoded
}

/** Throws EBADMSG, or EPROTO for a newer format. */
export function decodeShard(encoded: Uint8Array): Shard {
  const reader = new ByteReader(encoded)
  const version = reader.u8()
  if (version !== plainVersion && version !== blobsVersion) {
    throw new ClusterError('EPROTO', `block map version ${version} is newer than this daemon`, {
      hint: 'upgrade this daemon',
    })
  }
  const shard = newShard(0)
  shard.shared = (reader.u8() & sharedFlag) !== 0
  const runs = reader.u8()
  let next = 0
  for (let run = 0; run < runs; run++) {
    const first = reader.u8()
    const count = reader.u8()
    const unit = reader.u32()
    if (first < next || count === 0 || first + count > shardBlocks || unit === 0) {
      throw new ClusterError('EBADMSG', `run ${run} of a block map is malformed`)
    }
    for (let i = 0; i < count; i++) shard.units[first + i] = unit + i
    next = first + count
  }
  for (let i = 0; i < shardBlocks; i++) if (shard.units[i] !== 0) shard.checksums[i] = reader.u32()
  if (version === blobsVersion) shard.blobs = readBlobs(reader, shard.units)
  reader.end()
  return shard
}
