/**
 * Sizes of the on-disk layout and the keys of `meta/`. The byte tables are in docs/formats/object-store.md.
 *
 * In memory a key is a string with one character per byte (code units 0 to 255): such strings compare with `<` exactly
 * as their bytes do, hash natively, and are the keys of JavaScript maps. They become bytes only at the edge of `level`.
 */
import { ClusterError, type PgId, utf8Decode, utf8Encode } from '@shoal/base'
import { headSnap, type ObjectId, objectNameBytesMax, objectNamespaceBytesMax, reverseBits } from '@shoal/wire'

/** The unit of allocation, of checksums and of the data file. */
export const blockBytes = 4096
/** Blocks per shard of an object's block map: 256 KiB, so that a small write rewrites one small record. */
export const shardBlocks = 64
/** The ring is laid out in sectors: a durable record never shares one with a later write. */
export const sectorBytes = 512
/** Unit 0 is never allocated; in a block map it stands for a hole. */
export const holeUnit = 0
export const objectBytesMax: number = 2 ** 40

export const fileNames: {
  readonly superblock: string
  readonly journal: string
  readonly data: string
  readonly meta: string
  readonly key: string
} = { superblock: 'superblock', journal: 'journal', data: 'data', meta: 'meta', key: 'key' }

/** A string of one character per byte. */
export type Key = string

export function bytesToKey(bytes: Uint8Array): Key {
  const length = bytes.length
  if (length <= 512) return String.fromCharCode.apply(null, bytes as unknown as number[])
  let key = ''
  for (let at = 0; at < length; at += 512) {
    key += String.fromCharCode.apply(null, bytes.subarray(at, Math.min(at + 512, length)) as unknown as number[])
  }
  return key
}

export function keyToBytes(key: Key): Uint8Array {
  const bytes = new Uint8Array(key.length)
  for (let i = 0; i < key.length; i++) bytes[i] = key.charCodeAt(i)
  return bytes
}

/** The smallest key greater than every key that starts with `prefix`; undefined when there is none. */
export function prefixEnd(prefix: Key): Key | undefined {
  let end = prefix.length
  while (end > 0 && prefix.charCodeAt(end - 1) === 0xff) end--
  if (end === 0) return undefined
  return prefix.slice(0, end - 1) + String.fromCharCode(prefix.charCodeAt(end - 1) + 1)
}

const u32Key = (value: number): Key =>
  String.fromCharCode((value >>> 24) & 0xff, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff)
export const u64Key = (value: number): Key => u32Key(Math.floor(value / 0x1_0000_0000)) + u32Key(value % 0x1_0000_0000)
const keyU32 = (key: Key, at: number): number =>
  ((key.charCodeAt(at) << 24) |
    (key.charCodeAt(at + 1) << 16) |
    (key.charCodeAt(at + 2) << 8) |
    key.charCodeAt(at + 3)) >>>
  0

const keyU64 = (key: Key, at: number): number => keyU32(key, at) * 0x1_0000_0000 + keyU32(key, at + 4)

const headSnapKey = u64Key(headSnap)

/** UTF-8 with 0x00 doubled to 0x00 0x01, closed by 0x00 0x00: the order of keys is the order of the texts' bytes. */
function textKey(text: string): Key {
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit === 0 || unit > 0x7f) {
      return `${bytesToKey(utf8Encode(text)).replaceAll('\0', '\0\u0001')}\0\0`
    }
  }
  return `${text}\0\0`
}

/** The part of a key that orders objects inside a collection: `compareObjectIds`, then the pool. */
export function objectSortKey(id: ObjectId): Key {
  const snap = id.snap === headSnap ? headSnapKey : u64Key(id.snap)
  return u32Key(reverseBits(id.hash)) + textKey(id.namespace) + textKey(id.name) + snap + u64Key(id.pool)
}

/** Takes the sort key of an object apart; undefined for one that no object has, which only damage makes. */
export function parseObjectSortKey(key: Key): ObjectId | undefined {
  const namespace = textAt(key, 4)
  const name = namespace === undefined ? undefined : textAt(key, namespace.end)
  if (namespace === undefined || name === undefined || key.length !== name.end + 16) return undefined
  const id: ObjectId = {
    hash: reverseBits(keyU32(key, 0)),
    namespace: namespace.text,
    name: name.text,
    snap: keyU64(key, name.end),
    pool: keyU64(key, name.end + 8) as ObjectId['pool'],
  }
  return objectSortKey(id) === key ? id : undefined
}

function textAt(key: Key, at: number): { readonly text: string; readonly end: number } | undefined {
  for (let end = key.indexOf('\0', at); end >= 0; end = key.indexOf('\0', end + 2)) {
    if (key[end + 1] !== '\0') continue
    try {
      return { text: utf8Decode(keyToBytes(key.slice(at, end).replaceAll('\0\u0001', '\0'))), end: end + 2 }
    } catch {
      return undefined
    }
  }
  return undefined
}

/** Throws EINVAL for names that the cluster does not allow. */
export function checkObjectId(id: ObjectId): void {
  if (id.name.length > objectNameBytesMax / 3 && utf8Encode(id.name).length > objectNameBytesMax) {
    throw new ClusterError('EINVAL', `object name of more than ${objectNameBytesMax} bytes`)
  }
  if (id.namespace.length > objectNamespaceBytesMax / 3 && utf8Encode(id.namespace).length > objectNamespaceBytesMax) {
    throw new ClusterError('EINVAL', `object namespace of more than ${objectNamespaceBytesMax} bytes`)
  }
}

/** Keys of `meta/`, by their first byte. */
interface Keys {
  /** State of the store: epoch, ring position. */
  readonly state: Key
  readonly collections: Key
  readonly shards: Key
  collection(id: PgId): Key
  collectionOf(key: Key): PgId
  /** Records of a collection. */
  metas(id: PgId): Key
  objects(id: PgId): Key
  shard(onodeNumber: Key, index: number): Key
  omap(onodeNumber: Key): Key
}

export const keys: Keys = {
  state: 'S',
  collections: 'C',
  shards: 'B',
  collection: (id) => `C${id}`,
  collectionOf: (key) => key.slice(1) as PgId,
  metas: (id) => `M${id}\0`,
  objects: (id) => `O${id}\0`,
  shard: (number, index) => `B${number}${u32Key(index)}`,
  omap: (number) => `P${number}`,
}

/**
 * The number that shards and omap entries of an object are filed under: the sequence of the transaction that made the
 * object and the operation's index in it. It is unique without a counter, since a sequence is never used again.
 */
export const onodeNumberBytes = 10
export function onodeNumber(sequence: number, index: number): Key {
  return u64Key(sequence) + String.fromCharCode((index >>> 8) & 0xff, index & 0xff)
}

/** Takes a shard key apart. */
export function parseShardKey(key: Key): { readonly onodeNumber: Key; readonly index: number } | undefined {
  if (key.length !== 1 + onodeNumberBytes + 4) return undefined
  return { onodeNumber: key.slice(1, 1 + onodeNumberBytes), index: keyU32(key, 1 + onodeNumberBytes) }
}

/** The collection of an `O` or `M` key. */
export function collectionOfRecordKey(key: Key): PgId {
  return utf8Decode(keyToBytes(key.slice(1, key.indexOf('\0', 1)))) as PgId
}
