/** Compression as the cluster sees it: which algorithms there are, and who runs them ({@link Env.compression}). */

/** Ceph's names where it has one. The order is the number that formats on disk use: only ever appended to. */
export const compressionAlgorithms = ['lz4', 'zlib', 'brotli', 'zstd'] as const
export type CompressionAlgorithm = (typeof compressionAlgorithms)[number]

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
  decompress(
    algorithm: CompressionAlgorithm,
    bytes: Uint8Array,
    sizeBytes: number,
  ): Promise<Uint8Array | undefined>
}
