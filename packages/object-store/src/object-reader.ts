/** The reading half of the store: everything here is over the onode and the block map of one moment. */
import { ClusterError, concatBytes, emptyBytes, type PgId } from '@shoal/base'
import { formatObjectId, type ObjectId, type OmapEntry } from '@shoal/wire'
import { type Blob, findBlob } from './blob.ts'
import { ChecksumError, type DataReader, type WantedBlock } from './data-reader.ts'
import {
  blockBytes,
  bytesToKey,
  holeUnit,
  type Key,
  keys,
  keyToBytes,
  parseObjectSortKey,
  prefixEnd,
  shardBlocks,
} from './layout.ts'
import type { Collection, MetaStore } from './meta-store.ts'
import type { Extent, ObjectPage, OmapPage } from './object-store.ts'
import { hasShard, type Onode, type Shard } from './onode.ts'
import { joinAdjacent } from './pending-data.ts'

/** A read starts over when the object changed under it; more often than this it is asked to come back. */
const restartsMax = 64
const zeroBlock = new Uint8Array(blockBytes)

/** An object as it is in one turn of the event loop. */
interface View {
  readonly onode: Onode
  /** End of the range within the object. */
  readonly end: number
  readonly firstBlock: number
  /** The blocks that the range touches, in order. */
  readonly blocks: readonly WantedBlock[]
  /** Some of them are in blobs. */
  readonly compressed: boolean
}

export class ObjectReader {
  private readonly meta: MetaStore
  private readonly data: DataReader

  constructor(meta: MetaStore, data: DataReader) {
    this.meta = meta
    this.data = data
  }

  collection(id: PgId): Collection {
    const collection = this.meta.collections.get(id)
    if (collection === undefined || !collection.exists) throw new ClusterError('ENOENT', `no collection ${id}`)
    return collection
  }

  async onode(id: PgId, object: ObjectId): Promise<Onode | undefined> {
    const c = this.collection(id)
    const key = c.objectKey(object)
    const known = this.meta.peekOnode(c, key)
    return (known === undefined ? await this.meta.loadOnode(c, key) : known) ?? undefined
  }

  async mustOnode(id: PgId, object: ObjectId): Promise<Onode> {
    const onode = await this.onode(id, object)
    if (onode === undefined) throw missing(object)
    return onode
  }

  async read(id: PgId, object: ObjectId, offset: number, length: number): Promise<Uint8Array> {
    for (let restarts = 0; restarts < restartsMax; restarts++) {
      const c = this.collection(id)
      const view = this.peekView(c, object, offset, length) ?? (await this.view(c, object, offset, length))
      const { end, firstBlock: first, blocks: wanted } = view
      if (end <= offset) return emptyBytes
      const mapped = wanted.filter((block) => block.unit !== holeUnit)
      const blocks = view.compressed ? await this.readMixed(mapped) : await this.data.readBlocks(mapped)
      const bad = badExtents(wanted, blocks, first)
      if (bad.length === 0) return assemble(wanted, blocks, offset - first * blockBytes, end - offset)
      if ((await this.onode(id, object)) === view.onode) {
        this.data.checksumFailures++
        throw new ChecksumError(object, bad)
      }
    }
    throw new ClusterError('EAGAIN', `${formatObjectId(object)} changes too fast to be read`, { retry: true })
  }

  /** As `readBlocks`, for blocks some of which are in blobs. Each blob is read once. */
  private async readMixed(wanted: readonly WantedBlock[]): Promise<(Uint8Array | undefined)[]> {
    const plain = wanted.filter(({ blob }) => blob === undefined)
    const blobs = new Map<Blob, Promise<Uint8Array | undefined>>()
    for (const { blob } of wanted) if (blob !== undefined && !blobs.has(blob)) blobs.set(blob, this.data.readBlob(blob))
    const ready = await this.data.readBlocks(plain)
    const bytesOf = new Map<Blob, Uint8Array | undefined>()
    for (const [blob, bytes] of blobs) bytesOf.set(blob, await bytes)
    let next = 0
    return wanted.map(({ blob, at }) => {
      if (blob === undefined) return ready[next++]
      return bytesOf.get(blob)?.subarray(at * blockBytes, (at + 1) * blockBytes)
    })
  }

  async extents(id: PgId, object: ObjectId, offset: number, length: number): Promise<readonly Extent[]> {
    const { end, firstBlock: first, blocks } = await this.view(this.collection(id), object, offset, length)
    const found: { offset: number; length: number }[] = []
    for (const [at, { unit }] of blocks.entries()) {
      if (unit === holeUnit) continue
      const low = Math.max(offset, (first + at) * blockBytes)
      const high = Math.min(end, (first + at + 1) * blockBytes)
      const last = found[found.length - 1]
      if (last !== undefined && last.offset + last.length === low) last.length += high - low
      else if (high > low) found.push({ offset: low, length: high - low })
    }
    return found
  }

  async metaEntries(id: PgId, from: Uint8Array, to: Uint8Array, limit: number): Promise<OmapPage> {
    const c = this.collection(id)
    const low = c.metaPrefix + bytesToKey(from)
    const high = c.metaPrefix + bytesToKey(to)
    if (low >= high || limit <= 0) return { entries: [], more: false }
    const page = await this.meta.scan(c, low, high, limit)
    return { entries: entriesOf(page.entries, c.metaPrefix.length), more: page.more }
  }

  async metaGet(id: PgId, key: Uint8Array): Promise<Uint8Array | undefined> {
    const c = this.collection(id)
    return ((await this.meta.load(c, c.metaPrefix + bytesToKey(key))) as Uint8Array | null) ?? undefined
  }

  async omapGet(id: PgId, object: ObjectId, wanted: readonly Uint8Array[]): Promise<readonly OmapEntry[]> {
    const c = this.collection(id)
    const onode = await this.mustOnode(id, object)
    if (!onode.hasOmap) return []
    const prefix = keys.omap(onode.number)
    const values = await Promise.all(wanted.map((key) => this.meta.load(c, prefix + bytesToKey(key))))
    const found: OmapEntry[] = []
    for (const [at, key] of wanted.entries()) {
      const value = values[at]
      if (value instanceof Uint8Array) found.push({ key, value })
    }
    return found
  }

  async omapEntries(
    id: PgId,
    object: ObjectId,
    options: { readonly after: Uint8Array | undefined; readonly prefix: Uint8Array; readonly limit: number },
  ): Promise<OmapPage> {
    const c = this.collection(id)
    const onode = await this.mustOnode(id, object)
    if (!onode.hasOmap || options.limit <= 0) return { entries: [], more: false }
    const base = keys.omap(onode.number)
    const low = base + bytesToKey(options.prefix)
    const after = options.after === undefined ? low : `${base}${bytesToKey(options.after)}\0`
    const end = prefixEnd(low) as Key
    const from = after > low ? after : low
    if (from >= end) return { entries: [], more: false }
    const page = await this.meta.scan(c, from, end, options.limit)
    return { entries: entriesOf(page.entries, base.length), more: page.more }
  }

  async list(id: PgId, after: ObjectId | undefined, limit: number): Promise<ObjectPage> {
    const c = this.collection(id)
    const from = after === undefined ? c.objectPrefix : `${c.objectKey(after)}\0`
    if (limit <= 0) return { objects: [], more: false }
    // A damaged object is listed by its key: who wants it will meet the damage, and mend it.
    const damaged = new Set<Key>()
    const page = await this.meta.scan(c, from, prefixEnd(c.objectPrefix) as Key, limit, damaged)
    const objects = page.entries.flatMap(([key, value]) => {
      const id = damaged.has(key) ? parseObjectSortKey(key.slice(c.objectPrefix.length)) : (value as Onode).id
      return id === undefined ? [] : [id]
    })
    return { objects, more: page.more }
  }

  /** Onode and shards as they are at this moment; undefined when some of it is not in memory. */
  private peekView(
    c: Collection,
    object: ObjectId,
    offset: number,
    length: number,
    loaded?: ReadonlyMap<number, Shard>,
  ): View | undefined {
    const onode = this.meta.peekOnode(c, c.objectKey(object))
    if (onode === undefined) return undefined
    if (onode === null) throw missing(object)
    const firstShard = Math.floor(offset / blockBytes / shardBlocks)
    const end = Math.min(offset + length, onode.sizeBytes)
    const shards: (Shard | undefined)[] = []
    for (let index = firstShard; index * shardBlocks * blockBytes < end; index++) {
      if (!hasShard(onode, index)) {
        shards.push(undefined)
        continue
      }
      const shard = (this.meta.peek(c, keys.shard(onode.number, index)) as Shard | undefined) ?? loaded?.get(index)
      if (shard === undefined) return undefined
      shards.push(shard)
    }
    const firstBlock = Math.floor(offset / blockBytes)
    const blocks = wantedBlocks(shards, firstShard, firstBlock, Math.ceil(end / blockBytes))
    const compressed = shards.some((shard) => shard !== undefined && shard.blobs.length > 0)
    return { onode, end, firstBlock, blocks, compressed }
  }

  private async view(c: Collection, object: ObjectId, offset: number, length: number): Promise<View> {
    for (let restarts = 0; restarts < restartsMax; restarts++) {
      const onode = await this.meta.loadOnode(c, c.objectKey(object))
      if (onode === null) throw missing(object)
      const { generation } = c
      const end = Math.min(offset + length, onode.sizeBytes)
      const loaded = new Map<number, Shard>()
      const indexes: number[] = []
      for (let i = Math.floor(offset / blockBytes / shardBlocks); i * shardBlocks * blockBytes < end; i++) {
        if (hasShard(onode, i)) indexes.push(i)
      }
      // The object may be rewritten or removed while its shards are read: then the attempt is void.
      const shards = await Promise.all(indexes.map((index) => this.meta.load(c, keys.shard(onode.number, index))))
      for (const [at, shard] of shards.entries()) {
        if (shard !== null && shard !== undefined && !(shard instanceof Uint8Array) && shard.kind === 'shard') {
          loaded.set(indexes[at] as number, shard)
        }
      }
      const current = this.meta.peekOnode(c, c.objectKey(object))
      if (current === undefined) this.meta.remember(c.objectKey(object), onode)
      const view = c.generation === generation ? this.peekView(c, object, offset, length, loaded) : undefined
      if (view !== undefined) return view
      if (current === onode && loaded.size < indexes.length) {
        throw new ClusterError('ECHECKSUM', `${formatObjectId(object)}: a part of the block map is missing`, {
          hint: 'stop this OSD and run `shoal fsck` on its directory',
        })
      }
    }
    throw new ClusterError('EAGAIN', `${formatObjectId(object)} changes too fast to be read`, { retry: true })
  }
}

function missing(object: ObjectId): ClusterError {
  return new ClusterError('ENOENT', `no object ${formatObjectId(object)}`)
}

function entriesOf(entries: readonly (readonly [Key, unknown])[], prefixLength: number): OmapEntry[] {
  return entries.map(([key, value]) => ({ key: keyToBytes(key.slice(prefixLength)), value: value as Uint8Array }))
}

function wantedBlocks(
  shards: readonly (Shard | undefined)[],
  firstShard: number,
  first: number,
  end: number,
): WantedBlock[] {
  const wanted: WantedBlock[] = []
  for (let block = first; block < end; block++) {
    const shard = shards[Math.floor(block / shardBlocks) - firstShard]
    const at = block % shardBlocks
    const unit = shard?.units[at] ?? holeUnit
    const ref = shard === undefined || unit !== holeUnit ? undefined : findBlob(shard.blobs, at)
    if (ref === undefined) wanted.push({ unit, checksum: shard?.checksums[at] ?? 0, blob: undefined, at: 0 })
    else wanted.push({ unit: ref.blob.units[0] as number, checksum: 0, blob: ref.blob, at: at - ref.first })
  }
  return wanted
}

function badExtents(
  wanted: readonly WantedBlock[],
  blocks: readonly (Uint8Array | undefined)[],
  firstBlock: number,
): Extent[] {
  const bad: { offset: number; length: number }[] = []
  let next = 0
  for (const [at, { unit }] of wanted.entries()) {
    if (unit === holeUnit || blocks[next++] !== undefined) continue
    const offset = (firstBlock + at) * blockBytes
    const last = bad[bad.length - 1]
    if (last !== undefined && last.offset + last.length === offset) last.length += blockBytes
    else bad.push({ offset, length: blockBytes })
  }
  return bad
}

/** One view without a copy where the blocks follow each other in memory. */
function assemble(
  wanted: readonly WantedBlock[],
  blocks: readonly (Uint8Array | undefined)[],
  skip: number,
  length: number,
): Uint8Array {
  let next = 0
  const parts = wanted.map(({ unit }) => (unit === holeUnit ? zeroBlock : (blocks[next++] as Uint8Array)))
  const joined = joinAdjacent(parts)
  const whole = joined[0] === zeroBlock && joined.length === 1 ? zeroBlock.slice() : concatBytes(joined)
  return skip === 0 && whole.length === length ? whole : whole.subarray(skip, skip + length)
}
