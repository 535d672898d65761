/**
 * The hashes of placement: Robert Jenkins' 96-bit mix over two to four 32-bit words (what CRUSH calls rjenkins1).
 * The rounds are written out because a call per round would halve the speed of every mapping; all arithmetic is on
 * 32-bit integers and wraps. Every result is an unsigned 32-bit integer.
 *
 * Source: Jenkins, "Hash functions for hash table lookup" (evahash); Ceph for the seed, the padding words and the
 * order in which words are mixed.
 */

const seed = 1_315_423_911
const padX = 231_232
const padY = 1_232

/** rjenkins1 of two words. */
export function hash2(a: number, b: number): number {
  let hash = seed ^ a ^ b
  a |= 0
  b |= 0
  let x = padX
  let y = padY
  a = ((((a - b) | 0) - hash) | 0) ^ (hash >>> 13)
  b = ((((b - hash) | 0) - a) | 0) ^ (a << 8)
  hash = ((((hash - a) | 0) - b) | 0) ^ (b >>> 13)
  a = ((((a - b) | 0) - hash) | 0) ^ (hash >>> 12)
  b = ((((b - hash) | 0) - a) | 0) ^ (a << 16)
  hash = ((((hash - a) | 0) - b) | 0) ^ (b >>> 5)
  a = ((((a - b) | 0) - hash) | 0) ^ (hash >>> 3)
  b = ((((b - hash) | 0) - a) | 0) ^ (a << 10)
  hash = ((((hash - a) | 0) - b) | 0) ^ (b >>> 15)
  x = ((((x - a) | 0) - hash) | 0) ^ (hash >>> 13)
  a = ((((a - hash) | 0) - x) | 0) ^ (x << 8)
  hash = ((((hash - x) | 0) - a) | 0) ^ (a >>> 13)
  x = ((((x - a) | 0) - hash) | 0) ^ (hash >>> 12)
  a = ((((a - hash) | 0) - x) | 0) ^ (x << 16)
  hash = ((((hash - x) | 0) - a) | 0) ^ (a >>> 5)
  x = ((((x - a) | 0) - hash) | 0) ^ (hash >>> 3)
  a = ((((a - hash) | 0) - x) | 0) ^ (x << 10)
  hash = ((((hash - x) | 0) - a) | 0) ^ (a >>> 15)
  b = ((((b - y) | 0) - hash) | 0) ^ (hash >>> 13)
  y = ((((y - hash) | 0) - b) | 0) ^ (b << 8)
  hash = ((((hash - b) | 0) - y) | 0) ^ (y >>> 13)
  b = ((((b - y) | 0) - hash) | 0) ^ (hash >>> 12)
  y = ((((y - hash) | 0) - b) | 0) ^ (b << 16)
  hash = ((((hash - b) | 0) - y) | 0) ^ (y >>> 5)
  b = ((((b - y) | 0) - hash) | 0) ^ (hash >>> 3)
  y = ((((y - hash) | 0) - b) | 0) ^ (b << 10)
  hash = ((((hash - b) | 0) - y) | 0) ^ (y >>> 15)
  return hash >>> 0
}

/** rjenkins1 of three words. */
export function hash3(a: number, b: number, c: number): number {
  let hash = seed ^ a ^ b ^ c
  a |= 0
  b |= 0
  c |= 0
  let x = padX
  let y = padY
  a = ((((a - b) | 0) - hash) | 0) ^ (hash >>> 13)
  b = ((((b - hash) | 0) - a) | 0) ^ (a << 8)
  hash = ((((hash - a) | 0) - b) | 0) ^ (b >>> 13)
  a = ((((a - b) | 0) - hash) | 0) ^ (hash >>> 12)
  b = ((((b - hash) | 0) - a) | 0) ^ (a << 16)
  hash = ((((hash - a) | 0) - b) | 0) ^ (b >>> 5)
  a = ((((a - b) | 0) - hash) | 0) ^ (hash >>> 3)
  b = ((((b - hash) | 0) - a) | 0) ^ (a << 10)
  hash = ((((hash - a) | 0) - b) | 0) ^ (b >>> 15)
  c = ((((c - x) | 0) - hash) | 0) ^ (hash >>> 13)
  x = ((((x - hash) | 0) - c) | 0) ^ (c << 8)
  hash = ((((hash - c) | 0) - x) | 0) ^ (x >>> 13)
  c = ((((c - x) | 0) - hash) | 0) ^ (hash >>> 12)
  x = ((((x - hash) | 0) - c) | 0) ^ (c << 16)
  hash = ((((hash - c) | 0) - x) | 0) ^ (x >>> 5)
  c = ((((c - x) | 0) - hash) | 0) ^ (hash >>> 3)
  x = ((((x - hash) | 0) - c) | 0) ^ (c << 10)
  hash = ((((hash - c) | 0) - x) | 0) ^ (x >>> 15)
  y = ((((y - a) | 0) - hash) | 0) ^ (hash >>> 13)
  a = ((((a - hash) | 0) - y) | 0) ^ (y << 8)
  hash = ((((hash - y) | 0) - a) | 0) ^ (a >>> 13)
  y = ((((y - a) | 0) - hash) | 0) ^ (hash >>> 12)
  a = ((((a - hash) | 0) - y) | 0) ^ (y << 16)
  hash = ((((hash - y) | 0) - a) | 0) ^ (a >>> 5)
  y = ((((y - a) | 0) - hash) | 0) ^ (hash >>> 3)
  a = ((((a - hash) | 0) - y) | 0) ^ (y << 10)
  hash = ((((hash - y) | 0) - a) | 0) ^ (a >>> 15)
  b = ((((b - x) | 0) - hash) | 0) ^ (hash >>> 13)
  x = ((((x - hash) | 0) - b) | 0) ^ (b << 8)
  hash = ((((hash - b) | 0) - x) | 0) ^ (x >>> 13)
  b = ((((b - x) | 0) - hash) | 0) ^ (hash >>> 12)
  x = ((((x - hash) | 0) - b) | 0) ^ (b << 16)
  hash = ((((hash - b) | 0) - x) | 0) ^ (x >>> 5)
  b = ((((b - x) | 0) - hash) | 0) ^ (hash >>> 3)
  x = ((((x - hash) | 0) - b) | 0) ^ (b << 10)
  hash = ((((hash - b) | 0) - x) | 0) ^ (x >>> 15)
  y = ((((y - c) | 0) - hash) | 0) ^ (hash >>> 13)
  c = ((((c - hash) | 0) - y) | 0) ^ (y << 8)
  hash = ((((hash - y) | 0) - c) | 0) ^ (c >>> 13)
  y = ((((y - c) | 0) - hash) | 0) ^ (hash >>> 12)
  c = ((((c - hash) | 0) - y) | 0) ^ (y << 16)
  hash = ((((hash - y) | 0) - c) | 0) ^ (c >>> 5)
  y = ((((y - c) | 0) - hash) | 0) ^ (hash >>> 3)
  c = ((((c - hash) | 0) - y) | 0) ^ (y << 10)
  hash = ((((hash - y) | 0) - c) | 0) ^ (c >>> 15)
  return hash >>> 0
}

/** rjenkins1 of four words. */
export function hash4(a: number, b: number, c: number, d: number): number {
  let hash = seed ^ a ^ b ^ c ^ d
  a |= 0
  b |= 0
  c |= 0
  d |= 0
  let x = padX
  let y = padY
  a = ((((a - b) | 0) - hash) | 0) ^ (hash >>> 13)
  b = ((((b - hash) | 0) - a) | 0) ^ (a << 8)
  hash = ((((hash - a) | 0) - b) | 0) ^ (b >>> 13)
  a = ((((a - b) | 0) - hash) | 0) ^ (hash >>> 12)
  b = ((((b - hash) | 0) - a) | 0) ^ (a << 16)
  hash = ((((hash - a) | 0) - b) | 0) ^ (b >>> 5)
  a = ((((a - b) | 0) - hash) | 0) ^ (hash >>> 3)
  b = ((((b - hash) | 0) - a) | 0) ^ (a << 10)
  hash = ((((hash - a) | 0) - b) | 0) ^ (b >>> 15)
  c = ((((c - d) | 0) - hash) | 0) ^ (hash >>> 13)
  d = ((((d - hash) | 0) - c) | 0) ^ (c << 8)
  hash = ((((hash - c) | 0) - d) | 0) ^ (d >>> 13)
  c = ((((c - d) | 0) - hash) | 0) ^ (hash >>> 12)
  d = ((((d - hash) | 0) - c) | 0) ^ (c << 16)
  hash = ((((hash - c) | 0) - d) | 0) ^ (d >>> 5)
  c = ((((c - d) | 0) - hash) | 0) ^ (hash >>> 3)
  d = ((((d - hash) | 0) - c) | 0) ^ (c << 10)
  hash = ((((hash - c) | 0) - d) | 0) ^ (d >>> 15)
  a = ((((a - x) | 0) - hash) | 0) ^ (hash >>> 13)
  x = ((((x - hash) | 0) - a) | 0) ^ (a << 8)
  hash = ((((hash - a) | 0) - x) | 0) ^ (x >>> 13)
  a = ((((a - x) | 0) - hash) | 0) ^ (hash >>> 12)
  x = ((((x - hash) | 0) - a) | 0) ^ (a << 16)
  hash = ((((hash - a) | 0) - x) | 0) ^ (x >>> 5)
  a = ((((a - x) | 0) - hash) | 0) ^ (hash >>> 3)
  x = ((((x - hash) | 0) - a) | 0) ^ (a << 10)
  hash = ((((hash - a) | 0) - x) | 0) ^ (x >>> 15)
  y = ((((y - b) | 0) - hash) | 0) ^ (hash >>> 13)
  b = ((((b - hash) | 0) - y) | 0) ^ (y << 8)
  hash = ((((hash - y) | 0) - b) | 0) ^ (b >>> 13)
  y = ((((y - b) | 0) - hash) | 0) ^ (hash >>> 12)
  b = ((((b - hash) | 0) - y) | 0) ^ (y << 16)
  hash = ((((hash - y) | 0) - b) | 0) ^ (b >>> 5)
  y = ((((y - b) | 0) - hash) | 0) ^ (hash >>> 3)
  b = ((((b - hash) | 0) - y) | 0) ^ (y << 10)
  hash = ((((hash - y) | 0) - b) | 0) ^ (b >>> 15)
  c = ((((c - x) | 0) - hash) | 0) ^ (hash >>> 13)
  x = ((((x - hash) | 0) - c) | 0) ^ (c << 8)
  hash = ((((hash - c) | 0) - x) | 0) ^ (x >>> 13)
  c = ((((c - x) | 0) - hash) | 0) ^ (hash >>> 12)
  x = ((((x - hash) | 0) - c) | 0) ^ (c << 16)
  hash = ((((hash - c) | 0) - x) | 0) ^ (x >>> 5)
  c = ((((c - x) | 0) - hash) | 0) ^ (hash >>> 3)
  x = ((((x - hash) | 0) - c) | 0) ^ (c << 10)
  hash = ((((hash - c) | 0) - x) | 0) ^ (x >>> 15)
  y = ((((y - d) | 0) - hash) | 0) ^ (hash >>> 13)
  d = ((((d - hash) | 0) - y) | 0) ^ (y << 8)
  hash = ((((hash - y) | 0) - d) | 0) ^ (d >>> 13)
  y = ((((y - d) | 0) - hash) | 0) ^ (hash >>> 12)
  d = ((((d - hash) | 0) - y) | 0) ^ (y << 16)
  hash = ((((hash - y) | 0) - d) | 0) ^ (d >>> 5)
  y = ((((y - d) | 0) - hash) | 0) ^ (hash >>> 3)
  d = ((((d - hash) | 0) - y) | 0) ^ (y << 10)
  hash = ((((hash - y) | 0) - d) | 0) ^ (d >>> 15)
  return hash >>> 0
}

/**
 * The low 16 bits of `hash3(a, b, c)`, and above them those of `hash3(a, other, c)`. Two hashes at once take little
 * longer than one: a processor runs the rounds of one while it waits for those of the other.
 */
export function hash3Pair(a: number, b: number, other: number, c: number): number {
  let hash0 = seed ^ a ^ b ^ c
  let hash1 = seed ^ a ^ other ^ c
  let a0 = a | 0
  let a1 = a | 0
  let b0 = b | 0
  let b1 = other | 0
  let c0 = c | 0
  let c1 = c | 0
  let x0 = padX
  let x1 = padX
  let y0 = padY
  let y1 = padY
  a0 = ((((a0 - b0) | 0) - hash0) | 0) ^ (hash0 >>> 13)
  a1 = ((((a1 - b1) | 0) - hash1) | 0) ^ (hash1 >>> 13)
  b0 = ((((b0 - hash0) | 0) - a0) | 0) ^ (a0 << 8)
  b1 = ((((b1 - hash1) | 0) - a1) | 0) ^ (a1 << 8)
  hash0 = ((((hash0 - a0) | 0) - b0) | 0) ^ (b0 >>> 13)
  hash1 = ((((hash1 - a1) | 0) - b1) | 0) ^ (b1 >>> 13)
  a0 = ((((a0 - b0) | 0) - hash0) | 0) ^ (hash0 >>> 12)
  a1 = ((((a1 - b1) | 0) - hash1) | 0) ^ (hash1 >>> 12)
  b0 = ((((b0 - hash0) | 0) - a0) | 0) ^ (a0 << 16)
  b1 = ((((b1 - hash1) | 0) - a1) | 0) ^ (a1 << 16)
  hash0 = ((((hash0 - a0) | 0) - b0) | 0) ^ (b0 >>> 5)
  hash1 = ((((hash1 - a1) | 0) - b1) | 0) ^ (b1 >>> 5)
  a0 = ((((a0 - b0) | 0) - hash0) | 0) ^ (hash0 >>> 3)
  a1 = ((((a1 - b1) | 0) - hash1) | 0) ^ (hash1 >>> 3)
  b0 = ((((b0 - hash0) | 0) - a0) | 0) ^ (a0 << 10)
  b1 = ((((b1 - hash1) | 0) - a1) | 0) ^ (a1 << 10)
  hash0 = ((((hash0 - a0) | 0) - b0) | 0) ^ (b0 >>> 15)
  hash1 = ((((hash1 - a1) | 0) - b1) | 0) ^ (b1 >>> 15)
  c0 = ((((c0 - x0) | 0) - hash0) | 0) ^ (hash0 >>> 13)
  c1 = ((((c1 - x1) | 0) - hash1) | 0) ^ (hash1 >>> 13)
  x0 = ((((x0 - hash0) | 0) - c0) | 0) ^ (c0 << 8)
  x1 = ((((x1 - hash1) | 0) - c1) | 0) ^ (c1 << 8)
  hash0 = ((((hash0 - c0) | 0) - x0) | 0) ^ (x0 >>> 13)
  hash1 = ((((hash1 - c1) | 0) - x1) | 0) ^ (x1 >>> 13)
  c0 = ((((c0 - x0) | 0) - hash0) | 0) ^ (hash0 >>> 12)
  c1 = ((((c1 - x1) | 0) - hash1) | 0) ^ (hash1 >>> 12)
  x0 = ((((x0 - hash0) | 0) - c0) | 0) ^ (c0 << 16)
  x1 = ((((x1 - hash1) | 0) - c1) | 0) ^ (c1 << 16)
  hash0 = ((((hash0 - c0) | 0) - x0) | 0) ^ (x0 >>> 5)
  hash1 = ((((hash1 - c1) | 0) - x1) | 0) ^ (x1 >>> 5)
  c0 = ((((c0 - x0) | 0) - hash0) | 0) ^ (hash0 >>> 3)
  c1 = ((((c1 - x1) | 0) - hash1) | 0) ^ (hash1 >>> 3)
  x0 = ((((x0 - hash0) | 0) - c0) | 0) ^ (c0 << 10)
  x1 = ((((x1 - hash1) | 0) - c1) | 0) ^ (c1 << 10)
  hash0 = ((((hash0 - c0) | 0) - x0) | 0) ^ (x0 >>> 15)
  hash1 = ((((hash1 - c1) | 0) - x1) | 0) ^ (x1 >>> 15)
  y0 = ((((y0 - a0) | 0) - hash0) | 0) ^ (hash0 >>> 13)
  y1 = ((((y1 - a1) | 0) - hash1) | 0) ^ (hash1 >>> 13)
  a0 = ((((a0 - hash0) | 0) - y0) | 0) ^ (y0 << 8)
  a1 = ((((a1 - hash1) | 0) - y1) | 0) ^ (y1 << 8)
  hash0 = ((((hash0 - y0) | 0) - a0) | 0) ^ (a0 >>> 13)
  hash1 = ((((hash1 - y1) | 0) - a1) | 0) ^ (a1 >>> 13)
  y0 = ((((y0 - a0) | 0) - hash0) | 0) ^ (hash0 >>> 12)
  y1 = ((((y1 - a1) | 0) - hash1) | 0) ^ (hash1 >>> 12)
  a0 = ((((a0 - hash0) | 0) - y0) | 0) ^ (y0 << 16)
  a1 = ((((a1 - hash1) | 0) - y1) | 0) ^ (y1 << 16)
  hash0 = ((((hash0 - y0) | 0) - a0) | 0) ^ (a0 >>> 5)
  hash1 = ((((hash1 - y1) | 0) - a1) | 0) ^ (a1 >>> 5)
  y0 = ((((y0 - a0) | 0) - hash0) | 0) ^ (hash0 >>> 3)
  y1 = ((((y1 - a1) | 0) - hash1) | 0) ^ (hash1 >>> 3)
  a0 = ((((a0 - hash0) | 0) - y0) | 0) ^ (y0 << 10)
  a1 = ((((a1 - hash1) | 0) - y1) | 0) ^ (y1 << 10)
  hash0 = ((((hash0 - y0) | 0) - a0) | 0) ^ (a0 >>> 15)
  hash1 = ((((hash1 - y1) | 0) - a1) | 0) ^ (a1 >>> 15)
  b0 = ((((b0 - x0) | 0) - hash0) | 0) ^ (hash0 >>> 13)
  b1 = ((((b1 - x1) | 0) - hash1) | 0) ^ (hash1 >>> 13)
  x0 = ((((x0 - hash0) | 0) - b0) | 0) ^ (b0 << 8)
  x1 = ((((x1 - hash1) | 0) - b1) | 0) ^ (b1 << 8)
  hash0 = ((((hash0 - b0) | 0) - x0) | 0) ^ (x0 >>> 13)
  hash1 = ((((hash1 - b1) | 0) - x1) | 0) ^ (x1 >>> 13)
  b0 = ((((b0 - x0) | 0) - hash0) | 0) ^ (hash0 >>> 12)
  b1 = ((((b1 - x1) | 0) - hash1) | 0) ^ (hash1 >>> 12)
  x0 = ((((x0 - hash0) | 0) - b0) | 0) ^ (b0 << 16)
  x1 = ((((x1 - hash1) | 0) - b1) | 0) ^ (b1 << 16)
  hash0 = ((((hash0 - b0) | 0) - x0) | 0) ^ (x0 >>> 5)
  hash1 = ((((hash1 - b1) | 0) - x1) | 0) ^ (x1 >>> 5)
  b0 = ((((b0 - x0) | 0) - hash0) | 0) ^ (hash0 >>> 3)
  b1 = ((((b1 - x1) | 0) - hash1) | 0) ^ (hash1 >>> 3)
  x0 = ((((x0 - hash0) | 0) - b0) | 0) ^ (b0 << 10)
  x1 = ((((x1 - hash1) | 0) - b1) | 0) ^ (b1 << 10)
  hash0 = ((((hash0 - b0) | 0) - x0) | 0) ^ (x0 >>> 15)
  hash1 = ((((hash1 - b1) | 0) - x1) | 0) ^ (x1 >>> 15)
  y0 = ((((y0 - c0) | 0) - hash0) | 0) ^ (hash0 >>> 13)
  y1 = ((((y1 - c1) | 0) - hash1) | 0) ^ (hash1 >>> 13)
  c0 = ((((c0 - hash0) | 0) - y0) | 0) ^ (y0 << 8)
  c1 = ((((c1 - hash1) | 0) - y1) | 0) ^ (y1 << 8)
  hash0 = ((((hash0 - y0) | 0) - c0) | 0) ^ (c0 >>> 13)
  hash1 = ((((hash1 - y1) | 0) - c1) | 0) ^ (c1 >>> 13)
  y0 = ((((y0 - c0) | 0) - hash0) | 0) ^ (hash0 >>> 12)
  y1 = ((((y1 - c1) | 0) - hash1) | 0) ^ (hash1 >>> 12)
  c0 = ((((c0 - hash0) | 0) - y0) | 0) ^ (y0 << 16)
  c1 = ((((c1 - hash1) | 0) - y1) | 0) ^ (y1 << 16)
  hash0 = ((((hash0 - y0) | 0) - c0) | 0) ^ (c0 >>> 5)
  hash1 = ((((hash1 - y1) | 0) - c1) | 0) ^ (c1 >>> 5)
  y0 = ((((y0 - c0) | 0) - hash0) | 0) ^ (hash0 >>> 3)
  y1 = ((((y1 - c1) | 0) - hash1) | 0) ^ (hash1 >>> 3)
  c0 = ((((c0 - hash0) | 0) - y0) | 0) ^ (y0 << 10)
  c1 = ((((c1 - hash1) | 0) - y1) | 0) ^ (y1 << 10)
  hash0 = ((((hash0 - y0) | 0) - c0) | 0) ^ (c0 >>> 15)
  hash1 = ((((hash1 - y1) | 0) - c1) | 0) ^ (c1 >>> 15)
  return (hash0 & 0xffff) | (hash1 << 16)
}
