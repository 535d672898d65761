/**
 * Compression on the real machine. What zlib has runs in libuv's threads. LZ4 runs on the event loop, one block per turn:
 * 64 KiB take it less time than the way to another thread and back.
 */
import * as zlib from 'node:zlib'
import { type Compression, type CompressionAlgorithm, Lz4Encoder, lz4Decode } from '@shoal/base'

type Callback = (error: Error | null, result: Uint8Array) => void
type ZlibFunction = (bytes: Uint8Array, options: object, callback: Callback) => void

/** Zstandard came to Node with 22.15: the types of the version that we build with do not know it. */
const { zstdCompress, zstdDecompress } = zlib as unknown as Readonly<Record<string, ZlibFunction | undefined>>
const zstdLevelParameter = 100
/** As Ceph's defaults: what pays for itself while a client waits. */
const zlibLevel = 5
const zstdLevel = 1
const brotliQuality = 3
const outputBytesMin = 64

const lz4 = new Lz4Encoder()

export const realCompression: Compression = {
  supports: (algorithm) => algorithm !== 'zstd' || zstdCompress !== undefined,

  async compress(algorithm, bytes, bytesMax) {
    if (algorithm === 'lz4') {
      await nextTurn()
      return lz4.encode(bytes, bytesMax)
    }
    const chunkSize = Math.max(outputBytesMin, bytesMax + outputBytesMin)
    const [call, options] = compressor(algorithm, bytes.length)
    const result = await run(call, bytes, { ...options, chunkSize })
    return result.length > bytesMax ? undefined : result
  },

  async decompress(algorithm, bytes, sizeBytes) {
    if (algorithm === 'lz4') {
      await nextTurn()
      return lz4Decode(bytes, sizeBytes)
    }
    try {
      const limits = { chunkSize: Math.max(outputBytesMin, sizeBytes), maxOutputLength: sizeBytes }
      const result = await run(decompressor(algorithm), bytes, limits)
      return result.length === sizeBytes ? result : undefined
    } catch {
      // Malformed, or more than it may be.
      return undefined
    }
  },
}

function compressor(algorithm: CompressionAlgorithm, sizeBytes: number): [ZlibFunction, object] {
  const { BROTLI_PARAM_QUALITY: quality, BROTLI_PARAM_SIZE_HINT: sizeHint } = zlib.constants
  switch (algorithm) {
    case 'brotli':
      return [zlib.brotliCompress, { params: { [quality]: brotliQuality, [sizeHint]: sizeBytes } }]
    case 'zstd':
      return [zstdCompress as ZlibFunction, { params: { [zstdLevelParameter]: zstdLevel } }]
    default:
      return [zlib.deflateRaw, { level: zlibLevel }]
  }
}

function decompressor(algorithm: CompressionAlgorithm): ZlibFunction {
  if (algorithm === 'brotli') return zlib.brotliDecompress
  return algorithm === 'zstd' ? (zstdDecompress as ZlibFunction) : zlib.inflateRaw
}

function run(call: ZlibFunction, bytes: Uint8Array, options: object): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    call(bytes, options, (error, result) => (error === null ? resolve(asBytes(result)) : reject(error)))
  })
}

/** A `Buffer` is no good `Uint8Array`: its `slice` is a view. */
function asBytes({ buffer, byteOffset, length }: Uint8Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, length)
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
