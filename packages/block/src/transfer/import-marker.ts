/**
 * What an image remembers of a diff that is being imported, beside its header: from before the first byte until after the
 * snapshot. Whoever imports next finds what to undo. Byte table: docs/formats/block-image.md.
 */
import { boolean, type Codec, decode, encode, optional, string, struct, utf8Encode, versioned } from '@shoal/base'
import type { ObjectOp } from '@shoal/wire'
import { ifThere, type ObjectIo } from '../object-io.ts'
import { omapValue } from '../omap.ts'
import { headerObjectName } from '../striping.ts'

export interface ImportMarker {
  /** The snapshot that the image equalled when it began; undefined: an image of zeros. */
  readonly from: string | undefined
  /** The snapshot that ends it. */
  readonly to: string | undefined
  /** The image did not equal it, and was not meant to: there is nothing to go back to. */
  readonly forced: boolean
}

/** Whose it is: of a person's import, or of whoever mirrors the image. */
export type MarkerOwner = 'import' | 'mirror'
const markerKeys: Readonly<Record<MarkerOwner, Uint8Array>> = {
  import: utf8Encode('import'),
  mirror: utf8Encode('mirror_import'),
}

const markerCodec: Codec<ImportMarker> = versioned<ImportMarker>(
  1,
  1,
  'import marker',
  struct<ImportMarker>({ from: optional(string()), to: optional(string()), forced: boolean() }),
)

export async function readMarker(io: ObjectIo, imageId: string, owner: MarkerOwner): Promise<ImportMarker | undefined> {
  const value = await omapValue(io, headerObjectName(imageId), markerKeys[owner])
  return value === undefined ? undefined : decode(markerCodec, value)
}

export async function setMarker(
  io: ObjectIo,
  imageId: string,
  owner: MarkerOwner,
  marker: ImportMarker,
): Promise<void> {
  await io.execute(headerObjectName(imageId), [
    { kind: 'assert-exists' },
    { kind: 'omap-set', entries: [{ key: markerKeys[owner], value: encode(markerCodec, marker) }] },
  ])
}

/** Also when there is none, or no such image any more. */
export async function clearMarker(io: ObjectIo, imageId: string, owner: MarkerOwner): Promise<void> {
  const steps: readonly ObjectOp[] = [{ kind: 'assert-exists' }, { kind: 'omap-remove', keys: [markerKeys[owner]] }]
  await ifThere(io.execute(headerObjectName(imageId), steps))
}

/** In front of what only whoever set this marker may do: ECANCELED when it is not there any more. */
export function markerGuard(owner: MarkerOwner, marker: ImportMarker): ObjectOp {
  return { kind: 'compare-omap', key: markerKeys[owner], mode: 'equal', value: encode(markerCodec, marker) }
}
