/** What block maps have in blobs: kept per collection, counted by fsck, moved along with objects. */
import { type BlobRef, countBits } from './blob.ts'

/** A value: a change replaces it. */
export interface CompressedSpace {
  /** Blocks that are seen in blobs. */
  readonly blocks: number
  /** Of those blobs, compressed. */
  readonly bytes: number
  /** Units of those blobs. A blob that clones share counts for each of them. */
  readonly units: number
}

export const nothingCompressed: CompressedSpace = { blocks: 0, bytes: 0, units: 0 }

export function spaceOfBlob({ live, blob }: BlobRef): CompressedSpace {
  return { blocks: countBits(live), bytes: blob.sizeBytes, units: blob.units.length }
}

export function moreSpace(a: CompressedSpace, b: CompressedSpace): CompressedSpace {
  return { blocks: a.blocks + b.blocks, bytes: a.bytes + b.bytes, units: a.units + b.units }
}

export function lessSpace(a: CompressedSpace, b: CompressedSpace): CompressedSpace {
  return { blocks: a.blocks - b.blocks, bytes: a.bytes - b.bytes, units: a.units - b.units }
}
