/** Matrices over GF(2^8): the coding matrix of jerasure's `reed_sol_van`, products and inverses. */
import { assert } from '@shoal/base'
import { invert, multiply } from './field.ts'

export class Matrix {
  readonly rows: number
  readonly columns: number
  /** Row by row. */
  readonly cells: Uint8Array

  constructor(rows: number, columns: number) {
    this.rows = rows
    this.columns = columns
    this.cells = new Uint8Array(rows * columns)
  }

  static identity(size: number): Matrix {
    const identity = new Matrix(size, size)
    for (let i = 0; i < size; i++) identity.set(i, i, 1)
    return identity
  }

  at(row: number, column: number): number {
    return this.cells[row * this.columns + column] as number
  }

  set(row: number, column: number, value: number): void {
    this.cells[row * this.columns + column] = value
  }

  row(row: number): Uint8Array {
    return this.cells.subarray(row * this.columns, (row + 1) * this.columns)
  }

  /** The given rows, in that order. */
  selectRows(rows: readonly number[]): Matrix {
    const selected = new Matrix(rows.length, this.columns)
    for (const [to, from] of rows.entries()) selected.row(to).set(this.row(from))
    return selected
  }

  /** The given columns, in that order. */
  selectColumns(columns: readonly number[]): Matrix {
    const selected = new Matrix(this.rows, columns.length)
    for (let row = 0; row < this.rows; row++) {
      for (const [to, from] of columns.entries()) selected.set(row, to, this.at(row, from))
    }
    return selected
  }

  times(right: Matrix): Matrix {
    assert(this.columns === right.rows, 'matrices that can be multiplied')
    const product = new Matrix(this.rows, right.columns)
    for (let row = 0; row < this.rows; row++) {
      for (let inner = 0; inner < this.columns; inner++) {
        addMultiple(product.row(row), right.row(inner), this.at(row, inner))
      }
    }
    return product
  }

  /** By Gauss and Jordan; undefined when there is none. */
  inverse(): Matrix | undefined {
    const size = this.rows
    assert(this.columns === size, 'a square matrix')
    const left = this.selectRows(Array.from({ length: size }, (_, row) => row))
    const right = Matrix.identity(size)
    for (let pivot = 0; pivot < size; pivot++) {
      let found = pivot
      while (found < size && left.at(found, pivot) === 0) found++
      if (found === size) return undefined
      left.swapRows(pivot, found)
      right.swapRows(pivot, found)
      const factor = invert(left.at(pivot, pivot))
      left.scaleRow(pivot, factor)
      right.scaleRow(pivot, factor)
      for (let row = 0; row < size; row++) {
        const multiple = left.at(row, pivot)
        if (row === pivot || multiple === 0) continue
        addMultiple(left.row(row), left.row(pivot), multiple)
        addMultiple(right.row(row), right.row(pivot), multiple)
      }
    }
    return right
  }

  swapRows(a: number, b: number): void {
    if (a === b) return
    const kept = this.row(a).slice()
    this.row(a).set(this.row(b))
    this.row(b).set(kept)
  }

  scaleRow(row: number, factor: number): void {
    const cells = this.row(row)
    for (const [column, cell] of cells.entries()) cells[column] = multiply(cell, factor)
  }

  /** In the rows from `firstRow` on. */
  scaleColumn(column: number, factor: number, firstRow = 0): void {
    for (let row = firstRow; row < this.rows; row++) this.set(row, column, multiply(this.at(row, column), factor))
  }

  addColumn(to: number, from: number, factor: number): void {
    for (let row = 0; row < this.rows; row++) {
      this.set(row, to, this.at(row, to) ^ multiply(this.at(row, from), factor))
    }
  }
}

function addMultiple(to: Uint8Array, from: Uint8Array, factor: number): void {
  for (const [i, cell] of from.entries()) to[i] = (to[i] as number) ^ multiply(cell, factor)
}

/** Row i is the powers of i, but the last row is that of "infinity": any k rows are independent. */
function extendedVandermonde(rows: number, columns: number): Matrix {
  const matrix = new Matrix(rows, columns)
  for (let row = 0; row < rows - 1; row++) {
    for (let column = 0, power = 1; column < columns; column++, power = multiply(power, row)) {
      matrix.set(row, column, power)
    }
  }
  matrix.set(rows - 1, columns - 1, 1)
  return matrix
}

/**
 * The m x k matrix that makes parity of data, as `reed_sol_vandermonde_coding_matrix` of jerasure makes it. Operations on
 * whole columns keep any k rows independent; they turn the first k rows into the identity (so that data chunks hold the
 * data as it is), then the first parity row and the first parity column into ones. The first parity chunk is therefore
 * the XOR of the data. The order of the steps decides the result, and with it the bytes on disk: it is Ceph's.
 */
export function vandermondeCodingMatrix(k: number, m: number): Matrix {
  const matrix = extendedVandermonde(k + m, k)
  for (let pivot = 1; pivot < k; pivot++) {
    let found = pivot
    while (found < k + m && matrix.at(found, pivot) === 0) found++
    assert(found < k + m, 'a pivot in every column of a Vandermonde matrix')
    matrix.swapRows(pivot, found)
    if (matrix.at(pivot, pivot) !== 1) matrix.scaleColumn(pivot, invert(matrix.at(pivot, pivot)))
    for (let column = 0; column < k; column++) {
      const cell = matrix.at(pivot, column)
      if (column !== pivot && cell !== 0) matrix.addColumn(column, pivot, cell)
    }
  }
  for (let column = 0; column < k; column++) matrix.scaleColumn(column, invert(matrix.at(k, column)), k)
  for (let row = k + 1; row < k + m; row++) matrix.scaleRow(row, invert(matrix.at(row, 0)))
  return matrix.selectRows(Array.from({ length: m }, (_, row) => k + row))
}
