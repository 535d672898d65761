/**
 * One transaction in the journal. Operations that place bytes are journalled by their effect on the block map (which
 * units, which checksums), all others as they came: replay then needs no allocator and no old data.
 *
 * The record's own checksum covers its header and body; the body holds the checksum of every block of the payload, so
 * that payload bytes are hashed once for journal and block map together.
 */
import { ByteReader, ByteWriter, ClusterError, type PgId } from '@shoal/base'
import {
  decodeTransaction,
  encodeTransaction,
  type ObjectId,
  objectIdCodec,
  PayloadCursor,
  type TransactionOp,
} from '@shoal/wire'
import { type Blob, readBlobHead, writeBlobHead } from './blob.ts'
import type { Checksums } from './checksum.ts'
import { blockBytes, sectorBytes } from './layout.ts'
import type { JournalCipher } from './record-cipher.ts'

/** Consecutive blocks of an object on consecutive units; unit 0 makes a hole. */
export interface BlockRun {
  readonly firstBlock: number
  readonly count: number
  readonly unit: number
  /** The bytes are in the record's payload; else they were in the data file before the record was written. */
  readonly inline: boolean
  /** Merged into a block that failed its checksum: the map gets the complement, so that reads go on failing. */
  readonly poisoned: boolean
  /** One per block, or per unit of the blob; empty for a hole. */
  readonly checksums: readonly number[]
  /** The blocks are in this blob; `unit` is its first. */
  readonly blob: Blob | undefined
}

export interface BlocksItem {
  readonly kind: 'blocks'
  readonly collection: PgId
  readonly object: ObjectId
  readonly sizeBytes: number
  readonly runs: readonly BlockRun[]
}

export type JournalItem = BlocksItem | TransactionOp

const plainVersion = 1
/** Blobs among the runs. */
const blobsVersion = 2
const segment = { operations: 1, blocks: 2 } as const
const runFlags = { inline: 1, poisoned: 2, compressed: 4 } as const

const recordMagic = 0x314a_4853 // "SHJ1"
export const recordHeaderBytes = 56
const checksumAt = 48

export interface RecordHeader {
  readonly bodyBytes: number
  readonly payloadBytes: number
  readonly sequence: number
  /** Sequence of the first record of the write that carried this one: everything before it was durable by then. */
  readonly groupSequence: number
  readonly epoch: number
  readonly nonce: number
}

export function recordBytes(header: { readonly bodyBytes: number; readonly payloadBytes: number }): number {
  return roundUp(recordHeaderBytes + header.bodyBytes) + header.payloadBytes
}

const roundUp = (bytes: number): number => Math.ceil(bytes / sectorBytes) * sectorBytes

/** Returns whether there are blobs. */
function writeBlocks(writer: ByteWriter, item: BlocksItem): boolean {
  let compressed = false
  writer.string(item.collection)
  objectIdCodec.write(writer, item.object)
  writer.u64(item.sizeBytes).u32(item.runs.length)
  for (const run of item.runs) {
    let flags = (run.inline ? runFlags.inline : 0) | (run.poisoned ? runFlags.poisoned : 0)
    if (run.blob !== undefined) flags |= runFlags.compressed
    writer.u32(run.firstBlock).u32(run.count).u32(run.unit).u8(flags)
    if (run.blob !== undefined) {
      compressed = true
      writeBlobHead(writer, run.blob)
    }
    for (const checksum of run.checksums) writer.u32(checksum)
  }
  return compressed
}

function readBlocks(reader: ByteReader): BlocksItem {
  const collection = reader.string() as PgId
  const object = objectIdCodec.read(reader)
  const sizeBytes = reader.u64()
  const count = reader.count(13)
  const runs: BlockRun[] = []
  for (let i = 0; i < count; i++) {
    const firstBlock = reader.u32()
    const blocks = reader.u32()
    const unit = reader.u32()
    const flags = reader.u8()
    const checksums: number[] = []
    const head = (flags & runFlags.compressed) === 0 ? undefined : readBlobHead(reader, blocks)
    const sums = unit === 0 ? 0 : (head?.units.length ?? blocks)
    for (let sum = 0; sum < sums; sum++) checksums.push(reader.u32())
    const inline = (flags & runFlags.inline) !== 0
    const poisoned = (flags & runFlags.poisoned) !== 0
    const blob = head === undefined ? undefined : { ...head, checksums }
    runs.push({ firstBlock, count: blocks, unit, inline, poisoned, checksums, blob })
  }
  return { kind: 'blocks', collection, object, sizeBytes, runs }
}

/**
 * Header and body in one buffer of whole sectors. The header's place is left empty: `sealRecord` fills it when the
 * record's group is known.
 */
export function encodeBody(items: readonly JournalItem[]): { readonly buffer: Uint8Array; readonly bodyBytes: number } {
  const writer = new ByteWriter(1024)
  writer.raw(emptyHeader).u8(plainVersion)
  const countAt = writer.length
  writer.u32(0)
  let segments = 0
  let compressed = false
  for (let at = 0; at < items.length; segments++) {
    const item = items[at] as JournalItem
    if (item.kind === 'blocks') {
      writer.u8(segment.blocks)
      if (writeBlocks(writer, item)) compressed = true
      at++
      continue
    }
    const ops: TransactionOp[] = []
    for (; at < items.length; at++) {
      const next = items[at] as JournalItem
      if (next.kind === 'blocks') break
      ops.push(next)
    }
    writer.u8(segment.operations)
    encodeTransaction({ ops }, writer, [])
  }
  writer.patchU32(countAt, segments)
  const bodyBytes = writer.length - recordHeaderBytes
  writer.raw(zeroSector.subarray(0, roundUp(writer.length) - writer.length))
  const buffer = writer.finish()
  if (compressed) buffer[recordHeaderBytes] = blobsVersion
  return { buffer, bodyBytes }
}

const emptyHeader = new Uint8Array(recordHeaderBytes)
const zeroSector = new Uint8Array(sectorBytes)

/** Throws EBADMSG, or EPROTO for a newer format. */
export function decodeBody(body: Uint8Array): JournalItem[] {
  const reader = new ByteReader(body)
  const version = reader.u8()
  if (version !== plainVersion && version !== blobsVersion) {
    throw new ClusterError('EPROTO', `journal record version ${version} is newer than this daemon`, {
      hint: 'upgrade this daemon',
    })
  }
  const segments = reader.count()
  const items: JournalItem[] = []
  for (let i = 0; i < segments; i++) {
    const tag = reader.u8()
    if (tag === segment.blocks) items.push(readBlocks(reader))
    else if (tag === segment.operations) items.push(...decodeTransaction(reader, new PayloadCursor(zeroSector)).ops)
    else throw new ClusterError('EBADMSG', `unknown segment ${tag} in a journal record`)
  }
  reader.end()
  return items
}

/** Fills in the header and the checksum of a buffer from `encodeBody`. */
export function sealRecord(checksums: Checksums, buffer: Uint8Array, header: RecordHeader): void {
  const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength)
  view.setUint32(0, recordMagic, true)
  view.setUint32(4, header.bodyBytes, true)
  view.setUint32(8, header.payloadBytes, true)
  view.setUint32(12, 0, true)
  setU64(view, 16, header.sequence)
  setU64(view, 24, header.groupSequence)
  setU64(view, 32, header.epoch)
  setU64(view, 40, header.nonce)
  setU64(view, checksumAt, 0)
  const checksum = checksums.xxh64(buffer.subarray(0, recordHeaderBytes + header.bodyBytes))
  view.setBigUint64(checksumAt, checksum, true)
}

/** The record as it goes to the disk of an encrypted store: only its header stays as it is. */
export function encryptRecord(
  cipher: JournalCipher,
  [first, ...payload]: readonly Uint8Array[],
  { epoch, sequence }: Pick<RecordHeader, 'epoch' | 'sequence'>,
): Uint8Array[] {
  const stream = cipher.stream(epoch, sequence)
  const buffer = (first as Uint8Array).slice()
  buffer.set(stream(buffer.subarray(recordHeaderBytes)), recordHeaderBytes)
  return [buffer, ...payload.map(stream)]
}

/** Undefined when no header starts here; nothing is proven until `recordIsWhole`. */
export function parseHeader(buffer: Uint8Array, at: number): RecordHeader | undefined {
  if (at + recordHeaderBytes > buffer.length) return undefined
  const view = new DataView(buffer.buffer, buffer.byteOffset + at, recordHeaderBytes)
  if (view.getUint32(0, true) !== recordMagic || view.getUint32(12, true) !== 0) return undefined
  const payloadBytes = view.getUint32(8, true)
  if (payloadBytes % blockBytes !== 0) return undefined
  return {
    bodyBytes: view.getUint32(4, true),
    payloadBytes,
    sequence: getU64(view, 16),
    groupSequence: getU64(view, 24),
    epoch: getU64(view, 32),
    nonce: getU64(view, 40),
  }
}

/** Whether header and body at `at` carry the right checksum; the payload is proven by the block checksums. */
export function recordIsWhole(checksums: Checksums, buffer: Uint8Array, at: number, header: RecordHeader): boolean {
  const end = at + recordHeaderBytes + header.bodyBytes
  if (end > buffer.length) return false
  const copy = buffer.slice(at, end)
  const view = new DataView(copy.buffer, copy.byteOffset, copy.byteLength)
  const stored = view.getBigUint64(checksumAt, true)
  view.setBigUint64(checksumAt, 0n, true)
  return checksums.xxh64(copy) === stored
}

/** The unit of block `at` of what a run places. */
export function unitOfRun(run: BlockRun, at: number): number {
  return run.blob === undefined ? run.unit + at : (run.blob.units[at] as number)
}

/** Whether every inline block of the payload carries the checksum that the body gives it. */
export function payloadIsWhole(checksums: Checksums, items: readonly JournalItem[], payload: Uint8Array): boolean {
  let at = 0
  for (const item of items) {
    if (item.kind !== 'blocks') continue
    for (const run of item.runs) {
      if (!run.inline) continue
      for (const checksum of run.checksums) {
        if (at + blockBytes > payload.length) return false
        if (checksums.low32(payload.subarray(at, at + blockBytes)) !== checksum) return false
        at += blockBytes
      }
    }
  }
  return at === payload.length
}

function setU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % 0x1_0000_0000, true)
  view.setUint32(at + 4, Math.floor(value / 0x1_0000_0000), true)
}

/** Values over 2^53 lose bits, which no comparison with a real sequence, epoch or nonce survives. */
function getU64(view: DataView, at: number): number {
  return view.getUint32(at + 4, true) * 0x1_0000_0000 + view.getUint32(at, true)
}
