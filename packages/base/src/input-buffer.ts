/**
 * Bytes of a stream until they are parsed. Each is copied from the buffer that it was received in to where it stays, and
 * again only where a message lies across two pieces of memory; what is taken are views, which their taker may keep.
 *
 * Invariants
 * 1. Bytes that may have been taken are never written to again.
 * 2. Memory is taken for what has arrived, and for what was reserved, whose bound is the caller's to check.
 */
import { assert } from './assert.ts'
import { emptyBytes, uninitializedBytes } from './bytes.ts'

/** Many small messages share one. */
const slabBytes = 64 * 1024

export class InputBuffer {
  /** Bytes that are there and were not taken. */
  length = 0
  /** What was not taken, in order. The last may be a view of the slab, up to `filled`. */
  private chunks: Uint8Array[] = []
  private slab: Uint8Array = emptyBytes
  private filled = 0

  /** The chunk is the caller's again afterwards. */
  push(chunk: Uint8Array): void {
    this.length += chunk.length
    const room = this.slab.length - this.filled
    if (chunk.length <= room) return this.append(chunk)
    if (room > 0) this.append(chunk.subarray(0, room))
    const rest = room > 0 ? chunk.subarray(room) : chunk
    this.renew(Math.max(slabBytes, rest.length))
    this.append(rest)
  }

  /** A message of so many bytes has begun, and will be taken as one: what is still to come goes where it stays. */
  reserve(sizeBytes: number): void {
    if (sizeBytes <= slabBytes || this.length >= sizeBytes) return
    const first = this.chunks[0]
    if (this.chunks.length === 1 && first?.buffer === this.slab.buffer) {
      const startsAt = first.byteOffset - this.slab.byteOffset
      if (this.slab.length - startsAt >= sizeBytes) return
    }
    const { chunks } = this
    this.chunks = []
    this.renew(sizeBytes)
    for (const chunk of chunks) this.append(chunk)
  }

  /** At least the first `sizeBytes`, which are there. */
  peek(sizeBytes: number): Uint8Array {
    const first = this.chunks[0]
    return first !== undefined && first.length >= sizeBytes ? first : this.gather(sizeBytes)
  }

  /** The first `sizeBytes`, which are there. */
  take(sizeBytes: number): Uint8Array {
    const taken = this.peek(sizeBytes).subarray(0, sizeBytes)
    this.drop(sizeBytes)
    return taken
  }

  /** Forgets up to `sizeBytes`; says how many. */
  drop(sizeBytes: number): number {
    const dropped = Math.min(sizeBytes, this.length)
    this.length -= dropped
    for (let left = dropped; left > 0; ) {
      const first = this.chunks[0] as Uint8Array
      if (first.length > left) {
        this.chunks[0] = first.subarray(left)
        break
      }
      left -= first.length
      this.chunks.shift()
    }
    return dropped
  }

  private renew(sizeBytes: number): void {
    this.slab = uninitializedBytes(sizeBytes)
    this.filled = 0
  }

  private append(chunk: Uint8Array): void {
    const { slab, chunks } = this
    const last = chunks.at(-1)
    const from = this.filled
    slab.set(chunk, from)
    this.filled += chunk.length
    const continues = last?.buffer === slab.buffer && last.byteOffset + last.length === slab.byteOffset + from
    if (last !== undefined && continues) {
      chunks[chunks.length - 1] = new Uint8Array(slab.buffer, last.byteOffset, last.length + chunk.length)
    } else {
      chunks.push(slab.subarray(from, this.filled))
    }
  }

  /** A copy of the first `sizeBytes`, which lie in several chunks. */
  private gather(sizeBytes: number): Uint8Array {
    assert(sizeBytes <= this.length, 'ask only for what has arrived')
    const bytes = uninitializedBytes(sizeBytes)
    let at = 0
    for (const chunk of this.chunks) {
      const part = chunk.subarray(0, sizeBytes - at)
      bytes.set(part, at)
      at += part.length
      if (at === sizeBytes) break
    }
    return bytes
  }
}
