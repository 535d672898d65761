/** Who multiplies matrices with chunks: WebAssembly SIMD, or plain JavaScript where that is missing. */
import { must } from '@shoal/base'
import { productTable } from './field.ts'
import { type Plan } from './plan.ts'
import { SimdKernel } from './simd-kernel.ts'

export interface Kernel {
  readonly name: 'simd' | 'scalar'
  /**
   * outputs = matrix x inputs. All are of one length. With `addends` (one for each output, perhaps the outputs
   * themselves) outputs = addends + matrix x inputs. No output is an input.
   */
  run(plan: Plan, inputs: readonly Uint8Array[], outputs: readonly Uint8Array[], addends?: readonly Uint8Array[]): void
}

/** A table look-up for each byte: slower by a factor of ten or more, needs nothing. */
class ScalarKernel implements Kernel {
  readonly name = 'scalar'
  private readonly products: (Uint8Array | undefined)[] = []

  run(
    { matrix }: Plan,
    inputs: readonly Uint8Array[],
    outputs: readonly Uint8Array[],
    addends?: readonly Uint8Array[],
  ): void {
    for (const [row, output] of outputs.entries()) {
      if (addends === undefined) output.fill(0)
      else if (addends[row] !== output) output.set(must(addends[row], 'an addend for each output'))
      for (const [column, input] of inputs.entries()) {
        const coefficient = matrix.at(row, column)
        const products = (this.products[coefficient] ??= productTable(coefficient))
        for (let i = 0; i < output.length; i++) {
          output[i] = (output[i] as number) ^ (products[input[i] as number] as number)
        }
      }
    }
  }
}

let simd: Kernel | undefined

/** One for the whole process, as its memory is only scratch space during a call. Undefined where SIMD is missing. */
function simdKernel(): Kernel | undefined {
  simd ??= SimdKernel.create()
  return simd
}

/** The one of that name, or the best there is. */
export function findKernel(name?: Kernel['name']): Kernel | undefined {
  if (name === 'scalar') return new ScalarKernel()
  return simdKernel() ?? (name === undefined ? new ScalarKernel() : undefined)
}
