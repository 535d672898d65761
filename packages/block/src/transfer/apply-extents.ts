/** Writes what a stream says into an image. */
import type { Image } from '../image.ts'
import type { Extent } from './export-image.ts'

const writesMax = 16
/** A range of zeros is discarded in pieces of this size: its objects are listed in memory. */
const zeroPieceBytes = 1024 ** 3

/**
 * Some writes at a time, and never two that overlap: a stream may say something of a byte twice, and its last word counts.
 * Resolves when all of it is durable; a failure leaves some of it written, and nothing under way.
 */
export async function applyExtents(
  image: Image,
  extents: AsyncIterable<Extent>,
  /** Bytes of the image that were gone through. */
  onProgress: (doneBytes: number) => void = () => undefined,
): Promise<void> {
  const writes = new Set<Promise<void>>()
  let endBytes = 0
  try {
    for await (const extent of pieces(extents)) {
      if (extent.offset < endBytes) await Promise.all(writes)
      if (writes.size >= writesMax) await Promise.race(writes)
      const write = apply(image, extent).then(() => {
        writes.delete(write)
      })
      // A failed write stays, so that whoever waits next meets its failure.
      write.catch(() => undefined)
      writes.add(write)
      endBytes = Math.max(endBytes, extent.offset + (extent.kind === 'data' ? extent.data.length : extent.length))
      onProgress(endBytes)
    }
    await Promise.all(writes)
  } finally {
    await Promise.allSettled(writes)
  }
}

async function* pieces(extents: AsyncIterable<Extent>): AsyncGenerator<Extent, void, void> {
  for await (const extent of extents) {
    if (extent.kind === 'data') {
      if (extent.data.length > 0) yield extent
      continue
    }
    const end = extent.offset + extent.length
    for (let offset = extent.offset; offset < end; offset += zeroPieceBytes) {
      yield { kind: 'zero', offset, length: Math.min(zeroPieceBytes, end - offset) }
    }
  }
}

function apply(image: Image, extent: Extent): Promise<void> {
  return extent.kind === 'data' ? image.write(extent.offset, extent.data) : image.discard(extent.offset, extent.length)
}
