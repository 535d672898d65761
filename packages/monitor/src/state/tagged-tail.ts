/**
 * What follows the fixed fields of a record: pieces with a tag each, u8 tag and byte string. A piece is written only when
 * what it carries is in use, so that the record of a cluster that does not use it has the bytes it always had. A reader
 * refuses tags that it does not know: to skip one would make its state differ from that of the others.
 */
import { type ByteReader, type ByteWriter, ClusterError } from '@shoal/base'

export function writePiece(writer: ByteWriter, tag: number, content: Uint8Array): void {
  writer.u8(tag).bytes(content)
}

/** All pieces up to the end of the record, by tag. */
export function readPieces(reader: ByteReader, known: readonly number[]): Map<number, Uint8Array> {
  const pieces = new Map<number, Uint8Array>()
  while (reader.remaining > 0) {
    const tag = reader.u8()
    if (!known.includes(tag)) {
      throw new ClusterError(
        'EPROTO',
        `a record of the monitors has a piece ${tag}, which this version does not know`,
        {
          hint: 'upgrade this monitor',
        },
      )
    }
    pieces.set(tag, reader.bytes())
  }
  return pieces
}
