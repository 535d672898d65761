/**
 * Applies one transaction to the metadata in memory, all of it or nothing.
 *
 * Changes go straight into the active layers, each with its undo. What cannot go on (a record of `level` or a block that
 * is not in memory, no space, bad input) throws: the caller rolls back, and for a `NeedLoad` waits and tries again. The
 * same code applies live transactions and journal records; only the former plan where bytes go (`write-planner.ts`).
 */
import { assert, ClusterError, type ClusterErrorOptions, isClusterError, type PgId } from '@shoal/base'
import { formatObjectId, type ObjectId, type OmapEntry, type TransactionOp } from '@shoal/wire'
import type { Allocator } from './allocator.ts'
import { allLive, type Blob, countBits, findBlob } from './blob.ts'
import { compactBytes } from './compact-bytes.ts'
import type { BlocksItem } from './journal-record.ts'
import { attributeBytes, type MetaValue } from './layer.ts'
import { bytesToKey, checkObjectId, holeUnit, type Key, keys, onodeNumber, prefixEnd, shardBlocks } from './layout.ts'
import { type Loaded, NeedLoad } from './loaded.ts'
import { Collection, type MetaStore } from './meta-store.ts'
import {
  copyOnode,
  copyShard,
  hasShard,
  newOnode,
  newShard,
  type Onode,
  type Shard,
  shardIsEmpty,
  shardsInRange,
  withShard,
} from './onode.ts'

const invalid = (message: string, options?: ClusterErrorOptions): ClusterError =>
  new ClusterError('EINVAL', message, options)

const removableObjectsMax = 1024

/** Undefined for a record that fails its checksum. */
async function orDamaged<T>(loading: Promise<T>): Promise<T | undefined> {
  try {
    return await loading
  } catch (error) {
    if (isClusterError(error, 'ECHECKSUM')) return undefined
    throw error
  }
}

export class Execution {
  readonly sequence: number
  readonly meta: MetaStore
  /** Absent during replay, when the bitmap is not built yet. */
  readonly allocator: Allocator | undefined
  readonly loaded: Loaded
  readonly freedUnits: number[] = []
  private readonly undo: (() => void)[] = []
  /** The onode and the shard that were looked at last: the steps of a transaction mostly are about the same. */
  private lastOnodeKey: Key | undefined
  private lastOnode: Onode | null = null
  private lastShardKey: Key | undefined
  private lastShard: Shard | undefined
  private lastShardNumber: Key | undefined
  private lastShardIndex = 0

  constructor(sequence: number, meta: MetaStore, allocator: Allocator | undefined, loaded: Loaded) {
    this.sequence = sequence
    this.meta = meta
    this.allocator = allocator
    this.loaded = loaded
  }

  rollback(): void {
    for (let i = this.undo.length - 1; i >= 0; i--) (this.undo[i] as () => void)()
  }

  onRollback(action: () => void): void {
    this.undo.push(action)
  }

  /** Applies an operation that places no bytes. `index` is its place in the transaction. */
  apply(op: TransactionOp, index: number): void {
    if (op.kind === 'create-collection') return this.createCollection(op.collection)
    const c = this.collection(op.collection)
    switch (op.kind) {
      case 'remove-collection':
        return this.removeCollection(c)
      case 'meta-set':
        return this.putAll(c, c.metaPrefix, op.entries)
      case 'meta-remove':
        for (const key of op.keys) this.put(c, c.metaPrefix + bytesToKey(key), null)
        return
      case 'meta-remove-range':
        return this.hide(c, c.metaPrefix + bytesToKey(op.from), c.metaPrefix + bytesToKey(op.to))
      case 'touch':
        this.writableOnode(c, op.object, index)
        return
      case 'remove':
        return this.removeObject(c, op.object)
      case 'set-xattrs': {
        const onode = this.writableOnode(c, op.object, index)
        const xattrs = new Map(onode.xattrs)
        for (const [name, value] of op.xattrs) xattrs.set(name, compactBytes(value))
        return this.setAttributes(c, onode, xattrs, onode.omapHeader)
      }
      case 'remove-xattrs': {
        const onode = this.existing(c, op.object)
        if (onode === undefined) return
        const xattrs = new Map(onode.xattrs)
        for (const name of op.names) xattrs.delete(name)
        return this.setAttributes(c, onode, xattrs, onode.omapHeader)
      }
      case 'clone':
        return this.clone(c, op.object, op.to, index)
      case 'rename':
        return this.rename(c, op.object, op.to)
      case 'write':
      case 'zero':
      case 'truncate':
        throw invalid(`operation ${op.kind} must be planned first`)
      default:
        return this.applyOmap(c, op, index)
    }
  }

  private applyOmap(
    c: Collection,
    op: Extract<TransactionOp, { readonly kind: `omap-${string}` }>,
    index: number,
  ): void {
    switch (op.kind) {
      case 'omap-set': {
        const onode = this.writableOnode(c, op.object, index)
        onode.hasOmap = true
        return this.putAll(c, keys.omap(onode.number), op.entries)
      }
      case 'omap-set-header': {
        const onode = this.writableOnode(c, op.object, index)
        return this.setAttributes(c, onode, onode.xattrs, compactBytes(op.header))
      }
      case 'omap-remove': {
        const onode = this.existing(c, op.object)
        if (onode === undefined || !onode.hasOmap) return
        for (const key of op.keys) this.put(c, keys.omap(onode.number) + bytesToKey(key), null)
        return
      }
      case 'omap-remove-range': {
        const onode = this.existing(c, op.object)
        if (onode === undefined || !onode.hasOmap) return
        const prefix = keys.omap(onode.number)
        return this.hide(c, prefix + bytesToKey(op.from), prefix + bytesToKey(op.to))
      }
      case 'omap-clear': {
        const onode = this.existing(c, op.object)
        if (onode === undefined) return
        this.hideOmap(c, onode)
        onode.hasOmap = false
        this.setAttributes(c, onode, onode.xattrs, new Uint8Array(0))
      }
    }
  }

  /** Points the block map of an object at the units of `runs`, making the object if it is missing. */
  applyBlocks(item: BlocksItem, index: number): void {
    const c = this.collection(item.collection)
    const onode = this.writableOnode(c, item.object, index)
    onode.sizeBytes = item.sizeBytes
    for (const run of item.runs) {
      if (run.unit === holeUnit) this.unmap(c, onode, run.firstBlock, run.firstBlock + run.count)
      else if (run.blob !== undefined) this.mapBlob(c, onode, run.firstBlock, run.blob)
      else {
        for (let i = 0; i < run.count; i++) {
          const checksum = run.checksums[i] as number
          this.map(c, onode, run.firstBlock + i, run.unit + i, run.poisoned ? ~checksum >>> 0 : checksum)
        }
      }
    }
  }

  collection(id: PgId): Collection {
    const collection = this.meta.collections.get(id)
    if (collection === undefined || !collection.exists) throw invalid(`no collection ${id}`)
    return collection
  }

  /** The onode of this moment, read only. `toRemove`: what is damaged may go, and `loaded` says so then. */
  onode(c: Collection, id: ObjectId, toRemove = false): Onode | null {
    const key = c.objectKey(id)
    if (key === this.lastOnodeKey) return this.lastOnode
    let known = this.meta.peekOnode(c, key)
    if (known === undefined) known = this.loaded.values.get(key) as Onode | null | undefined
    if (known !== undefined) {
      this.lastOnodeKey = key
      this.lastOnode = known
      return known
    }
    throw new NeedLoad(async () => {
      const onode = await (toRemove ? orDamaged(this.meta.loadOnode(c, key)) : this.meta.loadOnode(c, key))
      if (onode === undefined) this.loaded.addDamaged(key)
      else this.loaded.values.set(key, onode)
    })
  }

  shard(c: Collection, onode: Onode, index: number): Shard | undefined {
    if (!hasShard(onode, index)) return undefined
    const key = this.shardKey(onode, index)
    if (this.lastShard !== undefined) return this.lastShard
    const known = (this.meta.peek(c, key) ?? this.loaded.values.get(key)) as Shard | null | undefined
    if (known !== undefined && known !== null) {
      this.lastShard = known
      return known
    }
    throw new NeedLoad(async () => {
      this.loaded.values.set(key, await this.meta.loadShard(c, onode, index))
    })
  }

  /** The key of a shard, which from now on is the one that was looked at last. */
  private shardKey(onode: Onode, index: number): Key {
    if (this.lastShardKey === undefined || index !== this.lastShardIndex || onode.number !== this.lastShardNumber) {
      this.lastShardNumber = onode.number
      this.lastShardIndex = index
      this.lastShardKey = keys.shard(onode.number, index)
      this.lastShard = undefined
    }
    return this.lastShardKey
  }

  /** Makes sure of all shards in a range at once, instead of one load after the other. */
  needShards(c: Collection, onode: Onode, firstBlock: number, endBlock: number): void {
    const index = Math.floor(firstBlock / shardBlocks)
    if (endBlock <= (index + 1) * shardBlocks) {
      this.shard(c, onode, index)
      return
    }
    const missing = shardsInRange(onode, firstBlock, endBlock).filter((index) => {
      const key = keys.shard(onode.number, index)
      return this.meta.peek(c, key) === undefined && !this.loaded.values.has(key)
    })
    if (missing.length === 0) return
    throw new NeedLoad(async () => {
      const shards = await Promise.all(missing.map((index) => this.meta.loadShard(c, onode, index)))
      for (const [at, index] of missing.entries()) {
        this.loaded.values.set(keys.shard(onode.number, index), shards[at] as Shard)
      }
    })
  }

  /**
   * To remove an object: a damaged part of its block map is taken for one of holes. Its units come back with the next
   * mount, which finds nobody that uses them.
   */
  private needAllShards(c: Collection, onode: Onode): void {
    const missing = shardsInRange(onode, 0, Number.MAX_SAFE_INTEGER).filter((index) => {
      const key = keys.shard(onode.number, index)
      return this.meta.peek(c, key) === undefined && !this.loaded.values.has(key)
    })
    if (missing.length === 0) return
    throw new NeedLoad(async () => {
      const shards = await Promise.all(missing.map((index) => orDamaged(this.meta.loadShard(c, onode, index))))
      for (const [at, index] of missing.entries()) {
        this.loaded.values.set(keys.shard(onode.number, index), shards[at] ?? newShard(0))
      }
    })
  }

  put(c: Collection, key: Key, value: MetaValue | null): void {
    if (key === this.lastOnodeKey) this.lastOnodeKey = undefined
    if (key === this.lastShardKey) this.lastShard = undefined
    const layer = c.active
    const before = layer.put(key, value)
    this.undo.push(() => layer.restore(key, before))
  }

  /** Not to be undone: undoing puts the onode back that the transaction's own copy replaced, at that one's size. */
  private setAttributes(c: Collection, own: Onode, xattrs: Onode['xattrs'], omapHeader: Uint8Array): void {
    const before = attributeBytes(own)
    own.xattrs = xattrs
    own.omapHeader = omapHeader
    c.active.bytes += attributeBytes(own) - before
  }

  private putAll(c: Collection, prefix: Key, entries: readonly OmapEntry[]): void {
    for (const { key, value } of entries) this.put(c, prefix + bytesToKey(key), compactBytes(value))
  }

  private hide(c: Collection, from: Key, to: Key): void {
    if (from >= to) return
    const layer = c.active
    const hidden = layer.hidden
    const own = layer.hide(from, to)
    this.undo.push(() => {
      layer.hidden = hidden
      for (const [key, value] of own) layer.put(key, value)
    })
  }

  private hideOmap(c: Collection, onode: Onode): void {
    if (!onode.hasOmap) return
    const prefix = keys.omap(onode.number)
    this.hide(c, prefix, prefixEnd(prefix) as Key)
  }

  private createCollection(id: PgId): void {
    let c = this.meta.collections.get(id)
    if (c?.exists === true) throw invalid(`collection ${id} exists already`)
    if (c === undefined) {
      c = new Collection(id, false, 0)
      this.meta.collections.set(id, c)
    }
    this.setExistence(c, true)
  }

  private setExistence(c: Collection, exists: boolean): void {
    const { exists: before, active } = c
    const changed = active.existenceChanged
    c.exists = exists
    active.existenceChanged = true
    this.undo.push(() => {
      c.exists = before
      active.existenceChanged = changed
    })
  }

  private removeCollection(c: Collection): void {
    const end = prefixEnd(c.objectPrefix) as Key
    const stored = this.loaded.objects.get(c.id)
    if (stored === undefined) {
      throw new NeedLoad(async () => {
        const page = await this.meta.scan(c, c.objectPrefix, end, removableObjectsMax, new Set())
        this.loaded.objects.set(
          c.id,
          page.entries.map(([key]) => key),
        )
      })
    }
    const gone = stored.length < removableObjectsMax && stored.every((key) => c.active.get(key) === null)
    if (!gone || c.active.range(c.objectPrefix, end).some((key) => c.active.own(key) !== null)) {
      throw invalid(`collection ${c.id} still has objects`, { hint: 'remove its objects first, in bounded steps' })
    }
    this.hide(c, c.metaPrefix, prefixEnd(c.metaPrefix) as Key)
    this.setExistence(c, false)
  }

  /** The transaction's own copy of the onode, made if the object is missing. */
  writableOnode(c: Collection, id: ObjectId, index: number): Onode {
    const onode = this.onode(c, id)
    if (onode !== null) return this.own(c, onode)
    checkObjectId(id)
    const made = newOnode(id, onodeNumber(this.sequence, index), this.sequence)
    this.put(c, c.objectKey(id), made)
    return made
  }

  private existing(c: Collection, id: ObjectId): Onode | undefined {
    const onode = this.onode(c, id)
    return onode === null ? undefined : this.own(c, onode)
  }

  private own(c: Collection, onode: Onode): Onode {
    if (onode.stamp === this.sequence) return onode
    const copy = copyOnode(onode, this.sequence)
    this.put(c, c.objectKey(onode.id), copy)
    return copy
  }

  private ownShard(c: Collection, onode: Onode, index: number): Shard {
    const shard = this.shard(c, onode, index)
    const layer = c.active.number
    if (shard?.layer === layer) return shard
    const copy = shard === undefined ? newShard(layer) : copyShard(shard, layer)
    if (shard === undefined) onode.present = withShard(onode.present, index, true)
    this.put(c, this.shardKey(onode, index), copy)
    return copy
  }

  private map(c: Collection, onode: Onode, block: number, unit: number, checksum: number): void {
    const index = Math.floor(block / shardBlocks)
    const shard = this.ownShard(c, onode, index)
    const at = block - index * shardBlocks
    const before = shard.units[at] as number
    if (before !== unit) {
      if (before === holeUnit) onode.allocatedBlocks++
      else this.free(c, before)
    }
    if (shard.blobs.length > 0) this.bury(c, onode, shard, at)
    this.setBlock(shard, at, unit, checksum)
  }

  private mapBlob(c: Collection, onode: Onode, firstBlock: number, blob: Blob): void {
    const index = Math.floor(firstBlock / shardBlocks)
    const first = firstBlock - index * shardBlocks
    if (blob.count === 0 || first + blob.count > shardBlocks) throw invalid('a blob lies in one shard')
    const shard = this.ownShard(c, onode, index)
    for (let at = first; at < first + blob.count; at++) this.clearBlock(c, onode, shard, at)
    this.setBlobs(shard, [...shard.blobs, { first, live: allLive(blob.count), blob }])
    onode.allocatedBlocks += blob.units.length
    this.countCompressed(c, blob.count, blob.sizeBytes, blob.units.length)
  }

  /** The block is not seen in a blob any more; a blob of which nothing is seen goes. */
  private bury(c: Collection, onode: Onode, shard: Shard, at: number): void {
    const ref = findBlob(shard.blobs, at)
    if (ref === undefined) return
    const { blob, first } = ref
    const live = (ref.live & ~(1 << (at - first))) >>> 0
    const others = shard.blobs.filter((other) => other !== ref)
    this.setBlobs(shard, live === 0 ? others : [...others, { first, live, blob }])
    if (live !== 0) return this.countCompressed(c, -1, 0, 0)
    for (const unit of blob.units) this.free(c, unit)
    onode.allocatedBlocks -= blob.units.length
    this.countCompressed(c, -1, -blob.sizeBytes, -blob.units.length)
  }

  private setBlobs(shard: Shard, blobs: Shard['blobs']): void {
    const before = shard.blobs
    shard.blobs = blobs
    this.undo.push(() => {
      shard.blobs = before
    })
  }

  private countCompressed(c: Collection, blocks: number, bytes: number, units: number): void {
    const before = c.compressed
    c.compressed = { blocks: before.blocks + blocks, bytes: before.bytes + bytes, units: before.units + units }
    this.undo.push(() => {
      c.compressed = before
    })
  }

  private clearBlock(c: Collection, onode: Onode, shard: Shard, at: number): void {
    const unit = shard.units[at] as number
    if (unit === holeUnit) {
      if (shard.blobs.length > 0) this.bury(c, onode, shard, at)
      return
    }
    this.free(c, unit)
    onode.allocatedBlocks--
    this.setBlock(shard, at, holeUnit, 0)
  }

  private setBlock({ units, checksums }: Shard, at: number, unit: number, checksum: number): void {
    const unitBefore = units[at] as number
    const checksumBefore = checksums[at] as number
    units[at] = unit
    checksums[at] = checksum
    this.undo.push(() => {
      units[at] = unitBefore
      checksums[at] = checksumBefore
    })
  }

  private unmap(c: Collection, onode: Onode, firstBlock: number, endBlock: number): void {
    for (const index of shardsInRange(onode, firstBlock, endBlock)) {
      const shard = this.ownShard(c, onode, index)
      const end = Math.min(endBlock - index * shardBlocks, shardBlocks)
      for (let at = Math.max(0, firstBlock - index * shardBlocks); at < end; at++) {
        this.clearBlock(c, onode, shard, at)
      }
      if (shardIsEmpty(shard)) {
        this.put(c, keys.shard(onode.number, index), null)
        onode.present = withShard(onode.present, index, false)
      }
    }
  }

  private free(c: Collection, unit: number): void {
    const { allocator } = this
    if (allocator === undefined) return
    if (!allocator.dereference(unit)) {
      this.undo.push(() => allocator.reference(unit))
      return
    }
    const { freedUnits } = c.active
    freedUnits.push(unit)
    this.freedUnits.push(unit)
    this.undo.push(() => freedUnits.pop())
  }

  private removeObject(c: Collection, id: ObjectId): void {
    const key = c.objectKey(id)
    if (this.loaded.isDamaged(key) && this.meta.peekOnode(c, key) === undefined) return this.put(c, key, null)
    const onode = this.onode(c, id, true)
    if (onode === null) return
    this.needAllShards(c, onode)
    this.unmap(c, this.own(c, onode), 0, Number.MAX_SAFE_INTEGER)
    this.hideOmap(c, onode)
    this.put(c, c.objectKey(id), null)
  }

  private rename(c: Collection, from: ObjectId, to: ObjectId): void {
    const source = this.source(c, from, 'rename')
    checkObjectId(to)
    if (c.objectKey(from) === c.objectKey(to)) return
    this.removeObject(c, to)
    this.put(c, c.objectKey(from), null)
    this.put(c, c.objectKey(to), { ...source, id: to, stamp: this.sequence })
  }

  /** Shares every unit; the next small overwrite of either side then takes a fresh one. */
  private clone(c: Collection, from: ObjectId, to: ObjectId, index: number): void {
    const source = this.source(c, from, 'clone')
    checkObjectId(to)
    if (c.objectKey(from) === c.objectKey(to)) return
    this.needShards(c, source, 0, Number.MAX_SAFE_INTEGER)
    const omap = source.hasOmap ? this.omapOf(c, source) : []
    this.removeObject(c, to)
    const number = onodeNumber(this.sequence, index)
    this.put(c, c.objectKey(to), { ...source, id: to, number, stamp: this.sequence })
    for (const at of shardsInRange(source, 0, Number.MAX_SAFE_INTEGER)) {
      let shard = this.shard(c, source, at)
      if (shard?.shared !== true) {
        const owned = this.ownShard(c, source, at)
        owned.shared = true
        this.undo.push(() => {
          owned.shared = false
        })
        shard = owned
      }
      this.put(c, keys.shard(number, at), copyShard(shard, c.active.number))
      for (const unit of shard.units) if (unit !== holeUnit) this.share(unit)
      for (const { blob, live } of shard.blobs) {
        for (const unit of blob.units) this.share(unit)
        this.countCompressed(c, countBits(live), blob.sizeBytes, blob.units.length)
      }
    }
    const prefix = keys.omap(source.number)
    for (const [key, value] of omap) this.put(c, keys.omap(number) + key.slice(prefix.length), value)
  }

  private share(unit: number): void {
    const { allocator } = this
    if (allocator === undefined) return
    allocator.reference(unit)
    this.undo.push(() => assert(!allocator.dereference(unit), 'a shared unit has another reference'))
  }

  private source(c: Collection, id: ObjectId, verb: string): Onode {
    const onode = this.existing(c, id)
    if (onode === undefined) throw invalid(`cannot ${verb} ${formatObjectId(id)}: no such object`)
    return onode
  }

  /** All omap entries of this moment: those of `loaded` with this transaction's own changes on top. */
  private omapOf(c: Collection, onode: Onode): readonly (readonly [Key, MetaValue])[] {
    const prefix = keys.omap(onode.number)
    const end = prefixEnd(prefix) as Key
    const stored = this.loaded.omaps.get(prefix)
    if (stored === undefined) {
      throw new NeedLoad(async () => {
        const page = await this.meta.scan(c, prefix, end, Number.MAX_SAFE_INTEGER)
        this.loaded.omaps.set(prefix, page.entries)
      })
    }
    const merged = new Map(stored)
    for (const key of [...merged.keys()]) if (c.active.get(key) === null) merged.delete(key)
    for (const key of c.active.range(prefix, end)) {
      const value = c.active.own(key)
      if (value !== undefined && value !== null) merged.set(key, value)
    }
    return [...merged]
  }
}
