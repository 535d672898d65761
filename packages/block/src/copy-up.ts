/**
 * Gives an object of a clone the bytes of its parent, before the first change of it.
 *
 * It is made exclusively, so that of all who race, in whatever process, one brings the bytes and the others find them; and in
 * no context of snapshots, so that it shows them at every snapshot that the clone has already: its own snapshots never need
 * the parent for an object that is there. docs/mechanisms/block.md says what goes wrong otherwise.
 */
import { isClusterError } from '@shoal/base'
import type { ObjectOp } from '@shoal/wire'
import type { Image, ImageData, ImageExtent } from './image.ts'
import type { ObjectIo } from './object-io.ts'
import { dataObjectName } from './striping.ts'

/** More pieces than this are copied as one, with the zeros between them. */
const piecesMax = 64

export class CopyUp {
  private readonly data: ObjectIo
  private readonly imageId: string
  private readonly objectBytes: number
  private readonly parent: Pick<Image, 'read' | 'extents'>
  private readonly underWay = new Map<number, Promise<void>>()

  constructor(
    data: ObjectIo,
    { id, objectBytes }: { readonly id: string; readonly objectBytes: number },
    parent: Pick<Image, 'read' | 'extents'>,
  ) {
    this.data = data
    this.imageId = id
    this.objectBytes = objectBytes
    this.parent = parent
  }

  /** The object is there when it resolves, whoever made it. `overlapBytes`: how much of the image lies over its parent. */
  object(index: number, overlapBytes: number): Promise<void> {
    const running = this.underWay.get(index)
    if (running !== undefined) return running
    const copying = this.copy(index, overlapBytes, true).finally(() => this.underWay.delete(index))
    this.underWay.set(index, copying)
    return copying
  }

  /** The same for who wants no object where the parent has none, which reads as zeros either way. */
  async objectWithData(index: number, overlapBytes: number): Promise<void> {
    await this.copy(index, overlapBytes, false)
  }

  private async copy(index: number, overlapBytes: number, always: boolean): Promise<void> {
    const from = index * this.objectBytes
    const length = Math.min(this.objectBytes, overlapBytes - from)
    const writes = length <= 0 ? [] : await this.pieces(from, length)
    if (writes.length === 0 && !always) return
    try {
      const create: ObjectOp = { kind: 'create', exclusive: true }
      await this.data.execute(dataObjectName(this.imageId, index), [create, ...writes])
    } catch (error) {
      if (!isClusterError(error, 'EEXIST')) throw error
    }
  }

  /** What the parent has allocated there, as writes to the object. */
  private async pieces(from: number, length: number): Promise<readonly ObjectOp[]> {
    const writes: ObjectOp[] = []
    for (const { offset, length: bytes } of allocatedIn(await this.parent.extents(from, length))) {
      let at = offset
      for (const piece of await this.parent.read(from + offset, bytes)) {
        if (piece.kind === 'data') writes.push({ kind: 'write', offset: at, data: piece.data })
        at += lengthOf(piece)
      }
    }
    return writes
  }
}

function lengthOf(piece: ImageData): number {
  return piece.kind === 'data' ? piece.data.length : piece.length
}

function allocatedIn(extents: readonly ImageExtent[]): readonly { readonly offset: number; readonly length: number }[] {
  const ranges: { readonly offset: number; readonly length: number }[] = []
  let offset = 0
  for (const { length, allocated } of extents) {
    if (allocated) ranges.push({ offset, length })
    offset += length
  }
  const [first, last] = [ranges[0], ranges.at(-1)]
  if (ranges.length <= piecesMax || first === undefined || last === undefined) return ranges
  return [{ offset: first.offset, length: last.offset + last.length - first.offset }]
}
