/** A digest over all bytes of an object, in order, from blocks that come shard by shard, within a shard in any order. */
import { blockBytes, shardBlocks } from './layout.ts'

const shardBytes = shardBlocks * blockBytes

export class ContentDigest {
  private readonly sizeBytes: number
  private readonly fold: (digest: number, bytes: Uint8Array) => number
  /** Of the shard that is being gathered; zeros where no block came. */
  private readonly bytes: Uint8Array
  private digest = 0
  /** Where the shard begins; what is before it is in the digest. */
  private offset = 0

  constructor(sizeBytes: number, fold: (digest: number, bytes: Uint8Array) => number) {
    this.sizeBytes = sizeBytes
    this.fold = fold
    this.bytes = new Uint8Array(Math.min(shardBytes, Math.ceil(sizeBytes / blockBytes) * blockBytes))
  }

  /** Shards in between are holes. */
  begin(index: number): void {
    this.goTo(index * shardBytes)
  }

  /** A block of the shard that has begun. */
  set(at: number, block: Uint8Array): void {
    // Beyond the size are zeros at most, which do not count.
    if (this.offset + at * blockBytes < this.sizeBytes) this.bytes.set(block, at * blockBytes)
  }

  finish(): number {
    this.goTo(this.sizeBytes)
    return this.digest
  }

  private goTo(offset: number): void {
    while (this.offset < Math.min(offset, this.sizeBytes)) {
      const length = Math.min(shardBytes, this.sizeBytes - this.offset)
      this.digest = this.fold(this.digest, this.bytes.subarray(0, length))
      this.bytes.fill(0)
      this.offset += length
    }
  }
}
