/**
 * Names come again and again: of objects, pools, placement groups. A text that was read before is given again as the same
 * string, so that it is allocated once, its hash is known to every map, and comparing it is comparing a pointer.
 */

/** Longer texts are rare, and are not kept. */
const shortBytesMax = 64
/** A slot forgets its text for the next one that falls to it: this many short texts are all that is ever kept. */
const slots = 4096

const texts: string[] = new Array<string>(slots).fill('')

/** The ASCII text in `bytes` [at, at + length); undefined for one that is long, or not ASCII. */
export function shortText(bytes: Uint8Array, at: number, length: number): string | undefined {
  if (length > shortBytesMax) return undefined
  const end = at + length
  // FNV-1a; a collision costs a slot, not an error.
  let hash = 0x811c9dc5
  for (let i = at; i < end; i++) {
    const byte = bytes[i] as number
    if (byte > 0x7f) return undefined
    hash = Math.imul(hash ^ byte, 0x01000193)
  }
  const slot = (hash ^ (hash >>> 16)) & (slots - 1)
  const known = texts[slot] as string
  if (isSame(known, bytes, at, length)) return known
  const text = String.fromCharCode.apply(null, bytes.subarray(at, end) as unknown as number[])
  texts[slot] = text
  return text
}

function isSame(text: string, bytes: Uint8Array, at: number, length: number): boolean {
  if (text.length !== length) return false
  for (let i = 0; i < length; i++) if (text.charCodeAt(i) !== bytes[at + i]) return false
  return true
}
