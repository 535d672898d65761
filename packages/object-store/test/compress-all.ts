import { type CompressionAlgorithm, compressionDefaults, type PoolCompression, type PoolId } from '@shoal/base'
import type { FileObjectStore } from '../src/index.ts'

/** All writes of the workload's pool, in small blobs, so that they meet their own edges often. */
export function compressAll(store: FileObjectStore, algorithm: CompressionAlgorithm): void {
  const settings: PoolCompression = {
    ...compressionDefaults,
    algorithm,
    mode: 'force',
    minBlobBytes: 8_192,
    maxBlobBytes: 32_768,
  }
  store.setCompression(new Map([[1 as PoolId, settings]]))
}
