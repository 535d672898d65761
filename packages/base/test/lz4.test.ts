/** LZ4 blocks: what goes in comes out, what is damaged is refused, and Debian's `lz4` reads and writes the same. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { beforeAll, expect, test } from 'vitest'
import { Lz4Encoder, lz4BytesMax, lz4Decode, Prng } from '../src/index.ts'

const encoder = new Lz4Encoder()

/** Bytes with repetitions at all distances and lengths. */
function mixed(seed: number, length: number): Uint8Array {
  const prng = new Prng(seed)
  const bytes = new Uint8Array(length)
  for (let at = 0; at < length; ) {
    const count = Math.min(1 + prng.below(prng.below(4) === 0 ? 700 : 40), length - at)
    const back = prng.below(3) === 0 || at === 0 ? 0 : 1 + prng.below(Math.min(at, 70_000))
    for (let i = 0; i < count; i++) bytes[at + i] = back === 0 ? prng.below(256) : (bytes[at + i - back] as number)
    at += count
  }
  return bytes
}

const inputs = [
  ...[0, 1, 4, 12, 13, 17, 20, 300].map((length) => new Uint8Array(length).fill(7)),
  ...[1, 2, 3, 4, 5, 6].map((seed) => mixed(seed, seed * 30_000)),
  new Uint8Array(1 << 17),
]

test('round trip of any bytes', () => {
  fc.assert(
    fc.property(fc.integer(), fc.integer({ min: 0, max: 5000 }), (seed, length) => {
      const input = mixed(seed, length)
      const block = encoder.encode(input) as Uint8Array
      expect(block.length).toBeLessThanOrEqual(lz4BytesMax(length))
      expect(lz4Decode(block, length)).toEqual(input)
    }),
  )
  for (const input of inputs) expect(lz4Decode(encoder.encode(input) as Uint8Array, input.length)).toEqual(input)
})

test('a block that would be too long is not made, one that just fits is', () => {
  for (const input of inputs) {
    const { length } = encoder.encode(input) as Uint8Array
    expect(encoder.encode(input, length)?.length).toBe(length)
    expect(encoder.encode(input, length - 1)).toBeUndefined()
  }
})

test('damage never throws, and never gives another number of bytes', () => {
  fc.assert(
    fc.property(fc.integer(), fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }))), (seed, changes) => {
      const input = mixed(seed, 3000)
      const block = (encoder.encode(input) as Uint8Array).slice()
      for (const [at, value] of changes) block[at % block.length] = value
      for (const size of [2999, 3000, 3001, 64]) expect(lz4Decode(block, size)?.length ?? size).toBe(size)
      expect(lz4Decode(block.subarray(0, block.length >> 1), 3000)).toBeUndefined()
    }),
  )
  expect(lz4Decode(encoder.encode(mixed(1, 3000)) as Uint8Array, 2999)).toBeUndefined()
})

beforeAll(() => {
  const script = fileURLToPath(new URL('../../../scripts/install-test-tools.sh', import.meta.url))
  const { status, stderr } = spawnSync(script, ['lz4'], { encoding: 'utf8' })
  if (status !== 0) throw new Error(stderr)
}, 240_000)

const frameStart = [0x04, 0x22, 0x4d, 0x18]
const incompressible = 0x8000_0000

/** One block in a frame without checksums (lz4_Frame_format.md): independent blocks of up to 4 MiB. */
function frame(block: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(15 + block.length)
  bytes.set([...frameStart, 0x60, 0x70, 0x73])
  new DataView(bytes.buffer).setUint32(7, block.length, true)
  bytes.set(block, 11)
  return bytes
}

test("Debian's lz4 reads what we write", () => {
  for (const input of inputs.slice(1)) {
    const { stdout, status, stderr } = spawnSync('lz4', ['-dc'], {
      input: frame(encoder.encode(input) as Uint8Array),
      maxBuffer: 1 << 24,
    })
    expect(status, String(stderr)).toBe(0)
    expect(new Uint8Array(stdout)).toEqual(input)
  }
})

test("we read what Debian's lz4 writes", () => {
  for (const input of inputs.slice(1)) {
    for (const level of ['-1', '-9', '-12']) {
      const { stdout } = spawnSync('lz4', [level, '-c', '-B7', '--no-frame-crc'], { input, maxBuffer: 1 << 24 })
      const view = new DataView(stdout.buffer, stdout.byteOffset, stdout.byteLength)
      const word = view.getUint32(7, true)
      const block = new Uint8Array(stdout).subarray(11, 11 + (word & 0x7fff_ffff))
      if (word < incompressible) expect(lz4Decode(block, input.length)).toEqual(input)
      else expect(block).toEqual(input)
    }
  }
})
