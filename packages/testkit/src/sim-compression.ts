/**
 * Compression in a simulated world: the algorithms of the real one, run at once, so that the same seed gives the same
 * bytes in the same order. How long it takes is `delay`'s to say.
 */
import * as zlib from 'node:zlib'
import { type Compression, Lz4Encoder, lz4Decode } from '@shoal/base'

const zlibLevel = 5
const brotliQuality = 1

export function simCompression(delay: () => Promise<void> = () => Promise.resolve()): Compression {
  const lz4 = new Lz4Encoder()
  return {
    supports: (algorithm) => algorithm !== 'zstd',

    async compress(algorithm, bytes, bytesMax) {
      await delay()
      if (algorithm === 'lz4') return lz4.encode(bytes, bytesMax)
      const result =
        algorithm === 'brotli'
          ? zlib.brotliCompressSync(bytes, { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: brotliQuality } })
          : zlib.deflateRawSync(bytes, { level: zlibLevel })
      return result.length > bytesMax ? undefined : new Uint8Array(result)
    },

    async decompress(algorithm, bytes, sizeBytes) {
      await delay()
      if (algorithm === 'lz4') return lz4Decode(bytes, sizeBytes)
      try {
        const call = algorithm === 'brotli' ? zlib.brotliDecompressSync : zlib.inflateRawSync
        const result = call(bytes, { maxOutputLength: sizeBytes })
        return result.length === sizeBytes ? new Uint8Array(result) : undefined
      } catch {
        return undefined
      }
    },
  }
}
