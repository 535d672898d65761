/** Bytes in the chunks in which they arrived, taken in the lengths that their reader wants. */

/** Chunks below this size are gathered in a buffer of our own, so that a drip of bytes costs no more than its bytes. */
const smallChunkBytes = 2048
const gatherBytes = 32 * 1024

export class ChunkQueue {
  /** Bytes pushed and not taken. */
  length = 0
  private chunks: Uint8Array[] = []
  /** The buffer that the last of `chunks` is a view of, when that chunk may still grow. */
  private gathering: { readonly buffer: Uint8Array; used: number } | undefined

  push(chunk: Uint8Array): void {
    this.length += chunk.length
    if (this.chunks.length < 2 || chunk.length > smallChunkBytes) {
      this.chunks.push(chunk)
      this.gathering = undefined
      return
    }
    if (this.gathering === undefined || this.gathering.used + chunk.length > gatherBytes) {
      this.gathering = { buffer: new Uint8Array(gatherBytes), used: 0 }
      this.chunks.push(this.gathering.buffer.subarray(0, 0))
    }
    const { buffer } = this.gathering
    buffer.set(chunk, this.gathering.used)
    this.gathering.used += chunk.length
    const last = this.chunks.length - 1
    const { byteOffset } = this.chunks[last] as Uint8Array
    this.chunks[last] = buffer.subarray(byteOffset, this.gathering.used)
  }

  /** At least the first `size` bytes; there are so many. */
  peek(size: number): Uint8Array {
    const first = this.chunks[0] as Uint8Array
    return first.length >= size ? first : this.gather(size).bytes
  }

  /** The first `size` bytes, copied only when they straddle chunks; there are so many. */
  take(size: number): Uint8Array {
    this.length -= size
    this.gathering = undefined
    const first = this.chunks[0] as Uint8Array
    if (first.length === size) {
      this.chunks.shift()
      return first
    }
    if (first.length > size) {
      this.chunks[0] = first.subarray(size)
      return first.subarray(0, size)
    }
    const { bytes, chunks, lastUsed } = this.gather(size)
    const last = this.chunks[chunks - 1] as Uint8Array
    this.chunks.splice(0, chunks)
    if (lastUsed < last.length) this.chunks.unshift(last.subarray(lastUsed))
    return bytes
  }

  /** The first `size` bytes as views of the chunks that hold them; there are so many. */
  takeChunks(size: number): readonly Uint8Array[] {
    const taken: Uint8Array[] = []
    for (let left = size; left > 0; ) {
      const part = this.take(Math.min(left, (this.chunks[0] as Uint8Array).length))
      taken.push(part)
      left -= part.length
    }
    return taken
  }

  /** A copy of the first `size` bytes, which straddle chunks; how many chunks that took, and how much of the last. */
  private gather(size: number): { readonly bytes: Uint8Array; readonly chunks: number; readonly lastUsed: number } {
    const bytes = new Uint8Array(size)
    let at = 0
    for (let chunks = 0; ; chunks++) {
      const chunk = this.chunks[chunks] as Uint8Array
      const part = chunk.subarray(0, size - at)
      bytes.set(part, at)
      at += part.length
      if (at === size) return { bytes, chunks: chunks + 1, lastUsed: part.length }
    }
  }
}
