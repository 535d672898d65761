import { assert } from './assert.ts'
import { utf8Encode } from './bytes.ts'

/**
 * Small writers share slabs: an array and a view of its own for each message would cost more than its encoding. A slab is
 * small, so that a value that lives on keeps little else alive.
 */
const slabBytes = 8192
const slabShareBytesMax = 1024

interface Slab {
  readonly bytes: Uint8Array
  readonly view: DataView
  used: number
}

function newSlab(): Slab {
  const bytes = new Uint8Array(slabBytes)
  return { bytes, view: new DataView(bytes.buffer), used: 0 }
}

let slab = newSlab()

/**
 * Appends little-endian fields to a growing buffer. Integers over 32 bits are JavaScript numbers up to 2^53 - 1
 * (`u64`) or bigints (`big64`), both 8 bytes on the wire.
 *
 * Invariant 1: the writer owns [start, end) of its buffer and writes nowhere else.
 */
export class ByteWriter {
  private buffer: Uint8Array
  private view: DataView
  private readonly slab: Slab | undefined
  private start: number
  /** Where the next field goes. */
  private at: number
  private end: number

  constructor(capacityBytes = 256) {
    if (capacityBytes > slabShareBytesMax) {
      this.slab = undefined
      this.buffer = new Uint8Array(capacityBytes)
      this.view = new DataView(this.buffer.buffer)
      this.start = 0
    } else {
      if (slab.used + capacityBytes > slabBytes) slab = newSlab()
      this.slab = slab
      this.buffer = slab.bytes
      this.view = slab.view
      this.start = slab.used
      slab.used += capacityBytes
    }
    this.at = this.start
    this.end = this.start + capacityBytes
  }

  get length(): number {
    return this.at - this.start
  }

  u8(value: number): this {
    this.reserve(1)
    this.buffer[this.at++] = value
    return this
  }

  u16(value: number): this {
    const at = this.reserve(2)
    this.view.setUint16(at, value, true)
    this.at += 2
    return this
  }

  u32(value: number): this {
    const at = this.reserve(4)
    this.view.setUint32(at, value, true)
    this.at += 4
    return this
  }

  i32(value: number): this {
    const at = this.reserve(4)
    this.view.setInt32(at, value, true)
    this.at += 4
    return this
  }

  /** A safe non-negative integer in 8 bytes. */
  u64(value: number): this {
    // The message is made only when it is needed: this is called for every field of every message.
    if (!(Number.isSafeInteger(value) && value >= 0)) assert(false, `u64 out of range: ${value}`)
    const at = this.reserve(8)
    this.view.setUint32(at, value % 0x1_0000_0000, true)
    this.view.setUint32(at + 4, Math.floor(value / 0x1_0000_0000), true)
    this.at += 8
    return this
  }

  big64(value: bigint): this {
    const at = this.reserve(8)
    this.view.setBigUint64(at, value, true)
    this.at += 8
    return this
  }

  f64(value: number): this {
    const at = this.reserve(8)
    this.view.setFloat64(at, value, true)
    this.at += 8
    return this
  }

  boolean(value: boolean): this {
    return this.u8(value ? 1 : 0)
  }

  /** Bytes without a length. */
  raw(bytes: Uint8Array): this {
    const at = this.reserve(bytes.length)
    this.buffer.set(bytes, at)
    this.at += bytes.length
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
        this.at += 4 + length
        return this
      }
    }
    return this.bytes(utf8Encode(text))
  }

  /** Overwrites the u32 at `at`, for lengths and checksums that are known only afterwards. */
  patchU32(at: number, value: number): this {
    assert(at + 4 <= this.length, 'patch lies inside what was written')
    this.view.setUint32(this.start + at, value, true)
    return this
  }

  /** What was written, by reference: the writer must not be used afterwards. */
  finish(): Uint8Array {
    // What was not needed goes back, unless another writer has begun behind this one.
    if (this.slab !== undefined && this.buffer === this.slab.bytes && this.slab.used === this.end) {
      this.slab.used = this.at
      this.end = this.at
    }
    return this.buffer.subarray(this.start, this.at)
  }

  /** Where `bytes` more may be written. */
  private reserve(bytes: number): number {
    if (this.at + bytes > this.end) this.grow(bytes)
    return this.at
  }

  private grow(bytes: number): void {
    const used = this.length
    const grown = new Uint8Array(Math.max(used + bytes, (this.end - this.start) * 2))
    grown.set(this.buffer.subarray(this.start, this.at))
    this.buffer = grown
    this.view = new DataView(grown.buffer)
    this.start = 0
    this.at = used
    this.end = grown.length
  }
}
