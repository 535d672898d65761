/** An image as its bare bytes, and the same as records: zeros that fill whole granules become holes. */
import type { DiffRecord } from './diff-record.ts'

type Extent = Extract<DiffRecord, { readonly kind: 'data' | 'zero' }>

/** Zeros are written to a pipe in pieces of this size. */
const zeroPieceBytes = 1024 * 1024

/** Pieces of exactly `pieceBytes`, the last one shorter. */
async function* regular(chunks: AsyncIterable<Uint8Array>, pieceBytes: number): AsyncGenerator<Uint8Array, void, void> {
  let piece = new Uint8Array(pieceBytes)
  let filled = 0
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length; ) {
      const part = chunk.subarray(at, at + pieceBytes - filled)
      piece.set(part, filled)
      at += part.length
      filled += part.length
      if (filled < pieceBytes) continue
      yield piece
      // The consumer may still be writing the one before.
      piece = new Uint8Array(pieceBytes)
      filled = 0
    }
  }
  if (filled > 0) yield piece.subarray(0, filled)
}

function isZero(bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.length; at++) if (bytes[at] !== 0) return false
  return true
}

/** The bytes of one piece as runs of data and zeros, cut at multiples of `granuleBytes`. */
function* sparse(piece: Uint8Array, offset: number, granuleBytes: number): Generator<Extent, void, void> {
  let began = 0
  let zero = false
  const run = (end: number): Extent =>
    zero
      ? { kind: 'zero', offset: offset + began, length: end - began }
      : { kind: 'data', offset: offset + began, data: piece.subarray(began, end) }
  for (let at = 0; at < piece.length; at += granuleBytes) {
    const isHole = isZero(piece.subarray(at, at + granuleBytes))
    if (isHole !== zero && at > began) {
      yield run(at)
      began = at
    }
    zero = isHole
  }
  if (piece.length > began) yield run(piece.length)
}

/** Covers every byte in order; no record is longer than `pieceBytes`, or crosses a multiple of it. */
export async function* readRaw(
  chunks: AsyncIterable<Uint8Array>,
  pieceBytes: number,
  granuleBytes: number,
): AsyncGenerator<Extent, void, void> {
  let offset = 0
  for await (const piece of regular(chunks, pieceBytes)) {
    yield* sparse(piece, offset, granuleBytes)
    offset += piece.length
  }
}

/** All bytes of an image: what no record covers is zeros. The records are in order. */
export async function* writeRaw(
  records: AsyncIterable<DiffRecord>,
  sizeBytes: number,
): AsyncGenerator<Uint8Array, void, void> {
  let at = 0
  for await (const record of records) {
    if (record.kind !== 'data') continue
    yield* zeros(record.offset - at)
    yield record.data
    at = record.offset + record.data.length
  }
  yield* zeros(sizeBytes - at)
}

function* zeros(length: number): Generator<Uint8Array, void, void> {
  if (length === 0) return
  const piece = new Uint8Array(Math.min(length, zeroPieceBytes))
  for (let left = length; left > 0; left -= piece.length) yield piece.subarray(0, left)
}
