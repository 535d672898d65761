/** A pool that compresses, in real processes: the same bytes, fewer of them on disk, through kill -9 and fsck. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { TestCluster } from './support/cluster.ts'

let cluster: TestCluster

beforeAll(async () => {
  cluster = await TestCluster.create()
}, 120_000)
afterAll(() => cluster.destroy(), 60_000)

interface Df {
  readonly pools: readonly {
    readonly name: string
    readonly bytes: number
    readonly usedBytes: number
    readonly compression: {
      readonly originalBytes: number
      readonly compressedBytes: number
      readonly allocatedBytes: number
      readonly operations: number
    }
  }[]
}

const mebibyte = 1024 * 1024
const lines = Array.from({ length: 150_000 }, (_, i) => `line ${i} of a file that compresses well, ${i % 97}\n`)
const content = Buffer.from(lines.join('')).subarray(0, 5 * mebibyte + 12_345)

test('what a pool compresses is stored in less, read back equal, and counted', async () => {
  const refused = await cluster.run('pool', 'set', 'objects', 'compression_algorithm', 'rot13')
  expect(refused).toMatchObject({ code: 22, stderr: expect.stringContaining('lz4, zlib') })
  for (const [name, value] of [
    ['compression_mode', 'aggressive'],
    ['compression_algorithm', 'deflate'],
  ] as const) {
    await cluster.ok('pool', 'set', 'objects', name, value)
  }
  expect(await cluster.json('pool', 'get', 'objects')).toMatchObject({
    compression_mode: 'aggressive',
    compression_algorithm: 'zlib',
  })
  const hash = await cluster.put('file', content)
  await cluster.until('the monitors know what was saved', async () => {
    const { pools } = await cluster.json<Df>('df', 'detail')
    const pool = pools.find(({ name }) => name === 'objects')
    if (pool === undefined || pool.compression.originalBytes < 3 * 5 * mebibyte) return false
    expect(pool.compression.compressedBytes).toBeLessThan(pool.compression.allocatedBytes)
    expect(pool.compression.allocatedBytes).toBeLessThan(pool.compression.originalBytes / 2)
    expect(pool.usedBytes).toBeLessThan((3 * pool.bytes) / 2)
    expect(pool.compression.operations).toBeGreaterThan(3 * 70)
    return true
  })
  expect(await cluster.ok('df', 'detail')).toContain('UNDER COMPR')

  for (const name of ['osd.0', 'osd.1', 'osd.2']) process.kill((await cluster.daemon(name)).pid, 'SIGKILL')
  await cluster.untilHealthy()
  expect(await cluster.hashOf('file')).toBe(hash)

  await cluster.ok('pool', 'set', 'objects', 'compression_mode', 'unset')
  await cluster.put('file', content)
  expect(await cluster.hashOf('file')).toBe(hash)
}, 240_000)
