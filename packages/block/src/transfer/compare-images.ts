/** Whether an image equals one of its snapshots, byte for byte; only what may differ is read. */
import { equalBytes } from '@shoal/base'
import type { Image, ImageData } from '../image.ts'
import type { ImageChange } from '../image-diff.ts'
import type { ImageStore } from '../image-store.ts'
import { pieces } from './export-image.ts'
import { inOrder } from './in-order.ts'

const comparisonsMax = 8

/** Where the image begins to differ from its snapshot; undefined: nowhere. Without a snapshot: from an image of zeros. */
export async function findDifference(
  store: ImageStore,
  name: string,
  snapshot: string | undefined,
): Promise<number | undefined> {
  const head = await store.open(name)
  const base = snapshot === undefined ? undefined : await store.open(`${name}@${snapshot}`)
  if (base !== undefined && base.sizeBytes !== head.sizeBytes) return Math.min(base.sizeBytes, head.sizeBytes)
  // It may tell too much, since clones remember a bounded number of the pieces that they share.
  const changes = pieces(asData(store.diff(name, snapshot, undefined)), head.sizeBytes)
  const compared = inOrder(changes, comparisonsMax, async ({ offset, length }) => {
    const [now, then] = await Promise.all([
      bytesOf(head, offset, length),
      base === undefined ? new Uint8Array(length) : bytesOf(base, offset, length),
    ])
    return equalBytes(now, then) ? undefined : offset
  })
  for await (const offset of compared) if (offset !== undefined) return offset
  return undefined
}

/** Holes are read too: what reads as zeros now may have read as zeros before. */
export async function* asData(changes: AsyncIterable<ImageChange>): AsyncGenerator<ImageChange, void, void> {
  for await (const change of changes) yield { ...change, kind: 'data' }
}

async function bytesOf(image: Image, offset: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length)
  let at = 0
  for (const piece of (await image.read(offset, length)) as readonly ImageData[]) {
    if (piece.kind === 'data') bytes.set(piece.data, at)
    at += piece.kind === 'data' ? piece.data.length : piece.length
  }
  return bytes
}
