/**
 * Reads the ring at mount: the records after the last checkpoint, and the proof of what follows them.
 *
 * A record that is not whole ends the log. That is the torn tail of a crash, unless a whole record of a *later group*
 * follows anywhere: groups are issued one at a time (invariant 2 of the journal), so the missing record was durable and
 * acknowledged once. Records of the same group prove nothing, since a torn write may keep any of its sectors. A ring
 * file that is shorter than it was made is damage as well if the log ends where the file does.
 */
import { type FileHandle, isClusterError } from '@shoal/base'
import type { Checksums } from './checksum.ts'
import {
  decodeBody,
  type JournalItem,
  parseHeader,
  payloadIsWhole,
  type RecordHeader,
  recordBytes,
  recordHeaderBytes,
  recordIsWhole,
} from './journal-record.ts'
import { sectorBytes } from './layout.ts'
import type { JournalCipher } from './record-cipher.ts'

export interface RingRecord {
  readonly sequence: number
  readonly items: readonly JournalItem[]
  readonly payload: Uint8Array
  /** Offset in the file after the record. */
  readonly end: number
}

/** Why acknowledged transactions are missing. */
export interface JournalDamage {
  readonly reason: 'corrupt' | 'truncated'
  /** The first transaction that is gone. */
  readonly sequence: number
  readonly detail: string
}

export interface RingReaderOptions {
  readonly file: FileHandle
  readonly checksums: Checksums
  /** Of an encrypted store. */
  readonly cipher: JournalCipher | undefined
  readonly ringBytes: number
  readonly fileBytes: number
  readonly nonce: number
  readonly epoch: number
}

const windowBytes = 4 * 1024 * 1024

export class RingReader {
  private readonly options: RingReaderOptions
  private window = new Uint8Array(0)
  private windowAt = 0
  /** The file ended inside a record that was announced. */
  private cut = false
  offset: number
  sequence: number

  constructor(options: RingReaderOptions, offset: number, sequence: number) {
    this.options = options
    this.offset = offset
    this.sequence = sequence
  }

  /** The record with the next sequence, here or (when the ring wraps) at its start; undefined at the end of the log. */
  async next(): Promise<RingRecord | undefined> {
    let record = await this.recordAt(this.offset)
    if (record === undefined && this.offset !== 0) record = await this.recordAt(0)
    if (record === undefined) return undefined
    this.offset = record.end
    this.sequence = record.sequence + 1
    return record
  }

  /** To be asked when `next` has returned undefined. */
  async findDamage(): Promise<JournalDamage | undefined> {
    const { ringBytes, fileBytes } = this.options
    const { sequence } = this
    const limit = Math.min(ringBytes, fileBytes)
    for (let at = 0; at + recordHeaderBytes <= limit; at += sectorBytes) {
      if (!this.holds(at, recordHeaderBytes)) await this.fill(at, recordHeaderBytes)
      const header = this.header(at)
      if (header === undefined || header.sequence <= sequence || header.groupSequence <= sequence) continue
      await this.fill(at, recordHeaderBytes + header.bodyBytes)
      if (!recordIsWhole(this.options.checksums, this.window, at - this.windowAt, header)) continue
      const detail = `record ${sequence} at ${this.offset} is damaged, record ${header.sequence} at ${at} is whole`
      return { reason: 'corrupt', sequence, detail }
    }
    if (fileBytes < ringBytes && (this.cut || this.offset + sectorBytes > fileBytes)) {
      const detail = `the journal has ${fileBytes} of ${ringBytes} bytes and ends where record ${sequence} should be`
      return { reason: 'truncated', sequence, detail }
    }
    return undefined
  }

  private header(at: number): RecordHeader | undefined {
    const header = parseHeader(this.window, at - this.windowAt)
    const { nonce, epoch, ringBytes } = this.options
    if (header === undefined || header.nonce !== nonce || header.epoch !== epoch) return undefined
    return at + recordBytes(header) <= ringBytes ? header : undefined
  }

  private async recordAt(at: number): Promise<RingRecord | undefined> {
    await this.fill(at, sectorBytes)
    const header = this.header(at)
    if (header === undefined || header.sequence !== this.sequence || header.groupSequence > this.sequence)
      return undefined
    const sizeBytes = recordBytes(header)
    await this.fill(at, sizeBytes)
    const start = at - this.windowAt
    if (start + sizeBytes > this.window.length) {
      this.cut = true
      return undefined
    }
    if (!recordIsWhole(this.options.checksums, this.window, start, header)) return undefined
    const content = this.content(header, start, sizeBytes)
    const body = content.subarray(0, header.bodyBytes)
    const payload = content.subarray(content.length - header.payloadBytes)
    const items = decodeItems(body)
    if (items === undefined || !payloadIsWhole(this.options.checksums, items, payload)) return undefined
    return { sequence: header.sequence, items, payload, end: at + sizeBytes }
  }

  /** What follows the header of the record, in memory of its own and without encryption. */
  private content({ epoch, sequence }: RecordHeader, start: number, sizeBytes: number): Uint8Array {
    const { cipher } = this.options
    const [from, to] = [start + recordHeaderBytes, start + sizeBytes]
    if (cipher === undefined) return this.window.slice(from, to)
    return cipher.stream(epoch, sequence)(this.window.subarray(from, to))
  }

  private holds(at: number, length: number): boolean {
    return at >= this.windowAt && at + length <= this.windowAt + this.window.length
  }

  /** Makes the window hold `length` bytes from `at`, or what the file has of them. */
  private async fill(at: number, length: number): Promise<void> {
    if (this.holds(at, length)) return
    const { ringBytes, file } = this.options
    const window = new Uint8Array(Math.max(0, Math.min(Math.max(length, windowBytes), ringBytes - at)))
    const read = window.length === 0 ? 0 : await file.read(window, at)
    this.window = window.subarray(0, read)
    this.windowAt = at
  }
}

/** A body whose checksum holds but that does not decode is of a newer format: that error is the caller's to report. */
function decodeItems(body: Uint8Array): JournalItem[] | undefined {
  try {
    return decodeBody(body)
  } catch (error) {
    if (isClusterError(error, 'EBADMSG')) return undefined
    throw error
  }
}
