/**
 * Block images on their way to the data file. Until an image is there, reads take it from here.
 *
 * Invariants
 * 1. A journalled image is written to the data file only after its record is durable: a crash in the middle of the
 *    write leaves a torn block, which replay then writes again.
 * 2. At most one write per unit is under way, so that an older image never lands on a newer one.
 * 3. A direct write goes to a unit that nothing durable refers to.
 * 4. A slot of the arena is used again only after no write from it is under way and nobody looks it up.
 */
import { assert, type FileHandle, type FileWrite } from '@shoal/base'
import { BlockArena, type Slot } from './block-arena.ts'
import { blockBytes } from './layout.ts'

/** An image out of the journal, or a block of a direct write, which is not for the background writer. */
interface PendingBlock {
  readonly unit: number
  readonly sequence: number
  /** Of an image: its place in the arena. */
  readonly slot: Slot
  /** Of a direct write: the caller's bytes. */
  readonly data: Uint8Array | undefined
  /** The background writer has it: the slot is not free before that is done. */
  writing: boolean
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
const directWritesInFlightMax = 16
/**
 * No write call is longer. The page cache makes folios as large as the write that first fills them, and ext4 walks all
 * blocks of a folio on each later write into it: after 4 MiB writes a random 8 KiB write costs 50 us of kernel time,
 * after 64 KiB writes 5 us (measured on Linux 6.18), and the large writes themselves are no faster.
 */
export const writeCallBytesMax: number = 64 * 1024

export class PendingData {
  private readonly options: PendingOptions
  private readonly arena = new BlockArena()
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

  get arenaBytes(): number {
    return this.arena.sizeBytes
  }

  has(unit: number): boolean {
    return this.blocks.has(unit)
  }

  /** The newest bytes of the unit, valid until the next turn of the event loop: copy what is to last. */
  peek(unit: number): Uint8Array | undefined {
    const block = this.blocks.get(unit)
    return block === undefined ? undefined : (block.data ?? this.arena.view(block.slot))
  }

  /** Takes a copy of the block. */
  addImage(unit: number, data: Uint8Array, sequence: number): void {
    const block: PendingBlock = { unit, sequence, slot: this.arena.add(data), data: undefined, writing: false }
    this.hold(block)
    this.queue.push(block)
  }

  /** The unit was freed: its image need not be written any more. */
  drop(unit: number): void {
    const block = this.blocks.get(unit)
    if (block === undefined) return
    this.blocks.delete(unit)
    this.bytes -= blockBytes
    this.letGo(block)
  }

  /** Writes whole blocks to fresh units at once. The caller syncs the data file before the record is written. */
  async writeDirect(pieces: readonly { readonly unit: number; readonly data: Uint8Array }[]): Promise<void> {
    const held: PendingBlock[] = []
    for (const piece of pieces) {
      for (let at = 0; at < piece.data.length; at += blockBytes) {
        const unit = piece.unit + at / blockBytes
        assert(!this.blocks.has(unit), `nothing is pending for the fresh unit ${unit} (invariant 3)`)
        const data = piece.data.subarray(at, at + blockBytes)
        const block: PendingBlock = { unit, data, sequence: 0, slot: -1, writing: false }
        this.hold(block)
        held.push(block)
      }
    }
    await this.writePieces(splitWrites(pieces))
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
    const before = this.blocks.get(block.unit)
    if (before === undefined) this.bytes += blockBytes
    else this.letGo(before)
    this.blocks.set(block.unit, block)
  }

  /** Nobody looks the block up any more. */
  private letGo(block: PendingBlock): void {
    if (block.data === undefined && !block.writing) this.arena.remove(block.slot)
  }

  private async run(): Promise<void> {
    for (;;) {
      const batch = this.takeBatch()
      if (batch.length === 0) break
      await this.writeBatch(batch)
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
    const writes: FileWrite[] = []
    for (let at = 0; at < batch.length; ) {
      const first = batch[at++] as PendingBlock
      first.writing = true
      const chunks = [this.arena.view(first.slot)]
      for (let next = batch[at]; next !== undefined && chunks.length < runBlocksMax; next = batch[at]) {
        if (next.unit !== first.unit + chunks.length) break
        next.writing = true
        chunks.push(this.arena.view(next.slot))
        at++
      }
      writes.push({ chunks: joinAdjacent(chunks), offset: first.unit * blockBytes })
    }
    await this.options.file.writeMany(writes)
    this.writes += writes.length
    for (const block of batch) {
      block.writing = false
      if (this.blocks.get(block.unit) === block) this.drop(block.unit)
      else this.letGo(block)
    }
  }

  private async writePieces(writes: readonly FileWrite[]): Promise<void> {
    let at = 0
    const worker = async (): Promise<void> => {
      while (at < writes.length) {
        const { chunks, offset } = writes[at++] as FileWrite
        await this.options.file.write(chunks, offset)
        this.writes++
      }
    }
    const workers: Promise<void>[] = []
    for (let i = 0; i < directWritesInFlightMax; i++) workers.push(worker())
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

function splitWrites(pieces: readonly { readonly unit: number; readonly data: Uint8Array }[]): FileWrite[] {
  const writes: FileWrite[] = []
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
