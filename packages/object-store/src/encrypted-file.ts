/**
 * The data file of an encrypted store: each unit of 4 KiB under AES-256-XTS (IEEE 1619) with its number as the tweak, as
 * dm-crypt does it. XTS keeps the length, and any unit can be written again by itself; there is no room for a tag, and
 * none is needed to notice damage: the checksum of a block is over its plain bytes, and lies in sealed metadata.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto'
import { assert, type FileHandle, type FileWrite } from '@shoal/base'
import { blockBytes } from './layout.ts'

const algorithm = 'aes-256-xts'

export class EncryptedFile implements FileHandle {
  private readonly file: FileHandle
  private readonly key: Uint8Array
  private readonly tweak = new Uint8Array(16)

  constructor(file: FileHandle, key: Uint8Array) {
    this.file = file
    this.key = key
  }

  /** Whole units. Past the end of the file nothing is decrypted. */
  async read(buffer: Uint8Array, offset: number): Promise<number> {
    checkPlace(offset, buffer.length)
    const read = await this.file.read(buffer, offset)
    for (let at = 0; at + blockBytes <= read; at += blockBytes) {
      const block = buffer.subarray(at, at + blockBytes)
      block.set(createDecipheriv(algorithm, this.key, this.tweakOf(offset + at)).update(block))
    }
    return read
  }

  write(chunks: readonly Uint8Array[], offset: number): Promise<void> {
    return this.file.write([this.encrypt(chunks, offset)], offset)
  }

  writeDurable(chunks: readonly Uint8Array[], offset: number): Promise<void> {
    return this.file.writeDurable([this.encrypt(chunks, offset)], offset)
  }

  writeMany(writes: readonly FileWrite[]): Promise<void> {
    return this.file.writeMany(writes.map(({ chunks, offset }) => ({ chunks: [this.encrypt(chunks, offset)], offset })))
  }

  datasync(): Promise<void> {
    return this.file.datasync()
  }

  truncate(sizeBytes: number): Promise<void> {
    return this.file.truncate(sizeBytes)
  }

  sizeBytes(): Promise<number> {
    return this.file.sizeBytes()
  }

  close(): Promise<void> {
    return this.file.close()
  }

  /** In shared memory, which `writeMany` is quick with. */
  private encrypt(chunks: readonly Uint8Array[], offset: number): Uint8Array {
    let length = 0
    for (const chunk of chunks) length += chunk.length
    checkPlace(offset, length)
    const result = new Uint8Array(new SharedArrayBuffer(length))
    let at = 0
    for (const chunk of chunks) {
      assert(chunk.length % blockBytes === 0, 'the data file is written in whole units')
      for (let from = 0; from < chunk.length; from += blockBytes) {
        const block = chunk.subarray(from, from + blockBytes)
        result.set(createCipheriv(algorithm, this.key, this.tweakOf(offset + at)).update(block), at)
        at += blockBytes
      }
    }
    return result
  }

  /** The number of the unit, little-endian. */
  private tweakOf(offset: number): Uint8Array {
    const unit = offset / blockBytes
    new DataView(this.tweak.buffer).setUint32(0, unit, true)
    return this.tweak
  }
}

function checkPlace(offset: number, length: number): void {
  assert(offset % blockBytes === 0 && length % blockBytes === 0, 'the data file is used in whole units')
}
