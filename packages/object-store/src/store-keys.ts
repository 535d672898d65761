/**
 * The keys of an encrypted store. A random data key, made with the store, is all that everything in it depends on; it lies
 * in the file `key`, wrapped by the *store key*, which the store never has: whoever mounts it brings it along.
 *
 * From the data key come one key for each kind of use (HKDF, RFC 5869), so that what is known of one use tells nothing of
 * another. Wrapping is AES-256-GCM: a wrong store key is noticed, and nothing is done with what comes out.
 */
import { createCipheriv, createDecipheriv, hkdfSync } from 'node:crypto'
import { ByteReader, ByteWriter, ClusterError, type Random, utf8Encode } from '@shoal/base'

export const storeKeyBytes = 32
const dataKeyBytes = 32
const nonceBytes = 12
const tagBytes = 16
const magic = 0x4b42_4853 // "SHBK"
const version = 1

export interface StoreKeys {
  /** AES-256-XTS: two keys of 32 bytes. */
  readonly data: Uint8Array
  readonly journal: Uint8Array
  readonly meta: Uint8Array
}

export function makeDataKey(random: Random): Uint8Array {
  return random.bytes(dataKeyBytes)
}

/** The file `key`: magic, version, nonce, wrapped data key, tag; bound to the uuid of the store. */
export function wrapDataKey(
  random: Random,
  storeKey: Uint8Array,
  storeUuid: Uint8Array,
  dataKey: Uint8Array,
): Uint8Array {
  checkStoreKey(storeKey)
  const nonce = random.bytes(nonceBytes)
  const cipher = createCipheriv('aes-256-gcm', storeKey, nonce)
  cipher.setAAD(storeUuid)
  const wrapped = cipher.update(dataKey)
  cipher.final()
  const writer = new ByteWriter(80).u32(magic).u32(version).raw(nonce).raw(wrapped).raw(cipher.getAuthTag())
  return writer.finish()
}

/** Throws EACCES for a wrong key, EIO for a damaged file, EPROTO for a newer one. */
export function unwrapDataKey(storeKey: Uint8Array, storeUuid: Uint8Array, file: Uint8Array): Uint8Array {
  checkStoreKey(storeKey)
  if (file.length !== 8 + nonceBytes + dataKeyBytes + tagBytes) throw damaged()
  const reader = new ByteReader(file)
  if (reader.u32() !== magic) throw damaged()
  if (reader.u32() !== version) {
    throw new ClusterError('EPROTO', 'the key file of the store is newer than this daemon', {
      hint: 'upgrade this daemon',
    })
  }
  const decipher = createDecipheriv('aes-256-gcm', storeKey, reader.raw(nonceBytes))
  decipher.setAAD(storeUuid)
  const dataKey = decipher.update(reader.raw(dataKeyBytes))
  decipher.setAuthTag(reader.raw(tagBytes))
  try {
    decipher.final()
  } catch (cause) {
    throw new ClusterError('EACCES', 'the key does not open this store, or its file `key` is damaged', {
      cause,
      hint: 'nothing was changed; bring the right key back: shoal osd key restore FILE',
    })
  }
  return new Uint8Array(dataKey)
}

export function deriveKeys(dataKey: Uint8Array, storeUuid: Uint8Array): StoreKeys {
  const derive = (use: string, length: number): Uint8Array =>
    new Uint8Array(hkdfSync('sha256', dataKey, storeUuid, utf8Encode(`shoal store ${use}`), length))
  return { data: derive('data', 64), journal: derive('journal', 32), meta: derive('meta', 32) }
}

function checkStoreKey(storeKey: Uint8Array): void {
  if (storeKey.length === storeKeyBytes) return
  throw new ClusterError('EINVAL', `the key of a store has ${storeKeyBytes} bytes, not ${storeKey.length}`)
}

function damaged(): ClusterError {
  return new ClusterError('EIO', 'the file `key` of the store is damaged', {
    hint: 'without it nothing in the store can be read: remove the OSD and let it be rebuilt',
  })
}
