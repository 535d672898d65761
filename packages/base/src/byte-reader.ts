import { utf8Decode } from './bytes.ts'
import { ClusterError } from './errors.ts'
import { shortText } from './short-text.ts'

/** Where a double is put together: a view of each buffer would cost more than the copy. */
const doubleBytes = new Uint8Array(8)
const double = new DataView(doubleBytes.buffer)

/**
 * Reads what a ByteWriter wrote. Input may be hostile: every read is bounds-checked and throws a
 * `ClusterError` EBADMSG; nothing is allocated from a length that the input does not back with bytes.
 */
export class ByteReader {
  private readonly buffer: Uint8Array
  private at = 0
  /** Where the input, or the section that is being read, ends. */
  private limit: number

  constructor(buffer: Uint8Array) {
    this.buffer = buffer
    this.limit = buffer.length
  }

  get remaining(): number {
    return this.limit - this.at
  }

  get offset(): number {
    return this.at
  }

  u8(): number {
    return this.buffer[this.take(1)] as number
  }

  u16(): number {
    const at = this.take(2)
    return (this.buffer[at] as number) | ((this.buffer[at + 1] as number) << 8)
  }

  u32(): number {
    return this.signedAt(this.take(4)) >>> 0
  }

  i32(): number {
    return this.signedAt(this.take(4))
  }

  /** Refuses values over 2^53 - 1. */
  u64(): number {
    const at = this.take(8)
    const high = this.signedAt(at + 4) >>> 0
    if (high > 0x1f_ffff) throw new ClusterError('EBADMSG', `integer over 2^53 at offset ${at}`)
    return high * 0x1_0000_0000 + (this.signedAt(at) >>> 0)
  }

  big64(): bigint {
    this.fetchDouble()
    return double.getBigUint64(0, true)
  }

  f64(): number {
    this.fetchDouble()
    return double.getFloat64(0, true)
  }

  boolean(): boolean {
    const value = this.u8()
    if (value > 1) throw new ClusterError('EBADMSG', `boolean ${value} at offset ${this.at - 1}`)
    return value === 1
  }

  /** A view of the next `length` bytes, not a copy. */
  raw(length: number): Uint8Array {
    const at = this.take(length)
    return this.buffer.subarray(at, at + length)
  }

  /** A view of what was read from `offset` on. */
  since(offset: number): Uint8Array {
    return this.buffer.subarray(offset, this.at)
  }

  /** A view of u32-counted bytes, not a copy. */
  bytes(): Uint8Array {
    return this.raw(this.u32())
  }

  string(): string {
    const length = this.u32()
    const at = this.take(length)
    const short = shortText(this.buffer, at, length)
    if (short !== undefined) return short
    try {
      return utf8Decode(this.buffer.subarray(at, at + length))
    } catch (cause) {
      throw new ClusterError('EBADMSG', `text that is not UTF-8 at offset ${at}`, { cause })
    }
  }

  /** Begins a section of `length` bytes: reads end there until `leave` is given what this returns. */
  enter(length: number): number {
    if (length > this.remaining) this.take(length)
    const outer = this.limit
    this.limit = this.at + length
    return outer
  }

  /** Ends a section, and skips what of it was not read. */
  leave(outer: number): void {
    this.at = this.limit
    this.limit = outer
  }

  /** A count of elements that take at least `elementBytesMin` bytes each, checked against what is left. */
  count(elementBytesMin = 1): number {
    const count = this.u32()
    if (count * elementBytesMin > this.remaining) {
      throw new ClusterError(
        'EBADMSG',
        `count ${count} at offset ${this.at - 4} exceeds the ${this.remaining} bytes left`,
      )
    }
    return count
  }

  /** Throws unless everything was read. */
  end(): void {
    if (this.remaining !== 0)
      throw new ClusterError('EBADMSG', `${this.remaining} bytes left over at offset ${this.at}`)
  }

  private take(length: number): number {
    const at = this.at
    if (length > this.limit - at) {
      throw new ClusterError('EBADMSG', `input ends at ${this.limit}, ${length} bytes wanted at offset ${at}`)
    }
    this.at = at + length
    return at
  }

  private signedAt(at: number): number {
    const { buffer } = this
    return (
      (buffer[at] as number) |
      ((buffer[at + 1] as number) << 8) |
      ((buffer[at + 2] as number) << 16) |
      ((buffer[at + 3] as number) << 24)
    )
  }

  private fetchDouble(): void {
    const at = this.take(8)
    for (let i = 0; i < 8; i++) doubleBytes[i] = this.buffer[at + i] as number
  }
}
