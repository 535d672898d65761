/**
 * The kernel as a WebAssembly module: rows of a matrix times columns of bytes, 16 bytes to a vector.
 *
 * For each block of columns all inputs are read once, and all output rows of one call are gathered in registers. A product
 * with a constant is two look-ups of nibbles (`i8x16.swizzle`) and an XOR; a row of ones is the XOR alone, which makes the
 * first parity chunk, and the repair of one data chunk from it, much cheaper.
 */
import { assembleModule, FunctionAssembler, type Local } from './wasm-assembler.ts'

/** k + m at most: the memory has room for as many chunks. */
export const chunksMax = 32

/** Rows with look-ups in one call: more accumulators than this do not stay in the 16 registers of x86-64. */
export const generalRowsMax = 4

/** Lengths are rounded up to this; the room behind a chunk is read and written, and means nothing. */
export const blockBytes = 64

export interface KernelShape {
  /** Whether the first output row is a row of ones. */
  readonly hasXorRow: boolean
  /** Output rows with coefficients. */
  readonly generalRows: number
}

export function kernelName({ hasXorRow, generalRows }: KernelShape): string {
  return `${hasXorRow ? 'xor' : 'dot'}${generalRows}`
}

const shapes: readonly KernelShape[] = [true, false].flatMap((hasXorRow) =>
  Array.from({ length: generalRowsMax + 1 }, (_, generalRows) => ({ hasXorRow, generalRows })),
)

/**
 * (tables, input, inputStride, inputCount, output, outputStride, sizeBytes, accumulate). `tables` has, input by input and
 * general row by general row, 32 bytes of nibble tables. With `accumulate` the products are added to what output holds.
 */
function assembleKernel({ hasXorRow, generalRows }: KernelShape): FunctionAssembler {
  const f = new FunctionAssembler(8)
  const [tables, input, inputStride, inputCount, output, outputStride, sizeBytes, accumulate] = f.parameters as [
    Local,
    Local,
    Local,
    Local,
    Local,
    Local,
    Local,
    Local,
  ]
  const rows = generalRows + (hasXorRow ? 1 : 0)
  const vectors = generalRows <= 2 ? 2 : 1
  const end = f.newLocal('i32')
  const source = f.newLocal('i32')
  const table = f.newLocal('i32')
  const left = f.newLocal('i32')
  const outputs = Array.from({ length: rows }, () => f.newLocal('i32'))
  const sums = outputs.map(() => Array.from({ length: vectors }, () => f.newLocal('v128')))
  const low = Array.from({ length: vectors }, () => f.newLocal('v128'))
  const high = Array.from({ length: vectors }, () => f.newLocal('v128'))
  const lowTable = f.newLocal('v128')
  const highTable = f.newLocal('v128')
  const nibbleMask = f.newLocal('v128')
  const eachSum = (visit: (sum: Local, output: Local, offset: number) => void): void => {
    for (const [row, of] of sums.entries()) {
      for (const [v, sum] of of.entries()) visit(sum, outputs[row] as Local, 16 * v)
    }
  }

  const addInput = (): void => {
    for (let v = 0; v < vectors; v++) {
      f.get(source)
        .v128Load(16 * v)
        .set(low[v] as Local)
      if (hasXorRow) {
        const sum = (sums[0] as Local[])[v] as Local
        f.get(sum)
          .get(low[v] as Local)
          .v128Xor()
          .set(sum)
      }
      if (generalRows === 0) continue
      f.get(low[v] as Local)
        .i32Const(4)
        .i16x8ShiftRightUnsigned()
        .get(nibbleMask)
        .v128And()
        .set(high[v] as Local)
      f.get(low[v] as Local)
        .get(nibbleMask)
        .v128And()
        .set(low[v] as Local)
    }
    for (let row = 0; row < generalRows; row++) {
      f.get(table)
        .v128Load(32 * row)
        .set(lowTable)
      f.get(table)
        .v128Load(32 * row + 16)
        .set(highTable)
      for (let v = 0; v < vectors; v++) {
        const sum = (sums[row + rows - generalRows] as Local[])[v] as Local
        f.get(lowTable)
          .get(low[v] as Local)
          .i8x16Swizzle()
        f.get(highTable)
          .get(high[v] as Local)
          .i8x16Swizzle()
        f.v128Xor().get(sum).v128Xor().set(sum)
      }
    }
  }

  f.v128Const(0x0f).set(nibbleMask)
  f.get(input).get(sizeBytes).i32Add().set(end)
  for (const [row, of] of outputs.entries()) {
    const before = outputs[row - 1]
    if (before === undefined) f.get(output).set(of)
    else f.get(before).get(outputStride).i32Add().set(of)
  }
  f.loopWhile(() => {
    f.get(accumulate).ifElse(
      () => eachSum((sum, of, offset) => f.get(of).v128Load(offset).set(sum)),
      () => eachSum((sum) => f.v128Const(0).set(sum)),
    )
    f.get(input).set(source)
    f.get(tables).set(table)
    f.get(inputCount).set(left)
    f.loopWhile(() => {
      addInput()
      f.get(source).get(inputStride).i32Add().set(source)
      f.get(table)
        .i32Const(32 * generalRows)
        .i32Add()
        .set(table)
      f.get(left).i32Const(1).i32Subtract().tee(left)
    })
    eachSum((sum, of, offset) => f.get(of).get(sum).v128Store(offset))
    for (const of of outputs)
      f.get(of)
        .i32Const(16 * vectors)
        .i32Add()
        .set(of)
    f.get(input)
      .i32Const(16 * vectors)
      .i32Add()
      .tee(input)
    f.get(end).i32LessUnsigned()
  })
  return f
}

export function simdModule(memoryPages: number): Uint8Array {
  const kernels = shapes.filter(({ hasXorRow, generalRows }) => hasXorRow || generalRows > 0)
  return assembleModule(memoryPages, new Map(kernels.map((shape) => [kernelName(shape), assembleKernel(shape)])))
}
