/**
 * A digest of a chunk that codes like the chunk itself: the digest of parity is the parity of the digests of the data. So
 * whoever has the digests of all chunks can tell whether parity belongs to the data, and which single chunk does not, and
 * no chunk moves. (Ceph's deep scrub uses that its CRC is linear for the same end.)
 *
 * The digest is four sums of the bytes in GF(2^8), each byte times a power of x, x^2, x^3 or x^4: up to four wrong bytes
 * within 255 are always seen, others with a probability of 1 - 2^-32.
 */
import { productTable } from './field.ts'

const [first, second, third, fourth] = [2, 4, 8, 16].map(productTable) as [
  Uint8Array,
  Uint8Array,
  Uint8Array,
  Uint8Array,
]

/** Goes on from `digest`, which is 0 for an empty chunk. Chunks of one stripe have the same length, or are padded. */
export function linearDigest(digest: number, bytes: Uint8Array): number {
  let [a, b, c, d] = linearDigestChunk(digest) as unknown as [number, number, number, number]
  for (const byte of bytes) {
    a = (first[a] as number) ^ byte
    b = (second[b] as number) ^ byte
    c = (third[c] as number) ^ byte
    d = (fourth[d] as number) ^ byte
  }
  return ((a << 24) | (b << 16) | (c << 8) | d) >>> 0
}

/** The digest as the chunk of four bytes that it is to the code. */
export function linearDigestChunk(digest: number): Uint8Array {
  return new Uint8Array([digest >>> 24, (digest >>> 16) & 0xff, (digest >>> 8) & 0xff, digest & 0xff])
}
