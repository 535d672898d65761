import { assert } from './assert.ts'
import { utf8Encode } from './bytes.ts'

/**
 * Appends little-endian fields to a growing buffer. Integers over 32 bits are JavaScript numbers up to 2^53 - 1
 * (`u64`) or bigints (`big64`), both 8 bytes on the wire.
 */
export class ByteWriter {
  private buffer: Uint8Array
  private view: DataView
  private used = 0

  constructor(capacityBytes = 256) {
    this.buffer = new Uint8Array(capacityBytes)
    this.view = new DataView(this.buffer.buffer)
  }

  get length(): number {
    return this.used
  }

  u8(value: number): this {
    this.reserve(1)
    this.buffer[this.used++] = value
    return this
  }

  u16(value: number): this {
    const at = this.reserve(2)
    this.view.setUint16(at, value, true)
    this.used += 2
    return this
  }

  u32(value: number): this {
    const at = this.reserve(4)
    this.view.setUint32(at, value, true)
    this.used += 4
    return this
  }

  i32(value: number): this {
    const at = this.reserve(4)
    this.view.setInt32(at, value, true)
    this.used += 4
    return this
  }

  /** A safe non-negative integer in 8 bytes. */
  u64(value: number): this {
    assert(Number.isSafeInteger(value) && value >= 0, `u64 out of range: ${value}`)
    const at = this.reserve(8)
    this.view.setUint32(at, value % 0x1_0000_0000, true)
    this.view.setUint32(at + 4, Math.floor(value / 0x1_0000_0000), true)
    this.used += 8
    return this
  }

  big64(value: bigint): this {
    const at = this.reserve(8)
    this.view.setBigUint64(at, value, true)
    this.used += 8
    return this
  }

  f64(value: number): this {
    const at = this.reserve(8)
    this.view.setFloat64(at, value, true)
    this.used += 8
    return this
  }

  boolean(value: boolean): this {
    return this.u8(value ? 1 : 0)
  }

  /** Bytes without a length. */
  raw(bytes: Uint8Array): this {
    const at = this.reserve(bytes.length)
    this.buffer.set(bytes, at)
    this.used += bytes.length
    return this
  }

  /** u32 length, then the bytes. */
  bytes(bytes: Uint8Array): this {
    return this.u32(bytes.length).raw(bytes)
  }

  /** u32 length in bytes, then UTF-8. Short ASCII text, which is nearly all, is written without an encoder. */
  string(text: string): this {
    const length = text.length
    if (length <= 64) {
      const at = this.reserve(4 + length)
      let i = 0
      for (; i < length; i++) {
        const unit = text.charCodeAt(i)
        if (unit > 0x7f) break
        this.buffer[at + 4 + i] = unit
      }
      if (i === length) {
        this.view.setUint32(at, length, true)
        this.used += 4 + length
        return this
      }
    }
    return this.bytes(utf8Encode(text))
  }

  /** Overwrites the u32 at `at`, for lengths and checksums that are known only afterwards. */
  patchU32(at: number, value: number): this {
    assert(at + 4 <= this.used, 'patch lies inside what was written')
    this.view.setUint32(at, value, true)
    return this
  }

  /** What was written, by reference: the writer must not be used afterwards. */
  finish(): Uint8Array {
    return this.buffer.subarray(0, this.used)
  }

  private reserve(bytes: number): number {
    const needed = this.used + bytes
    if (needed > this.buffer.length) {
      const grown = new Uint8Array(Math.max(needed, this.buffer.length * 2))
      grown.set(this.buffer.subarray(0, this.used))
      this.buffer = grown
      this.view = new DataView(grown.buffer)
    }
    return this.used
  }
}
