/**
 * Looks at objects as stable storage has them: onodes, block maps and omap records of `level`, blocks of the data file,
 * each against its checksum. Caches are passed by; what a checkpoint has yet to write counts as written.
 *
 * Digests do not depend on where blocks lie, nor on whether zeros are stored or a hole: they are folded, shard by shard,
 * from the checksums of the blocks that are not zeros, which were just proven. Of blobs it is their content that counts:
 * copies may be compressed in different ways, or not at all. One blob at a time is in memory. A digest of the caller's own is
 * made from the same bytes, read once, a shard at a time.
 *
 * The caller sees to it that nobody writes to the range meanwhile; else digests may be those of no state that ever was.
 */
import { ByteWriter } from '@shoal/base'
import type { ObjectId, OmapEntry } from '@shoal/wire'
import type { BlobRef } from './blob.ts'
import type { Checksums } from './checksum.ts'
import { ContentDigest } from './content-digest.ts'
import type { DataReader, WantedUnit } from './data-reader.ts'
import {
  blockBytes,
  bytesToKey,
  holeUnit,
  type Key,
  keys,
  keyToBytes,
  parseObjectSortKey,
  prefixEnd,
} from './layout.ts'
import type { Collection, MetaStore } from './meta-store.ts'
import type { ExaminedObject, ExaminedRange, ExamineRange, ObjectDamage, ReadablePage } from './object-store.ts'
import { hasShard, type Onode, type Shard } from './onode.ts'

const pageEntries = 128
/** Damage is looked at twice: what is read may be written just then. */
const looks = 2

export class Examiner {
  private readonly meta: MetaStore
  private readonly data: DataReader
  private readonly checksums: Checksums
  private readonly zeroChecksum: number

  constructor(meta: MetaStore, data: DataReader) {
    this.meta = meta
    this.data = data
    this.checksums = meta.checksums
    this.zeroChecksum = meta.checksums.low32(new Uint8Array(blockBytes))
  }

  async examine(c: Collection, range: ExamineRange): Promise<ExaminedRange> {
    const { after, until, objectsMax, bytesMax, deep } = range
    const from = after === undefined ? c.objectPrefix : `${c.objectKey(after)}\0`
    const to = until === undefined ? (prefixEnd(c.objectPrefix) as Key) : `${c.objectKey(until)}\0`
    if (from >= to) return { objects: [], through: undefined }
    const damaged = new Set<Key>()
    const page = await this.meta.scan(c, from, to, objectsMax, damaged)
    const objects: ExaminedObject[] = []
    let bytes = 0
    let seen = 0
    for (const [key, value] of page.entries) {
      seen++
      const object = damaged.has(key) ? await this.damagedObject(c, key) : (value as Onode).id
      if (object === undefined) continue
      const onode = damaged.has(key) ? undefined : (value as Onode)
      objects.push(onode === undefined ? unreadable(object) : await this.examineObject(c, onode, range))
      bytes += deep ? (onode?.allocatedBlocks ?? 0) * blockBytes : 0
      if (bytes >= bytesMax) break
    }
    const more = page.more || seen < page.entries.length
    return { objects, through: more ? objects.at(-1)?.object : undefined }
  }

  async damagedRecords(c: Collection): Promise<readonly Uint8Array[]> {
    const found: Uint8Array[] = []
    const to = new Uint8Array(8).fill(0xff)
    for (let from = new Uint8Array(0); ; ) {
      const page = await this.readableEntries(c, from, to, pageEntries)
      found.push(...page.damaged)
      if (!page.more || page.last === undefined) return found
      from = new Uint8Array([...page.last, 0])
    }
  }

  async readableEntries(c: Collection, from: Uint8Array, to: Uint8Array, limit: number): Promise<ReadablePage> {
    const low = c.metaPrefix + bytesToKey(from)
    const high = c.metaPrefix + bytesToKey(to)
    if (low >= high || limit <= 0) return { entries: [], damaged: [], last: undefined, more: false }
    const bad = new Set<Key>()
    const page = await this.meta.scan(c, low, high, limit, bad)
    const entries: OmapEntry[] = []
    const damaged: Uint8Array[] = []
    for (const [name, value] of page.entries) {
      const key = keyToBytes(name.slice(c.metaPrefix.length))
      if (bad.has(name)) damaged.push(key)
      else entries.push({ key, value: value as Uint8Array })
    }
    const last = page.entries.at(-1)?.[0]
    return {
      entries,
      damaged,
      last: last === undefined ? undefined : keyToBytes(last.slice(c.metaPrefix.length)),
      more: page.more,
    }
  }

  /** Under which name the damaged record lies. One that no object has is not missed by anybody: it is dropped. */
  private async damagedObject(c: Collection, key: Key): Promise<ObjectId | undefined> {
    const object = parseObjectSortKey(key.slice(c.objectPrefix.length))
    if (object === undefined) await this.meta.level.batch([{ kind: 'delete', key: keyToBytes(key) }], { sync: false })
    return object
  }

  private async examineObject(c: Collection, onode: Onode, range: ExamineRange): Promise<ExaminedObject> {
    const { id: object, sizeBytes, xattrs } = onode
    const shallow = { object, sizeBytes, xattrs, attributesDigest: this.attributesDigest(onode) }
    if (!range.deep) return { ...shallow, omapDigest: 0, dataDigest: 0, damage: [] }
    for (let look = 1; ; look++) {
      const damage: ObjectDamage[] = []
      const omapDigest = await this.omapDigest(c, onode, damage)
      const content = range.digest === undefined ? undefined : new ContentDigest(sizeBytes, range.digest)
      const ofChecksums = await this.dataDigest(c, onode, damage, content)
      const dataDigest = content === undefined ? ofChecksums : content.finish()
      if (damage.length === 0 || look === looks) return { ...shallow, omapDigest, dataDigest, damage }
    }
  }

  private fold(digest: number, bytes: Uint8Array): number {
    return this.checksums.low32(new ByteWriter(bytes.length + 4).u32(digest).raw(bytes).finish())
  }

  private attributesDigest({ xattrs, omapHeader }: Onode): number {
    const writer = new ByteWriter(256).bytes(omapHeader)
    for (const name of [...xattrs.keys()].sort()) writer.string(name).bytes(xattrs.get(name) as Uint8Array)
    return this.fold(0, writer.finish())
  }

  private async omapDigest(c: Collection, onode: Onode, damage: ObjectDamage[]): Promise<number> {
    if (!onode.hasOmap) return 0
    const prefix = keys.omap(onode.number)
    const end = prefixEnd(prefix) as Key
    let digest = 0
    for (let from = prefix; ; ) {
      const damaged = new Set<Key>()
      const page = await this.meta.scan(c, from, end, pageEntries, damaged)
      for (const [key, value] of page.entries) {
        if (damaged.has(key) && !damage.includes('omap')) damage.push('omap')
        const entry = new ByteWriter(64).bytes(keyToBytes(key.slice(prefix.length))).bytes(value as Uint8Array)
        digest = this.fold(digest, entry.finish())
      }
      const last = page.entries.at(-1)
      if (!page.more || last === undefined) return digest
      from = `${last[0]}\0`
    }
  }

  /** `content` gets the bytes, too. */
  private async dataDigest(
    c: Collection,
    onode: Onode,
    damage: ObjectDamage[],
    content: ContentDigest | undefined,
  ): Promise<number> {
    let digest = 0
    for (let index = 0; index < onode.present.length * 8; index++) {
      if (!hasShard(onode, index)) continue
      const shard = await this.shard(c, keys.shard(onode.number, index))
      if (shard === undefined) {
        if (!damage.includes('block-map')) damage.push('block-map')
        continue
      }
      const blocks = blocksOf(shard)
      content?.begin(index)
      const onGood = content && ((at: number, bytes: Uint8Array) => content.set((blocks[at] as PlacedBlock).at, bytes))
      const good = await this.data.verify(blocks, onGood)
      const whole = (await this.addBlobs(shard.blobs, blocks, content)) && !good.includes(false)
      if (!whole && !damage.includes('data')) damage.push('data')
      const writer = new ByteWriter(blocks.length * 8 + 4).u32(index)
      for (const { at, checksum } of blocks) if (checksum !== this.zeroChecksum) writer.u32(at).u32(checksum)
      if (writer.length > 4) digest = this.fold(digest, writer.finish())
    }
    return digest
  }

  /** Adds the blocks that are seen in blobs, as they would be without compression. False when a blob cannot be read. */
  private async addBlobs(
    blobs: readonly BlobRef[],
    blocks: PlacedBlock[],
    content: ContentDigest | undefined,
  ): Promise<boolean> {
    if (blobs.length === 0) return true
    let whole = true
    for (const { first, live, blob } of blobs) {
      const bytes = await this.data.readStoredBlob(blob)
      if (bytes === undefined) {
        whole = false
        continue
      }
      for (let bit = 0; bit < blob.count; bit++) {
        if (((live >>> bit) & 1) === 0) continue
        const block = bytes.subarray(bit * blockBytes, (bit + 1) * blockBytes)
        content?.set(first + bit, block)
        blocks.push({ at: first + bit, unit: holeUnit, checksum: this.checksums.low32(block) })
      }
    }
    blocks.sort((a, b) => a.at - b.at)
    return whole
  }

  private async shard(c: Collection, key: Key): Promise<Shard | undefined> {
    const damaged = new Set<Key>()
    const page = await this.meta.scan(c, key, `${key}\0`, 1, damaged)
    const [entry] = page.entries
    return entry === undefined || damaged.has(key) ? undefined : (entry[1] as Shard)
  }
}

/** A block of a shard. In a blob it has no unit of its own. */
interface PlacedBlock extends WantedUnit {
  readonly at: number
}

function blocksOf({ units, checksums }: Shard): PlacedBlock[] {
  const found: PlacedBlock[] = []
  for (const [at, unit] of units.entries()) {
    if (unit !== holeUnit) found.push({ at, unit, checksum: checksums[at] as number })
  }
  return found
}

function unreadable(object: ObjectId): ExaminedObject {
  const none = { sizeBytes: 0, xattrs: new Map(), attributesDigest: 0, omapDigest: 0, dataDigest: 0 }
  return { object, ...none, damage: ['attributes'] }
}
