/** The attribute of every shard that says what the object as a whole is: a shard alone shows only its own length. */
import { type Codec, decode, encode, versioned } from '@shoal/base'

/** Reserved: clients can neither set nor see it. */
export const shardAttributeName = '_shard'

export interface ShardAttribute {
  /** Of the object. */
  readonly sizeBytes: number
}

const shardAttributeCodec: Codec<ShardAttribute> = versioned<ShardAttribute>(1, 1, 'shard attribute', {
  write(writer, { sizeBytes }) {
    writer.u64(sizeBytes)
  },
  read: (reader) => ({ sizeBytes: reader.u64() }),
})

export function encodeShardAttribute(attribute: ShardAttribute): Uint8Array {
  return encode(shardAttributeCodec, attribute).slice()
}

export function decodeShardAttribute(encoded: Uint8Array): ShardAttribute {
  return decode(shardAttributeCodec, encoded)
}
