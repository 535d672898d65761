/**
 * The machine's file system. Writes and syncs are the fast path of journals, so they go straight to libuv's callbacks
 * (`fs.writev`, `fs.fdatasync`) instead of through FileHandle objects, and batches of small writes to a thread.
 */
import { close, constants, fdatasync, fstat, ftruncate, read, readSync } from 'node:fs'
import { lstat, mkdir, readdir, readFile, rename, rm, statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import {
  ClusterError,
  type Disk,
  type ErrorCode,
  errorTable,
  type FileHandle,
  type FileWrite,
  type OpenMode,
} from '@shoal/base'
import { lockDirectory } from './directory-lock.ts'
import { DurableFile, openFile, writeAll } from './durable-file.ts'
import { ReadGate } from './read-gate.ts'
import { writeThread } from './write-thread.ts'

const openFlags: Readonly<Record<OpenMode, number>> = {
  read: constants.O_RDONLY,
  'read-write': constants.O_RDWR,
  create: constants.O_RDWR | constants.O_CREAT,
}

/** System errors keep their code where our table has it; anything else is EIO. */
function toClusterError(error: NodeJS.ErrnoException, path: string): ClusterError {
  const code = error.code !== undefined && Object.hasOwn(errorTable, error.code) ? (error.code as ErrorCode) : 'EIO'
  return new ClusterError(code, `${path}: ${error.message}`, { cause: error, outcome: 'unknown' })
}

/** A longer read waits for the disk more likely, and gains less. */
const readOnLoopBytesMax = 64 * 1024

class RealFile implements FileHandle {
  private readonly fd: number
  private readonly path: string
  private durable: Promise<DurableFile> | undefined
  private readonly gate = new ReadGate()

  constructor(fd: number, path: string) {
    this.fd = fd
    this.path = path
  }

  read(buffer: Uint8Array, offset: number): Promise<number> {
    const startMs = performance.now()
    if (buffer.length > readOnLoopBytesMax || !this.gate.isOpen(startMs)) return this.readInPool(buffer, offset)
    try {
      const count = readSync(this.fd, buffer, 0, buffer.length, offset)
      const endMs = performance.now()
      this.gate.took(endMs - startMs, endMs)
      // Short at the end of the file, or cut off: the pool's way tells which.
      return count === buffer.length ? Promise.resolve(count) : this.readInPool(buffer, offset)
    } catch (error) {
      return Promise.reject(toClusterError(error as NodeJS.ErrnoException, this.path))
    }
  }

  private readInPool(buffer: Uint8Array, offset: number): Promise<number> {
    return new Promise((resolve, reject) => {
      const step = (filled: number): void => {
        read(this.fd, buffer, filled, buffer.length - filled, offset + filled, (error, count) => {
          if (error !== null) reject(toClusterError(error, this.path))
          else if (count === 0 || filled + count === buffer.length) resolve(filled + count)
          else step(filled + count)
        })
      }
      step(0)
    })
  }

  write(chunks: readonly Uint8Array[], offset: number): Promise<void> {
    return attempt(this.path, () => writeAll(this.fd, chunks, offset))
  }

  writeDurable(chunks: readonly Uint8Array[], offset: number): Promise<void> {
    return attempt(this.path, async () => {
      this.durable ??= DurableFile.open(this.path)
      return (await this.durable).write(chunks, offset)
    })
  }

  async writeMany(writes: readonly FileWrite[]): Promise<void> {
    const shared = writes.every(({ chunks }) => chunks.every(({ buffer }) => buffer instanceof SharedArrayBuffer))
    if (!shared) {
      for (const { chunks, offset } of writes) await this.write(chunks, offset)
      return
    }
    try {
      await writeThread().write(this.fd, writes)
    } catch (error) {
      throw toClusterError(error as NodeJS.ErrnoException, this.path)
    }
  }

  datasync(): Promise<void> {
    return this.call((done) => fdatasync(this.fd, done))
  }

  truncate(sizeBytes: number): Promise<void> {
    return this.call((done) => ftruncate(this.fd, sizeBytes, done))
  }

  sizeBytes(): Promise<number> {
    return new Promise((resolve, reject) => {
      fstat(this.fd, (error, stats) =>
        error === null ? resolve(stats.size) : reject(toClusterError(error, this.path)),
      )
    })
  }

  async close(): Promise<void> {
    const durable = await this.durable
    if (durable !== undefined) await attempt(this.path, () => durable.close())
    await this.call((done) => close(this.fd, done))
  }

  private call(start: (done: (error: NodeJS.ErrnoException | null | undefined) => void) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      start((error) => (error === null || error === undefined ? resolve() : reject(toClusterError(error, this.path))))
    })
  }
}

async function attempt<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof ClusterError) throw error
    throw toClusterError(error as NodeJS.ErrnoException, path)
  }
}

export class RealDisk implements Disk {
  private readonly owner: string

  /** `owner` is who others are told holds a lock. */
  constructor(owner: string) {
    this.owner = owner
  }

  async open(path: string, mode: OpenMode): Promise<FileHandle> {
    return attempt(path, async () => new RealFile(await openFile(path, openFlags[mode]), path))
  }

  makeDirectory(path: string): Promise<void> {
    return attempt(path, async () => {
      await mkdir(path, { recursive: true, mode: 0o700 })
    })
  }

  list(path: string): Promise<readonly string[]> {
    return attempt(path, async () => (await readdir(path)).sort())
  }

  async exists(path: string): Promise<boolean> {
    try {
      await lstat(path)
      return true
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
      throw toClusterError(error as NodeJS.ErrnoException, path)
    }
  }

  remove(path: string): Promise<void> {
    return attempt(path, () => rm(path, { recursive: true, force: true }))
  }

  rename(from: string, to: string): Promise<void> {
    return attempt(from, () => rename(from, to))
  }

  async syncDirectory(path: string): Promise<void> {
    const directory = await this.open(path, 'read')
    try {
      await directory.datasync()
    } finally {
      await directory.close()
    }
  }

  readFile(path: string): Promise<Uint8Array> {
    return attempt(path, () => readFile(path))
  }

  async writeFileAtomic(path: string, content: Uint8Array): Promise<void> {
    const temporary = `${path}.new`
    const file = await this.open(temporary, 'create')
    try {
      await file.truncate(0)
      await file.write([content], 0)
      await file.datasync()
    } finally {
      await file.close()
    }
    await this.rename(temporary, path)
    await this.syncDirectory(dirname(path))
  }

  space(path: string): Promise<{ readonly totalBytes: number; readonly freeBytes: number }> {
    return attempt(path, async () => {
      const { blocks, bavail, bsize } = await statfs(path)
      return { totalBytes: blocks * bsize, freeBytes: bavail * bsize }
    })
  }

  lock(path: string): Promise<{ release(): Promise<void> }> {
    return lockDirectory(path, this.owner)
  }
}
