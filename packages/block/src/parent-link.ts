/** What the header of a clone says of the snapshot under it. */
import { type Codec, oneOf, string, struct, u64 } from '@shoal/base'
import type { ImageHeader } from './image-header.ts'
import type { ImageSnapshot } from './image-snapshot.ts'

/**
 * `linked`: what the clone does not have is read from its parent. `leaving`: it has all, and is still in the parent's list of
 * children. `left`: of that only the memory is kept.
 */
const parentStates = ['linked', 'leaving', 'left'] as const

export interface ParentLink {
  readonly state: (typeof parentStates)[number]
  /** Of the parent's header. */
  readonly poolId: number
  readonly imageId: string
  readonly snapId: number
  /** How much of the image, from its beginning, lies over the parent. A shrink makes it less, growth never more. */
  readonly overlapBytes: number
  /**
   * What it was in the beginning. Objects up to there are emptied where others would be removed, also when the parent is
   * gone: a copy of the parent's bytes that comes late finds them, and does not bring old bytes back.
   */
  readonly coveredBytes: number
}

export const parentLinkCodec: Codec<ParentLink> = struct<ParentLink>({
  state: oneOf(parentStates),
  poolId: u64(),
  imageId: string(),
  snapId: u64(),
  overlapBytes: u64(),
  coveredBytes: u64(),
})

/** How much of an image, or of its snapshot, is read from the parent where it has nothing of its own. */
export function overlapOf({ parent }: ImageHeader, snapshot: ImageSnapshot | undefined): number {
  if (parent?.state !== 'linked') return 0
  return snapshot === undefined ? parent.overlapBytes : snapshot.overlapBytes
}
