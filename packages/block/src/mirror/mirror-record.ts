/**
 * What a pool knows of the images that are mirrored: beside the header of each who it is in all clusters and how often it is
 * copied; in one object a list of them, so that nobody has to look at every image. Byte tables: docs/formats/block-image.md.
 */
import {
  type Codec,
  decode,
  encode,
  isClusterError,
  string,
  struct,
  u64,
  utf8Decode,
  utf8Encode,
  versioned,
} from '@shoal/base'
import type { ObjectIo } from '../object-io.ts'
import { headerObjectName } from '../striping.ts'

export interface MirrorRecord {
  /** The same for the primary and its copies. */
  readonly globalId: string
  /** A snapshot is due when the last one is so old; 0: only when somebody asks. */
  readonly scheduleMs: number
}

const recordKey = utf8Encode('mirror')
const listObjectName = 'block_mirroring'
const prefix = 'image_'
const listPage = 512

const recordCodec: Codec<MirrorRecord> = versioned<MirrorRecord>(
  1,
  1,
  'mirror record',
  struct<MirrorRecord>({ globalId: string(), scheduleMs: u64() }),
)

export async function readRecord(io: ObjectIo, imageId: string): Promise<MirrorRecord | undefined> {
  const { results } = await io.execute(headerObjectName(imageId), [{ kind: 'omap-get-keys', keys: [recordKey] }])
  const entry = results[0]?.kind === 'omap' ? results[0].entries[0] : undefined
  return entry === undefined ? undefined : decode(recordCodec, entry.value)
}

export async function writeRecord(io: ObjectIo, imageId: string, record: MirrorRecord): Promise<void> {
  await io.execute(headerObjectName(imageId), [
    { kind: 'assert-exists' },
    { kind: 'omap-set', entries: [{ key: recordKey, value: encode(recordCodec, record) }] },
  ])
}

export async function removeRecord(io: ObjectIo, imageId: string): Promise<void> {
  await io.execute(headerObjectName(imageId), [{ kind: 'assert-exists' }, { kind: 'omap-remove', keys: [recordKey] }])
}

/** Ids of the images that are mirrored, by their global ids. */
export async function listMirrored(io: ObjectIo): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>()
  let after: Uint8Array | undefined
  for (;;) {
    const { results } = await io
      .execute(listObjectName, [{ kind: 'omap-get-range', after, prefix: utf8Encode(prefix), limit: listPage }])
      .catch((error: unknown) => {
        if (isClusterError(error, 'ENOENT')) return { results: [] }
        throw error
      })
    const page = results[0]
    if (page?.kind !== 'omap') return found
    for (const { key, value } of page.entries) found.set(utf8Decode(key).slice(prefix.length), utf8Decode(value))
    if (!page.more) return found
    after = page.entries.at(-1)?.key
  }
}

export async function addToList(io: ObjectIo, globalId: string, imageId: string): Promise<void> {
  const entries = [{ key: utf8Encode(`${prefix}${globalId}`), value: utf8Encode(imageId) }]
  await io.execute(listObjectName, [{ kind: 'omap-set', entries }])
}

export async function removeFromList(io: ObjectIo, globalId: string): Promise<void> {
  try {
    const keys = [utf8Encode(`${prefix}${globalId}`)]
    await io.execute(listObjectName, [{ kind: 'assert-exists' }, { kind: 'omap-remove', keys }])
  } catch (error) {
    if (!isClusterError(error, 'ENOENT')) throw error
  }
}
