/**
 * Sealed records: the bytes of one direction of a `secure` connection, cut where the sender's turns of the event loop end.
 * A cipher costs several microseconds to set up, as much as a small frame takes in all, so what is sent in one turn shares
 * one. Byte table: docs/formats/messenger-frames.md.
 *
 * Invariants
 * 1. A key and a nonce seal one record and never another: nonces count up, and a key is replaced long before its nonces
 *    or its bytes run out. Both sides replace it after the same record.
 * 2. Nothing of a record is passed on before the whole of it, length and place among the others included, proved to be
 *    what the other side sealed.
 * 3. What a false length can make us wait for is one record.
 */
import { createCipheriv, createDecipheriv, type KeyObject } from 'node:crypto'
import { assert, ClusterError, InputBuffer } from '@shoal/base'
import { stretchKeys } from './secret.ts'

const algorithm = 'aes-256-gcm'
const lengthBytes = 4
const tagBytes = 16
/**
 * Of what a record holds. Frames that came whole on a connection that breaks again and again must count, so a record is
 * little larger than a frame; and large enough that setting up its cipher is a small part of its cost.
 */
export const recordBytesMax: number = 64 * 1024

/** How long one key is used. Part of the protocol: both sides must count alike. */
export interface KeyUse {
  readonly recordsPerKey: number
  readonly bytesPerKey: number
}

/** AES-GCM stays sound for 2^32 records and far more bytes. Short stretches, so that the change is nothing rare. */
export const defaultKeyUse: KeyUse = { recordsPerKey: 2 ** 24, bytesPerKey: 2 ** 36 }
const recordsPerKeyBound = 2 ** 32

class TrafficKey {
  key: KeyObject
  private readonly use: KeyUse
  private nonceBase: Uint8Array
  private next: Uint8Array
  private records = 0
  private bytes = 0

  constructor(trafficSecret: Uint8Array, use: KeyUse) {
    assert(use.recordsPerKey >= 1 && use.recordsPerKey < recordsPerKeyBound, 'invariant 1: nonces last')
    this.use = use
    const { key, nonceBase, next } = stretchKeys(trafficSecret)
    this.key = key
    this.nonceBase = nonceBase
    this.next = next
  }

  /** The nonce of the next record, which has so many bytes. `key` may be another one than before. */
  advance(sizeBytes: number): Uint8Array {
    if (this.records >= this.use.recordsPerKey || this.bytes >= this.use.bytesPerKey) {
      const { key, nonceBase, next } = stretchKeys(this.next)
      this.key = key
      this.nonceBase = nonceBase
      this.next = next
      this.records = 0
      this.bytes = 0
    }
    const nonce = this.nonceBase.slice()
    const view = new DataView(nonce.buffer)
    view.setUint32(8, (view.getUint32(8) ^ this.records) >>> 0)
    this.records++
    this.bytes += sizeBytes
    return nonce
  }
}

/** Chunks below this are gathered into one piece: a call of the cipher and a chunk to write cost more than the copy. */
const gatheredBytesMax = 16 * 1024
/** Emptied before each seal returns, so one serves all connections. */
const staging = new Uint8Array(64 * 1024)

export class RecordSealer {
  private readonly traffic: TrafficKey
  private pending: Uint8Array[] = []
  pendingBytes = 0

  constructor(trafficSecret: Uint8Array, use: KeyUse) {
    this.traffic = new TrafficKey(trafficSecret, use)
  }

  /** By reference, until `seal`. */
  add(chunks: readonly Uint8Array[]): void {
    for (const chunk of chunks) {
      this.pending.push(chunk)
      this.pendingBytes += chunk.length
    }
  }

  /** All that was added since, as records to write. */
  seal(): readonly Uint8Array[] {
    const sealed: Uint8Array[] = []
    const { pending } = this
    let next = 0
    let offset = 0
    while (this.pendingBytes > 0) {
      const sizeBytes = Math.min(this.pendingBytes, recordBytesMax)
      const nonce = this.traffic.advance(sizeBytes)
      const cipher = createCipheriv(algorithm, this.traffic.key, nonce, { authTagLength: tagBytes })
      const head = new Uint8Array(lengthBytes)
      new DataView(head.buffer).setUint32(0, sizeBytes, true)
      cipher.setAAD(head)
      sealed.push(head)
      let staged = 0
      for (let left = sizeBytes; left > 0; ) {
        const chunk = pending[next] as Uint8Array
        const part = chunk.subarray(offset, offset + left)
        left -= part.length
        offset += part.length
        if (offset === chunk.length) {
          next++
          offset = 0
        }
        const alone = part.length >= gatheredBytesMax
        if (staged > 0 && (alone || staged + part.length > staging.length)) {
          sealed.push(cipher.update(staging.subarray(0, staged)))
          staged = 0
        }
        if (alone) {
          sealed.push(cipher.update(part))
        } else {
          staging.set(part, staged)
          staged += part.length
        }
      }
      if (staged > 0) sealed.push(cipher.update(staging.subarray(0, staged)))
      cipher.final()
      sealed.push(cipher.getAuthTag())
      this.pendingBytes -= sizeBytes
    }
    this.pending = []
    return sealed
  }
}

export class RecordOpener {
  private readonly traffic: TrafficKey
  private readonly queue = new InputBuffer()

  constructor(trafficSecret: Uint8Array, use: KeyUse) {
    this.traffic = new TrafficKey(trafficSecret, use)
  }

  /** Bytes of a record that is not whole yet. */
  get bufferedBytes(): number {
    return this.queue.length
  }

  push(chunk: Uint8Array): void {
    this.queue.push(chunk)
  }

  /** What the next whole record holds, or undefined. Throws EBADMSG; the connection is useless then. */
  next(): Uint8Array | undefined {
    const { queue } = this
    if (queue.length < lengthBytes) return undefined
    const peeked = queue.peek(lengthBytes)
    const sizeBytes = new DataView(peeked.buffer, peeked.byteOffset, lengthBytes).getUint32(0, true)
    if (sizeBytes === 0 || sizeBytes > recordBytesMax) {
      throw new ClusterError('EBADMSG', `a sealed record of ${sizeBytes} bytes`)
    }
    const wholeBytes = lengthBytes + sizeBytes + tagBytes
    if (queue.length < wholeBytes) {
      queue.reserve(wholeBytes)
      return undefined
    }
    const head = queue.take(lengthBytes)
    const nonce = this.traffic.advance(sizeBytes)
    const decipher = createDecipheriv(algorithm, this.traffic.key, nonce, { authTagLength: tagBytes })
    decipher.setAAD(head)
    const opened = decipher.update(queue.take(sizeBytes))
    decipher.setAuthTag(queue.take(tagBytes))
    try {
      decipher.final()
    } catch (cause) {
      throw new ClusterError('EBADMSG', 'a record that the other side did not seal, or not as the next one', { cause })
    }
    return opened
  }
}
