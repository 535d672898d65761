/** Drives a decoder: chunks in, what they complete out. */
import { assert } from '@shoal/base'
import { type Decoding, StreamInput } from './stream-input.ts'

class StreamDecoder<T> {
  private readonly input = new StreamInput()
  private readonly decoding: Decoding<T>
  private ended = false

  constructor(decoder: (input: StreamInput) => Decoding<T>) {
    this.decoding = decoder(this.input)
  }

  /** What this chunk completes; views of it, where it is payload. Throws EINVAL, after which nothing more may be pushed. */
  *push(chunk: Uint8Array): Generator<T, void, void> {
    assert(!this.ended, 'nothing comes after the end')
    this.input.feed(chunk)
    yield* this.drain()
  }

  /** The stream has ended. Throws EINVAL if it should not have. */
  *end(): Generator<T, void, void> {
    this.ended = true
    this.input.end()
    yield* this.drain()
  }

  private *drain(): Generator<T, void, void> {
    for (;;) {
      const { value, done } = this.decoding.next()
      if (done === true || value === undefined) return
      yield value
    }
  }
}

/** The records of a stream, read as far as they are asked for. */
export async function* decodeStream<T>(
  chunks: AsyncIterable<Uint8Array>,
  decoder: (input: StreamInput) => Decoding<T>,
): AsyncGenerator<T, void, void> {
  const stream = new StreamDecoder(decoder)
  for await (const chunk of chunks) yield* stream.push(chunk)
  yield* stream.end()
}
