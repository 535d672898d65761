/**
 * Decides where the bytes of `write`, `zero` and `truncate` go.
 *
 * - A whole-block body of `largeWriteBytes` or more goes to fresh units, straight to the data file; the journal record
 *   refers to it.
 * - Everything else travels in the journal as whole block images: over the block's own unit when it has one that is not
 *   shared, else to a fresh one. A partly covered block is merged with its old bytes, which are verified first: when
 *   they fail their checksum the merged block is marked as poisoned, so that damage never gets a valid checksum.
 * - Pieces of a body that were compressed go to fresh units as blobs: in the journal while they are small together, else
 *   straight to the data file. Writes over a part of a blob lie beside it, until what is still seen of it would take
 *   fewer units by itself: then that is written anew, too (`settle`), and an object never takes more than it would take
 *   uncompressed.
 */
import { assert, ClusterError } from '@shoal/base'
import type { ObjectId, TransactionOp } from '@shoal/wire'
import type { Allocator, UnitRun } from './allocator.ts'
import { type Blob, type BlobRef, blobBlocksMax, countBits, findBlob } from './blob.ts'
import type { CompressedBodies, CompressedPiece } from './blob-compressor.ts'
import type { Checksums } from './checksum.ts'
import type { Execution } from './execution.ts'
import type { BlockRun, BlocksItem } from './journal-record.ts'
import { blockBytes, holeUnit, objectBytesMax, shardBlocks } from './layout.ts'
import { NeedLoad } from './loaded.ts'
import type { Collection } from './meta-store.ts'
import { type Onode, type Shard, shardsInRange } from './onode.ts'

/** Thrown when the data file has too few free units. */
export class NoSpace {
  private readonly blocks: number

  constructor(blocks: number) {
    this.blocks = blocks
  }

  toError(isHostFull: boolean, freeUnits: number): ClusterError {
    const why = isHostFull
      ? 'the file system that holds the store is full'
      : `${this.blocks} blocks wanted, ${freeUnits} free`
    return new ClusterError('ENOSPC', `no space in the object store: ${why}`, { hint: 'delete objects or add OSDs' })
  }
}

export interface PlannerOptions {
  readonly allocator: Allocator
  readonly checksums: Checksums
  readonly largeWriteBytes: number
  /** A large body goes over the units it has, through the journal, only while the payload stays below so much. */
  readonly inlineBytesMax: number
  /** The bytes of a unit if they are in memory. */
  readonly peekUnit: (unit: number, checksum: number) => Uint8Array | undefined
  /** Reads a unit from the data file; `bad` when it fails its checksum. */
  readonly readUnit: (unit: number, checksum: number) => Promise<{ readonly data: Uint8Array; readonly bad: boolean }>
  readonly peekBlob: (blob: Blob) => Uint8Array | undefined
  /** What comes out of a blob; undefined when it fails. */
  readonly readBlob: (blob: Blob) => Promise<Uint8Array | undefined>
}

type PlacingOp = Extract<TransactionOp, { readonly kind: 'write' | 'zero' | 'truncate' }>

/** A whole block as it will be. */
interface BlockImage {
  /** Where it goes. */
  unit: number
  readonly data: Uint8Array
  /** Merged into a block that failed its checksum. */
  readonly poisoned: boolean
}

interface BlockRunInMaking extends BlockRun {
  count: number
  readonly checksums: number[]
}

interface OldBlock {
  /** A hole when the block is in a blob. */
  readonly unit: number
  readonly checksum: number
  readonly ref: BlobRef | undefined
  /** In the shard. */
  readonly at: number
}

const emptyBlock = new Uint8Array(blockBytes)
const nothing = new Uint8Array(0)

export class WritePlanner {
  private readonly options: PlannerOptions
  private readonly execution: Execution
  /** Images of the journal's payload, in its order. */
  readonly images: BlockImage[] = []
  readonly direct: { readonly unit: number; readonly data: Uint8Array }[] = []
  private readonly bodies: CompressedBodies | undefined
  /** What came before it was compressed, for later operations of the same transaction: by the first unit of its blob. */
  private readonly made: Map<number, Uint8Array> | undefined

  constructor(options: PlannerOptions, execution: Execution, bodies: CompressedBodies | undefined) {
    this.options = options
    this.execution = execution
    this.bodies = bodies
    this.made = bodies === undefined ? undefined : new Map()
  }

  plan(op: PlacingOp): BlocksItem {
    const c = this.execution.collection(op.collection)
    const onode = this.execution.onode(c, op.object)
    switch (op.kind) {
      case 'write':
        return this.planWrite(c, onode, op.object, op.offset, op.data, this.bodies?.pieces.get(op))
      case 'zero':
        return this.planZero(c, onode, op.object, op.offset, op.length)
      case 'truncate':
        return this.planTruncate(c, onode, op.object, op.sizeBytes)
    }
  }

  private planWrite(
    c: Collection,
    onode: Onode | null,
    object: ObjectId,
    offset: number,
    data: Uint8Array,
    pieces: readonly CompressedPiece[] | undefined,
  ): BlocksItem {
    const end = offset + data.length
    checkRange(offset, end)
    const size = onode?.sizeBytes ?? 0
    const runs: BlockRun[] = []
    if (data.length > 0) {
      const first = Math.floor(offset / blockBytes)
      const last = Math.ceil(end / blockBytes)
      if (onode !== null) this.execution.needShards(c, onode, first, last)
      const bodyFirst = Math.ceil(offset / blockBytes)
      const bodyEnd = Math.floor(end / blockBytes)
      const body = bodyEnd - bodyFirst
      const large = body * blockBytes >= this.options.largeWriteBytes && !this.fitsInline(body)
      if (pieces !== undefined && this.hasRoomFor(pieces, last - first)) {
        this.planPieces(runs, c, onode, offset, data, pieces)
      } else if (large) {
        if (first < bodyFirst) this.inline(runs, c, onode, first, bodyFirst, offset, data)
        this.toFreshUnits(
          runs,
          bodyFirst,
          data.subarray(bodyFirst * blockBytes - offset, bodyEnd * blockBytes - offset),
        )
        if (bodyEnd < last) this.inline(runs, c, onode, bodyEnd, last, offset, data)
      } else {
        this.inline(runs, c, onode, first, last, offset, data)
      }
      if (onode !== null) this.settle(runs, c, onode, first, last)
    }
    const sizeBytes = data.length === 0 ? size : Math.max(size, end)
    return { kind: 'blocks', collection: c.id, object, sizeBytes, runs }
  }

  private planZero(c: Collection, onode: Onode | null, object: ObjectId, offset: number, length: number): BlocksItem {
    const end = offset + length
    checkRange(offset, end)
    const size = onode?.sizeBytes ?? 0
    const runs: BlockRun[] = []
    if (onode !== null && length > 0) this.clear(runs, c, onode, offset, Math.min(end, roundUp(size)))
    const sizeBytes = length === 0 ? size : Math.max(size, end)
    return { kind: 'blocks', collection: c.id, object, sizeBytes, runs }
  }

  private planTruncate(c: Collection, onode: Onode | null, object: ObjectId, sizeBytes: number): BlocksItem {
    checkRange(sizeBytes, sizeBytes)
    const runs: BlockRun[] = []
    if (onode !== null && sizeBytes < onode.sizeBytes) {
      this.clear(runs, c, onode, sizeBytes, roundUp(onode.sizeBytes))
    }
    return { kind: 'blocks', collection: c.id, object, sizeBytes, runs }
  }

  /** Zeros [from, to): whole blocks become holes, edges are merged. */
  private clear(runs: BlockRun[], c: Collection, onode: Onode, from: number, to: number): void {
    if (from >= to) return
    const first = Math.ceil(from / blockBytes)
    const end = Math.floor(to / blockBytes)
    this.execution.needShards(c, onode, Math.floor(from / blockBytes), Math.ceil(to / blockBytes))
    const edges = from % blockBytes === 0 ? [] : [Math.floor(from / blockBytes)]
    if (to % blockBytes !== 0 && end >= first) edges.push(end)
    for (const block of edges) {
      if (this.old(c, onode, block) === undefined) continue
      const low = Math.max(from, block * blockBytes)
      const high = Math.min(to, (block + 1) * blockBytes)
      this.inline(runs, c, onode, block, block + 1, low, new Uint8Array(high - low))
    }
    if (end > first) {
      runs.push({
        firstBlock: first,
        count: end - first,
        unit: 0,
        inline: false,
        poisoned: false,
        checksums: [],
        blob: undefined,
      })
    }
    this.settle(runs, c, onode, Math.floor(from / blockBytes), Math.ceil(to / blockBytes))
  }

  /** Without room beside the old bytes these are written over, through the journal, unless they are too many for that. */
  private fitsInline(blocks: number): boolean {
    const { allocator, inlineBytesMax } = this.options
    return blocks + 2 > allocator.freeUnits && (this.images.length + blocks) * blockBytes <= inlineBytesMax
  }

  private hasRoomFor(pieces: readonly CompressedPiece[], blocks: number): boolean {
    const { freeUnits } = this.options.allocator
    if (freeUnits >= blocks) return true
    // What is not compressed may need a fresh unit per block, too.
    let units = blocks
    for (const { count, stored } of pieces) units += stored.length / blockBytes - count
    return freeUnits >= units
  }

  /** A body of which some pieces are compressed, between them what is not. */
  private planPieces(
    runs: BlockRun[],
    c: Collection,
    onode: Onode | null,
    offset: number,
    data: Uint8Array,
    pieces: readonly CompressedPiece[],
  ): void {
    const end = offset + data.length
    const bodyFirst = Math.ceil(offset / blockBytes)
    const bodyEnd = Math.floor(end / blockBytes)
    let stored = (bodyEnd - bodyFirst) * blockBytes
    for (const piece of pieces) stored += piece.stored.length - piece.count * blockBytes
    const large = stored >= this.options.largeWriteBytes
    const between = (from: number, to: number): void => {
      if (from >= to) return
      if (!large) this.inline(runs, c, onode, from, to, offset, data)
      else this.toFreshUnits(runs, from, data.subarray(from * blockBytes - offset, to * blockBytes - offset))
    }
    if (offset < bodyFirst * blockBytes) this.inline(runs, c, onode, bodyFirst - 1, bodyFirst, offset, data)
    let at = bodyFirst
    for (const piece of pieces) {
      between(at, piece.firstBlock)
      at = piece.firstBlock + piece.count
      this.placeBlob(
        runs,
        piece,
        large,
        data.subarray(piece.firstBlock * blockBytes - offset, at * blockBytes - offset),
      )
    }
    between(at, bodyEnd)
    if (end > bodyEnd * blockBytes) this.inline(runs, c, onode, bodyEnd, bodyEnd + 1, offset, data)
  }

  private placeBlob(runs: BlockRun[], piece: CompressedPiece, large: boolean, plain: Uint8Array): void {
    const { firstBlock, count, algorithm, sizeBytes, stored } = piece
    const units: number[] = []
    const checksums: number[] = []
    let at = 0
    for (const run of this.allocate(stored.length / blockBytes)) {
      if (large) this.direct.push({ unit: run.unit, data: stored.subarray(at, at + run.count * blockBytes) })
      for (let i = 0; i < run.count; i++) {
        const data = stored.subarray(at, at + blockBytes)
        at += blockBytes
        units.push(run.unit + i)
        checksums.push(this.options.checksums.low32(data))
        if (!large) this.images.push({ unit: run.unit + i, data, poisoned: false })
      }
    }
    const unit = units[0] as number
    const blob: Blob = { algorithm, count, sizeBytes, units, checksums }
    this.made?.set(unit, plain)
    runs.push({ firstBlock, count, unit, inline: !large, poisoned: false, checksums, blob })
  }

  /**
   * Blocks [first, end) will not be seen in blobs any more. Where fewer blocks are left than their blob has units, they
   * get units of their own, and the blob goes.
   */
  private settle(runs: BlockRun[], c: Collection, onode: Onode, first: number, end: number): void {
    if (c.compressed.units === 0) return
    for (const index of shardsInRange(onode, first, end)) {
      const base = index * shardBlocks
      for (const ref of this.execution.shard(c, onode, index)?.blobs ?? []) {
        const low = Math.max(first - base - ref.first, 0)
        const high = Math.min(end - base - ref.first, ref.blob.count)
        if (low >= high) continue
        const left = (ref.live & ~maskOf(low, high)) >>> 0
        const blocks = countBits(left)
        const worth = blocks > 0 && blocks < ref.blob.units.length && left !== ref.live
        if (!worth || blocks > this.options.allocator.freeUnits) continue
        for (let bit = 0; bit < ref.blob.count; bit++) {
          if (((left >>> bit) & 1) === 0) continue
          const block = base + ref.first + bit
          this.inline(runs, c, onode, block, block + 1, block * blockBytes, nothing)
        }
      }
    }
  }

  private toFreshUnits(runs: BlockRun[], firstBlock: number, body: Uint8Array): void {
    let at = 0
    for (const { unit, count } of this.allocate(body.length / blockBytes)) {
      const data = body.subarray(at, at + count * blockBytes)
      const checksums: number[] = []
      for (let i = 0; i < count; i++) {
        checksums.push(this.options.checksums.low32(data.subarray(i * blockBytes, (i + 1) * blockBytes)))
      }
      const block = firstBlock + at / blockBytes
      runs.push({ firstBlock: block, count, unit, inline: false, poisoned: false, checksums, blob: undefined })
      this.direct.push({ unit, data })
      at += data.length
    }
  }

  /** Blocks [first, end) with the part of `data` (which starts at byte `offset` of the object) that they cover. */
  private inline(
    runs: BlockRun[],
    c: Collection,
    onode: Onode | null,
    first: number,
    end: number,
    offset: number,
    data: Uint8Array,
  ): void {
    const { allocator, checksums } = this.options
    const from = this.images.length
    let fresh = 0
    for (let block = first; block < end; block++) {
      const old = onode === null ? undefined : this.old(c, onode, block)
      const inPlace = old !== undefined && old.ref === undefined && !allocator.isShared(old.unit)
      if (!inPlace) fresh++
      this.images.push(this.image(inPlace ? old.unit : holeUnit, onode, block, old, offset, data))
    }
    if (fresh > 0) this.placeFresh(from, fresh)
    let run: BlockRunInMaking | undefined
    for (let at = from; at < this.images.length; at++) {
      const { unit, data: bytes, poisoned } = this.images[at] as BlockImage
      if (run === undefined || unit !== run.unit + run.count || poisoned !== run.poisoned) {
        const firstBlock = first + at - from
        run = { firstBlock, count: 0, unit, inline: true, poisoned, checksums: [], blob: undefined }
        runs.push(run)
      }
      run.count++
      run.checksums.push(checksums.low32(bytes))
    }
  }

  /** Gives fresh units to the images, from one on, that have none. */
  private placeFresh(from: number, count: number): void {
    const units = unitsOf(this.allocate(count))
    let next = 0
    for (let at = from; at < this.images.length; at++) {
      const image = this.images[at] as BlockImage
      if (image.unit === holeUnit) image.unit = units[next++] as number
    }
  }

  /** The whole block as it will be, by reference when `data` covers it. */
  private image(
    unit: number,
    onode: Onode | null,
    block: number,
    old: OldBlock | undefined,
    offset: number,
    data: Uint8Array,
  ): BlockImage {
    const start = block * blockBytes
    const low = Math.max(start, offset)
    const high = Math.min(start + blockBytes, offset + data.length)
    const part = data.subarray(low - offset, high - offset)
    if (part.length === blockBytes) return { unit, data: part, poisoned: false }
    const image = new Uint8Array(blockBytes)
    let poisoned = false
    const covered = low === start && high >= (onode?.sizeBytes ?? 0)
    if (old !== undefined && !covered) {
      const before = this.oldBytes(old)
      image.set(before.data)
      poisoned = before.bad
    }
    image.set(part, low - start)
    return { unit, data: image, poisoned }
  }

  private oldBytes(old: OldBlock): { readonly data: Uint8Array; readonly bad: boolean } {
    if (old.ref !== undefined) return this.oldBlobBytes(old.ref, old.at)
    for (let i = this.images.length - 1; i >= 0; i--) {
      const image = this.images[i] as BlockImage
      if (image.unit === old.unit)
        return { data: image.data, bad: this.options.checksums.low32(image.data) !== old.checksum }
    }
    for (const { unit, data } of this.direct) {
      const at = (old.unit - unit) * blockBytes
      if (at >= 0 && at < data.length) return { data: data.subarray(at, at + blockBytes), bad: false }
    }
    const peeked = this.options.peekUnit(old.unit, old.checksum)
    if (peeked !== undefined) return { data: peeked, bad: false }
    const { blocks } = this.execution.loaded
    const loaded = blocks.get(old.unit)
    if (loaded !== undefined) return loaded
    throw new NeedLoad(async () => {
      blocks.set(old.unit, await this.options.readUnit(old.unit, old.checksum))
    })
  }

  private oldBlobBytes({ blob, first }: BlobRef, at: number): { readonly data: Uint8Array; readonly bad: boolean } {
    const unit = blob.units[0] as number
    const { blobs } = this.execution.loaded
    let bytes = this.made?.get(unit) ?? this.options.peekBlob(blob)
    if (bytes === undefined) {
      if (!blobs.has(unit)) {
        throw new NeedLoad(async () => {
          blobs.set(unit, await this.options.readBlob(blob))
        })
      }
      bytes = blobs.get(unit)
    }
    if (bytes === undefined) return { data: emptyBlock, bad: true }
    return { data: bytes.subarray((at - first) * blockBytes, (at - first + 1) * blockBytes), bad: false }
  }

  private old(c: Collection, onode: Onode, block: number): OldBlock | undefined {
    const index = Math.floor(block / shardBlocks)
    const shard: Shard | undefined = this.execution.shard(c, onode, index)
    const unit = shard?.units[block - index * shardBlocks] ?? holeUnit
    if (shard === undefined) return undefined
    const at = block - index * shardBlocks
    if (unit !== holeUnit) return { unit, checksum: shard.checksums[at] as number, ref: undefined, at }
    const ref = shard.blobs.length === 0 ? undefined : findBlob(shard.blobs, at)
    return ref === undefined ? undefined : { unit, checksum: 0, ref, at }
  }

  private allocate(count: number): UnitRun[] {
    const { allocator } = this.options
    const runs = allocator.allocate(count)
    if (runs === undefined) throw new NoSpace(count)
    this.execution.onRollback(() => {
      for (const run of runs) for (let i = 0; i < run.count; i++) allocator.release(run.unit + i)
    })
    return runs
  }
}

function unitsOf(runs: readonly UnitRun[]): number[] {
  const units: number[] = []
  for (const run of runs) for (let i = 0; i < run.count; i++) units.push(run.unit + i)
  return units
}

/** Bits [low, high) of a word. */
function maskOf(low: number, high: number): number {
  const upTo = (bit: number): number => (bit === blobBlocksMax ? 0xffff_ffff : ((1 << bit) >>> 0) - 1)
  return (upTo(high) & ~upTo(low)) >>> 0
}

const roundUp = (bytes: number): number => Math.ceil(bytes / blockBytes) * blockBytes

function checkRange(from: number, to: number): void {
  if (!Number.isSafeInteger(from) || !Number.isSafeInteger(to) || from < 0 || to < from) {
    throw new ClusterError('EINVAL', `range ${from} to ${to} is no range of bytes`)
  }
  if (to > objectBytesMax) throw new ClusterError('EINVAL', `an object has at most ${objectBytesMax} bytes`)
  assert(to / blockBytes < 2 ** 32, 'block numbers fit 32 bits')
}
