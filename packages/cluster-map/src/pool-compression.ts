/**
 * Compression as it is set on a pool, in `Pool.options` under Ceph's names. What is not set has Ceph's default
 * (`compressionDefaults`); only the mode must be set for anything to be compressed.
 */
import {
  ClusterError,
  compressionAlgorithms,
  compressionDefaults,
  compressionModes,
  type PoolCompression,
  type PoolId,
} from '@shoal/base'
import type { Pool } from './osd-map.ts'

export const compressionOptions = [
  'compression_algorithm',
  'compression_mode',
  'compression_required_ratio',
  'compression_min_blob_size',
  'compression_max_blob_size',
] as const
export type CompressionOption = (typeof compressionOptions)[number]

export function isCompressionOption(name: string): name is CompressionOption {
  return (compressionOptions as readonly string[]).includes(name)
}

/** What the blobs of the store hold at most, and the least that can save a unit. */
const blobBytesMax = 128 * 1024
const blobBytesMin = 8 * 1024

/** The value as it is kept; undefined for `unset`, which brings back the default. Throws EINVAL. */
export function compressionOptionValue(pool: Pool, name: CompressionOption, value: string): string | undefined {
  if (value === 'unset') return undefined
  switch (name) {
    case 'compression_algorithm': {
      const algorithm = value === 'deflate' ? 'zlib' : value
      const names: readonly string[] = ['none', ...compressionAlgorithms]
      if (names.includes(algorithm)) return algorithm
      throw invalid(name, value, `${names.join(', ')}, or unset`)
    }
    case 'compression_mode':
      if ((compressionModes as readonly string[]).includes(value)) return value
      throw invalid(name, value, `${compressionModes.join(', ')}, or unset`)
    case 'compression_required_ratio': {
      const ratio = Number(value)
      if (value !== '' && ratio > 0 && ratio <= 1) return String(ratio)
      throw invalid(name, value, 'a number above 0 and up to 1, or unset')
    }
    default: {
      const bytes = Number(value)
      const power = Number.isInteger(Math.log2(bytes))
      if (power && bytes >= blobBytesMin && bytes <= blobBytesMax) return checkOrder(pool, name, bytes)
      throw invalid(name, value, `a power of two from ${blobBytesMin} to ${blobBytesMax} bytes, or unset`)
    }
  }
}

function checkOrder(pool: Pool, name: CompressionOption, bytes: number): string {
  const set = sizesOf(pool.options)
  const min = name === 'compression_min_blob_size' ? bytes : set.minBlobBytes
  const max = name === 'compression_max_blob_size' ? bytes : set.maxBlobBytes
  if (min <= max) return String(bytes)
  throw new ClusterError('EINVAL', `blobs of at least ${min} and at most ${max} bytes: there are none`, {
    hint: 'set the other size first',
  })
}

function sizesOf(options: ReadonlyMap<string, string>): Pick<PoolCompression, 'minBlobBytes' | 'maxBlobBytes'> {
  const number = (name: CompressionOption, otherwise: number): number => Number(options.get(name) ?? otherwise)
  return {
    minBlobBytes: number('compression_min_blob_size', compressionDefaults.minBlobBytes),
    maxBlobBytes: number('compression_max_blob_size', compressionDefaults.maxBlobBytes),
  }
}

/** Undefined when the pool's writes stay as they are; a word that only a newer version knows counts as that. */
export function poolCompression({ options }: Pool): PoolCompression | undefined {
  const mode = compressionModes.find((known) => known === options.get('compression_mode'))
  if (mode === undefined || mode === 'none') return undefined
  const name = options.get('compression_algorithm') ?? compressionDefaults.algorithm
  const algorithm = compressionAlgorithms.find((known) => known === name)
  if (algorithm === undefined) return undefined
  const ratio = options.get('compression_required_ratio')
  const requiredRatio = ratio === undefined ? compressionDefaults.requiredRatio : Number(ratio)
  return { algorithm, mode, requiredRatio, ...sizesOf(options) }
}

/** Of all pools that compress. */
export function poolCompressions(pools: ReadonlyMap<PoolId, Pool>): Map<PoolId, PoolCompression> {
  const found = new Map<PoolId, PoolCompression>()
  for (const [id, pool] of pools) {
    const compression = pool.options.size === 0 ? undefined : poolCompression(pool)
    if (compression !== undefined) found.set(id, compression)
  }
  return found
}

function invalid(name: string, value: string, expected: string): ClusterError {
  return new ClusterError('EINVAL', `${name} is ${expected}; not '${value}'`)
}
