/** Received bytes, waiting to be parsed: chunks are kept as they came, and handed out as views wherever possible. */
import { assert } from '@shoal/base'

export class ByteQueue {
  private chunks: Uint8Array[] = []
  private first = 0
  private at = 0
  length = 0

  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return
    this.chunks.push(chunk)
    this.length += chunk.length
  }

  /** The next `size` bytes: a view when one chunk holds them, a copy when they straddle chunks. */
  take(size: number): Uint8Array {
    assert(size <= this.length, 'take no more than there is')
    if (size === 0) return new Uint8Array(0)
    const head = this.chunks[this.first] as Uint8Array
    this.length -= size
    if (head.length - this.at >= size) {
      const view = head.subarray(this.at, this.at + size)
      this.at += size
      if (this.at === head.length) this.dropFirst()
      return view
    }
    const whole = new Uint8Array(size)
    let filled = 0
    while (filled < size) {
      const chunk = this.chunks[this.first] as Uint8Array
      const part = chunk.subarray(this.at, Math.min(chunk.length, this.at + size - filled))
      whole.set(part, filled)
      filled += part.length
      this.at += part.length
      if (this.at === chunk.length) this.dropFirst()
    }
    return whole
  }

  /** Forgets up to `size` bytes; says how many. */
  drop(size: number): number {
    const dropped = Math.min(size, this.length)
    this.length -= dropped
    for (let left = dropped; left > 0; ) {
      const chunk = this.chunks[this.first] as Uint8Array
      const part = Math.min(left, chunk.length - this.at)
      left -= part
      this.at += part
      if (this.at === chunk.length) this.dropFirst()
    }
    return dropped
  }

  private dropFirst(): void {
    this.first++
    this.at = 0
    if (this.first > 64 || this.first === this.chunks.length) {
      this.chunks = this.chunks.slice(this.first)
      this.first = 0
    }
  }
}
