/** Words that people keep with an image: omap keys of its header object. */
import { ClusterError, isClusterError, utf8Decode, utf8Encode } from '@shoal/base'
import type { StoreServices } from './store-services.ts'
import { headerObjectName } from './striping.ts'

const prefix = utf8Encode('meta_')
const keyBytesMax = 128
const valueBytesMax = 64 * 1024
const listPage = 512

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
    const ops = [{ kind: 'omap-get-keys' as const, keys: [keyOf(key)] }]
    const result = (await io.execute(headerObjectName(header.id), ops)).results[0]
    const entry = result?.kind === 'omap' ? result.entries[0] : undefined
    if (entry === undefined) throw noSuchKey(image, key)
    return utf8Decode(entry.value)
  }

  async remove(image: string, key: string): Promise<void> {
    await this.get(image, key)
    const { directory, io } = this.services
    const { header } = await directory.find(image)
    try {
      await io.execute(headerObjectName(header.id), [
        { kind: 'assert-exists' },
        { kind: 'omap-remove', keys: [keyOf(key)] },
      ])
    } catch (error) {
      if (!isClusterError(error, 'ENOENT')) throw error
    }
  }

  /** All, by their keys. */
  async list(image: string): Promise<ReadonlyMap<string, string>> {
    const { directory, io } = this.services
    const { header } = await directory.find(image)
    const found = new Map<string, string>()
    let after: Uint8Array | undefined
    for (;;) {
      const { results } = await io.execute(headerObjectName(header.id), [
        { kind: 'omap-get-range', after, prefix, limit: listPage },
      ])
      const page = results[0]
      if (page?.kind !== 'omap') return found
      for (const { key, value } of page.entries) found.set(utf8Decode(key.subarray(prefix.length)), utf8Decode(value))
      if (!page.more) return found
      after = page.entries.at(-1)?.key
    }
  }
}

function keyOf(key: string): Uint8Array {
  const bytes = utf8Encode(`meta_${key}`)
  const length = bytes.length - prefix.length
  if (length > 0 && length <= keyBytesMax) return bytes
  throw new ClusterError('EINVAL', `a key has 1 to ${keyBytesMax} bytes, not ${length}`)
}

function noSuchKey(image: string, key: string): ClusterError {
  return new ClusterError('ENODATA', `image ${image} has no ${key}`, { hint: `shoal block image-meta ls ${image}` })
}
