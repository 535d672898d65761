/**
 * Proves a store that is not mounted: replays its journal as a mount does, then checks every record of `meta/` against
 * every other, and (`deep`) every block against its checksum.
 *
 * What is checked: sealed pages (of an encrypted store; with one damaged nothing else is looked at); seals and formats of all records; each object's list of block-map shards equals the shards there;
 * units lie in the data file and only clones share them; counts of allocated blocks; no bytes beyond an object's size;
 * no shard, omap entry or record without an owner; blobs hold what a decompressor takes (`deep`), and their sums are those
 * that the collections count.
 */
import { ClusterError, type Env, isClusterError, type PgId } from '@shoal/base'
import { formatObjectId } from '@shoal/wire'
import type { BlobRef } from './blob.ts'
import { type CompressedSpace, moreSpace, nothingCompressed, spaceOfBlob } from './compressed-space.ts'
import { FileObjectStore } from './file-object-store.ts'
import {
  blockBytes,
  bytesToKey,
  collectionOfRecordKey,
  holeUnit,
  type Key,
  keys,
  keyToBytes,
  onodeNumberBytes,
  parseShardKey,
  prefixEnd,
  shardBlocks,
} from './layout.ts'
import { encodeCollection, MetaStore } from './meta-store.ts'
import { hasShard, type Onode, type Shard } from './onode.ts'
import { unseal } from './sealed-value.ts'
import { type OpenFiles, openStoreFiles } from './store-files.ts'

export type FsckCode =
  | 'STORE_UNMOUNTABLE'
  | 'JOURNAL_LOSS'
  | 'RECORD_DAMAGED'
  | 'PAGE_DAMAGED'
  | 'COLLECTION_UNKNOWN'
  | 'SHARD_MISSING'
  | 'SHARD_ORPHAN'
  | 'OMAP_ORPHAN'
  | 'UNIT_OUT_OF_RANGE'
  | 'UNIT_CONFLICT'
  | 'BLOCK_COUNT'
  | 'BEYOND_SIZE'
  | 'BLOCK_CHECKSUM'
  | 'BLOB_UNREADABLE'
  | 'COMPRESSION_COUNT'

export interface FsckFinding {
  readonly code: FsckCode
  /** A warning costs space or was mended; an error costs data until a replica repairs it. */
  readonly severity: 'error' | 'warning'
  readonly message: string
  /** The finding was mended. */
  readonly repaired: boolean
}

export interface FsckReport {
  readonly findings: readonly FsckFinding[]
  readonly objects: number
  /** Of mapped blocks. */
  readonly bytes: number
  /** Blocks read and hashed (deep). */
  readonly verifiedBlocks: number
}

export interface FsckOptions {
  /** Read and hash every block. */
  readonly deep?: boolean
  /** Go on with an older state when the journal lost transactions; remove records without an owner; correct counts. */
  readonly repair?: boolean
  /** Of an encrypted store. */
  readonly storeKey?: Uint8Array | undefined
  /** Told now and then how much is done, 0 to 1. */
  readonly onProgress?: (fraction: number) => void
}

/** Rejects only when the store is in use (EBUSY), is no store (ENOENT) or its key is missing or wrong (EACCES); all damage comes as findings. */
export async function fsckObjectStore(env: Env, directory: string, options: FsckOptions = {}): Promise<FsckReport> {
  const findings: FsckFinding[] = []
  try {
    const onJournalDamage = options.repair === true ? 'recover' : 'refuse'
    const store = await FileObjectStore.mount(env, directory, { onJournalDamage, storeKey: options.storeKey })
    if (store.lostTransactions) {
      const detail = 'the journal lost acknowledged transactions; the store is true to an older state'
      findings.push(finding('JOURNAL_LOSS', detail))
    }
    await store.close()
  } catch (error) {
    if (!isClusterError(error) || unanswerable.includes(error.code)) throw error
    findings.push(finding('STORE_UNMOUNTABLE', error.message))
  }
  let files: OpenFiles
  try {
    files = await openStoreFiles(env, directory, options.storeKey)
  } catch (error) {
    if (isClusterError(error, 'EBUSY')) throw error
    return { findings, objects: 0, bytes: 0, verifiedBlocks: 0 }
  }
  try {
    return await new Checker(env, files, options, findings).run()
  } finally {
    await files.close()
  }
}

/** What says nothing of the store itself. */
const unanswerable: readonly string[] = ['EBUSY', 'ENOENT', 'EACCES']
/** What costs space, or only makes a statistic wrong. */
const harmlessCodes: readonly FsckCode[] = ['SHARD_ORPHAN', 'OMAP_ORPHAN', 'COMPRESSION_COUNT']

function finding(code: FsckCode, message: string, repaired: boolean = false): FsckFinding {
  return { code, severity: repaired || harmlessCodes.includes(code) ? 'warning' : 'error', message, repaired }
}

interface Owner {
  readonly collection: PgId
  readonly name: string
  readonly onode: Onode
  mapped: number
  shards: number
}

const pageEntries = 512
const findingsMax = 10_000

class Checker {
  private readonly env: Env
  private readonly files: OpenFiles
  private readonly options: FsckOptions
  private readonly findings: FsckFinding[]
  private readonly meta: MetaStore
  private readonly owners = new Map<Key, Owner>()
  private readonly units: Uint8Array
  private mappedBlocks = 0
  private shardsListed = 0
  private shardsDone = 0
  private verifiedBlocks = 0
  /** Of the blobs found, by collection. */
  private readonly compressed = new Map<PgId, CompressedSpace>()

  constructor(env: Env, files: OpenFiles, options: FsckOptions, findings: FsckFinding[]) {
    this.env = env
    this.files = files
    this.options = options
    this.findings = findings
    this.meta = new MetaStore(files.level, files.checksums, 0)
    this.units = new Uint8Array(files.superblock.dataBytes / blockBytes)
  }

  async run(): Promise<FsckReport> {
    const damaged = (await this.files.pages?.damagedPages()) ?? []
    for (const first of damaged) this.report('PAGE_DAMAGED', `records from ${printable(bytesToKey(first))} on are lost`)
    // What lay there is not known, so nothing may be called an orphan, or missing, or counted wrongly.
    if (damaged.length > 0) return { findings: this.findings, objects: 0, bytes: 0, verifiedBlocks: 0 }
    try {
      await this.meta.loadCollections()
    } catch (error) {
      this.report('RECORD_DAMAGED', `collections: ${String(error)}`)
    }
    await this.each('M', async (key) => this.checkCollection(key))
    await this.each('O', async (key, value) => this.checkObject(key, value))
    await this.each(keys.shards, (key, value) => this.checkShard(key, value))
    await this.each('P', (key) => this.checkOmap(key))
    for (const owner of this.owners.values()) this.checkCounts(owner)
    await this.checkCompressed()
    const { findings, mappedBlocks, verifiedBlocks } = this
    this.options.onProgress?.(1)
    return { findings, objects: this.owners.size, bytes: mappedBlocks * blockBytes, verifiedBlocks }
  }

  private report(code: FsckCode, detail: string, repaired: boolean = false): void {
    if (this.findings.length < findingsMax) this.findings.push(finding(code, detail, repaired))
  }

  /** Every record under a prefix whose seal holds. */
  private async each(prefix: Key, visit: (key: Key, value: Uint8Array) => Promise<void>): Promise<void> {
    const to = keyToBytes(prefixEnd(prefix) as Key)
    for (let from = keyToBytes(prefix); ; ) {
      const page = await this.files.level.entries({ from, to, limit: pageEntries })
      for (const [key, value] of page) {
        try {
          await visit(bytesToKey(key), unseal(this.files.checksums, key, value))
        } catch (error) {
          if (!(error instanceof ClusterError)) throw error
          this.report('RECORD_DAMAGED', `record ${printable(bytesToKey(key))}: ${error.message}`)
        }
      }
      const last = page[page.length - 1]
      if (last === undefined || page.length < pageEntries) return
      from = keyToBytes(`${bytesToKey(last[0])}\0`)
    }
  }

  private checkCollection(key: Key): void {
    const id = collectionOfRecordKey(key)
    if (this.meta.collections.get(id)?.exists === true) return
    this.report('COLLECTION_UNKNOWN', `record ${printable(key)} belongs to no collection`)
  }

  private checkObject(key: Key, value: Uint8Array): void {
    this.checkCollection(key)
    const onode = this.meta.decodeValue(key, value) as Onode
    for (let index = 0; index < onode.present.length * 8; index++) if (hasShard(onode, index)) this.shardsListed++
    const collection = collectionOfRecordKey(key)
    this.owners.set(onode.number, { collection, name: formatObjectId(onode.id), onode, mapped: 0, shards: 0 })
  }

  private async checkShard(key: Key, value: Uint8Array): Promise<void> {
    const place = parseShardKey(key)
    const owner = place === undefined ? undefined : this.owners.get(place.onodeNumber)
    if (place === undefined || owner === undefined || !hasShard(owner.onode, place.index)) {
      await this.removeOrphan('SHARD_ORPHAN', key)
      return
    }
    const shard = this.meta.decodeValue(key, value) as Shard
    const first = place.index * shardBlocks
    owner.shards++
    this.shardsDone++
    this.options.onProgress?.(Math.min(1, this.shardsDone / Math.max(1, this.shardsListed)))
    for (let at = 0; at < shardBlocks; at++) {
      const unit = shard.units[at] as number
      if (unit === holeUnit) continue
      const where = `${owner.name}: block ${first + at} on unit ${unit}`
      if (!this.take(owner, shard, unit, where)) continue
      this.checkSize(owner, first + at, where)
      if (this.options.deep === true) await this.verify(unit, shard.checksums[at] as number, where)
    }
    for (const ref of shard.blobs) await this.checkBlob(owner, shard, first, ref)
  }

  private async checkBlob(owner: Owner, shard: Shard, shardFirst: number, ref: BlobRef): Promise<void> {
    const { first, live, blob } = ref
    const where = `${owner.name}: blob at block ${shardFirst + first}`
    let sound = true
    const stored = new Uint8Array(blob.units.length * blockBytes)
    for (const [at, unit] of blob.units.entries()) {
      const place = `${where} on unit ${unit}`
      if (!this.take(owner, shard, unit, place)) sound = false
      else if (this.options.deep === true) {
        const block = stored.subarray(at * blockBytes, (at + 1) * blockBytes)
        if (!(await this.verify(unit, blob.checksums[at] as number, place, block))) sound = false
      }
    }
    for (let bit = 0; bit < blob.count; bit++) {
      if (((live >>> bit) & 1) !== 0) this.checkSize(owner, shardFirst + first + bit, where)
    }
    const before = this.compressed.get(owner.collection) ?? nothingCompressed
    this.compressed.set(owner.collection, moreSpace(before, spaceOfBlob(ref)))
    if (this.options.deep !== true || !sound) return
    const { compression } = this.env
    const bytes = stored.subarray(0, blob.sizeBytes)
    const plain = await compression.decompress(blob.algorithm, bytes, blob.count * blockBytes)
    if (plain === undefined) this.report('BLOB_UNREADABLE', `${where} does not decompress`)
  }

  /** Counts the unit as used; false when there is no such unit. */
  private take(owner: Owner, shard: Shard, unit: number, where: string): boolean {
    owner.mapped++
    this.mappedBlocks++
    if (unit >= this.units.length) {
      this.report('UNIT_OUT_OF_RANGE', where)
      return false
    }
    const seen = this.units[unit]
    if (seen !== 0 && (seen === 1 || !shard.shared)) this.report('UNIT_CONFLICT', `${where}, which another object uses`)
    this.units[unit] = shard.shared ? 2 : 1
    return true
  }

  private checkSize(owner: Owner, block: number, where: string): void {
    if (block * blockBytes >= owner.onode.sizeBytes) this.report('BEYOND_SIZE', where)
  }

  /** Blobs of a block map that was damaged and given up stay counted. */
  private async checkCompressed(): Promise<void> {
    for (const { id, exists, applied, compressed } of this.meta.collections.values()) {
      const found = this.compressed.get(id) ?? nothingCompressed
      const { blocks, bytes, units } = compressed
      if (found.blocks === blocks && found.bytes === bytes && found.units === units) continue
      const repair = this.options.repair === true
      if (repair) {
        const record = this.meta.sealed(keys.collection(id), encodeCollection(exists, applied, found))
        await this.files.level.batch([record], { sync: true })
      }
      const says = `${blocks} blocks in ${units} units, ${bytes} bytes`
      const detail = `${id}: counted as compressed are ${says}; found were ${found.blocks} in ${found.units}, ${found.bytes} bytes`
      this.report('COMPRESSION_COUNT', detail, repair)
    }
  }

  private async verify(
    unit: number,
    checksum: number,
    where: string,
    block: Uint8Array = new Uint8Array(blockBytes),
  ): Promise<boolean> {
    await this.files.data.read(block, unit * blockBytes)
    this.verifiedBlocks++
    if (this.files.checksums.low32(block) === checksum) return true
    this.report('BLOCK_CHECKSUM', where)
    return false
  }

  private async checkOmap(key: Key): Promise<void> {
    const owner = this.owners.get(key.slice(1, 1 + onodeNumberBytes))
    if (owner === undefined || !owner.onode.hasOmap) await this.removeOrphan('OMAP_ORPHAN', key)
  }

  private checkCounts({ name, onode, mapped, shards }: Owner): void {
    let listed = 0
    for (let index = 0; index < onode.present.length * 8; index++) if (hasShard(onode, index)) listed++
    if (listed !== shards)
      this.report('SHARD_MISSING', `${name}: ${shards} of ${listed} parts of the block map are there`)
    else if (mapped !== onode.allocatedBlocks) {
      this.report('BLOCK_COUNT', `${name}: ${mapped} blocks mapped, ${onode.allocatedBlocks} counted`)
    }
  }

  private async removeOrphan(code: FsckCode, key: Key): Promise<void> {
    const repair = this.options.repair === true
    if (repair) await this.files.level.batch([{ kind: 'delete', key: keyToBytes(key) }], { sync: true })
    this.report(code, `record ${printable(key)} belongs to no object`, repair)
  }
}

function printable(key: Key): string {
  return JSON.stringify(key)
}
