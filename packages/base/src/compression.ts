/** Compression as the cluster sees it: which algorithms there are, and who runs them ({@link Env.compression}). */

/** Ceph's names where it has one. The order is the number that formats on disk use: only ever appended to. */
export const compressionAlgorithms = ['lz4', 'zlib', 'brotli', 'zstd'] as const
export type CompressionAlgorithm = (typeof compressionAlgorithms)[number]

export const compressionModes = ['none', 'passive', 'aggressive', 'force'] as const
export type CompressionMode = (typeof compressionModes)[number]

/** How a pool's writes are compressed. Names and meaning are those of Ceph's pool settings `compression_*`. */
export interface PoolCompression {
  readonly algorithm: CompressionAlgorithm
  /**
   * `force`: everything; `aggressive`: what its writer does not call incompressible; `passive`: what it calls
   * compressible. No operation of ours can call it either.
   */
  readonly mode: CompressionMode
  /** Kept only if what is stored is at most so much of what came, in whole units of the store. */
  readonly requiredRatio: number
  /** Smaller pieces are not tried. */
  readonly minBlobBytes: number
  /** Writes are cut at multiples of this. */
  readonly maxBlobBytes: number
}

export const compressionDefaults: PoolCompression = {
  algorithm: 'lz4',
  mode: 'none',
  requiredRatio: 0.875,
  minBlobBytes: 8 * 1024,
  maxBlobBytes: 64 * 1024,
}

export interface Compression {
  /** Whether this machine can: `zstd` depends on the version of Node. */
  supports(algorithm: CompressionAlgorithm): boolean
  /**
   * The compressed bytes, or undefined when they would be more than `bytesMax`. Long work is done outside of the event
   * loop, and `bytes` must stay as they are meanwhile.
   */
  compress(algorithm: CompressionAlgorithm, bytes: Uint8Array, bytesMax: number): Promise<Uint8Array | undefined>
  /**
   * Exactly `sizeBytes` bytes; undefined when `bytes` are not the compressed form of so many. Takes no more memory than
   * that, whatever the input says.
   */
  decompress(algorithm: CompressionAlgorithm, bytes: Uint8Array, sizeBytes: number): Promise<Uint8Array | undefined>
}
