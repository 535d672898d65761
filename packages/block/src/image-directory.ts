/** The names of the images of a pool: omap entries of one object, changed by compare-and-set. */
import { ClusterError, emptyBytes, isClusterError, utf8Decode, utf8Encode } from '@shoal/base'
import { readHeader, type StoredHeader } from './image-header.ts'
import { ifThere, type ObjectIo } from './object-io.ts'
import { omapEntries, omapValue } from './omap.ts'
import { directoryObjectName } from './striping.ts'

const imageNameBytesMax = 96

export interface ImageSummary {
  readonly id: string
  readonly name: string
}

const namePrefix = 'name_'
const nameKey = (name: string): Uint8Array => utf8Encode(`${namePrefix}${name}`)
const idKey = (id: string): Uint8Array => utf8Encode(`id_${id}`)

export class ImageDirectory {
  private readonly io: ObjectIo

  constructor(io: ObjectIo) {
    this.io = io
  }

  /** Sorted by name. */
  async list(): Promise<readonly ImageSummary[]> {
    const entries = (await ifThere(omapEntries(this.io, directoryObjectName, namePrefix))) ?? new Map()
    return Array.from(entries, ([name, id]) => ({ name, id: utf8Decode(id) }))
  }

  /** ENOENT when no image has the name. */
  async idOf(name: string): Promise<string> {
    checkImageName(name)
    const id = await ifThere(omapValue(this.io, directoryObjectName, nameKey(name)))
    if (id === undefined) throw new ClusterError('ENOENT', `there is no image ${name}`, { hint: 'shoal block ls' })
    return utf8Decode(id)
  }

  /** What the image with this id is called; undefined: it has no name (any more). */
  async nameOf(id: string): Promise<string | undefined> {
    const name = await ifThere(omapValue(this.io, directoryObjectName, idKey(id)))
    return name === undefined ? undefined : utf8Decode(name)
  }

  /** The header of the image with this name. ENOENT also when only the name is left. */
  async find(name: string): Promise<StoredHeader> {
    const id = await this.idOf(name)
    const found = await ifThere(readHeader(this.io, id))
    if (found === undefined) throw beingRemoved(name)
    return found
  }

  /** EEXIST when the name is taken. */
  async add(name: string, id: string): Promise<void> {
    const entries = [
      { key: nameKey(name), value: utf8Encode(id) },
      { key: idKey(id), value: utf8Encode(name) },
    ]
    try {
      await this.io.execute(directoryObjectName, [
        { kind: 'compare-omap', key: nameKey(name), mode: 'equal', value: emptyBytes },
        { kind: 'omap-set', entries },
      ])
    } catch (cause) {
      throw isClusterError(cause, 'ECANCELED') ? nameTaken(name, cause) : cause
    }
  }

  /** One step: at no time does the image have both names, or none. EEXIST when the new one is taken, or the old one gone. */
  async rename(id: string, from: string, to: string): Promise<void> {
    const entries = [
      { key: nameKey(to), value: utf8Encode(id) },
      { key: idKey(id), value: utf8Encode(to) },
    ]
    try {
      await this.io.execute(directoryObjectName, [
        { kind: 'compare-omap', key: nameKey(from), mode: 'equal', value: utf8Encode(id) },
        { kind: 'compare-omap', key: nameKey(to), mode: 'equal', value: emptyBytes },
        { kind: 'omap-remove', keys: [nameKey(from)] },
        { kind: 'omap-set', entries },
      ])
    } catch (cause) {
      throw isClusterError(cause, 'ECANCELED') ? nameTaken(to, cause) : cause
    }
  }

  async remove(name: string, id: string): Promise<void> {
    try {
      await this.io.execute(directoryObjectName, [
        { kind: 'compare-omap', key: nameKey(name), mode: 'equal', value: utf8Encode(id) },
        { kind: 'omap-remove', keys: [nameKey(name), idKey(id)] },
      ])
    } catch (error) {
      // Somebody else finished the same removal.
      if (!isClusterError(error, 'ECANCELED')) throw error
    }
  }
}

function nameTaken(name: string, cause: unknown): ClusterError {
  return new ClusterError('EEXIST', `there is an image ${name} already`, { cause, hint: 'shoal block ls' })
}

export function beingRemoved(name: string): ClusterError {
  return new ClusterError('ENOENT', `image ${name} is being removed`, { hint: `shoal block rm ${name}, to finish` })
}

/** Of images and of their snapshots: `what` says which. */
export function checkImageName(name: string, what = 'an image'): void {
  const bytes = utf8Encode(name).length
  if (bytes === 0 || bytes > imageNameBytesMax || /[/@\0]/.test(name)) {
    throw new ClusterError('EINVAL', `not a name for ${what}: '${name}'`, {
      hint: `1 to ${imageNameBytesMax} bytes without '/' and '@'`,
    })
  }
}
