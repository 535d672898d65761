/**
 * Names of objects inside a pool, and their order.
 *
 * A placement group holds the objects whose name hash falls to it. Inside a PG objects are ordered by the bit-reversed
 * hash first (Ceph's hobject_t order), so that the halves of a PG that splits are two contiguous ranges; backfill and
 * listing walk in this order and their cursors stay meaningful across a split.
 */
import { array, type ByteReader, type ByteWriter, type Codec, compareBytes, type PoolId, utf8Encode } from '@shoal/base'

/** The snapshot id of the live object. Clones carry the id of the newest snapshot they serve. */
export const headSnap = 0xffff_ffff_ffff

export interface ObjectId {
  readonly pool: PoolId
  /** rjenkins hash of the locator key (the name, unless a later feature sets one) with the namespace in front. */
  readonly hash: number
  readonly namespace: string
  readonly name: string
  readonly snap: number
}

/** 32 bits mirrored: bit 0 becomes bit 31. */
export function reverseBits(value: number): number {
  let v = value >>> 0
  v = ((v >>> 1) & 0x5555_5555) | ((v & 0x5555_5555) << 1)
  v = ((v >>> 2) & 0x3333_3333) | ((v & 0x3333_3333) << 2)
  v = ((v >>> 4) & 0x0f0f_0f0f) | ((v & 0x0f0f_0f0f) << 4)
  v = ((v >>> 8) & 0x00ff_00ff) | ((v & 0x00ff_00ff) << 8)
  return ((v >>> 16) | (v << 16)) >>> 0
}

function compareText(a: string, b: string): number {
  return a === b ? 0 : compareBytes(utf8Encode(a), utf8Encode(b))
}

/** Order inside one pool: reversed hash, namespace, name (both by UTF-8 bytes), snap with the head last. */
export function compareObjectIds(a: ObjectId, b: ObjectId): number {
  if (a.hash !== b.hash) return reverseBits(a.hash) - reverseBits(b.hash)
  return compareText(a.namespace, b.namespace) || compareText(a.name, b.name) || a.snap - b.snap
}

export function sameObjectIds(a: ObjectId, b: ObjectId): boolean {
  if (a === b) return true
  return a.hash === b.hash && a.name === b.name && a.snap === b.snap && a.namespace === b.namespace && a.pool === b.pool
}

/** Of the id that was asked for last: the steps of an operation ask for the same one again and again. */
let lastId: ObjectId | undefined
let lastKey = ''

/** A key for maps: equal exactly for equal ids. */
export function objectKey(id: ObjectId): string {
  if (id !== lastId) {
    lastId = id
    const name = `${id.pool}\0${id.namespace}\0${id.name}`
    lastKey = id.snap === headSnap ? name : `${name}\0${id.snap}`
  }
  return lastKey
}

export function formatObjectId(id: ObjectId): string {
  const place = id.namespace === '' ? '' : `${id.namespace}/`
  return `${id.pool}:${place}${id.name}${id.snap === headSnap ? '' : `@${id.snap}`}`
}

export const objectIdCodec: Codec<ObjectId> = {
  write(writer: ByteWriter, id: ObjectId) {
    writer.u64(id.pool).u32(id.hash).string(id.namespace).string(id.name).u64(id.snap)
  },
  read(reader: ByteReader): ObjectId {
    return {
      pool: reader.u64() as PoolId,
      hash: reader.u32(),
      namespace: reader.string(),
      name: reader.string(),
      snap: reader.u64(),
    }
  },
}

export const objectIdsCodec: Codec<readonly ObjectId[]> = array(objectIdCodec)

/** Longest name and namespace, in UTF-8 bytes (Ceph's osd_max_object_name_len). */
export const objectNameBytesMax = 2048
export const objectNamespaceBytesMax = 256
