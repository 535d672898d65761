/**
 * The cryptography of the handshake: proofs that a side knows the cluster's secret, and the keys of one connection.
 *
 * Invariants
 * 1. The secret itself is used for nothing but to derive one key for proofs and one for the keys of connections.
 * 2. Two proofs of any two sides, roles or connections are made of different bytes: each names its role and begins with
 *    both sides' hellos, which hold challenges that were never said before.
 */
import {
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  diffieHellman,
  hkdfSync,
  type KeyObject,
  timingSafeEqual,
} from 'node:crypto'
import { assert, ClusterError, concatBytes, emptyBytes, type Random, utf8Encode } from '@shoal/base'
import { secretBytes } from './security.ts'

export const proofBytes = 32
export const challengeBytes = 32
export const publicKeyBytes = 32
/** Of one direction of one connection. */
const trafficSecretBytes = 32

/** Who proves: the same words never serve both ways. */
export type Role = 'connecting' | 'accepting'

function derive(from: Uint8Array, salt: Uint8Array, what: string, sizeBytes: number): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', from, salt, utf8Encode(`shoal messenger 1 ${what}`), sizeBytes))
}

export class ClusterSecret {
  private readonly proofKey: KeyObject
  private readonly trafficKey: Uint8Array

  constructor(secret: Uint8Array) {
    assert(secret.length === secretBytes, 'a secret of the right length')
    this.proofKey = createSecretKey(derive(secret, emptyBytes, 'proof', 32))
    this.trafficKey = derive(secret, emptyBytes, 'traffic', 32)
  }

  /** Over all that was said on this connection so far, in order, each message whole. */
  prove(role: Role, said: readonly Uint8Array[]): Uint8Array {
    const mac = createHmac('sha256', this.proofKey)
    mac.update(`shoal messenger 1 ${role}\0`)
    for (const message of said) mac.update(message)
    return new Uint8Array(mac.digest())
  }

  verify(role: Role, said: readonly Uint8Array[], proof: Uint8Array): boolean {
    return proof.length === proofBytes && timingSafeEqual(this.prove(role, said), proof)
  }

  /** The first secret of each direction, named after who seals with it. */
  trafficSecrets(shared: Uint8Array, said: readonly Uint8Array[]): Readonly<Record<Role, Uint8Array>> {
    const transcript = createHash('sha256')
    for (const message of said) transcript.update(message)
    const both = derive(
      concatBytes([shared, this.trafficKey]),
      new Uint8Array(transcript.digest()),
      'connection',
      2 * trafficSecretBytes,
    )
    return { connecting: both.subarray(0, trafficSecretBytes), accepting: both.subarray(trafficSecretBytes) }
  }
}

/** DER around 32 raw bytes, as RFC 8410 lays it out. */
const privateKeyPrefix = Uint8Array.from([48, 46, 2, 1, 0, 48, 5, 6, 3, 43, 101, 110, 4, 34, 4, 32])
const publicKeyPrefix = Uint8Array.from([48, 42, 48, 5, 6, 3, 43, 101, 110, 3, 33, 0])

/** An X25519 key for one connection: when it is forgotten, nobody can read what was said, not even with the secret. */
export class EphemeralKey {
  readonly publicKey: Uint8Array
  private readonly privateKey: KeyObject

  constructor(random: Pick<Random, 'bytes'>) {
    const key = Buffer.from(concatBytes([privateKeyPrefix, random.bytes(32)]))
    this.privateKey = createPrivateKey({ key, format: 'der', type: 'pkcs8' })
    const encoded = createPublicKey(this.privateKey).export({ format: 'der', type: 'spki' })
    this.publicKey = new Uint8Array(encoded.subarray(publicKeyPrefix.length))
  }

  /** Throws EACCES for a key that leads to no secret, which nobody sends by accident. */
  agree(theirs: Uint8Array): Uint8Array {
    try {
      const key = Buffer.from(concatBytes([publicKeyPrefix, theirs]))
      const publicKey = createPublicKey({ key, format: 'der', type: 'spki' })
      return new Uint8Array(diffieHellman({ privateKey: this.privateKey, publicKey }))
    } catch (cause) {
      throw new ClusterError('EACCES', 'a public key that no sound side sends', { cause })
    }
  }
}

/** What one stretch of records is sealed with, and the secret of the next stretch. */
export function stretchKeys(trafficSecret: Uint8Array): {
  readonly key: KeyObject
  readonly nonceBase: Uint8Array
  readonly next: Uint8Array
} {
  const all = derive(trafficSecret, emptyBytes, 'stretch', 32 + 12 + trafficSecretBytes)
  return { key: createSecretKey(all.subarray(0, 32)), nonceBase: all.subarray(32, 44), next: all.subarray(44) }
}
