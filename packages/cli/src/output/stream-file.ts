/** Streams in files, or on standard input and output where the path is `-`. */
import { createReadStream } from 'node:fs'
import { type FileHandle, open, rm, stat } from 'node:fs/promises'
import { ClusterError } from '@shoal/base'
import { asClusterError } from './failure.ts'

const readBytes = 1024 * 1024

export const standard = '-'

/** The bytes of a file, in order. ENOENT when there is none. */
export async function* readStream(path: string): AsyncGenerator<Uint8Array, void, void> {
  const stream = path === standard ? process.stdin : createReadStream(path, { highWaterMark: readBytes })
  try {
    for await (const chunk of stream) yield chunk as Uint8Array
  } catch (error) {
    throw asClusterError(error)
  }
}

/** Undefined where that cannot be known before the end. */
export async function streamBytes(path: string): Promise<number | undefined> {
  if (path === standard) return undefined
  const found = await stat(path).catch((error: unknown) => {
    throw asClusterError(error)
  })
  return found.isFile() ? found.size : undefined
}

/** EEXIST when the file is there: an export never replaces another. What was begun and failed is removed. */
export async function writeStream(path: string, chunks: AsyncIterable<Uint8Array>): Promise<void> {
  if (path === standard) return writeStandardOutput(chunks)
  await intoNewFile(path, async (file) => {
    for await (const chunk of chunks) await writeAll(file, chunk, undefined)
  })
}

/** Bytes with their offsets; the rest of the file are holes. */
export async function writeSparse(
  path: string,
  sizeBytes: number,
  extents: AsyncIterable<{ readonly offset: number; readonly data: Uint8Array }>,
): Promise<void> {
  await intoNewFile(path, async (file) => {
    for await (const { offset, data } of extents) await writeAll(file, data, offset)
    await file.truncate(sizeBytes)
  })
}

async function intoNewFile(path: string, write: (file: FileHandle) => Promise<void>): Promise<void> {
  const file = await open(path, 'wx').catch((error: unknown) => {
    throw asClusterError(error)
  })
  try {
    await write(file)
    await file.sync()
    await file.close()
  } catch (error) {
    await file.close().catch(() => undefined)
    await rm(path, { force: true })
    throw error
  }
}

async function writeAll(file: FileHandle, data: Uint8Array, offset: number | undefined): Promise<void> {
  for (let at = 0; at < data.length; ) {
    const position = offset === undefined ? null : offset + at
    at += (await file.write(data, at, data.length - at, position)).bytesWritten
  }
}

async function writeStandardOutput(chunks: AsyncIterable<Uint8Array>): Promise<void> {
  if (process.stdout.isTTY) {
    throw new ClusterError('EINVAL', 'a stream is no text for a terminal', { hint: 'name a file, or pipe it: - | ...' })
  }
  for await (const chunk of chunks) {
    await new Promise<void>((resolve, reject) => {
      process.stdout.write(chunk, (error) => {
        if (error) reject(new ClusterError('EIO', 'whoever reads our output has gone', { cause: error }))
        else resolve()
      })
    })
  }
}
