/** The field, and the matrices over it, against their definitions. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { invert, multiply, nibbleTables, productTable } from '../src/field.ts'
import { Matrix, vandermondeCodingMatrix } from '../src/matrix.ts'
import { naiveMultiply } from './support/naive.ts'

const bytes = Array.from({ length: 256 }, (_, byte) => byte)

describe('the field', () => {
  test('multiplies as polynomials do, for all pairs', () => {
    for (const a of bytes) {
      const table = productTable(a)
      const nibbles = nibbleTables(a)
      for (const b of bytes) {
        const product = naiveMultiply(a, b)
        if (multiply(a, b) !== product) expect.fail(`${a} x ${b}`)
        if (table[b] !== product) expect.fail(`table of ${a} at ${b}`)
        const twoLookUps = (nibbles[b & 0x0f] ?? 0) ^ (nibbles[16 + (b >> 4)] ?? 0)
        if (twoLookUps !== product) expect.fail(`nibbles of ${a} at ${b}`)
      }
    }
  })

  test('has an inverse of everything but zero', () => {
    for (const a of bytes.slice(1)) expect(naiveMultiply(a, invert(a))).toBe(1)
    expect(() => invert(0)).toThrow('zero has no inverse')
  })
})

describe('the coding matrix', () => {
  test('begins with a row and a column of ones', () => {
    for (let k = 1; k <= 31; k++) {
      const matrix = vandermondeCodingMatrix(k, 32 - k)
      expect([...matrix.row(0)]).toEqual(Array.from({ length: k }, () => 1))
      for (let row = 0; row < matrix.rows; row++) expect(matrix.at(row, 0)).toBe(1)
    }
  })

  test('any k chunks determine the data', () => {
    const pick = fc.integer({ min: 1, max: 31 }).chain((k) =>
      fc.integer({ min: 1, max: 32 - k }).chain((m) =>
        fc.record({
          k: fc.constant(k),
          m: fc.constant(m),
          rows: fc.shuffledSubarray(
            Array.from({ length: k + m }, (_, i) => i),
            { minLength: k, maxLength: k },
          ),
        }),
      ),
    )
    fc.assert(
      fc.property(pick, ({ k, m, rows }) => {
        const generator = new Matrix(k + m, k)
        generator.cells.set(Matrix.identity(k).cells)
        generator.cells.set(vandermondeCodingMatrix(k, m).cells, k * k)
        const square = generator.selectRows(rows)
        const inverse = square.inverse()
        expect(inverse?.times(square).cells).toEqual(Matrix.identity(k).cells)
      }),
    )
  })

  test('a singular matrix has no inverse', () => {
    expect(new Matrix(3, 3).inverse()).toBeUndefined()
  })
})
