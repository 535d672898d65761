/** The attribute that a PG keeps on each object: which version it is, and who wrote it. Written with every modification. */
import { type Codec, decode, encode, versioned } from '@shoal/base'
import { type RequestId, requestIdCodec, type Version, versionCodec, zeroVersion } from '@shoal/wire'
import { shardAttributeName } from './erasure/shard-attribute.ts'
import { isLockAttribute } from './object-lock.ts'
import { watchAttributeName } from './object-watch.ts'
import { snapSetAttribute, snapsAttribute } from './snap-set.ts'

/** Reserved: clients can neither set nor see it. */
export const objectAttributeName = '_'

/** Of the object under its name, now: no clone has them, and a rollback leaves them as they are. */
export function staysWithHead(name: string): boolean {
  return name === watchAttributeName || isLockAttribute(name)
}

const ownAttributes: ReadonlySet<string> = new Set([
  objectAttributeName,
  shardAttributeName,
  snapSetAttribute,
  snapsAttribute,
])

/** Attributes of the placement group itself, which clients never see. */
export function isReservedAttribute(name: string): boolean {
  return ownAttributes.has(name) || staysWithHead(name)
}

export function clientAttributes(xattrs: ReadonlyMap<string, Uint8Array>): ReadonlyMap<string, Uint8Array> {
  return new Map([...xattrs].filter(([name]) => !isReservedAttribute(name)))
}

export interface ObjectAttribute {
  readonly version: Version
  /** What clients see as the object's version. */
  readonly userVersion: number
  readonly modifiedMs: number
  readonly request: RequestId
}

const objectAttributeCodec: Codec<ObjectAttribute> = versioned<ObjectAttribute>(1, 1, 'object attribute', {
  write(writer, { version, userVersion, modifiedMs, request }) {
    versionCodec.write(writer, version)
    writer.u64(userVersion).f64(modifiedMs)
    requestIdCodec.write(writer, request)
  },
  read: (reader) => ({
    version: versionCodec.read(reader),
    userVersion: reader.u64(),
    modifiedMs: reader.f64(),
    request: requestIdCodec.read(reader),
  }),
})

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
