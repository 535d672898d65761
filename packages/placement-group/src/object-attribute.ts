/** The attribute that a PG keeps on each object: which version it is, and who wrote it. Written with every modification. */
import { type Codec, decode, encode, f64, struct, u64, versioned } from '@shoal/base'
import { type RequestId, requestIdCodec, type Version, versionCodec, zeroVersion } from '@shoal/wire'

/** Reserved: clients can neither set nor see it. */
export const objectAttributeName = '_'

export interface ObjectAttribute {
  readonly version: Version
  /** What clients see as the object's version. */
  readonly userVersion: number
  readonly modifiedMs: number
  readonly request: RequestId
}

const objectAttributeCodec: Codec<ObjectAttribute> = versioned<ObjectAttribute>(
  1,
  1,
  'object attribute',
  struct<ObjectAttribute>({ version: versionCodec, userVersion: u64(), modifiedMs: f64(), request: requestIdCodec }),
)

export function encodeObjectAttribute(attribute: ObjectAttribute): Uint8Array {
  // A copy of its own: it lives on in caches, and should not keep a whole slab of writers alive.
  return encode(objectAttributeCodec, attribute).slice()
}

export function decodeObjectAttribute(encoded: Uint8Array): ObjectAttribute {
  return decode(objectAttributeCodec, encoded)
}

/** The version of a stored object; zero for one that no PG wrote. */
export function versionOf(attribute: Uint8Array | undefined): Version {
  return attribute === undefined ? zeroVersion : decodeObjectAttribute(attribute).version
}
