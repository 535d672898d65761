/**
 * From an object's name to its placement seed: Jenkins' hash of a byte string as Ceph computes it
 * (`ceph_str_hash_rjenkins`) and the modulo that moves as few seeds as possible when pg_num grows (`ceph_stable_mod`).
 */

const goldenRatio = 0x9e37_79b9

/** The hash Ceph places objects by, an unsigned 32-bit integer. `bytes` is the name in UTF-8. */
export function strHashRjenkins(bytes: Uint8Array): number {
  const length = bytes.length
  const byte = (at: number): number => (at < length ? (bytes[at] as number) : 0)
  const word = (at: number): number => byte(at) | (byte(at + 1) << 8) | (byte(at + 2) << 16) | (byte(at + 3) << 24)
  let a = goldenRatio | 0
  let b = a
  let c = 0
  let at = 0
  for (; ; at += 12) {
    const last = length - at < 12
    a = (a + word(at)) | 0
    b = (b + word(at + 4)) | 0
    // The lowest byte of the last third word is kept for the length.
    c = last ? (c + length + (word(at + 8) << 8)) | 0 : (c + word(at + 8)) | 0
    a = (a - b - c) ^ (c >>> 13)
    b = (b - c - a) ^ (a << 8)
    c = (c - a - b) ^ (b >>> 13)
    a = (a - b - c) ^ (c >>> 12)
    b = (b - c - a) ^ (a << 16)
    c = (c - a - b) ^ (b >>> 5)
    a = (a - b - c) ^ (c >>> 3)
    b = (b - c - a) ^ (a << 10)
    c = (c - a - b) ^ (b >>> 15)
    if (last) return c >>> 0
  }
}

/**
 * `x` modulo `count`, such that growing `count` within one power of two moves only the seeds that split.
 * `mask` is the smallest `2^n - 1` that is at least `count - 1`: {@link stableModMask}.
 */
export function stableMod(x: number, count: number, mask: number): number {
  const full = (x & mask) >>> 0
  return full < count ? full : (x & (mask >>> 1)) >>> 0
}

/** The mask that {@link stableMod} wants for `count` (at least 1). */
export function stableModMask(count: number): number {
  return count <= 1 ? 0 : 0xffff_ffff >>> Math.clz32(count - 1)
}
