/** A matrix made ready for the kernels: which rows go together, and the tables of their coefficients. */
import { nibbleTables } from './field.ts'
import type { Matrix } from './matrix.ts'
import { generalRowsMax } from './simd-module.ts'

/** Rows that one call of the SIMD kernel makes from all inputs. */
interface RowGroup {
  /** A row of ones: the XOR of the inputs. */
  readonly xorRow: number | undefined
  readonly generalRows: readonly number[]
  /** Input by input and general row by general row: 32 bytes of nibble tables. */
  readonly tables: Uint8Array
}

export interface Plan {
  /** A row for each output, a column for each input. */
  readonly matrix: Matrix
  readonly groups: readonly RowGroup[]
}

export function planOf(matrix: Matrix): Plan {
  const xorRows: number[] = []
  const generalRows: number[] = []
  for (let row = 0; row < matrix.rows; row++) {
    ;(matrix.row(row).every((cell) => cell === 1) ? xorRows : generalRows).push(row)
  }
  const groups: RowGroup[] = []
  while (xorRows.length > 0 || generalRows.length > 0) {
    const rows = generalRows.splice(0, generalRowsMax)
    groups.push({ xorRow: xorRows.shift(), generalRows: rows, tables: tablesOf(matrix, rows) })
  }
  return { matrix, groups }
}

function tablesOf(matrix: Matrix, rows: readonly number[]): Uint8Array {
  const tables = new Uint8Array(32 * matrix.columns * rows.length)
  for (let column = 0; column < matrix.columns; column++) {
    for (const [i, row] of rows.entries()) {
      tables.set(nibbleTables(matrix.at(row, column)), 32 * (column * rows.length + i))
    }
  }
  return tables
}
