/** What is read of the omap of an object. Each rejects with ENOENT when there is no such object. */
import { utf8Decode, utf8Encode } from '@shoal/base'
import type { ObjectOp, OmapEntry } from '@shoal/wire'
import type { ObjectIo } from './object-io.ts'

const pageEntries = 512

/** Undefined when the object has no such key. `guards` are the steps in front. */
export async function omapValue(
  io: ObjectIo,
  objectName: string,
  key: Uint8Array,
  guards: readonly ObjectOp[] = [],
): Promise<Uint8Array | undefined> {
  const { results } = await io.execute(objectName, [...guards, { kind: 'omap-get-keys', keys: [key] }])
  const found = results.at(-1)
  return found?.kind === 'omap' ? found.entries[0]?.value : undefined
}

/** Every entry whose key begins with `prefix`, by what follows it, in the order of the keys. Not of one moment: in pages. */
export async function omapEntries(
  io: ObjectIo,
  objectName: string,
  prefix: string,
): Promise<ReadonlyMap<string, Uint8Array>> {
  const found = new Map<string, Uint8Array>()
  const prefixBytes = utf8Encode(prefix)
  let after: OmapEntry['key'] | undefined
  for (;;) {
    const { results } = await io.execute(objectName, [
      { kind: 'omap-get-range', after, prefix: prefixBytes, limit: pageEntries },
    ])
    const page = results[0]
    if (page?.kind !== 'omap') return found
    for (const { key, value } of page.entries) found.set(utf8Decode(key.subarray(prefixBytes.length)), value)
    if (!page.more) return found
    after = page.entries.at(-1)?.key
  }
}
