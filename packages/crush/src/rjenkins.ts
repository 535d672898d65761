/**
 * The hashes of placement: Robert Jenkins' 96-bit mix over one to five 32-bit words (what CRUSH calls rjenkins1).
 * The rounds are written out because a call per round would halve the speed of every mapping; all arithmetic is on
 * 32-bit integers and wraps. Every result is an unsigned 32-bit integer.
 *
 * Source: Jenkins, "Hash functions for hash table lookup" (evahash); Ceph for the seed, the padding words and the
 * order in which words are mixed.
 */

const seed = 1_315_423_911
const padX = 231_232
const padY = 1_232

/** rjenkins1 of one word. */
export function hash1(a: number): number {
  let hash = seed ^ a
  a |= 0
  let b = a
  let x = padX
  let y = padY
  b = ((((b - x) | 0) - hash) | 0) ^ (hash >>> 13)
  x = ((((x - hash) | 0) - b) | 0) ^ (b << 8)
  hash = ((((hash - b) | 0) - x) | 0) ^ (x >>> 13)
  b = ((((b - x) | 0) - hash) | 0) ^ (hash >>> 12)
  x = ((((x - hash) | 0) - b) | 0) ^ (b << 16)
  hash = ((((hash - b) | 0) - x) | 0) ^ (x >>> 5)
  b = ((((b - x) | 0) - hash) | 0) ^ (hash >>> 3)
  x = ((((x - hash) | 0) - b) | 0) ^ (b << 10)
  hash = ((((hash - b) | 0) - x) | 0) ^ (x >>> 15)
  y = ((((y - a) | 0) - hash) | 0) ^ (hash >>> 13)
  a = ((((a - hash) | 0) - y) | 0) ^ (y << 8)
  hash = ((((hash - y) | 0) - a) | 0) ^ (a >>> 13)
  y = ((((y - a) | 0) - hash) | 0) ^ (hash >>> 12)
  a = ((((a - hash) | 0) - y) | 0) ^ (y << 16)
  hash = ((((hash - y) | 0) - a) | 0) ^ (a >>> 5)
  y = ((((y - a) | 0) - hash) | 0) ^ (hash >>> 3)
  a = ((((a - hash) | 0) - y) | 0) ^ (y << 10)
  hash = ((((hash - y) | 0) - a) | 0) ^ (a >>> 15)
  return hash >>> 0
}

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

/** rjenkins1 of five words. */
export function hash5(a: number, b: number, c: number, d: number, e: number): number {
  let hash = seed ^ a ^ b ^ c ^ d ^ e
  a |= 0
  b |= 0
  c |= 0
  d |= 0
  e |= 0
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
  e = ((((e - x) | 0) - hash) | 0) ^ (hash >>> 13)
  x = ((((x - hash) | 0) - e) | 0) ^ (e << 8)
  hash = ((((hash - e) | 0) - x) | 0) ^ (x >>> 13)
  e = ((((e - x) | 0) - hash) | 0) ^ (hash >>> 12)
  x = ((((x - hash) | 0) - e) | 0) ^ (e << 16)
  hash = ((((hash - e) | 0) - x) | 0) ^ (x >>> 5)
  e = ((((e - x) | 0) - hash) | 0) ^ (hash >>> 3)
  x = ((((x - hash) | 0) - e) | 0) ^ (e << 10)
  hash = ((((hash - e) | 0) - x) | 0) ^ (x >>> 15)
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
  d = ((((d - x) | 0) - hash) | 0) ^ (hash >>> 13)
  x = ((((x - hash) | 0) - d) | 0) ^ (d << 8)
  hash = ((((hash - d) | 0) - x) | 0) ^ (x >>> 13)
  d = ((((d - x) | 0) - hash) | 0) ^ (hash >>> 12)
  x = ((((x - hash) | 0) - d) | 0) ^ (d << 16)
  hash = ((((hash - d) | 0) - x) | 0) ^ (x >>> 5)
  d = ((((d - x) | 0) - hash) | 0) ^ (hash >>> 3)
  x = ((((x - hash) | 0) - d) | 0) ^ (d << 10)
  hash = ((((hash - d) | 0) - x) | 0) ^ (x >>> 15)
  y = ((((y - e) | 0) - hash) | 0) ^ (hash >>> 13)
  e = ((((e - hash) | 0) - y) | 0) ^ (y << 8)
  hash = ((((hash - y) | 0) - e) | 0) ^ (e >>> 13)
  y = ((((y - e) | 0) - hash) | 0) ^ (hash >>> 12)
  e = ((((e - hash) | 0) - y) | 0) ^ (y << 16)
  hash = ((((hash - y) | 0) - e) | 0) ^ (e >>> 5)
  y = ((((y - e) | 0) - hash) | 0) ^ (hash >>> 3)
  e = ((((e - hash) | 0) - y) | 0) ^ (y << 10)
  hash = ((((hash - y) | 0) - e) | 0) ^ (e >>> 15)
  return hash >>> 0
}
