/**
 * Frames: a fixed little-endian header, an encoded message header, payload. Byte table: docs/formats/messenger-frames.md.
 *
 * Invariants
 * 1. Nothing of a frame is delivered before both its checksums were verified, or the seal of its record was.
 * 2. No more memory is taken for a frame than its declared, bounded lengths, and only after its header proved sound.
 * 3. Payload is never copied on the way out; on the way in once, to where it stays, and again only across two slabs.
 */
import { ClusterError, InputBuffer, must } from '@shoal/base'
import xxhash, { type XXHashAPI } from 'xxhash-wasm'

const frameHeaderBytes = 48
const frameMagic = 0x314c4853

/** Types from here on are the messenger's own. */
export const controlType = { ack: 0xfff0, keepalive: 0xfff1 } as const

export interface OutgoingFrame {
  readonly type: number
  readonly tid: number
  readonly traceId: number
  readonly header: Uint8Array
  readonly payload: readonly Uint8Array[]
}

export interface ReceivedFrame {
  readonly type: number
  readonly tid: number
  readonly traceId: number
  readonly header: Uint8Array
  readonly payload: Uint8Array
}

let checksums: XXHashAPI | undefined

/** Loads the checksum's WebAssembly; awaited once before the first frame. */
export async function loadFrameChecksum(): Promise<void> {
  checksums ??= await xxhash()
}

const low32 = 0xffff_ffffn

/** Larger chunks are hashed in parts: the hash's own memory stays small, and in the processor's cache. */
const hashPartBytes = 128 * 1024

function checksumOf(bytes: Uint8Array): number {
  if (bytes.length > hashPartBytes) return checksum([bytes])
  return Number(must(checksums, 'loadFrameChecksum was awaited').h64Raw(bytes) & low32)
}

/** The low half of xxh64, over all chunks as one. */
export function checksum(chunks: readonly Uint8Array[]): number {
  const first = chunks[0]
  if (chunks.length === 1 && first !== undefined && first.length <= hashPartBytes) return checksumOf(first)
  const hash = must(checksums, 'loadFrameChecksum was awaited').create64()
  for (const chunk of chunks) {
    for (let at = 0; at < chunk.length; at += hashPartBytes) hash.update(chunk.subarray(at, at + hashPartBytes))
  }
  return Number(hash.digest() & low32)
}

// Little-endian fields of headers, without a view made for each frame.

function putU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value
  bytes[at + 1] = value >>> 8
}

function putU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value
  bytes[at + 1] = value >>> 8
  bytes[at + 2] = value >>> 16
  bytes[at + 3] = value >>> 24
}

function putU64(bytes: Uint8Array, at: number, value: number): void {
  putU32(bytes, at, value >>> 0)
  putU32(bytes, at + 4, Math.floor(value / 0x1_0000_0000))
}

function getU16(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) | ((bytes[at + 1] as number) << 8)
}

function getU32(bytes: Uint8Array, at: number): number {
  return (getU16(bytes, at) | (getU16(bytes, at + 2) << 16)) >>> 0
}

function getU64(bytes: Uint8Array, at: number): number {
  const high = getU32(bytes, at + 4)
  if (high > 0x1f_ffff) throw new ClusterError('EBADMSG', 'number over 2^53 in a frame header')
  return high * 0x1_0000_0000 + getU32(bytes, at)
}

export function frameBytes(frame: OutgoingFrame): number {
  let total = frameHeaderBytes + frame.header.length
  for (const chunk of frame.payload) total += chunk.length
  return total
}

/** Small buffers are cut from one large: an allocation of its own for each frame costs more than filling it. */
const slabBytes = 64 * 1024
const slabShareBytesMax = 4 * 1024
let slab = new Uint8Array(slabBytes)
let slabUsed = 0

/** Zeros. */
function allocate(sizeBytes: number): Uint8Array {
  if (sizeBytes > slabShareBytesMax) return new Uint8Array(sizeBytes)
  if (sizeBytes > slabBytes - slabUsed) {
    slab = new Uint8Array(slabBytes)
    slabUsed = 0
  }
  const share = slab.subarray(slabUsed, slabUsed + sizeBytes)
  slabUsed += sizeBytes
  return share
}

/** What proves a frame sound: checksums of its own, or the seal of the record that it came in. */
export type FrameChecks = 'checksums' | 'sealed'

/** The chunks to write: one small buffer with both headers, then the payload by reference. */
export function encodeFrame(
  frame: OutgoingFrame,
  sequence: number,
  checks: FrameChecks = 'checksums',
): readonly Uint8Array[] {
  let payloadBytes = 0
  for (const chunk of frame.payload) payloadBytes += chunk.length
  const head = allocate(frameHeaderBytes + frame.header.length)
  putU32(head, 0, frameMagic)
  putU16(head, 4, frame.type)
  putU32(head, 8, frame.header.length)
  putU32(head, 12, payloadBytes)
  putU64(head, 16, sequence)
  putU64(head, 24, frame.tid)
  putU64(head, 32, frame.traceId)
  head.set(frame.header, frameHeaderBytes)
  if (checks === 'checksums') {
    if (payloadBytes > 0) putU32(head, 44, checksum(frame.payload))
    // Over everything but itself: computed while its own field is zero.
    putU32(head, 40, checksumOf(head))
  }
  return payloadBytes === 0 ? [head] : [head, ...frame.payload]
}

export interface FrameLimits {
  readonly headerBytesMax: number
  readonly payloadBytesMax: number
}

export type NumberedFrame = ReceivedFrame & { readonly sequence: number }

/** Cuts a stream of chunks into frames. */
export class FrameReader {
  private readonly limits: FrameLimits
  private readonly checks: FrameChecks
  private readonly queue = new InputBuffer()
  private needed = frameHeaderBytes

  constructor(limits: FrameLimits, checks: FrameChecks = 'checksums') {
    this.limits = limits
    this.checks = checks
  }

  /** Bytes that are not part of a frame returned so far. */
  get bufferedBytes(): number {
    return this.queue.length
  }

  push(chunk: Uint8Array): void {
    this.queue.push(chunk)
  }

  /** The next whole frame, or undefined. Throws EBADMSG; the stream is useless then. */
  next(): NumberedFrame | undefined {
    const { queue } = this
    if (queue.length < this.needed) return undefined
    const head = queue.peek(frameHeaderBytes)
    const headerLength = getU32(head, 8)
    const payloadLength = getU32(head, 12)
    if (getU32(head, 0) !== frameMagic) throw new ClusterError('EBADMSG', 'bytes that are no frame')
    if (headerLength > this.limits.headerBytesMax || payloadLength > this.limits.payloadBytesMax) {
      throw new ClusterError('EBADMSG', `frame of ${headerLength} + ${payloadLength} bytes is over the limit`)
    }
    this.needed = frameHeaderBytes + headerLength + payloadLength
    if (queue.length < this.needed) {
      queue.reserve(this.needed)
      return undefined
    }
    const whole = queue.take(this.needed)
    this.needed = frameHeaderBytes
    return decodeFrame(whole, headerLength, this.checks)
  }
}

function decodeFrame(whole: Uint8Array, headerLength: number, checks: FrameChecks): NumberedFrame {
  const payload = whole.subarray(frameHeaderBytes + headerLength)
  const stored = getU32(whole, 40)
  if (checks === 'sealed') {
    if (stored !== 0 || getU32(whole, 44) !== 0) throw new ClusterError('EBADMSG', 'checksums in a sealed frame')
  } else {
    putU32(whole, 40, 0)
    if (checksumOf(whole.subarray(0, frameHeaderBytes + headerLength)) !== stored) {
      throw new ClusterError('EBADMSG', 'checksum of a frame header does not match')
    }
    if ((payload.length === 0 ? 0 : checksumOf(payload)) !== getU32(whole, 44)) {
      throw new ClusterError('EBADMSG', 'checksum of a payload does not match')
    }
  }
  if (getU16(whole, 6) !== 0) throw new ClusterError('EBADMSG', 'a frame with flags that nobody negotiated')
  return {
    type: getU16(whole, 4),
    sequence: getU64(whole, 16),
    tid: getU64(whole, 24),
    traceId: getU64(whole, 32),
    header: whole.subarray(frameHeaderBytes, frameHeaderBytes + headerLength),
    payload,
  }
}
