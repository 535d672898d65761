/**
 * Frames: a fixed little-endian header, an encoded message header, payload. Byte table: docs/formats/messenger-frames.md.
 *
 * Invariants
 * 1. Nothing of a frame is delivered before both its checksums were verified, or the seal of its record was.
 * 2. No more memory is taken for a frame than its declared, bounded lengths, and only after its header proved sound.
 * 3. Payload is never copied on the way out; on the way in only when it straddles chunks of the stream.
 */
import { ClusterError, must } from '@shoal/base'
import xxhash, { type XXHashAPI } from 'xxhash-wasm'
import { ChunkQueue } from './chunk-queue.ts'

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

/** The low half of xxh64, over all chunks as one. */
export function checksum(chunks: readonly Uint8Array[]): number {
  const api = must(checksums, 'loadFrameChecksum was awaited')
  const first = chunks[0]
  if (chunks.length === 1 && first !== undefined && first.length <= hashPartBytes) {
    return Number(api.h64Raw(first) & low32)
  }
  const hash = api.create64()
  for (const chunk of chunks) {
    for (let at = 0; at < chunk.length; at += hashPartBytes) hash.update(chunk.subarray(at, at + hashPartBytes))
  }
  return Number(hash.digest() & low32)
}

function setU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value >>> 0, true)
  view.setUint32(at + 4, Math.floor(value / 0x1_0000_0000), true)
}

function getU64(view: DataView, at: number): number {
  const high = view.getUint32(at + 4, true)
  if (high > 0x1f_ffff) throw new ClusterError('EBADMSG', 'number over 2^53 in a frame header')
  return high * 0x1_0000_0000 + view.getUint32(at, true)
}

export function frameBytes(frame: OutgoingFrame): number {
  let total = frameHeaderBytes + frame.header.length
  for (const chunk of frame.payload) total += chunk.length
  return total
}

/** Small buffers are cut from one large: an allocation of its own for each frame costs more than filling it. */
const slabBytes = 64 * 1024
const slabShareBytesMax = 4 * 1024
let slab = new DataView(new ArrayBuffer(slabBytes))
let slabUsed = 0

function allocate(sizeBytes: number): DataView {
  if (sizeBytes > slabShareBytesMax) return new DataView(new ArrayBuffer(sizeBytes))
  if (sizeBytes > slabBytes - slabUsed) {
    slab = new DataView(new ArrayBuffer(slabBytes))
    slabUsed = 0
  }
  const share = new DataView(slab.buffer, slabUsed, sizeBytes)
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
  const view = allocate(frameHeaderBytes + frame.header.length)
  const head = new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
  view.setUint32(0, frameMagic, true)
  view.setUint16(4, frame.type, true)
  view.setUint32(8, frame.header.length, true)
  view.setUint32(12, payloadBytes, true)
  setU64(view, 16, sequence)
  setU64(view, 24, frame.tid)
  setU64(view, 32, frame.traceId)
  head.set(frame.header, frameHeaderBytes)
  if (checks === 'checksums') {
    view.setUint32(44, payloadBytes === 0 ? 0 : checksum(frame.payload), true)
    // Over everything but itself: computed while its own field is zero.
    view.setUint32(40, checksum([head]), true)
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
  private readonly queue = new ChunkQueue()
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
    const view = new DataView(head.buffer, head.byteOffset, head.byteLength)
    const headerLength = view.getUint32(8, true)
    const payloadLength = view.getUint32(12, true)
    if (view.getUint32(0, true) !== frameMagic) throw new ClusterError('EBADMSG', 'bytes that are no frame')
    if (headerLength > this.limits.headerBytesMax || payloadLength > this.limits.payloadBytesMax) {
      throw new ClusterError('EBADMSG', `frame of ${headerLength} + ${payloadLength} bytes is over the limit`)
    }
    this.needed = frameHeaderBytes + headerLength + payloadLength
    if (queue.length < this.needed) return undefined
    const whole = queue.take(this.needed)
    this.needed = frameHeaderBytes
    return decodeFrame(whole, headerLength, this.checks)
  }
}

function decodeFrame(whole: Uint8Array, headerLength: number, checks: FrameChecks): NumberedFrame {
  const view = new DataView(whole.buffer, whole.byteOffset, whole.byteLength)
  const payload = whole.subarray(frameHeaderBytes + headerLength)
  const stored = view.getUint32(40, true)
  if (checks === 'sealed') {
    if (stored !== 0 || view.getUint32(44, true) !== 0) throw new ClusterError('EBADMSG', 'checksums in a sealed frame')
  } else {
    view.setUint32(40, 0, true)
    if (checksum([whole.subarray(0, frameHeaderBytes + headerLength)]) !== stored) {
      throw new ClusterError('EBADMSG', 'checksum of a frame header does not match')
    }
    if ((payload.length === 0 ? 0 : checksum([payload])) !== view.getUint32(44, true)) {
      throw new ClusterError('EBADMSG', 'checksum of a payload does not match')
    }
  }
  if (view.getUint16(6, true) !== 0) throw new ClusterError('EBADMSG', 'a frame with flags that nobody negotiated')
  return {
    type: view.getUint16(4, true),
    sequence: getU64(view, 16),
    tid: getU64(view, 24),
    traceId: getU64(view, 32),
    header: whole.subarray(frameHeaderBytes, frameHeaderBytes + headerLength),
    payload,
  }
}
