import { expect, test } from 'vitest'
import { createErasureCode, linearDigest, linearDigestChunk } from '../src/index.ts'

function bytesOf(seed: number, length: number): Uint8Array {
  let state = seed
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    return state >>> 24
  })
}

test('the digests of parity are the parity of the digests', () => {
  for (const [k, m] of [
    [2, 1],
    [3, 2],
    [4, 2],
    [8, 4],
  ] as const) {
    const code = createErasureCode({ k, m })
    const data = Array.from({ length: k }, (_, at) => bytesOf(at + 1, 4_096 + 511))
    const digests = [...data, ...code.encode(data)].map((chunk) => linearDigest(0, chunk))
    const parity = code.encode(digests.slice(0, k).map(linearDigestChunk))
    expect(parity).toEqual(digests.slice(k).map(linearDigestChunk))
  }
})

test('it goes on where it ended, and any change of up to four near bytes changes it', () => {
  const bytes = bytesOf(7, 1_000)
  const digest = linearDigest(0, bytes)
  expect(linearDigest(linearDigest(0, bytes.subarray(0, 333)), bytes.subarray(333))).toBe(digest)
  for (let at = 0; at < 600; at += 7) {
    const changed = bytes.slice()
    for (const [nth, step] of [0, 1, 100, 254].slice(0, 1 + (at % 4)).entries()) {
      const index = at + step
      changed[index] = (changed[index] as number) ^ (1 + ((at * 31 + nth) % 255))
    }
    expect(linearDigest(0, changed)).not.toBe(digest)
  }
})
