/**
 * The metadata of all collections: layers of changes in memory over `level`, read as one.
 *
 * Every asynchronous read of `level` ends with a look at the collection's generation: when a checkpoint finished
 * meanwhile, what was read may be older than what the layers no longer cover, and the read starts over.
 */
import {
  assert,
  ByteReader,
  ByteWriter,
  ClusterError,
  decode,
  emptyBytes,
  encode,
  isClusterError,
  type KeyValueOp,
  type KeyValueStore,
  must,
  type PgId,
} from '@shoal/base'
import { type ObjectId, sameObjectIds } from '@shoal/wire'
import type { Checksums } from './checksum.ts'
import { CleanCache } from './clean-cache.ts'
import { type CompressedSpace, nothingCompressed } from './compressed-space.ts'
import { Layer, type MetaValue, memoryBytes } from './layer.ts'
import { bytesToKey, type Key, keys, keyToBytes, objectSortKey, prefixEnd } from './layout.ts'
import { decodeShard, encodeShard, type Onode, onodeCodec, type Shard } from './onode.ts'
import { seal, unseal } from './sealed-value.ts'

export class Collection {
  readonly id: PgId
  readonly metaPrefix: Key
  readonly objectPrefix: Key
  exists: boolean
  /** Sequence of the last transaction that `level` has of this collection. */
  applied: number
  active: Layer = new Layer()
  frozen: Layer | undefined
  /** What its block maps have in blobs. */
  compressed: CompressedSpace = nothingCompressed
  /** Checkpoints of this collection so far. */
  generation = 0
  private lastId: ObjectId | undefined
  private lastKey: Key = ''

  constructor(id: PgId, exists: boolean, applied: number) {
    this.id = id
    this.exists = exists
    this.applied = applied
    this.metaPrefix = keys.metas(id)
    this.objectPrefix = keys.objects(id)
  }

  /** The operations of a transaction ask for the same one again and again. */
  objectKey(id: ObjectId): Key {
    if (this.lastId === undefined || !sameObjectIds(this.lastId, id)) {
      this.lastId = id
      this.lastKey = this.objectPrefix + objectSortKey(id)
    }
    return this.lastKey
  }
}

export interface StoreState {
  readonly epoch: number
  /** Where replay starts in the ring, and the sequence of the record there. */
  readonly tailOffset: number
  readonly tailSequence: number
  /** Closed in good order: the ring holds nothing. */
  readonly clean: boolean
  /** Acknowledged transactions were lost with a damaged journal, and the loss was accepted. */
  readonly damaged: boolean
}

const stateVersion = 1

export function encodeState(state: StoreState): Uint8Array {
  const flags = (state.clean ? 1 : 0) | (state.damaged ? 2 : 0)
  const writer = new ByteWriter(32).u8(stateVersion).u8(flags)
  return writer.u64(state.epoch).u64(state.tailOffset).u64(state.tailSequence).finish()
}

function decodeState(bytes: Uint8Array): StoreState {
  const reader = new ByteReader(bytes)
  if (reader.u8() !== stateVersion) {
    throw new ClusterError('EPROTO', 'the state record of the store is newer than this daemon', {
      hint: 'upgrade this daemon',
    })
  }
  const flags = reader.u8()
  return {
    epoch: reader.u64(),
    tailOffset: reader.u64(),
    tailSequence: reader.u64(),
    clean: (flags & 1) !== 0,
    damaged: (flags & 2) !== 0,
  }
}

const compressedVersion = 2

export function encodeCollection(
  exists: boolean,
  applied: number,
  { blocks, bytes, units }: CompressedSpace = nothingCompressed,
): Uint8Array {
  if (units === 0) return new ByteWriter(16).u8(1).boolean(exists).u64(applied).finish()
  const writer = new ByteWriter(40).u8(compressedVersion).boolean(exists).u64(applied)
  return writer.u64(blocks).u64(bytes).u64(units).finish()
}

export interface ScanPage {
  readonly entries: readonly (readonly [Key, MetaValue])[]
  readonly more: boolean
}

const pageEntriesMin = 64

/** Onodes and shards are kept as `level` has them; every checkpoint that changes one replaces it. */
export function isCached(key: Key): boolean {
  return key.startsWith('O') || key.startsWith(keys.shards)
}

export class MetaStore {
  readonly level: KeyValueStore
  readonly checksums: Checksums
  readonly collections: Map<PgId, Collection> = new Map()
  /** Onodes and shards as `level` has them; null where it has none. */
  private readonly cache: CleanCache<Key, Onode | Shard | null>

  constructor(level: KeyValueStore, checksums: Checksums, cacheBytesMax: number) {
    this.level = level
    this.checksums = checksums
    this.cache = new CleanCache(cacheBytesMax)
  }

  get cacheBytes(): number {
    return this.cache.bytes
  }

  get dirtyBytes(): number {
    let bytes = 0
    for (const { active, frozen } of this.collections.values()) bytes += active.bytes + (frozen?.bytes ?? 0)
    return bytes
  }

  /** Units freed by what is not in the level yet: they come back with the next checkpoint. */
  get heldUnits(): number {
    let units = 0
    for (const { active, frozen } of this.collections.values()) {
      units += active.freedUnits.length + (frozen?.freedUnits.length ?? 0)
    }
    return units
  }

  async readState(): Promise<StoreState> {
    const key = keyToBytes(keys.state)
    const value = await this.level.get(key)
    if (value === undefined) {
      throw new ClusterError('EIO', 'the store has no state record', { hint: 'remove this OSD and let it be rebuilt' })
    }
    return decodeState(unseal(this.checksums, key, value))
  }

  sealed(key: Key, value: Uint8Array): KeyValueOp {
    return { kind: 'put', ...seal(this.checksums, key, value) }
  }

  async loadCollections(): Promise<void> {
    const from = keyToBytes(keys.collections)
    const to = keyToBytes(must(prefixEnd(keys.collections), 'end of the collections'))
    for (const [key, value] of await this.level.entries({ from, to })) {
      const reader = new ByteReader(unseal(this.checksums, key, value))
      const version = reader.u8()
      const id = keys.collectionOf(bytesToKey(key))
      const collection = new Collection(id, reader.boolean(), reader.u64())
      if (version >= compressedVersion) {
        collection.compressed = { blocks: reader.u64(), bytes: reader.u64(), units: reader.u64() }
      }
      this.collections.set(id, collection)
    }
  }

  /** Undefined when only `level` knows. */
  peek(collection: Collection, key: Key): MetaValue | null | undefined {
    const active = collection.active.get(key)
    if (active !== undefined) return active
    const frozen = collection.frozen?.get(key)
    if (frozen !== undefined) return frozen
    return this.cache.get(key)
  }

  peekOnode(collection: Collection, key: Key): Onode | null | undefined {
    const value = this.peek(collection, key)
    if (value === undefined || value === null) return value
    assert(!(value instanceof Uint8Array) && value.kind === 'onode', 'an object key holds an onode')
    return value
  }

  async load(collection: Collection, key: Key): Promise<MetaValue | null> {
    for (;;) {
      const known = this.peek(collection, key)
      if (known !== undefined) return known
      const generation = collection.generation
      const bytes = keyToBytes(key)
      const stored = await this.level.get(bytes)
      if (collection.generation !== generation) continue
      const value = stored === undefined ? null : this.decodeValue(key, unseal(this.checksums, bytes, stored))
      // Only what a checkpoint refreshes: that an omap key is missing would be remembered beyond its making.
      if (isCached(key) && !(value instanceof Uint8Array)) this.remember(key, value)
      return this.peek(collection, key) ?? value
    }
  }

  async loadOnode(collection: Collection, key: Key): Promise<Onode | null> {
    const value = await this.load(collection, key)
    if (value === null) return null
    assert(!(value instanceof Uint8Array) && value.kind === 'onode', 'an object key holds an onode')
    return value
  }

  async loadShard(collection: Collection, onode: Onode, index: number): Promise<Shard> {
    const value = await this.load(collection, keys.shard(onode.number, index))
    if (value === null || value instanceof Uint8Array || value.kind !== 'shard') {
      throw new ClusterError('ECHECKSUM', 'a part of an object’s block map is missing', {
        hint: 'stop this OSD and run `shoal fsck` on its directory; if it reports damage, let the OSD be rebuilt',
      })
    }
    return value
  }

  /** `level` was changed past the layers. */
  forget(key: Key): void {
    this.cache.delete(key)
  }

  remember(key: Key, value: Onode | Shard | null): void {
    this.cache.set(key, value, memoryBytes(key, value))
  }

  /**
   * Live entries of one collection in [from, to) in key order: the state at the moment the promise resolves. A record that
   * is damaged rejects with ECHECKSUM, unless `damaged` is given: then its key is added there, and its value is empty.
   */
  async scan(collection: Collection, from: Key, to: Key, limit: number, damaged?: Set<Key>): Promise<ScanPage> {
    for (;;) {
      const page = await this.tryScan(collection, from, to, limit, damaged)
      if (page !== undefined) return page
      damaged?.clear()
    }
  }

  private async tryScan(
    c: Collection,
    from: Key,
    to: Key,
    limit: number,
    damaged: Set<Key> | undefined,
  ): Promise<ScanPage | undefined> {
    const generation = c.generation
    const below: (readonly [Key, Uint8Array, Uint8Array])[] = []
    let start = from
    for (;;) {
      const want = Math.max(pageEntriesMin, Math.min(limit + 1, 1024))
      const page = await this.level.entries({ from: keyToBytes(start), to: keyToBytes(to), limit: want })
      if (c.generation !== generation) return undefined
      for (const [key, value] of page) below.push([bytesToKey(key), key, value])
      const ended = page.length < want
      const last = below[below.length - 1]?.[0]
      const end = ended || last === undefined ? to : `${last}\0`
      const entries = this.merge(c, from, end, below, limit + 1, damaged)
      if (entries.length > limit) return { entries: entries.slice(0, limit), more: true }
      if (end === to) return { entries, more: false }
      start = end
    }
  }

  private merge(
    c: Collection,
    from: Key,
    to: Key,
    below: readonly (readonly [Key, Uint8Array, Uint8Array])[],
    limit: number,
    damaged: Set<Key> | undefined,
  ): (readonly [Key, MetaValue])[] {
    const stored = new Map<Key, readonly [Key, Uint8Array, Uint8Array]>()
    for (const entry of below) stored.set(entry[0], entry)
    const names = new Set<Key>(stored.keys())
    // Each layer hides at most its own removals, so this many keys of each are enough for `limit` live ones.
    for (const layer of [c.frozen, c.active]) for (const key of layer?.range(from, to) ?? []) names.add(key)
    const found: (readonly [Key, MetaValue])[] = []
    for (const key of [...names].sort(compareKeys)) {
      if (found.length === limit) break
      let value = c.active.get(key)
      if (value === undefined) value = c.frozen?.get(key)
      if (value === undefined) {
        const entry = stored.get(key)
        if (entry === undefined) continue
        value = this.decodeStored(key, entry[1], entry[2], damaged)
      }
      if (value !== null) found.push([key, value])
    }
    return found
  }

  private decodeStored(key: Key, bytes: Uint8Array, stored: Uint8Array, damaged: Set<Key> | undefined): MetaValue {
    try {
      return this.decodeValue(key, unseal(this.checksums, bytes, stored))
    } catch (error) {
      if (damaged === undefined || !isClusterError(error, 'ECHECKSUM')) throw error
      damaged.add(key)
      return emptyBytes
    }
  }

  decodeValue(key: Key, value: Uint8Array): MetaValue {
    if (key.startsWith('O')) return decode(onodeCodec, value)
    return key.startsWith(keys.shards) ? decodeShard(value) : value
  }

  encodeValue(value: MetaValue): Uint8Array {
    if (value instanceof Uint8Array) return value
    return value.kind === 'shard' ? encodeShard(value) : encode(onodeCodec, value)
  }
}

function compareKeys(a: Key, b: Key): number {
  return a < b ? -1 : a > b ? 1 : 0
}
