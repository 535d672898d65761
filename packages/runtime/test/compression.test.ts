/** The real compression: what goes in comes out, within its bounds, and the simulated one reads it. */
import { deflateRawSync } from 'node:zlib'
import { compressionAlgorithms } from '@shoal/base'
import { simCompression } from '@shoal/testkit'
import { expect, test } from 'vitest'
import { realCompression } from '../src/real-compression.ts'

const plain = new Uint8Array(65_536).map((_, i) => (i * i) >>> 7)
const here = compressionAlgorithms.filter((algorithm) => realCompression.supports(algorithm))

test.each(here)('%s', async (algorithm) => {
  const compressed = (await realCompression.compress(algorithm, plain, plain.length)) as Uint8Array
  expect(compressed.length).toBeLessThan(plain.length)
  expect(
    Buffer.compare((await realCompression.decompress(algorithm, compressed, plain.length)) as Uint8Array, plain),
  ).toBe(0)
  expect(await realCompression.compress(algorithm, plain, compressed.length - 1)).toBeUndefined()
  for (const size of [0, 1, plain.length - 1, plain.length + 1]) {
    expect(await realCompression.decompress(algorithm, compressed, size)).toBeUndefined()
  }
  for (let at = 0; at < compressed.length; at += 997) {
    const bad = compressed.slice()
    bad[at] = (bad[at] as number) ^ 0x55
    const result = await realCompression.decompress(algorithm, bad, plain.length)
    expect(result?.length ?? plain.length).toBe(plain.length)
  }
  if (algorithm === 'zstd') return
  expect(await simCompression().decompress(algorithm, compressed, plain.length)).toEqual(new Uint8Array(plain))
})

test('a bomb is not unpacked', async () => {
  const bomb = deflateRawSync(new Uint8Array(64 << 20))
  const before = process.memoryUsage().arrayBuffers
  expect(await realCompression.decompress('zlib', bomb, 65_536)).toBeUndefined()
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 << 20)
})
