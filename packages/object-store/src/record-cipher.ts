/**
 * Seals what goes to the journal and to `meta/` of an encrypted store.
 *
 * Journal: body and payload of a record under AES-256-CTR. The key is made for one mount (HKDF over its epoch) and the
 * counter begins with the record's sequence: a pair never comes twice, for a mount's epoch is durable before its first
 * record is written, and within a mount sequences only grow. No bytes are added, so that records lie where they lay
 * without encryption.
 *
 * Pages of `meta/`: AES-256-GCM, for there is room for a nonce and a tag. The nonce is eight bytes drawn for each mount
 * and a counter (NIST SP 800-38D, 8.2.1): drawn alone, nonces would begin to repeat after some billions of pages.
 */
import { type Cipher, createCipheriv, createDecipheriv, hkdfSync } from 'node:crypto'
import { type Random, utf8Encode } from '@shoal/base'
import type { PageSeal } from './page-tree.ts'

const nonceBytes = 12
const saltBytes = 8
const tagBytes = 16
const counterMax = 0xffff_ffff

export class JournalCipher {
  private readonly key: Uint8Array
  private epochKey: Uint8Array | undefined
  private epoch = -1

  constructor(key: Uint8Array) {
    this.key = key
  }

  /** Bytes of one record, in the order in which they lie there; the same call takes the encryption off again. */
  stream(epoch: number, sequence: number): (bytes: Uint8Array) => Uint8Array {
    if (this.epochKey === undefined || this.epoch !== epoch) {
      this.epoch = epoch
      this.epochKey = new Uint8Array(
        hkdfSync('sha256', this.key, new Uint8Array(0), utf8Encode(`journal epoch ${epoch}`), 32),
      )
    }
    const counter = new Uint8Array(16)
    new DataView(counter.buffer).setBigUint64(0, BigInt(sequence))
    const cipher: Cipher = createCipheriv('aes-256-ctr', this.epochKey, counter)
    return (bytes) => {
      const { buffer, byteOffset, length } = cipher.update(bytes)
      return new Uint8Array(buffer, byteOffset, length)
    }
  }
}

export class PageCipher implements PageSeal {
  private readonly key: Uint8Array
  private readonly random: Random
  private salt: Uint8Array
  private counter = 0

  constructor(key: Uint8Array, random: Random) {
    this.key = key
    this.random = random
    this.salt = random.bytes(saltBytes)
  }

  seal(key: Uint8Array, plain: Uint8Array): Uint8Array {
    if (this.counter === counterMax) {
      this.counter = 0
      this.salt = this.random.bytes(saltBytes)
    }
    const sealed = new Uint8Array(nonceBytes + plain.length + tagBytes)
    sealed.set(this.salt)
    new DataView(sealed.buffer).setUint32(saltBytes, this.counter++)
    const cipher = createCipheriv('aes-256-gcm', this.key, sealed.subarray(0, nonceBytes))
    cipher.setAAD(key)
    sealed.set(cipher.update(plain), nonceBytes)
    cipher.final()
    sealed.set(cipher.getAuthTag(), nonceBytes + plain.length)
    return sealed
  }

  open(key: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
    const end = sealed.length - tagBytes
    if (end < nonceBytes) return undefined
    const decipher = createDecipheriv('aes-256-gcm', this.key, sealed.subarray(0, nonceBytes))
    decipher.setAAD(key)
    decipher.setAuthTag(sealed.subarray(end))
    const { buffer, byteOffset, length } = decipher.update(sealed.subarray(nonceBytes, end))
    try {
      decipher.final()
    } catch {
      return undefined
    }
    return new Uint8Array(buffer, byteOffset, length)
  }
}
