/** What a member says of one object of its copy, when it is scrubbed. */
import { array, type Codec, struct, u8, u32, u64 } from '@shoal/base'
import { type ObjectId, objectIdCodec, objectKey, type Version, versionCodec } from '@shoal/wire'

/** What fails its checksum: bits, never given another meaning. */
export const scrubDamage = { attributes: 1, blockMap: 2, data: 4, omap: 8 } as const

export interface ScrubbedObject {
  readonly object: ObjectId
  /** Zero when the attributes cannot be read. */
  readonly version: Version
  readonly sizeBytes: number
  readonly attributesDigest: number
  /** 0 unless the scrub is deep; so is the next. */
  readonly omapDigest: number
  readonly dataDigest: number
  /** Of {@link scrubDamage}, added up. */
  readonly damage: number
}

export const scrubbedObjectsCodec: Codec<readonly ScrubbedObject[]> = array(
  struct<ScrubbedObject>({
    object: objectIdCodec,
    version: versionCodec,
    sizeBytes: u64(),
    attributesDigest: u32(),
    omapDigest: u32(),
    dataDigest: u32(),
    damage: u8(),
  }),
)

/** A member's objects of one chunk, by key. */
export type ScrubMap = ReadonlyMap<string, ScrubbedObject>

export function scrubMapOf(objects: readonly ScrubbedObject[]): ScrubMap {
  return new Map(objects.map((each) => [objectKey(each.object), each]))
}
