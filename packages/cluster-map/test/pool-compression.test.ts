import { compressionDefaults } from '@shoal/base'
import { expect, test } from 'vitest'
import { compressionOptionValue, type Pool, poolCompression } from '../src/index.ts'

const pool = (options: Readonly<Record<string, string>>): Pool =>
  ({ options: new Map(Object.entries(options)) }) as unknown as Pool

test('only the mode makes a pool compress; the rest has defaults', () => {
  expect(poolCompression(pool({}))).toBeUndefined()
  expect(poolCompression(pool({ compression_algorithm: 'zlib' }))).toBeUndefined()
  expect(poolCompression(pool({ compression_mode: 'none' }))).toBeUndefined()
  expect(poolCompression(pool({ compression_mode: 'force', compression_algorithm: 'none' }))).toBeUndefined()
  expect(poolCompression(pool({ compression_mode: 'force', compression_algorithm: 'of tomorrow' }))).toBeUndefined()
  expect(poolCompression(pool({ compression_mode: 'force' }))).toEqual({ ...compressionDefaults, mode: 'force' })
  const all = {
    compression_mode: 'aggressive',
    compression_algorithm: 'brotli',
    compression_required_ratio: '0.5',
    compression_min_blob_size: '16384',
    compression_max_blob_size: '131072',
  }
  expect(poolCompression(pool(all))).toEqual({
    mode: 'aggressive',
    algorithm: 'brotli',
    requiredRatio: 0.5,
    minBlobBytes: 16_384,
    maxBlobBytes: 131_072,
  })
})

test('values are checked where they are set', () => {
  const value = (name: Parameters<typeof compressionOptionValue>[1], text: string, on = pool({})): string | undefined =>
    compressionOptionValue(on, name, text)
  expect(value('compression_algorithm', 'deflate')).toBe('zlib')
  expect(value('compression_algorithm', 'unset')).toBeUndefined()
  expect(value('compression_required_ratio', '.50')).toBe('0.5')
  expect(value('compression_max_blob_size', '131072')).toBe('131072')
  for (const [name, bad] of [
    ['compression_algorithm', 'snappy'],
    ['compression_mode', 'on'],
    ['compression_required_ratio', '0'],
    ['compression_required_ratio', ''],
    ['compression_required_ratio', '1.1'],
    ['compression_min_blob_size', '4096'],
    ['compression_max_blob_size', '262144'],
    ['compression_max_blob_size', '60000'],
    ['compression_min_blob_size', '131072'],
  ] as const) {
    expect(() => value(name, bad), `${name} ${bad}`).toThrow(/compression_|blobs of at least/)
  }
  expect(() => value('compression_max_blob_size', '8192', pool({ compression_min_blob_size: '16384' }))).toThrow()
})
