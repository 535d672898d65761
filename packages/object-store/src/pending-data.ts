/**
 * Block images on their way to the data file. Until an image is there, reads take it from here.
 *
 * Invariants
 * 1. A journalled image is written to the data file only after its record is durable: a crash in the middle of the
 *    write leaves a torn block, which replay then writes again.
 * 2. At most one write per unit is under way, so that an older image never lands on a newer one.
 * 3. A direct write goes to a unit that nothing durable refers to.
 */
import { assert, type FileHandle } from '@shoal/base'
import { blockBytes } from './layout.ts'

interface PendingBlock {
  readonly unit: number
  readonly sequence: number
  readonly data: Uint8Array
  /** Written by a direct write; not for the background writer. */
  readonly direct: boolean
}

interface DataWrite {
  readonly chunks: readonly Uint8Array[]
  readonly offset: number
}

export interface PendingOptions {
  readonly file: FileHandle
  /** The background writer starts above this many bytes, so that blocks written again meanwhile are written once. */
  readonly lowWaterBytes: number
  readonly durableSequence: () => number
  readonly onProgress: () => void
  readonly onFailure: (cause: unknown) => void
}

const batchBlocksMax = 512
const runBlocksMax = 16
const writesInFlightMax = 2
/**
 * No write call is longer. The page cache makes folios as large as the write that first fills them, and ext4 walks all
 * blocks of a folio on each later write into it: after 4 MiB writes a random 8 KiB write costs 50 us of kernel time,
 * after 64 KiB writes 5 us (measured on Linux 6.18), and the large writes themselves are no faster.
 */
export const writeCallBytesMax: number = 64 * 1024

export class PendingData {
  private readonly options: PendingOptions
  private readonly blocks = new Map<number, PendingBlock>()
  private queue: PendingBlock[] = []
  private queueHead = 0
  private running = false
  private flushTarget = 0
  private flushWaiters: { readonly sequence: number; readonly resolve: () => void }[] = []
  /** Bytes of all blocks held, direct writes included. */
  bytes = 0
  bytesApplied = 0
  writes = 0

  constructor(options: PendingOptions) {
    this.options = options
  }

  get(unit: number): Uint8Array | undefined {
    return this.blocks.get(unit)?.data
  }

  addImage(unit: number, data: Uint8Array, sequence: number): void {
    const block: PendingBlock = { unit, data, sequence, direct: false }
    this.hold(block)
    this.queue.push(block)
  }

  /** The unit was freed: its image need not be written any more. */
  drop(unit: number): void {
    if (this.blocks.delete(unit)) this.bytes -= blockBytes
  }

  /** Writes whole blocks to fresh units at once. The caller syncs the data file before the record is written. */
  async writeDirect(pieces: readonly { readonly unit: number; readonly data: Uint8Array }[]): Promise<void> {
    const held: PendingBlock[] = []
    for (const piece of pieces) {
      for (let at = 0; at < piece.data.length; at += blockBytes) {
        const unit = piece.unit + at / blockBytes
        assert(!this.blocks.has(unit), `nothing is pending for the fresh unit ${unit} (invariant 3)`)
        const block = { unit, data: piece.data.subarray(at, at + blockBytes), sequence: 0, direct: true }
        this.hold(block)
        held.push(block)
      }
    }
    await this.writeAll(splitWrites(pieces))
    for (const block of held) {
      if (this.blocks.get(block.unit) === block) this.drop(block.unit)
    }
    this.options.onProgress()
  }

  /** Called when records became durable. */
  pump(): void {
    if (this.running) return
    this.settleFlushes()
    if (this.queueHead === this.queue.length) return
    if (this.flushTarget === 0 && this.bytes <= this.options.lowWaterBytes) return
    this.running = true
    this.run().catch(this.options.onFailure)
  }

  /** Resolves once every image up to `sequence` was written or superseded. The records must become durable. */
  flushThrough(sequence: number): Promise<void> {
    this.flushTarget = Math.max(this.flushTarget, sequence)
    return new Promise((resolve) => {
      this.flushWaiters.push({ sequence, resolve })
      this.pump()
    })
  }

  private hold(block: PendingBlock): void {
    if (!this.blocks.has(block.unit)) this.bytes += blockBytes
    this.blocks.set(block.unit, block)
  }

  private async run(): Promise<void> {
    for (;;) {
      const batch = this.takeBatch()
      if (batch.length === 0) break
      await this.writeBatch(batch)
      for (const block of batch) {
        if (this.blocks.get(block.unit) === block) this.drop(block.unit)
      }
      this.bytesApplied += batch.length * blockBytes
      this.settleFlushes()
      this.options.onProgress()
      if (this.flushTarget === 0 && this.bytes <= this.options.lowWaterBytes / 2) break
    }
    this.running = false
    this.settleFlushes()
  }

  /** The oldest durable images that are still the newest of their unit. */
  private takeBatch(): PendingBlock[] {
    const durable = this.options.durableSequence()
    const batch: PendingBlock[] = []
    while (this.queueHead < this.queue.length && batch.length < batchBlocksMax) {
      const block = this.queue[this.queueHead] as PendingBlock
      if (block.sequence > durable) break
      this.queueHead++
      if (this.blocks.get(block.unit) === block) batch.push(block)
    }
    if (this.queueHead === this.queue.length) {
      this.queue = []
      this.queueHead = 0
    } else if (this.queueHead > 4096) {
      this.queue = this.queue.slice(this.queueHead)
      this.queueHead = 0
    }
    return batch.sort((a, b) => a.unit - b.unit)
  }

  private async writeBatch(batch: readonly PendingBlock[]): Promise<void> {
    const writes: DataWrite[] = []
    for (let at = 0; at < batch.length; ) {
      const first = batch[at++] as PendingBlock
      const chunks = [first.data]
      for (let next = batch[at]; next !== undefined && chunks.length < runBlocksMax; next = batch[at]) {
        if (next.unit !== first.unit + chunks.length) break
        chunks.push(next.data)
        at++
      }
      writes.push({ chunks: joinAdjacent(chunks), offset: first.unit * blockBytes })
    }
    await this.writeAll(writes)
  }

  private async writeAll(writes: readonly DataWrite[]): Promise<void> {
    let at = 0
    const worker = async (): Promise<void> => {
      while (at < writes.length) {
        const { chunks, offset } = writes[at++] as DataWrite
        await this.options.file.write(chunks, offset)
        this.writes++
      }
    }
    const workers: Promise<void>[] = []
    for (let i = 0; i < writesInFlightMax; i++) workers.push(worker())
    await Promise.all(workers)
  }

  /** No batch is under way: whatever left the queue is in the data file or superseded. */
  private settleFlushes(): void {
    if (this.flushWaiters.length === 0) return
    const oldest = this.queue[this.queueHead]?.sequence
    const done = oldest === undefined ? Number.MAX_SAFE_INTEGER : oldest - 1
    const waiting = this.flushWaiters
    this.flushWaiters = []
    for (const waiter of waiting) {
      if (waiter.sequence <= done) waiter.resolve()
      else this.flushWaiters.push(waiter)
    }
    if (this.flushWaiters.length === 0) this.flushTarget = 0
  }
}

function splitWrites(pieces: readonly { readonly unit: number; readonly data: Uint8Array }[]): DataWrite[] {
  const writes: DataWrite[] = []
  for (const { unit, data } of pieces) {
    for (let at = 0; at < data.length; at += writeCallBytesMax) {
      writes.push({ chunks: [data.subarray(at, at + writeCallBytesMax)], offset: unit * blockBytes + at })
    }
  }
  return writes
}

/** Views that follow each other in one buffer become one view. */
export function joinAdjacent(chunks: readonly Uint8Array[]): Uint8Array[] {
  const joined: Uint8Array[] = []
  let last: Uint8Array | undefined
  for (const chunk of chunks) {
    if (last !== undefined && last.buffer === chunk.buffer && last.byteOffset + last.length === chunk.byteOffset) {
      last = new Uint8Array(last.buffer, last.byteOffset, last.length + chunk.length)
      joined[joined.length - 1] = last
    } else {
      last = chunk
      joined.push(chunk)
    }
  }
  return joined
}
