/**
 * The driver of the WebAssembly kernel. Chunks live outside the module's memory, so they are copied in slice by slice, and
 * results out; slices are small enough that what was copied in is still in the processor's cache when it is read.
 *
 * The memory is fixed: room for the tables of one group of rows and for a slice of each of 32 chunks, inputs and outputs
 * together. Nothing in it outlives a call.
 */
import { must } from '@shoal/base'
import type { Kernel } from './kernel.ts'
import type { Plan } from './plan.ts'
import { blockBytes, chunksMax, generalRowsMax, kernelName, simdModule } from './simd-module.ts'

const pageBytes = 65_536
const sliceBytes = 8192
const tablesBytes = 32 * generalRowsMax * chunksMax
/** Between slices, so that the same place of all chunks does not fall into one set of the cache. */
const gapBytes = blockBytes
const memoryPages = Math.ceil((tablesBytes + chunksMax * (sliceBytes + gapBytes)) / pageBytes)

type KernelFunction = (
  tables: number,
  input: number,
  inputStride: number,
  inputCount: number,
  output: number,
  outputStride: number,
  sizeBytes: number,
  accumulate: number,
) => void

/** What every runtime with WebAssembly has; pure rows compile without the DOM's types. */
declare const WebAssembly:
  | {
      validate(bytes: Uint8Array): boolean
      readonly Module: new (bytes: Uint8Array) => object
      readonly Instance: new (module: object) => { readonly exports: Readonly<Record<string, unknown>> }
    }
  | undefined

export class SimdKernel implements Kernel {
  readonly name = 'simd'
  private readonly memory: Uint8Array
  private readonly functions: ReadonlyMap<string, KernelFunction>

  private constructor(exports: Readonly<Record<string, unknown>>) {
    const { memory, ...functions } = exports
    this.memory = new Uint8Array((memory as { readonly buffer: ArrayBuffer }).buffer)
    this.functions = new Map(Object.entries(functions as Readonly<Record<string, KernelFunction>>))
  }

  /** Undefined where WebAssembly, or its SIMD, is missing. */
  static create(): SimdKernel | undefined {
    if (typeof WebAssembly === 'undefined') return undefined
    const bytes = simdModule(memoryPages)
    if (!WebAssembly.validate(bytes)) return undefined
    return new SimdKernel(new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports)
  }

  run(
    plan: Plan,
    inputs: readonly Uint8Array[],
    outputs: readonly Uint8Array[],
    addends?: readonly Uint8Array[],
  ): void {
    const sizeBytes = must(inputs[0], 'at least one input').length
    for (let from = 0; from < sizeBytes; from += sliceBytes) {
      this.runSlice(plan, inputs, outputs, addends, from, Math.min(sizeBytes, from + sliceBytes))
    }
  }

  private runSlice(
    plan: Plan,
    inputs: readonly Uint8Array[],
    outputs: readonly Uint8Array[],
    addends: readonly Uint8Array[] | undefined,
    from: number,
    to: number,
  ): void {
    const { memory } = this
    const paddedBytes = Math.ceil((to - from) / blockBytes) * blockBytes
    const stride = paddedBytes + gapBytes
    const outputAt = tablesBytes + inputs.length * stride
    this.copyIn(inputs, tablesBytes, stride, from, to)
    let rowAt = outputAt
    for (const { xorRow, generalRows, tables } of plan.groups) {
      memory.set(tables, 0)
      const rows = xorRow === undefined ? generalRows : [xorRow, ...generalRows]
      if (addends !== undefined) {
        this.copyIn(
          rows.map((row) => must(addends[row], 'an addend for each output')),
          rowAt,
          stride,
          from,
          to,
        )
      }
      const name = kernelName({ hasXorRow: xorRow !== undefined, generalRows: generalRows.length })
      const kernel = must(this.functions.get(name), 'a kernel of that shape')
      kernel(0, tablesBytes, stride, inputs.length, rowAt, stride, paddedBytes, addends === undefined ? 0 : 1)
      for (const row of rows) {
        must(outputs[row], 'an output for each row').set(memory.subarray(rowAt, rowAt + to - from), from)
        rowAt += stride
      }
    }
  }

  private copyIn(chunks: readonly Uint8Array[], at: number, stride: number, from: number, to: number): void {
    const isWhole = from === 0 && to === chunks[0]?.length
    for (const [i, chunk] of chunks.entries())
      this.memory.set(isWhole ? chunk : chunk.subarray(from, to), at + i * stride)
  }
}
