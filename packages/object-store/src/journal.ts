/**
 * The journal: a preallocated ring of records, written in groups.
 *
 * Invariants
 * 1. A record gets its place in the ring when its transaction is ordered. Whatever is ordered therefore has room, and
 *    becoming durable never waits for a checkpoint (which itself waits for durability: a deadlock otherwise).
 * 2. Groups are written one at a time, in order: a group is issued only after the one before it is on stable storage.
 *    Hence a whole record of a later group proves that every earlier group was durable once.
 * 3. A record is written only after the data that it refers to in the data file is durable.
 *
 * Positions are virtual: they only grow; the place in the file is the position modulo the size of the ring.
 */
import { assert, type Clock, type FileHandle, Histogram, type HistogramSummary } from '@shoal/base'
import type { Checksums } from './checksum.ts'
import { encryptRecord, recordBytes, sealRecord } from './journal-record.ts'
import type { JournalCipher } from './record-cipher.ts'

/** Bytes on their way to fresh units of the data file. */
export interface DirectWrite {
  durable: boolean
}

export interface JournalEntry {
  readonly sequence: number
  readonly position: number
  readonly sizeBytes: number
  readonly bodyBytes: number
  readonly payloadBytes: number
  /** Header and body, then the payload. */
  readonly chunks: readonly Uint8Array[]
  readonly direct: DirectWrite | undefined
  readonly orderedMs: number
  readonly onDurable: () => void
}

export interface JournalOptions {
  readonly file: FileHandle
  readonly sizeBytes: number
  readonly nonce: number
  readonly epoch: number
  readonly clock: Clock
  readonly checksums: Checksums
  /** Of an encrypted store. */
  readonly cipher: JournalCipher | undefined
  /** A write or a datasync failed: nothing about the ring is known any more. */
  readonly onFailure: (cause: unknown) => void
  /** A group is durable up to and with this sequence. */
  readonly onGroup: (sequence: number) => void
}

const groupBytesMax = 8 * 1024 * 1024
const groupChunksMax = 1000

export class Journal {
  private readonly options: JournalOptions
  private readonly queue: JournalEntry[] = []
  private queueHead = 0
  private running = false
  private head = 0
  private tail = 0
  durableSequence: number
  bytesWritten = 0
  groups = 0
  private readonly groupSizes = new Histogram()
  private readonly latencies = new Histogram()
  private readonly syncs = new Histogram()

  constructor(options: JournalOptions, durableSequence: number) {
    this.options = options
    this.durableSequence = durableSequence
  }

  get usedBytes(): number {
    return this.head - this.tail
  }

  /** Place in the file where the next record goes, unless it does not fit there and goes to 0. */
  get headOffset(): number {
    return this.head % this.options.sizeBytes
  }

  get headPosition(): number {
    return this.head
  }

  get idle(): boolean {
    return this.queueHead === this.queue.length && !this.running
  }

  get queuedRecords(): number {
    return this.queue.length - this.queueHead
  }

  fits(sizeBytes: number): boolean {
    return this.placeFor(sizeBytes) + sizeBytes - this.tail <= this.options.sizeBytes
  }

  /** Takes room in the ring; `fits` was asked before. */
  reserve(sizeBytes: number): number {
    const position = this.placeFor(sizeBytes)
    assert(position + sizeBytes - this.tail <= this.options.sizeBytes, 'a record fits into the ring (invariant 1)')
    this.head = position + sizeBytes
    return position
  }

  append(entry: JournalEntry): void {
    this.queue.push(entry)
    this.wake()
  }

  /** Something that a queued record waits for has happened. */
  wake(): void {
    if (this.running) return
    this.running = true
    this.run().catch(this.options.onFailure)
  }

  /** Everything before `position` is covered by a durable checkpoint. */
  advanceTail(position: number): void {
    assert(position >= this.tail && position <= this.head, 'the tail of the ring moves forward, up to its head')
    this.tail = position
  }

  perf(): Record<string, number | HistogramSummary> {
    return {
      journal_bytes: this.bytesWritten,
      journal_groups: this.groups,
      journal_group_records: this.groupSizes.summary(),
      journal_sync_us: this.syncs.summary(),
      commit_latency_us: this.latencies.summary(),
      journal_used_bytes: this.usedBytes,
    }
  }

  private placeFor(sizeBytes: number): number {
    const offset = this.head % this.options.sizeBytes
    return offset + sizeBytes > this.options.sizeBytes ? this.head + this.options.sizeBytes - offset : this.head
  }

  private async run(): Promise<void> {
    const { file, clock } = this.options
    // Submissions of this turn of the event loop ride in the first group.
    await Promise.resolve()
    for (;;) {
      const group = this.takeGroup()
      const first = group[0]
      const last = group[group.length - 1]
      if (first === undefined || last === undefined) break
      const chunks = this.sealGroup(group)
      const startedMs = clock.monotonicMs()
      await file.writeDurable(chunks, first.position % this.options.sizeBytes)
      const nowMs = clock.monotonicMs()
      this.syncs.record((nowMs - startedMs) * 1000)
      this.groups++
      this.groupSizes.record(group.length)
      assert(last.sequence > this.durableSequence, 'durability is a prefix of the order')
      this.durableSequence = last.sequence
      for (const entry of group) {
        this.bytesWritten += entry.sizeBytes
        this.latencies.record((nowMs - entry.orderedMs) * 1000)
        entry.onDurable()
      }
      this.options.onGroup(last.sequence)
    }
    this.running = false
  }

  /** The longest ready prefix of the queue that lies in one piece of the ring. */
  private takeGroup(): JournalEntry[] {
    const group: JournalEntry[] = []
    let bytes = 0
    let chunks = 0
    let next = -1
    while (this.queueHead < this.queue.length) {
      const entry = this.queue[this.queueHead] as JournalEntry
      if (entry.direct !== undefined && !entry.direct.durable) break
      const wraps = next >= 0 && (entry.position !== next || entry.position % this.options.sizeBytes === 0)
      const full = bytes + entry.sizeBytes > groupBytesMax || chunks + entry.chunks.length > groupChunksMax
      if (group.length > 0 && (wraps || full)) break
      group.push(entry)
      bytes += entry.sizeBytes
      chunks += entry.chunks.length
      next = entry.position + entry.sizeBytes
      this.queueHead++
    }
    if (this.queueHead === this.queue.length) {
      this.queue.length = 0
      this.queueHead = 0
    } else if (this.queueHead > 1024) {
      this.queue.splice(0, this.queueHead)
      this.queueHead = 0
    }
    return group
  }

  private sealGroup(group: readonly JournalEntry[]): Uint8Array[] {
    const { checksums, cipher, nonce, epoch } = this.options
    const groupSequence = (group[0] as JournalEntry).sequence
    const chunks: Uint8Array[] = []
    for (const entry of group) {
      const { sequence, bodyBytes, payloadBytes } = entry
      assert(recordBytes(entry) === entry.sizeBytes, 'a record is as long as the place it was given')
      const header = { bodyBytes, payloadBytes, sequence, groupSequence, epoch, nonce }
      const record = cipher === undefined ? entry.chunks : encryptRecord(cipher, entry.chunks, header)
      sealRecord(checksums, record[0] as Uint8Array, header)
      for (const chunk of record) chunks.push(chunk)
    }
    return chunks
  }
}
