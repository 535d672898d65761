/** Words that people keep with an image: omap keys of its header object. */
import { ClusterError, utf8Decode, utf8Encode } from '@shoal/base'
import type { ObjectOp } from '@shoal/wire'
import { ifThere } from './object-io.ts'
import { omapEntries, omapValue } from './omap.ts'
import type { StoreServices } from './store-services.ts'
import { headerObjectName } from './striping.ts'

const prefix = 'meta_'
const keyBytesMax = 128
const valueBytesMax = 64 * 1024

export class ImageMeta {
  private readonly services: StoreServices

  constructor(services: StoreServices) {
    this.services = services
  }

  /** Key 1 to 128 bytes, value up to 64 KiB; EINVAL otherwise. */
  async set(image: string, key: string, value: string): Promise<void> {
    const { directory, io } = this.services
    const bytes = utf8Encode(value)
    if (bytes.length > valueBytesMax) {
      throw new ClusterError('EINVAL', `a value has at most ${valueBytesMax} bytes, not ${bytes.length}`)
    }
    const { header } = await directory.find(image)
    await io.execute(headerObjectName(header.id), [
      { kind: 'assert-exists' },
      { kind: 'omap-set', entries: [{ key: keyOf(key), value: bytes }] },
    ])
  }

  /** ENODATA when there is none. */
  async get(image: string, key: string): Promise<string> {
    const { directory, io } = this.services
    const { header } = await directory.find(image)
    const value = await omapValue(io, headerObjectName(header.id), keyOf(key))
    if (value === undefined) throw noSuchKey(image, key)
    return utf8Decode(value)
  }

  async remove(image: string, key: string): Promise<void> {
    await this.get(image, key)
    const { directory, io } = this.services
    const { header } = await directory.find(image)
    const steps: readonly ObjectOp[] = [{ kind: 'assert-exists' }, { kind: 'omap-remove', keys: [keyOf(key)] }]
    await ifThere(io.execute(headerObjectName(header.id), steps))
  }

  /** All, by their keys. */
  async list(image: string): Promise<ReadonlyMap<string, string>> {
    const { directory, io } = this.services
    const { header } = await directory.find(image)
    const entries = await omapEntries(io, headerObjectName(header.id), prefix)
    return new Map(Array.from(entries, ([key, value]) => [key, utf8Decode(value)]))
  }
}

function keyOf(key: string): Uint8Array {
  const bytes = utf8Encode(`${prefix}${key}`)
  const length = bytes.length - prefix.length
  if (length > 0 && length <= keyBytesMax) return bytes
  throw new ClusterError('EINVAL', `a key has 1 to ${keyBytesMax} bytes, not ${length}`)
}

function noSuchKey(image: string, key: string): ClusterError {
  return new ClusterError('ENODATA', `image ${image} has no ${key}`, { hint: `shoal block image-meta ls ${image}` })
}
