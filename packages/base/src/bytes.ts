/** The encoder and decoder that every JavaScript runtime has; pure rows compile without the DOM's types. */
declare class TextEncoder {
  encode(text: string): Uint8Array
}
declare class TextDecoder {
  constructor(label: string, options: { fatal: boolean; ignoreBOM: boolean })
  decode(bytes: Uint8Array): string
}

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export const emptyBytes: Uint8Array = new Uint8Array(0)

/** Below this, what is saved by not clearing is less than the way there costs. */
const clearedBytesMax = 4096

type Allocate = (sizeBytes: number) => Uint8Array

/** In a simulation what is not written must be the same each time. */
let allocate: Allocate = (sizeBytes) => new Uint8Array(sizeBytes)

/** `runtime` says how memory is had that is not cleared first. */
export function allocateUninitializedBy(platform: Allocate): void {
  allocate = platform
}

/** For whoever writes every byte before it is read: anything may be in it. Clearing large pieces costs more than filling them. */
export function uninitializedBytes(sizeBytes: number): Uint8Array {
  return sizeBytes <= clearedBytesMax ? new Uint8Array(sizeBytes) : allocate(sizeBytes)
}

export function utf8Encode(text: string): Uint8Array {
  return encoder.encode(text)
}

/** Throws a TypeError on bytes that are not UTF-8. */
export function utf8Decode(bytes: Uint8Array): string {
  return decoder.decode(bytes)
}

/** Lexicographic order of unsigned bytes: negative, zero or positive. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i++) {
    const difference = (a[i] as number) - (b[i] as number)
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && compareBytes(a, b) === 0
}

export function concatBytes(chunks: readonly Uint8Array[]): Uint8Array {
  if (chunks.length === 1) return chunks[0] as Uint8Array
  let sizeBytes = 0
  for (const chunk of chunks) sizeBytes += chunk.length
  const whole = new Uint8Array(sizeBytes)
  let at = 0
  for (const chunk of chunks) {
    whole.set(chunk, at)
    at += chunk.length
  }
  return whole
}

export function hexEncode(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += byte.toString(16).padStart(2, '0')
  return text
}

/** Undefined when the text is not an even number of hexadecimal digits. */
export function hexDecode(text: string): Uint8Array | undefined {
  if (text.length % 2 !== 0 || /[^0-9a-fA-F]/.test(text)) return undefined
  const bytes = new Uint8Array(text.length / 2)
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(text.slice(i * 2, i * 2 + 2), 16)
  return bytes
}
