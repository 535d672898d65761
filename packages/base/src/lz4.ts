/**
 * The block format of LZ4 (lz4_Block_format.md of the LZ4 project), in plain TypeScript: no native code to build, and
 * the same bytes on every machine.
 *
 * A block is a row of sequences: a token (high half: number of literals, low half: length of the match less 4; 15 in
 * either half goes on in bytes of 255), the literals, the distance of the match (u16), more of its length. The last
 * sequence has literals only. The encoder keeps the format's two rules for the end: the last 5 bytes are literals, and
 * no match begins in the last 12.
 */

const matchBytesMin = 4
const lastLiterals = 5
const matchStartMargin = 12
const distanceMax = 0xffff
const hashBits = 13
const inputBytesMax = 0x7e00_0000

/** Room that is enough for any input of so many bytes. */
export function lz4BytesMax(inputBytes: number): number {
  return inputBytes + Math.floor(inputBytes / 255) + 16
}

/** Keeps its table between calls. */
export class Lz4Encoder {
  private readonly table = new Int32Array(1 << hashBits)

  /** The block. Undefined when it would be longer than `bytesMax`. */
  encode(input: Uint8Array, bytesMax: number = lz4BytesMax(input.length)): Uint8Array | undefined {
    if (input.length > inputBytesMax) throw new RangeError('more than one block of LZ4 holds')
    const output = new Uint8Array(Math.min(bytesMax, lz4BytesMax(input.length)))
    const { table } = this
    table.fill(-1)
    const end = input.length
    const startMax = end - matchStartMargin
    const matchEndMax = end - lastLiterals
    let anchor = 0
    let to = 0
    let misses = 0
    for (let at = 0; at <= startMax; ) {
      const word = u32(input, at)
      const slot = Math.imul(word, 0x9e37_79b1) >>> (32 - hashBits)
      const candidate = table[slot] as number
      table[slot] = at
      if (candidate < 0 || at - candidate > distanceMax || u32(input, candidate) !== word) {
        // What does not compress is passed in longer and longer steps.
        at += 1 + (misses++ >>> 6)
        continue
      }
      misses = 0
      let from = candidate
      let start = at
      while (start > anchor && from > 0 && input[start - 1] === input[from - 1]) {
        start--
        from--
      }
      let length = at - start + matchBytesMin
      while (start + length < matchEndMax && input[start + length] === input[from + length]) length++
      to = putSequence(output, to, input, anchor, start, start - from, length)
      if (to < 0) return undefined
      at = start + length
      anchor = at
      if (at <= startMax) table[Math.imul(u32(input, at - 2), 0x9e37_79b1) >>> (32 - hashBits)] = at - 2
    }
    to = putSequence(output, to, input, anchor, end, 0, 0)
    return to < 0 ? undefined : output.subarray(0, to)
  }
}

/** Where the next sequence goes; -1 when this one does not fit. A distance of 0 makes the last sequence. */
function putSequence(
  output: Uint8Array,
  at: number,
  input: Uint8Array,
  from: number,
  end: number,
  distance: number,
  length: number,
): number {
  const literals = end - from
  const rest = distance === 0 ? 0 : length - matchBytesMin
  if (at + 1 + literals + Math.floor(literals / 255) + 3 + Math.floor(rest / 255) > output.length) {
    const exact = 1 + lengthBytes(literals) + literals + (distance === 0 ? 0 : 2 + lengthBytes(rest))
    if (at + exact > output.length) return -1
  }
  let to = at
  output[to++] = (Math.min(literals, 15) << 4) | Math.min(rest, 15)
  to = putLength(output, to, literals)
  if (literals > 32) {
    output.set(input.subarray(from, end), to)
    to += literals
  } else {
    for (let i = from; i < end; i++) output[to++] = input[i] as number
  }
  if (distance === 0) return to
  output[to++] = distance & 0xff
  output[to++] = distance >>> 8
  return putLength(output, to, rest)
}

const lengthBytes = (value: number): number => (value < 15 ? 0 : Math.floor((value - 15) / 255) + 1)

function putLength(output: Uint8Array, at: number, value: number): number {
  if (value < 15) return at
  let to = at
  let left = value - 15
  for (; left >= 255; left -= 255) output[to++] = 255
  output[to++] = left
  return to
}

function u32(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] as number) |
    ((bytes[at + 1] as number) << 8) |
    ((bytes[at + 2] as number) << 16) |
    ((bytes[at + 3] as number) << 24)
  )
}

/**
 * The bytes of a block, exactly `sizeBytes` of them; undefined for everything that is not such a block. Nothing in the
 * input makes it take more memory, or read outside of what it has.
 */
export function lz4Decode(input: Uint8Array, sizeBytes: number): Uint8Array | undefined {
  const output = new Uint8Array(sizeBytes)
  const end = input.length
  let at = 0
  let to = 0
  while (at < end) {
    const token = input[at++] as number
    let literals = token >>> 4
    if (literals === 15) {
      for (let more = 255; more === 255; literals += more) {
        if (at >= end) return undefined
        more = input[at++] as number
      }
    }
    if (literals > end - at || literals > sizeBytes - to) return undefined
    if (literals > 32) output.set(input.subarray(at, at + literals), to)
    else for (let i = 0; i < literals; i++) output[to + i] = input[at + i] as number
    at += literals
    to += literals
    if (at === end) return to === sizeBytes && (token & 15) === 0 ? output : undefined
    if (end - at < 2) return undefined
    const distance = (input[at] as number) | ((input[at + 1] as number) << 8)
    at += 2
    let length = token & 15
    if (length === 15) {
      for (let more = 255; more === 255; length += more) {
        if (at >= end) return undefined
        more = input[at++] as number
      }
    }
    length += matchBytesMin
    if (distance === 0 || distance > to || length > sizeBytes - to) return undefined
    const from = to - distance
    if (distance >= length && length > 32) output.copyWithin(to, from, from + length)
    else for (let i = 0; i < length; i++) output[to + i] = output[from + i] as number
    to += length
  }
  return undefined
}
