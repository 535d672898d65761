/**
 * Writes that are on stable storage when they return, for journals. Past the page cache where the file system lets us
 * (O_DIRECT): the kernel then neither keeps a copy of what nobody reads nor writes it back in a second step, which saves
 * a third of the time and of the kernel's work for a group of four records (bench/durable-write.ts).
 *
 * O_DIRECT wants memory, offset and length in whole sectors. Memory of WebAssembly is the one kind that JavaScript gets
 * at an address that is known to be aligned, so that pieces are gathered there; that copy takes the place of the one into
 * the page cache. What is not aligned or too long goes through the page cache, with O_DSYNC.
 */
import { close, constants, open, write, writev } from 'node:fs'

/** What every Node has; compiled without the DOM's types. */
declare const WebAssembly: {
  readonly Memory: new (size: { readonly initial: number }) => { readonly buffer: ArrayBuffer }
}

type Failure = NodeJS.ErrnoException

/** Sectors of the disks that are still sold are of 512 or 4096 bytes; one that refuses 512 is written the other way. */
const sectorBytes = 512
const wasmPageBytes = 64 * 1024
/** A longer write gains nothing from being gathered. */
const gatherBytesMax = 1024 * 1024
/** Most buffers one writev takes (IOV_MAX on Linux). */
const chunksPerWriteMax = 1024

export class DurableFile {
  private readonly cached: number
  /** Undefined where the file system has no such thing (tmpfs), or after it refused a write. */
  private direct: number | undefined
  private gathered: Uint8Array | undefined
  private isGathering = false

  private constructor(cached: number, direct: number | undefined) {
    this.cached = cached
    this.direct = direct
  }

  /** Rejects with the system's error. */
  static async open(path: string): Promise<DurableFile> {
    const flags = constants.O_RDWR | constants.O_DSYNC
    const cached = await openFile(path, flags)
    const direct = await openFile(path, flags | constants.O_DIRECT).catch(() => undefined)
    return new DurableFile(cached, direct)
  }

  /** The pieces follow each other from `offset` on. Rejects with the system's error; some of it may then be written. */
  async write(chunks: readonly Uint8Array[], offset: number): Promise<void> {
    let bytes = 0
    for (const { length } of chunks) bytes += length
    const isAligned = offset % sectorBytes === 0 && bytes % sectorBytes === 0
    if (this.direct !== undefined && isAligned && bytes <= gatherBytesMax && !this.isGathering) {
      this.isGathering = true
      try {
        if (await this.writeDirect(this.direct, chunks, bytes, offset)) return
      } finally {
        this.isGathering = false
      }
    }
    await writeAll(this.cached, chunks, offset)
  }

  async close(): Promise<void> {
    for (const fd of [this.cached, this.direct]) if (fd !== undefined) await closeFile(fd)
    this.direct = undefined
  }

  /** False: this file is not written so, and nothing of this was. */
  private async writeDirect(
    fd: number,
    chunks: readonly Uint8Array[],
    bytes: number,
    offset: number,
  ): Promise<boolean> {
    this.gathered ??= new Uint8Array(new WebAssembly.Memory({ initial: gatherBytesMax / wasmPageBytes }).buffer)
    let at = 0
    for (const chunk of chunks) {
      this.gathered.set(chunk, at)
      at += chunk.length
    }
    try {
      await writeAll(fd, [this.gathered.subarray(0, bytes)], offset)
      return true
    } catch (error) {
      if ((error as Failure).code !== 'EINVAL') throw error
      this.direct = undefined
      await closeFile(fd)
      return false
    }
  }
}

/** Writes to the end, however short the single writes are. */
export function writeAll(fd: number, chunks: readonly Uint8Array[], offset: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const step = (rest: readonly Uint8Array[], at: number): void => {
      const done = (error: Failure | null, written: number): void => {
        if (error === null) step(dropBytes(rest, written), at + written)
        else reject(error)
      }
      const [only] = rest
      if (only === undefined) resolve()
      else if (rest.length === 1) write(fd, only, 0, only.length, at, done)
      else writev(fd, rest.slice(0, chunksPerWriteMax) as Uint8Array[], at, done)
    }
    step(
      chunks.filter((chunk) => chunk.length > 0),
      offset,
    )
  })
}

/** What is left after a short write. */
function dropBytes(chunks: readonly Uint8Array[], count: number): readonly Uint8Array[] {
  let at = 0
  let left = count
  while (at < chunks.length && left >= (chunks[at] as Uint8Array).length) left -= (chunks[at++] as Uint8Array).length
  if (left === 0) return chunks.slice(at)
  return [(chunks[at] as Uint8Array).subarray(left), ...chunks.slice(at + 1)]
}

export function openFile(path: string, flags: number): Promise<number> {
  return new Promise((resolve, reject) => {
    open(path, flags, 0o600, (error, fd) => (error === null ? resolve(fd) : reject(error)))
  })
}

function closeFile(fd: number): Promise<void> {
  return new Promise((resolve, reject) => {
    close(fd, (error) => (error === null || error === undefined ? resolve() : reject(error)))
  })
}
