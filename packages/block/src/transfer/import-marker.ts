/**
 * What an image remembers of a diff that is being imported, beside its header: from before the first byte until after the
 * snapshot. Whoever imports next finds what to undo. Byte table: docs/formats/block-image.md.
 */
import {
  boolean,
  type Codec,
  decode,
  encode,
  isClusterError,
  optional,
  string,
  struct,
  utf8Encode,
  versioned,
} from '@shoal/base'
import type { ObjectIo } from '../object-io.ts'
import { headerObjectName } from '../striping.ts'

export interface ImportMarker {
  /** The snapshot that the image equalled when it began; undefined: an image of zeros. */
  readonly from: string | undefined
  /** The snapshot that ends it. */
  readonly to: string | undefined
  /** The image did not equal it, and was not meant to: there is nothing to go back to. */
  readonly forced: boolean
}

const markerKey = utf8Encode('import')

const markerCodec: Codec<ImportMarker> = versioned<ImportMarker>(
  1,
  1,
  'import marker',
  struct<ImportMarker>({ from: optional(string()), to: optional(string()), forced: boolean() }),
)

export async function readMarker(io: ObjectIo, imageId: string): Promise<ImportMarker | undefined> {
  const { results } = await io.execute(headerObjectName(imageId), [{ kind: 'omap-get-keys', keys: [markerKey] }])
  const entry = results[0]?.kind === 'omap' ? results[0].entries[0] : undefined
  return entry === undefined ? undefined : decode(markerCodec, entry.value)
}

export async function setMarker(io: ObjectIo, imageId: string, marker: ImportMarker): Promise<void> {
  await io.execute(headerObjectName(imageId), [
    { kind: 'assert-exists' },
    { kind: 'omap-set', entries: [{ key: markerKey, value: encode(markerCodec, marker) }] },
  ])
}

/** Also when there is none, or no such image any more. */
export async function clearMarker(io: ObjectIo, imageId: string): Promise<void> {
  try {
    await io.execute(headerObjectName(imageId), [{ kind: 'assert-exists' }, { kind: 'omap-remove', keys: [markerKey] }])
  } catch (error) {
    if (!isClusterError(error, 'ENOENT')) throw error
  }
}
