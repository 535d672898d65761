/**
 * The input of a decoder, which arrives in chunks of any size. A decoder is a generator that asks for the next field; when
 * the chunks end inside of it, it yields `undefined`, and goes on where it was once there is more.
 *
 * Invariant 1: no more is held than the chunks that one field spans, and no field is longer than `fieldBytesMax`. Payload
 * is handed on as views of the chunks.
 */
import { assert, ClusterError, emptyBytes, utf8Decode } from '@shoal/base'

/** Names and metadata: what `rbd` accepts. */
export const textBytesMax = 4096
const fieldBytesMax = textBytesMax

/** What a decoder yields: something that was read, or `undefined` for "more, please". */
export type Decoding<T, R = void> = Generator<T | undefined, R, void>

export class StreamInput {
  private chunk: Uint8Array = emptyBytes
  private at = 0
  private ended = false
  /** Bytes of the chunks before this one. */
  private beforeBytes = 0
  /** Of the record that is being read, and the byte where it begins. */
  private record = 'the banner'
  private records = 0
  private recordAt = 0

  /** Bytes that were read so far. */
  get offset(): number {
    return this.beforeBytes + this.at
  }

  feed(chunk: Uint8Array): void {
    assert(this.at === this.chunk.length && !this.ended, 'a chunk is read to its end before the next one comes')
    this.beforeBytes += this.chunk.length
    this.chunk = chunk
    this.at = 0
  }

  end(): void {
    this.ended = true
  }

  /** Errors are about this record from now on. */
  begin(what: string): void {
    this.record = `record ${++this.records} (${what})`
  }

  /** The next record begins here. */
  mark(): void {
    this.recordAt = this.offset
    this.record = `record ${this.records + 1}`
  }

  /** EINVAL that says where. */
  refusal(what: string, cause?: unknown): ClusterError {
    return new ClusterError('EINVAL', `${this.record}, which begins at byte ${this.recordAt} of the stream: ${what}`, {
      hint: 'the stream is damaged or of another kind; make it again',
      cause,
    })
  }

  /** Whether there is anything left. */
  *more(): Decoding<never, boolean> {
    while (this.at === this.chunk.length) {
      if (this.ended) return false
      yield undefined
    }
    return true
  }

  /** Exactly `length` bytes, of a field whose name errors tell. */
  *bytes(length: number, field: string): Decoding<never, Uint8Array> {
    assert(length <= fieldBytesMax, 'fields are short')
    if (this.chunk.length - this.at >= length) return this.view(length)
    const gathered = new Uint8Array(length)
    for (let have = 0; have < length; ) {
      if (!(yield* this.more())) throw this.truncated(field)
      const part = this.view(Math.min(length - have, this.chunk.length - this.at))
      gathered.set(part, have)
      have += part.length
    }
    return gathered
  }

  /** `length` bytes of any number, as they come: each piece a view. */
  *pieces(length: number, field: string): Decoding<Uint8Array> {
    for (let left = length; left > 0; ) {
      if (!(yield* this.more())) throw this.truncated(field)
      const piece = this.view(Math.min(left, this.chunk.length - this.at))
      left -= piece.length
      yield piece
    }
  }

  *skip(length: number, field: string): Decoding<never> {
    for (let left = length; left > 0; ) {
      if (!(yield* this.more())) throw this.truncated(field)
      left -= this.view(Math.min(left, this.chunk.length - this.at)).length
    }
  }

  *u8(field: string): Decoding<never, number> {
    return (yield* this.bytes(1, field))[0] as number
  }

  *u64(field: string): Decoding<never, number> {
    const bytes = yield* this.bytes(8, field)
    const view = new DataView(bytes.buffer, bytes.byteOffset, 8)
    const value = view.getBigUint64(0, true)
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw this.refusal(`its ${field} is ${value}, more than any image has`)
    return Number(value)
  }

  /** le32 length, then UTF-8. */
  *text(field: string): Decoding<never, string> {
    const head = yield* this.bytes(4, field)
    const length = new DataView(head.buffer, head.byteOffset, 4).getUint32(0, true)
    if (length > textBytesMax) throw this.refusal(`its ${field} has ${length} bytes, more than ${textBytesMax}`)
    const bytes = yield* this.bytes(length, field)
    try {
      return utf8Decode(bytes)
    } catch (cause) {
      throw this.refusal(`its ${field} is not UTF-8`, cause)
    }
  }

  private truncated(field: string): ClusterError {
    return this.refusal(`the stream ends at byte ${this.offset}, inside its ${field}`)
  }

  private view(length: number): Uint8Array {
    this.at += length
    return this.chunk.subarray(this.at - length, this.at)
  }
}
