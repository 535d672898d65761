/**
 * The codec. k data chunks make m parity chunks of the same length; any k of the k + m bring back all others.
 *
 *  1. Chunks 0 to k-1 are the data as it is, chunks k to k+m-1 are parity. Both are what Ceph's jerasure makes with
 *     `technique=reed_sol_van` and w=8, byte for byte.
 *  2. Every byte of a chunk depends only on the bytes at the same place of the other chunks. So any cut of all chunks
 *     alike may be encoded, decoded or updated on its own, of any length.
 *  3. The code finds missing chunks, not wrong ones: who passes a chunk vouches for it (by its checksum and version).
 */
import { assert, ClusterError, emptyBytes, must } from '@shoal/base'
import { findKernel, type Kernel } from './kernel.ts'
import { LeastRecentlyUsed } from './least-recently-used.ts'
import { Matrix, vandermondeCodingMatrix } from './matrix.ts'
import { type Plan, planOf } from './plan.ts'
import { chunksMax } from './simd-module.ts'

/** Decode matrices kept; at 8+3 that is more than all losses of two chunks. */
const plansMax = 128

const slabBytes = 65_536

export interface ErasureCodeOptions {
  /** Data chunks. */
  readonly k: number
  /** Parity chunks: as many may be lost. */
  readonly m: number
  /** By default SIMD where the machine has it, else plain JavaScript. */
  readonly kernel?: Kernel['name']
}

export class ErasureCode {
  readonly k: number
  readonly m: number
  private readonly kernel: Kernel
  private readonly codingMatrix: Matrix
  /** The identity above the coding matrix: chunks = generator x data. */
  private readonly generator: Matrix
  private readonly encodePlan: Plan
  private slab = emptyBytes
  private slabUsedBytes = 0
  private readonly plans = new LeastRecentlyUsed<string, Plan>(plansMax)

  constructor(k: number, m: number, kernel: Kernel) {
    this.k = k
    this.m = m
    this.kernel = kernel
    this.codingMatrix = vandermondeCodingMatrix(k, m)
    this.generator = new Matrix(k + m, k)
    this.generator.cells.set(Matrix.identity(k).cells, 0)
    this.generator.cells.set(this.codingMatrix.cells, k * k)
    this.encodePlan = planOf(this.codingMatrix)
  }

  get kernelName(): Kernel['name'] {
    return this.kernel.name
  }

  /** Decode and update matrices in the cache now. */
  get plansKept(): number {
    return this.plans.size
  }

  /** The parity of k data chunks, written to `into` where it is given. */
  encode(data: readonly Uint8Array[], into?: readonly Uint8Array[]): readonly Uint8Array[] {
    this.requireCount(data, this.k, 'data chunks')
    const sizeBytes = sizeOf(data)
    return this.run(this.encodePlan, data, this.outputs(into, this.m, sizeBytes))
  }

  /**
   * The chunks `want` out of the chunks at hand; those that are wanted and at hand come back as they are. Of more than k,
   * those with the lowest indexes are used.
   */
  decode(have: ReadonlyMap<number, Uint8Array>, want: Iterable<number>): Map<number, Uint8Array> {
    const wanted = this.sorted(want)
    const lost = wanted.filter((index) => !have.has(index))
    const made = new Map<number, Uint8Array>()
    if (lost.length > 0) {
      const used = this.pick(have.keys())
      const inputs = used.map((index) => must(have.get(index), 'a chunk at hand'))
      const outputs = this.outputs(undefined, lost.length, sizeOf(inputs))
      this.run(this.decodePlan(used, lost), inputs, outputs)
      for (const [i, index] of lost.entries()) made.set(index, must(outputs[i], 'an output for each loss'))
    }
    return new Map(wanted.map((index) => [index, must(made.get(index) ?? have.get(index), 'a wanted chunk')]))
  }

  /**
   * The parity after a partial overwrite. `deltas` has, by index, old XOR new of each data chunk that changes
   * ({@link xorChunks}); `parity` all m old parity chunks at the same place. The new ones are written to `into`, which may be
   * `parity` itself. m + 1 chunks are read and written for one that changes, whatever k is.
   */
  update(
    deltas: ReadonlyMap<number, Uint8Array>,
    parity: readonly Uint8Array[],
    into?: readonly Uint8Array[],
  ): readonly Uint8Array[] {
    this.requireCount(parity, this.m, 'parity chunks')
    const changed = this.sorted(deltas.keys())
    const strange = changed.find((index) => index >= this.k)
    if (strange !== undefined) {
      throw new ClusterError('EINVAL', `chunk ${strange} is parity: only data chunks have deltas`, {
        hint: `data chunks of k=${this.k} are 0 to ${this.k - 1}`,
      })
    }
    const inputs = changed.map((index) => must(deltas.get(index), 'the delta of a changed chunk'))
    const outputs = this.outputs(into, this.m, sizeOf([...parity, ...inputs]))
    if (inputs.length > 0) return this.run(this.updatePlan(changed), inputs, outputs, parity)
    for (const [i, output] of outputs.entries()) output.set(must(parity[i], 'a parity chunk'))
    return outputs
  }

  /**
   * The chunks to read for `want`, of those `available`, as Ceph chooses: what is wanted where all of it is available,
   * else the first k available.
   */
  minimumToDecode(want: Iterable<number>, available: Iterable<number>): readonly number[] {
    const wanted = this.sorted(want)
    const there = new Set(this.sorted(available))
    return wanted.every((index) => there.has(index)) ? wanted : this.pick(there)
  }

  /** The k lowest of the chunks at hand. */
  private pick(available: Iterable<number>): readonly number[] {
    const sorted = this.sorted(available)
    if (sorted.length < this.k) {
      throw new ClusterError('EIO', `${sorted.length} of ${this.k} needed chunks are available`, {
        hint: 'bring back the OSDs that hold the others: shoal osd tree',
        retry: true,
      })
    }
    return sorted.slice(0, this.k)
  }

  private sorted(indexes: Iterable<number>): readonly number[] {
    const sorted = [...new Set(indexes)].toSorted((a, b) => a - b)
    const strange = sorted.find((index) => !Number.isInteger(index) || index < 0 || index >= this.k + this.m)
    if (strange === undefined) return sorted
    throw new ClusterError('EINVAL', `there is no chunk ${strange} in k=${this.k} m=${this.m}`, {
      hint: `chunks are 0 to ${this.k + this.m - 1}, data first`,
    })
  }

  private decodePlan(used: readonly number[], lost: readonly number[]): Plan {
    return this.planned(`decode ${used.join(' ')} ${lost.join(' ')}`, () => {
      const inverse = must(this.generator.selectRows(used).inverse(), 'the inverse of any k rows of the generator')
      return this.generator.selectRows(lost).times(inverse)
    })
  }

  private updatePlan(changed: readonly number[]): Plan {
    return this.planned(`update ${changed.join(' ')}`, () => this.codingMatrix.selectColumns(changed))
  }

  private planned(key: string, make: () => Matrix): Plan {
    const known = this.plans.get(key)
    if (known !== undefined) return known
    const plan = planOf(make())
    this.plans.set(key, plan)
    return plan
  }

  private run(
    plan: Plan,
    inputs: readonly Uint8Array[],
    outputs: readonly Uint8Array[],
    addends?: readonly Uint8Array[],
  ): readonly Uint8Array[] {
    this.kernel.run(plan, inputs, outputs, addends)
    return outputs
  }

  /** `into` where it is given; else fresh ones, cut from one allocation. */
  private outputs(into: readonly Uint8Array[] | undefined, count: number, sizeBytes: number): readonly Uint8Array[] {
    if (into !== undefined) {
      this.requireCount(into, count, 'chunks to write to')
      assert(
        into.every((chunk) => chunk.length === sizeBytes),
        'chunks to write to are as long as the others',
      )
      return into
    }
    const whole = this.allocate(count * sizeBytes)
    return Array.from({ length: count }, (_, i) => whole.subarray(i * sizeBytes, (i + 1) * sizeBytes))
  }

  /** Small ones are cut from a slab: an allocation by itself costs as much as encoding a stripe of 16 KiB does. */
  private allocate(sizeBytes: number): Uint8Array {
    if (sizeBytes > slabBytes / 4) return new Uint8Array(sizeBytes)
    if (this.slabUsedBytes + sizeBytes > this.slab.length) {
      this.slab = new Uint8Array(slabBytes)
      this.slabUsedBytes = 0
    }
    const from = this.slabUsedBytes
    this.slabUsedBytes += sizeBytes
    return this.slab.subarray(from, this.slabUsedBytes)
  }

  private requireCount(chunks: readonly Uint8Array[], count: number, what: string): void {
    if (chunks.length === count) return
    throw new ClusterError('EINVAL', `${chunks.length} ${what} instead of ${count}`, {
      hint: `pass one for each of k=${this.k} m=${this.m}`,
    })
  }
}

function sizeOf(chunks: readonly Uint8Array[]): number {
  const sizeBytes = chunks[0]?.length ?? 0
  const other = chunks.find((chunk) => chunk.length !== sizeBytes)
  if (other === undefined) return sizeBytes
  throw new ClusterError('EINVAL', `chunks of ${sizeBytes} and of ${other.length} bytes`, {
    hint: 'pad the last stripe with zeros: all chunks of a stripe are of one length',
  })
}

/** Throws EINVAL for a k and m that no code has, EOPNOTSUPP for a kernel that this machine has not. */
export function createErasureCode({ k, m, kernel: name }: ErasureCodeOptions): ErasureCode {
  checkChunkCounts(k, m)
  const kernel = findKernel(name)
  if (kernel === undefined) {
    throw new ClusterError('EOPNOTSUPP', 'WebAssembly SIMD is missing here', { hint: "leave 'kernel' out" })
  }
  return new ErasureCode(k, m, kernel)
}

export function checkChunkCounts(k: number, m: number): void {
  for (const [name, value] of [
    ['k', k],
    ['m', m],
  ] as const) {
    if (Number.isInteger(value) && value >= 1) continue
    throw new ClusterError('EINVAL', `${name}=${value} is not a positive whole number`, {
      hint: 'for example k=4 m=2: 4 data chunks, 2 of 6 chunks may be lost',
    })
  }
  if (k + m <= chunksMax) return
  throw new ClusterError('EINVAL', `k=${k} and m=${m} are ${k + m} chunks, more than ${chunksMax}`, {
    hint: 'lower k: every chunk of an object needs an OSD of its own',
  })
}

/** a XOR b, of one length: the delta between an old chunk and a new one. */
export function xorChunks(a: Uint8Array, b: Uint8Array): Uint8Array {
  const result = new Uint8Array(sizeOf([a, b]))
  must(findKernel(), 'a kernel').run(xorPlan, [a, b], [result])
  return result
}

const xorPlan = planOf(oneRowOfOnes(2))

function oneRowOfOnes(columns: number): Matrix {
  const ones = new Matrix(1, columns)
  ones.cells.fill(1)
  return ones
}
