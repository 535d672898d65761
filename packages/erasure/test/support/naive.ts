/** The field and the code by their definitions, with nothing shared with what they check. */

/** Polynomials over GF(2), multiplied bit by bit, then reduced bit by bit. */
export function naiveMultiply(a: number, b: number): number {
  let product = 0
  for (let bit = 0; bit < 8; bit++) if ((b >> bit) & 1) product ^= a << bit
  for (let bit = 14; bit >= 8; bit--) if ((product >> bit) & 1) product ^= 0x11d << (bit - 8)
  return product
}

/** Rows times columns of bytes. */
export function naiveProduct(rows: readonly (readonly number[])[], inputs: readonly Uint8Array[]): Uint8Array[] {
  const length = inputs[0]?.length ?? 0
  return rows.map((row) =>
    Uint8Array.from({ length }, (_, i) =>
      row.reduce((sum, cell, column) => sum ^ naiveMultiply(cell, inputs[column]?.[i] ?? 0), 0),
    ),
  )
}
