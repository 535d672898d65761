/**
 * What the header of an image says that is not the primary of those that mirror each other. Its head belongs to whoever
 * mirrors, and may be half of something; everybody else sees the last snapshot that is complete, and changes nothing.
 */
import { ClusterError, type Codec, oneOf, struct, u64 } from '@shoal/base'
import type { ImageHeader } from '../image-header.ts'
import { type ImageSnapshot, snapshotWithId } from '../image-snapshot.ts'
import type { ObjectIo } from '../object-io.ts'

export interface MirrorCopy {
  /**
   * `demoting`: it was the primary until now, and its last snapshot is still to be taken. `promoting`: it is to be the primary,
   * and nobody copies into it any more.
   */
  readonly state: 'copying' | 'demoting' | 'promoting'
  /** Id of the snapshot that readers see; 0: none is complete. The head equals it, or is on the way from it to the next. */
  readonly readable: number
}

export const mirrorCopyCodec: Codec<MirrorCopy> = struct<MirrorCopy>({
  state: oneOf(['copying', 'demoting', 'promoting']),
  readable: u64(),
})

/** Where an image is opened as it is: of a copy its last complete snapshot, EAGAIN when there is none yet. */
export function readableSnapshot(io: ObjectIo, header: ImageHeader): ImageSnapshot | undefined {
  const { mirrorCopy, name } = header
  if (mirrorCopy === undefined || io.mirrors === true) return undefined
  if (mirrorCopy.readable !== 0) return snapshotWithId(header, mirrorCopy.readable)
  throw new ClusterError('EAGAIN', `image ${name} is a copy of which nothing is complete yet`, {
    hint: `shoal block mirror status ${name}`,
    retry: true,
  })
}

export function copyIsReadOnly({ name }: ImageHeader): ClusterError {
  return new ClusterError('EROFS', `image ${name} is a copy of one in another cluster`, {
    hint: `change that one; or shoal block mirror promote ${name}`,
  })
}

/** Of an image that somebody has open, as it was opened. */
export function changedRole({ name }: ImageHeader): ClusterError {
  return new ClusterError('ESTALE', `image ${name} became the primary, or ceased to be it`, {
    hint: 'open it again; what is a copy can only be read',
  })
}
