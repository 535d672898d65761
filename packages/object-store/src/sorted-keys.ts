/**
 * An ordered set of keys in chunks of at most 512: a two-level B-tree. Appending in order, as a log does, fills chunks
 * to the brim; an insertion elsewhere moves at most one chunk.
 */
import type { Key } from './layout.ts'

const chunkKeysMax = 512

export class SortedKeys {
  private chunks: Key[][] = []

  /** The key must not be there yet. */
  add(key: Key): void {
    const at = this.chunkFor(key)
    const chunk = this.chunks[at]
    if (chunk === undefined) {
      this.chunks.push([key])
      return
    }
    if ((chunk[chunk.length - 1] as Key) < key) chunk.push(key)
    else chunk.splice(lowerBound(chunk, key), 0, key)
    if (chunk.length <= chunkKeysMax) return
    const half = at === this.chunks.length - 1 ? chunkKeysMax : chunkKeysMax / 2
    this.chunks.splice(at + 1, 0, chunk.splice(half))
  }

  remove(key: Key): void {
    const at = this.chunkFor(key)
    const chunk = this.chunks[at]
    if (chunk === undefined) return
    const index = lowerBound(chunk, key)
    if (chunk[index] !== key) return
    if (index === 0 && chunk.length > 1) chunk.shift()
    else chunk.splice(index, 1)
    if (chunk.length === 0) this.chunks.splice(at, 1)
  }

  /** At most `limit` keys in [from, to), ascending; `to` undefined means no end. */
  range(from: Key, to: Key | undefined, limit: number = Number.POSITIVE_INFINITY): Key[] {
    const found: Key[] = []
    let at = this.chunkFor(from)
    let chunk = this.chunks[at]
    if (chunk === undefined) return found
    let index = lowerBound(chunk, from)
    while (chunk !== undefined && found.length < limit) {
      if (index === chunk.length) {
        chunk = this.chunks[++at]
        index = 0
        continue
      }
      const key = chunk[index++] as Key
      if (to !== undefined && key >= to) break
      found.push(key)
    }
    return found
  }

  /** Index of the last chunk whose first key is not above `key`, 0 when there is none. */
  private chunkFor(key: Key): number {
    let low = 0
    let high = this.chunks.length - 1
    while (low < high) {
      const middle = (low + high + 1) >>> 1
      if (((this.chunks[middle] as Key[])[0] as Key) <= key) low = middle
      else high = middle - 1
    }
    return low
  }
}

/** Index of the first key that is not below `key`. */
function lowerBound(keys: readonly Key[], key: Key): number {
  let low = 0
  let high = keys.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((keys[middle] as Key) < key) low = middle + 1
    else high = middle
  }
  return low
}
