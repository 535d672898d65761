/** The second words on a connection whose sides prove who they are. Byte table: docs/formats/messenger-frames.md. */
import {
  ByteReader,
  ByteWriter,
  bytes,
  ClusterError,
  type Codec,
  decode,
  encode,
  string,
  struct,
  u64,
  versioned,
} from '@shoal/base'
import { proofBytes } from './secret.ts'

const proofMagic = 0x414c4853
const prefixBytes = 8
const bodyBytesMax = 1024
export const proofMessageBytesMax: number = prefixBytes + bodyBytesMax + proofBytes

export interface ProofClaims {
  /** Why the connecting side is refused; empty when it is not. Nothing else counts then, nor is it proven. */
  readonly refusal: string
  /** Of X25519, for `secure`; else empty. */
  readonly publicKey: Uint8Array
  /** See {@link Hello.lastSequence}. */
  readonly lastSequence: number
}

const codec: Codec<ProofClaims> = versioned<ProofClaims>(
  1,
  1,
  'proof',
  struct<ProofClaims>({ refusal: string(), publicKey: bytes(), lastSequence: u64() }),
)

/** `prove` is given every byte of the message before the proof. */
export function encodeProof(claims: ProofClaims, prove: (head: Uint8Array) => Uint8Array): Uint8Array {
  const body = encode(codec, claims)
  const head = new ByteWriter().u32(proofMagic).u32(body.length).raw(body).finish().slice()
  return new ByteWriter().raw(head).raw(prove(head)).finish()
}

export interface ReceivedProof {
  readonly claims: ProofClaims
  /** What the proof is over. */
  readonly head: Uint8Array
  readonly proof: Uint8Array
  readonly rest: Uint8Array
}

/** Undefined while bytes are missing. Throws EBADMSG; nothing in it is true before the proof is verified. */
export function decodeProof(received: Uint8Array): ReceivedProof | undefined {
  if (received.length < prefixBytes) return undefined
  const reader = new ByteReader(received)
  if (reader.u32() !== proofMagic) throw new ClusterError('EBADMSG', 'no proof follows the hello')
  const length = reader.u32()
  if (length > bodyBytesMax) throw new ClusterError('EBADMSG', `proof of ${length} bytes`)
  if (reader.remaining < length + proofBytes) return undefined
  const claims = decode(codec, reader.raw(length))
  const head = received.subarray(0, prefixBytes + length)
  const proof = reader.raw(proofBytes)
  return { claims, head, proof, rest: received.subarray(reader.offset) }
}
