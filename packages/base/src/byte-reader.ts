import { utf8Decode } from './bytes.ts'
import { ClusterError } from './errors.ts'

/**
 * Reads what a ByteWriter wrote. Input may be hostile: every read is bounds-checked and throws a
 * `ClusterError` EBADMSG; nothing is allocated from a length that the input does not back with bytes.
 */
export class ByteReader {
  private readonly buffer: Uint8Array
  private readonly view: DataView
  private at = 0

  constructor(buffer: Uint8Array) {
    this.buffer = buffer
    this.view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength)
  }

  get remaining(): number {
    return this.buffer.length - this.at
  }

  get offset(): number {
    return this.at
  }

  u8(): number {
    return this.view.getUint8(this.take(1))
  }

  u16(): number {
    return this.view.getUint16(this.take(2), true)
  }

  u32(): number {
    return this.view.getUint32(this.take(4), true)
  }

  i32(): number {
    return this.view.getInt32(this.take(4), true)
  }

  /** Refuses values over 2^53 - 1. */
  u64(): number {
    const at = this.take(8)
    const high = this.view.getUint32(at + 4, true)
    if (high > 0x1f_ffff) throw new ClusterError('EBADMSG', `integer over 2^53 at offset ${at}`)
    return high * 0x1_0000_0000 + this.view.getUint32(at, true)
  }

  big64(): bigint {
    return this.view.getBigUint64(this.take(8), true)
  }

  f64(): number {
    return this.view.getFloat64(this.take(8), true)
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

  /** A view of u32-counted bytes, not a copy. */
  bytes(): Uint8Array {
    return this.raw(this.u32())
  }

  string(): string {
    const bytes = this.bytes()
    if (bytes.length <= 64) {
      let text = ''
      let i = 0
      for (; i < bytes.length; i++) {
        const byte = bytes[i] as number
        if (byte > 0x7f) break
        text += String.fromCharCode(byte)
      }
      if (i === bytes.length) return text
    }
    try {
      return utf8Decode(bytes)
    } catch (cause) {
      throw new ClusterError('EBADMSG', `text that is not UTF-8 at offset ${this.at - bytes.length}`, { cause })
    }
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
    if (length > this.buffer.length - at) {
      throw new ClusterError('EBADMSG', `input ends at ${this.buffer.length}, ${length} bytes wanted at offset ${at}`)
    }
    this.at = at + length
    return at
  }
}
