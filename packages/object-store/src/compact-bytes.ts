/**
 * Small values that live until a checkpoint are copied out of the messages that brought them: a view of 200 bytes would
 * keep a received chunk of 64 KiB alive. Their own slabs hold nothing but values of about the same age.
 */
const slabBytes = 64 * 1024
const sharedBytesMax = 4096

let slab = new Uint8Array(slabBytes)
let used = 0

/** A copy that keeps nothing else of its source alive. */
export function compactBytes(bytes: Uint8Array): Uint8Array {
  const { length } = bytes
  if (length > sharedBytesMax) return bytes.slice()
  if (used + length > slabBytes) {
    slab = new Uint8Array(slabBytes)
    used = 0
  }
  const copy = slab.subarray(used, used + length)
  copy.set(bytes)
  used += length
  return copy
}
