/**
 * The bytes of a modelled object: pieces of what was written, by reference, with holes between them. Immutable, and cheap
 * to change, since a search for an order makes and drops very many of them.
 */

interface Piece {
  /** Where it begins in the object. */
  readonly at: number
  readonly length: number
  readonly source: Uint8Array
  /** Where it begins in the source. */
  readonly from: number
}

/** Numbers for what was written: equal numbers, equal bytes. */
const sourceNumbers = new WeakMap<Uint8Array, number>()
let nextSourceNumber = 1

function numberOf(source: Uint8Array): number {
  let number = sourceNumbers.get(source)
  if (number === undefined) {
    number = nextSourceNumber++
    sourceNumbers.set(source, number)
  }
  return number
}

export class ObjectContent {
  static readonly empty: ObjectContent = new ObjectContent(0, [])
  readonly sizeBytes: number
  /** By place; no two overlap, none reaches beyond the size. What lies between them is zero. */
  private readonly pieces: readonly Piece[]
  private hashed: string | undefined

  private constructor(sizeBytes: number, pieces: readonly Piece[]) {
    this.sizeBytes = sizeBytes
    this.pieces = pieces
  }

  write(offset: number, data: Uint8Array): ObjectContent {
    if (data.length === 0) return this
    const pieces = this.without(offset, offset + data.length)
    const place = pieces.findIndex((piece) => piece.at > offset)
    const piece = { at: offset, length: data.length, source: data, from: 0 }
    pieces.splice(place < 0 ? pieces.length : place, 0, piece)
    return new ObjectContent(Math.max(this.sizeBytes, offset + data.length), pieces)
  }

  truncate(sizeBytes: number): ObjectContent {
    if (sizeBytes === this.sizeBytes) return this
    return new ObjectContent(sizeBytes, this.without(sizeBytes, Number.POSITIVE_INFINITY))
  }

  /** Inside the present size only. */
  zero(offset: number, length: number): ObjectContent {
    const end = Math.min(offset + length, this.sizeBytes)
    return end <= offset ? this : new ObjectContent(this.sizeBytes, this.without(offset, end))
  }

  /** Shorter at the end of the object. */
  read(offset: number, length: number): Uint8Array {
    const end = Math.max(offset, Math.min(offset + length, this.sizeBytes))
    const bytes = new Uint8Array(end - offset)
    for (const piece of this.within(offset, end)) {
      bytes.set(piece.source.subarray(piece.from, piece.from + piece.length), piece.at - offset)
    }
    return bytes
  }

  /** Whether `data` is what a read at the offset for `length` bytes gives; faster than making it. */
  reads(offset: number, length: number, data: Uint8Array): boolean {
    const end = Math.max(offset, Math.min(offset + length, this.sizeBytes))
    return data.length === end - offset && this.holds(offset, data)
  }

  /** Whether the bytes at the offset are `data`, zeros beyond the end. */
  holds(offset: number, data: Uint8Array): boolean {
    let at = offset
    for (const piece of this.within(offset, offset + data.length)) {
      if (!isZero(data, at - offset, piece.at - offset)) return false
      const part = data.subarray(piece.at - offset, piece.at - offset + piece.length)
      if (Buffer.compare(part, piece.source.subarray(piece.from, piece.from + piece.length)) !== 0) return false
      at = piece.at + piece.length
    }
    return isZero(data, at - offset, data.length)
  }

  /** Of size and pieces. Equal contents in different pieces may differ: then two equal states are searched, no more. */
  get hash(): string {
    if (this.hashed === undefined) {
      let one = 0
      let other = 0
      for (const piece of this.pieces) {
        const mixed = mix(piece)
        one = (one + mixed) | 0
        other = (other + Math.imul(mixed ^ (mixed >>> 15), 0x2c1b3c6d)) | 0
      }
      this.hashed = `${this.sizeBytes}.${one}.${other}`
    }
    return this.hashed
  }

  equals(other: ObjectContent): boolean {
    if (this === other) return true
    if (this.sizeBytes !== other.sizeBytes || this.pieces.length !== other.pieces.length) return false
    return this.pieces.every((piece, i) => {
      const that = other.pieces[i] as Piece
      return (
        piece === that ||
        (piece.at === that.at &&
          piece.length === that.length &&
          piece.source === that.source &&
          piece.from === that.from)
      )
    })
  }

  /** The pieces, cut to the range. */
  private within(from: number, to: number): readonly Piece[] {
    const found: Piece[] = []
    for (const piece of this.pieces) {
      const begin = Math.max(from, piece.at)
      const end = Math.min(to, piece.at + piece.length)
      if (end > begin) found.push(cut(piece, begin, end))
    }
    return found
  }

  private without(from: number, to: number): Piece[] {
    const kept: Piece[] = []
    for (const piece of this.pieces) {
      const end = piece.at + piece.length
      if (end <= from || piece.at >= to) {
        kept.push(piece)
        continue
      }
      if (piece.at < from) kept.push(cut(piece, piece.at, from))
      if (end > to) kept.push(cut(piece, to, end))
    }
    return kept
  }
}

const mixes = new WeakMap<Piece, number>()

function mix(piece: Piece): number {
  let mixed = mixes.get(piece)
  if (mixed === undefined) {
    mixed = numberOf(piece.source)
    for (const field of [piece.at, piece.length, piece.from])
      mixed = Math.imul(mixed ^ field, 0x9e3779b1) ^ (mixed >>> 13)
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b)
    mixes.set(piece, mixed)
  }
  return mixed
}

function cut(piece: Piece, begin: number, end: number): Piece {
  return { ...piece, at: begin, length: end - begin, from: piece.from + begin - piece.at }
}

const zeros = new Uint8Array(64 * 1024)

function isZero(data: Uint8Array, from: number, to: number): boolean {
  for (let at = from; at < to; at += zeros.length) {
    const part = data.subarray(at, Math.min(to, at + zeros.length))
    if (Buffer.compare(part, zeros.subarray(0, part.length)) !== 0) return false
  }
  return true
}
