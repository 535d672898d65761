/** The bytes of a simulated file, in pages: holes and zeros cost nothing, so that a sparse gigabyte fits a test. */

const pageBytes = 4096

const zeroPage = new Uint8Array(pageBytes)

/** At most a page. */
function isZero(bytes: Uint8Array): boolean {
  return bytes[0] === 0 && Buffer.compare(bytes, zeroPage.subarray(0, bytes.length)) === 0
}

export class SparseBytes {
  private pages = new Map<number, Uint8Array>()
  private length = 0

  get sizeBytes(): number {
    return this.length
  }

  get allocatedBytes(): number {
    return this.pages.size * pageBytes
  }

  /** Offsets of the pages that are no holes, in order. */
  pageOffsets(): readonly number[] {
    return [...this.pages.keys()].sort((a, b) => a - b).map((index) => index * pageBytes)
  }

  /** Fills `buffer` from `offset`; returns how many bytes there were. */
  read(buffer: Uint8Array, offset: number): number {
    const count = Math.max(0, Math.min(buffer.length, this.length - offset))
    for (let done = 0; done < count; ) {
      const at = offset + done
      const within = at % pageBytes
      const length = Math.min(pageBytes - within, count - done)
      const page = this.pages.get((at - within) / pageBytes)
      if (page === undefined) buffer.fill(0, done, done + length)
      else buffer.set(page.subarray(within, within + length), done)
      done += length
    }
    return count
  }

  write(bytes: Uint8Array, offset: number): void {
    for (let done = 0; done < bytes.length; ) {
      const at = offset + done
      const within = at % pageBytes
      const part = bytes.subarray(done, done + pageBytes - within)
      const index = (at - within) / pageBytes
      let page = this.pages.get(index)
      if (page === undefined && !isZero(part)) {
        page = new Uint8Array(pageBytes)
        this.pages.set(index, page)
      }
      page?.set(part, within)
      done += part.length
    }
    this.length = Math.max(this.length, offset + bytes.length)
  }

  truncate(sizeBytes: number): void {
    if (sizeBytes < this.length) {
      const within = sizeBytes % pageBytes
      const lastKept = Math.ceil(sizeBytes / pageBytes) - 1
      for (const index of this.pages.keys()) if (index > lastKept) this.pages.delete(index)
      if (within > 0) this.pages.get(lastKept)?.fill(0, within)
    }
    this.length = sizeBytes
  }

  clone(): SparseBytes {
    const copy = new SparseBytes()
    copy.length = this.length
    for (const [index, page] of this.pages) copy.pages.set(index, page.slice())
    return copy
  }
}
