/** How an image's bytes are spread: object `n` holds bytes [n * objectBytes, (n + 1) * objectBytes). */
import { assert } from '@shoal/base'

export const defaultObjectBytes: number = 4 * 1024 * 1024

export interface ObjectPart {
  /** Number of the object. */
  readonly index: number
  /** Where the part begins inside the object. */
  readonly offset: number
  readonly length: number
  /** Where the part begins inside the request. */
  readonly at: number
}

/** The parts of a byte range, in order, one per object. */
export function splitRange(offset: number, length: number, objectBytes: number): readonly ObjectPart[] {
  assert(offset >= 0 && length >= 0, 'a range lies inside the image')
  const parts: ObjectPart[] = []
  for (let at = 0; at < length; ) {
    const position = offset + at
    const inObject = position % objectBytes
    const part = Math.min(length - at, objectBytes - inObject)
    parts.push({ index: Math.floor(position / objectBytes), offset: inObject, length: part, at })
    at += part
  }
  return parts
}

export function dataObjectName(imageId: string, index: number): string {
  return `block_data.${imageId}.${index.toString(16).padStart(16, '0')}`
}

export function headerObjectName(imageId: string): string {
  return `block_header.${imageId}`
}

/** The pool's list of images: omap keys `name_NAME` -> id and `id_ID` -> name. */
export const directoryObjectName = 'block_directory'

/** The images of the pool that wait for their removal: omap keys `id_ID`. */
export const trashObjectName = 'block_trash'
