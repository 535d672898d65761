/** The codec by its definition, with both kernels: fast-check draws codes, lengths, losses and overwrites. */
import { ClusterError, concatBytes, equalBytes, Prng } from '@shoal/base'
import { createErasureCode, type ErasureCode, xorChunks } from '@shoal/erasure'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { vandermondeCodingMatrix } from '../src/matrix.ts'
import { naiveProduct } from './support/naive.ts'

const counts = fc
  .integer({ min: 1, max: 31 })
  .chain((k) => fc.record({ k: fc.constant(k), m: fc.integer({ min: 1, max: 32 - k }) }))
const seeds = fc.integer({ min: 0, max: 0x7fff_ffff })

function randomChunks(random: Prng, count: number, sizeBytes: number): Uint8Array[] {
  return Array.from({ length: count }, () => random.bytes(sizeBytes))
}

function naiveParity(k: number, m: number, data: readonly Uint8Array[]): Uint8Array[] {
  const matrix = vandermondeCodingMatrix(k, m)
  return naiveProduct(
    Array.from({ length: m }, (_, row) => [...matrix.row(row)]),
    data,
  )
}

function indexed(chunks: readonly Uint8Array[]): Map<number, Uint8Array> {
  return new Map(chunks.entries())
}

/** Vitest compares long arrays element by element, slowly. */
function same(a: readonly Uint8Array[], b: readonly Uint8Array[]): boolean {
  return a.length === b.length && equalBytes(concatBytes(a), concatBytes(b))
}

function codeOf(error: () => unknown): string | undefined {
  try {
    error()
  } catch (thrown) {
    if (!(thrown instanceof ClusterError)) throw thrown
    expect(thrown.hint).toBeTruthy()
    return thrown.code
  }
  return undefined
}

describe.each(['simd', 'scalar'] as const)('%s', (kernel) => {
  test('parity is the coding matrix times the data, at any length', () => {
    fc.assert(
      fc.property(counts, fc.integer({ min: 0, max: 200 }), seeds, ({ k, m }, sizeBytes, seed) => {
        const data = randomChunks(new Prng(seed), k, sizeBytes)
        const kept = data.map((chunk) => chunk.slice())
        expect(createErasureCode({ k, m, kernel }).encode(data)).toEqual(naiveParity(k, m, data))
        expect(data).toEqual(kept)
      }),
      { numRuns: 60 },
    )
  })

  test('any k chunks bring back all others', () => {
    fc.assert(
      fc.property(counts, fc.integer({ min: 0, max: 300 }), seeds, ({ k, m }, sizeBytes, seed) => {
        const random = new Prng(seed)
        const code = createErasureCode({ k, m, kernel })
        const data = randomChunks(random, k, sizeBytes)
        const all = [...data, ...code.encode(data)]
        const have = indexed(all)
        for (let lost = random.below(m + 1); lost > 0; lost--) have.delete(random.below(k + m))
        const want = all.map((_, index) => index).filter(() => random.below(2) === 0)
        const decoded = code.decode(have, want)
        expect([...decoded.keys()]).toEqual(want)
        for (const [index, chunk] of decoded) {
          expect(chunk).toEqual(all[index])
          if (have.has(index)) expect(chunk).toBe(have.get(index))
        }
      }),
      { numRuns: 60 },
    )
  })

  test('an update makes the parity of the new data, anywhere within the chunks', () => {
    fc.assert(
      fc.property(counts, fc.integer({ min: 1, max: 300 }), seeds, ({ k, m }, sizeBytes, seed) => {
        const random = new Prng(seed)
        const code = createErasureCode({ k, m, kernel })
        const data = randomChunks(random, k, sizeBytes)
        const parity = code.encode(data)
        const from = random.below(sizeBytes)
        const to = from + random.below(sizeBytes - from + 1)
        const deltas = new Map<number, Uint8Array>()
        for (const [index, chunk] of data.entries()) {
          if (random.below(3) > 0) continue
          const fresh = random.bytes(to - from)
          deltas.set(index, xorChunks(chunk.subarray(from, to), fresh))
          chunk.set(fresh, from)
        }
        const cut = parity.map((chunk) => chunk.subarray(from, to))
        const expected = code.encode(data)
        expect(code.update(deltas, cut)).toEqual(expected.map((chunk) => chunk.subarray(from, to)))
        code.update(deltas, cut, cut)
        expect(parity).toEqual(expected)
      }),
      { numRuns: 60 },
    )
  })

  test('chunks larger than a slice, of odd lengths, not aligned in their buffers', () => {
    for (const sizeBytes of [8191, 8192, 8193, 16_384 + 63, 3 * 8192 + 1, 100_003]) {
      const random = new Prng(sizeBytes)
      const code = createErasureCode({ k: 3, m: 6, kernel })
      const data = Array.from({ length: 3 }, (_, i) => random.bytes(sizeBytes + 7).subarray(i + 1, i + 1 + sizeBytes))
      const parity = code.encode(data)
      const expected = createErasureCode({ k: 3, m: 6, kernel: 'scalar' }).encode(data)
      expect(same(parity, expected), `parity of ${sizeBytes} bytes`).toBe(true)
      const have = new Map([...indexed([...data, ...parity])].filter(([index]) => index >= 6))
      const decoded = code.decode(have, [0, 1, 2])
      expect(same([...decoded.values()], data), `data of ${sizeBytes} bytes`).toBe(true)
    }
  })
})

describe('what comes back', () => {
  const code = createErasureCode({ k: 4, m: 2 })

  test('stays as it is while later calls run', () => {
    const random = new Prng(5)
    const made: { readonly parity: readonly Uint8Array[]; readonly copy: readonly Uint8Array[] }[] = []
    for (let i = 0; i < 100; i++) {
      const parity = code.encode(randomChunks(random, 4, 1 + random.below(6000)))
      made.push({ parity, copy: parity.map((chunk) => chunk.slice()) })
    }
    for (const { parity, copy } of made) expect(same(parity, copy)).toBe(true)
  })

  test('goes where the caller says', () => {
    const data = randomChunks(new Prng(6), 4, 5000)
    const into = [new Uint8Array(5000), new Uint8Array(5000)]
    expect(code.encode(data, into)).toBe(into)
    expect(into).toEqual(naiveParity(4, 2, data))
  })

  test('remembers no more decode matrices than its bound', () => {
    const wide = createErasureCode({ k: 12, m: 4 })
    const data = randomChunks(new Prng(7), 12, 64)
    const all = [...data, ...wide.encode(data)]
    for (let a = 0; a < 16; a++) {
      for (let b = 0; b < 16; b++) {
        const have = indexed(all)
        have.delete(a)
        have.delete(b)
        expect(wide.decode(have, [a, b])).toEqual(
          new Map([[a, all[a]] as const, [b, all[b]] as const].toSorted((x, y) => x[0] - y[0])),
        )
      }
    }
    expect(wide.plansKept).toBe(128)
  })
})

describe('minimumToDecode', () => {
  const code: ErasureCode = createErasureCode({ k: 4, m: 2 })

  test.each([
    { want: [1, 2], available: [0, 1, 2, 3, 4, 5], reads: [1, 2] },
    { want: [2, 1], available: [5, 2, 1], reads: [1, 2] },
    { want: [1], available: [0, 2, 3, 4, 5], reads: [0, 2, 3, 4] },
    { want: [0, 1], available: [5, 4, 3, 2], reads: [2, 3, 4, 5] },
    { want: [], available: [], reads: [] },
  ])('$want of $available', ({ want, available, reads }) => {
    expect(code.minimumToDecode(want, available)).toEqual(reads)
  })

  test('says how many are missing', () => {
    expect(() => code.minimumToDecode([0], [1, 2, 3])).toThrow('3 of 4 needed chunks are available')
    expect(codeOf(() => code.minimumToDecode([0], [1, 2, 3]))).toBe('EIO')
  })
})

describe('refusals', () => {
  const code = createErasureCode({ k: 2, m: 1 })
  const chunk = new Uint8Array(8)

  test.each([
    { what: 'k=0', run: () => createErasureCode({ k: 0, m: 1 }) },
    { what: 'm=0', run: () => createErasureCode({ k: 2, m: 0 }) },
    { what: 'k=1.5', run: () => createErasureCode({ k: 1.5, m: 1 }) },
    { what: '33 chunks', run: () => createErasureCode({ k: 30, m: 3 }) },
    { what: 'too few data chunks', run: () => code.encode([chunk]) },
    { what: 'chunks of two lengths', run: () => code.encode([chunk, new Uint8Array(7)]) },
    { what: 'a chunk that no code has', run: () => code.decode(new Map(), [3]) },
    { what: 'a delta of parity', run: () => code.update(new Map([[2, chunk]]), [chunk]) },
    { what: 'a delta of another length', run: () => code.update(new Map([[0, chunk]]), [new Uint8Array(9)]) },
    { what: 'too little parity', run: () => code.update(new Map([[0, chunk]]), []) },
  ])('$what', ({ run }) => {
    expect(codeOf(run)).toBe('EINVAL')
  })

  test('too few chunks to decode', () => {
    expect(codeOf(() => code.decode(new Map([[1, chunk]]), [0]))).toBe('EIO')
  })
})
