/** What the tests of streams share: chunks of any size, arbitrary diffs, images in memory. */
import { concatBytes, utf8Encode } from '@shoal/base'
import { type DiffRecord, decodeStream, encodeDiff, readDiff } from '@shoal/image-streams'
import fc from 'fast-check'

export async function gather<T>(items: AsyncIterable<T>): Promise<T[]> {
  const gathered: T[] = []
  for await (const item of items) gathered.push(item)
  return gathered
}

export async function bytesOf(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const gathered = await gather(chunks)
  return gathered.length === 0 ? new Uint8Array(0) : concatBytes(gathered)
}

/** The bytes in chunks of the sizes that are given, over and over. */
export async function* chunked(bytes: Uint8Array, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = sizes[i % sizes.length] as number
    yield bytes.subarray(at, at + size)
    at += size
  }
}

/** A stream written by hand: text as it is, numbers as le64. */
export function stream(...parts: readonly (string | number | Uint8Array)[]): Uint8Array {
  return concatBytes(
    parts.map((part) => {
      if (typeof part === 'string') return utf8Encode(part)
      if (typeof part !== 'number') return part
      const bytes = new Uint8Array(8)
      new DataView(bytes.buffer).setBigUint64(0, BigInt(part), true)
      return bytes
    }),
  )
}

/** le32 length, then the text. */
export function text(value: string): Uint8Array {
  const bytes = utf8Encode(value)
  return concatBytes([Uint8Array.of(bytes.length & 255, bytes.length >> 8, 0, 0), bytes])
}

export const decodeDiff = (bytes: Uint8Array, sizes: readonly number[] = [bytes.length]): Promise<DiffRecord[]> =>
  gather(decodeStream(chunked(bytes, sizes), readDiff))

export const diffBytes = (version: 1 | 2, records: readonly DiffRecord[]): Promise<Uint8Array> =>
  bytesOf(encodeDiff(version, records))

/** Neighbouring pieces of data as one, as a reader may cut them. */
export function joined(records: readonly DiffRecord[]): readonly DiffRecord[] {
  const result: DiffRecord[] = []
  for (const record of records) {
    const last = result.at(-1)
    const follows = record.kind === 'data' && last?.kind === 'data' && last.offset + last.data.length === record.offset
    if (follows) {
      result[result.length - 1] = { ...last, data: concatBytes([last.data, record.data]) }
    } else result.push(record)
  }
  return result
}

/** An image after a diff. */
export function applied(image: Uint8Array, records: readonly DiffRecord[]): Uint8Array {
  let current = image
  for (const record of records) {
    if (record.kind === 'size') {
      const resized = new Uint8Array(record.sizeBytes)
      resized.set(current.subarray(0, record.sizeBytes))
      current = resized
    } else if (record.kind === 'data') current.set(record.data, record.offset)
    else if (record.kind === 'zero') current.fill(0, record.offset, record.offset + record.length)
  }
  return current
}

export const chunkSizes: fc.Arbitrary<number[]> = fc.array(fc.integer({ min: 1, max: 40 }), {
  minLength: 1,
  maxLength: 6,
})

const name = fc.string({ minLength: 1, maxLength: 20 })

/** A diff whose extents are in order, over an image of up to 200 bytes. */
export const diffs: fc.Arbitrary<DiffRecord[]> = fc
  .record({
    from: fc.option(name, { nil: undefined }),
    to: fc.option(name, { nil: undefined }),
    sizeBytes: fc.integer({ min: 0, max: 200 }),
    extents: fc.array(
      fc.record({
        gap: fc.integer({ min: 0, max: 20 }),
        data: fc.uint8Array({ minLength: 1, maxLength: 40 }),
        isZero: fc.boolean(),
      }),
      { maxLength: 12 },
    ),
  })
  .map(({ from, to, sizeBytes, extents }) => {
    const records: DiffRecord[] = []
    if (from !== undefined) records.push({ kind: 'from', snapshot: from })
    if (to !== undefined) records.push({ kind: 'to', snapshot: to })
    records.push({ kind: 'size', sizeBytes })
    let at = 0
    for (const { gap, data, isZero } of extents) {
      at += gap
      if (at + data.length > sizeBytes) break
      records.push(
        isZero ? { kind: 'zero', offset: at, length: data.length } : { kind: 'data', offset: at, data: data.slice() },
      )
      at += data.length
    }
    return [...records, { kind: 'end' }]
  })
