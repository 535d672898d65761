/**
 * Memory for block images on their way to the data file. Images are copied in here when their transaction is ordered, so
 * that they keep nothing of the message alive that brought them, cost the garbage collector nothing, and can be written
 * by another thread: the memory is shared. It grows to what was needed at once and is used again from then on.
 */
import { assert } from '@shoal/base'
import { blockBytes } from './layout.ts'

const chunkSlots = 256

/** Place of a block in the arena. */
export type Slot = number

export class BlockArena {
  private readonly chunks: Uint8Array[] = []
  private readonly free: Slot[] = []

  get sizeBytes(): number {
    return this.chunks.length * chunkSlots * blockBytes
  }

  get usedSlots(): number {
    return this.chunks.length * chunkSlots - this.free.length
  }

  /** Copies a whole block in. */
  add(data: Uint8Array): Slot {
    assert(data.length === blockBytes, 'the arena holds whole blocks')
    if (this.free.length === 0) this.grow()
    const slot = this.free.pop() as Slot
    ;(this.chunks[Math.floor(slot / chunkSlots)] as Uint8Array).set(data, (slot % chunkSlots) * blockBytes)
    return slot
  }

  /** The block itself: gone with `remove`. */
  view(slot: Slot): Uint8Array {
    const at = (slot % chunkSlots) * blockBytes
    return (this.chunks[Math.floor(slot / chunkSlots)] as Uint8Array).subarray(at, at + blockBytes)
  }

  remove(slot: Slot): void {
    this.free.push(slot)
  }

  private grow(): void {
    const first = this.chunks.length * chunkSlots
    this.chunks.push(new Uint8Array(new SharedArrayBuffer(chunkSlots * blockBytes)))
    // The lowest is taken first: blocks that come together lie together and are written in one piece.
    for (let slot = first + chunkSlots - 1; slot >= first; slot--) this.free.push(slot)
  }
}
