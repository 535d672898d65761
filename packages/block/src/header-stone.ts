/**
 * A stone stands where the header of an image would be that somebody may be about to make: the header is made exclusively,
 * and so it fails. Whoever puts one takes the way to the image away (its name, its registration) before the stone.
 */
import { emptyBytes, isClusterError } from '@shoal/base'
import { headerKey, readHeader } from './image-header.ts'
import type { ObjectIo } from './object-io.ts'
import { headerObjectName } from './striping.ts'

/** False when there is a header after all. */
export async function putStone(io: ObjectIo, imageId: string): Promise<boolean> {
  try {
    await io.execute(headerObjectName(imageId), [{ kind: 'create', exclusive: true }])
    return true
  } catch (error) {
    if (!isClusterError(error, 'EEXIST')) throw error
  }
  try {
    await readHeader(io, imageId)
    return false
  } catch (error) {
    // A stone already, by somebody who works at the same, or has died.
    if (isClusterError(error, 'ENOENT')) return true
    throw error
  }
}

export async function takeStone(io: ObjectIo, imageId: string): Promise<void> {
  try {
    await io.execute(headerObjectName(imageId), [
      { kind: 'assert-exists' },
      { kind: 'compare-omap', key: headerKey, mode: 'equal', value: emptyBytes },
      { kind: 'remove' },
    ])
  } catch (error) {
    if (!isClusterError(error, 'ENOENT', 'ECANCELED')) throw error
  }
}
