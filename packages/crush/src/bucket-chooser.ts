/**
 * Draws one item from one bucket: the five algorithms, over the buckets of a map flattened into typed arrays. Buckets
 * are addressed by index (`-1 - id`) here.
 *
 * The maps's buckets are known to be consistent (`checkCrushMap`), so that no read leaves its bucket.
 */
import { drawNumerators } from './logarithm.ts'
import { hash3, hash3Pair, hash4 } from './rjenkins.ts'
import { bucketAlgorithms, type CrushBucket, type CrushMap, defaultChooseArgs } from './types.ts'

const absent = -1
const uniform = bucketAlgorithms.indexOf('uniform')
const list = bucketAlgorithms.indexOf('list')
const tree = bucketAlgorithms.indexOf('tree')
const straw = bucketAlgorithms.indexOf('straw')
/** `perm_n` of a permutation of which only the first entry was drawn. */
const permutationFirstOnly = 0xffff

/** The choose_args of one pool, by bucket index. */
export interface CompiledChooseArgs {
  /** How many positions the bucket's weight set has; 0: none. */
  readonly positions: Int32Array
  /** Where its first position starts in `weights`. */
  readonly weightsAt: Int32Array
  readonly weights: Float64Array
  /** Where its ids start in `ids`; -1: none. */
  readonly idsAt: Int32Array
  readonly ids: Int32Array
}

/** The weights a straw2 draw divides by: Ceph hands them over as signed integers. */
function divisors(bucket: CrushBucket): readonly number[] {
  return bucket.algorithm === 'straw2' ? bucket.itemWeights.map((weight) => weight | 0) : []
}

/** The numbers of the other algorithms, as stored: pairs for a list, nodes for a tree, straws for a straw bucket. */
function figures(bucket: CrushBucket): readonly number[] {
  if (bucket.algorithm === 'list') {
    return bucket.itemWeights.flatMap((weight, i) => [weight, bucket.sumWeights[i] as number])
  }
  if (bucket.algorithm === 'tree') return bucket.nodeWeights
  return bucket.algorithm === 'straw' ? bucket.straws : []
}

export class BucketChooser {
  private readonly algorithms: Int8Array
  private readonly types: Int32Array
  private readonly hashes: Uint8Array
  private readonly sizes: Int32Array
  /** Where a bucket's items (and divisors, and permutation) start. */
  private readonly itemsAt: Int32Array
  private readonly items: Int32Array
  private readonly divisors: Float64Array
  private readonly figuresAt: Int32Array
  private readonly figuresCount: Int32Array
  private readonly figures: Float64Array
  private readonly numerators: Float64Array = drawNumerators()
  private readonly argsById = new Map<number, CompiledChooseArgs>()

  /** Permutations, each valid only if its generation is the present one. */
  private generation = 0
  private readonly permGenerations: Float64Array
  private readonly permInputs: Int32Array
  private readonly permCounts: Int32Array
  private readonly perms: Int32Array

  constructor(map: CrushMap) {
    const count = map.buckets.length
    this.algorithms = new Int8Array(count).fill(absent)
    this.types = new Int32Array(count).fill(absent)
    this.hashes = new Uint8Array(count)
    this.sizes = new Int32Array(count)
    this.itemsAt = new Int32Array(count)
    this.figuresAt = new Int32Array(count)
    this.figuresCount = new Int32Array(count)
    const items: number[] = []
    const allDivisors: number[] = []
    const allFigures: number[] = []
    for (const [index, bucket] of map.buckets.entries()) {
      this.itemsAt[index] = items.length
      this.figuresAt[index] = allFigures.length
      if (bucket === undefined) continue
      this.algorithms[index] = bucketAlgorithms.indexOf(bucket.algorithm)
      this.types[index] = bucket.type
      this.hashes[index] = bucket.hash
      this.sizes[index] = bucket.items.length
      const bucketFigures = figures(bucket)
      this.figuresCount[index] = bucketFigures.length
      const bucketDivisors = divisors(bucket)
      for (let i = 0; i < bucket.items.length; i++) {
        items.push(bucket.items[i] as number)
        allDivisors.push(bucketDivisors[i] ?? 0)
      }
      for (const figure of bucketFigures) allFigures.push(figure)
    }
    this.items = Int32Array.from(items)
    this.divisors = Float64Array.from(allDivisors)
    this.figures = Float64Array.from(allFigures)
    this.permGenerations = new Float64Array(count)
    this.permInputs = new Int32Array(count)
    this.permCounts = new Int32Array(count)
    this.perms = new Int32Array(items.length)
    for (const [id, args] of map.chooseArgs) this.argsById.set(id, this.compileChooseArgs(map, args))
  }

  private compileChooseArgs(
    map: CrushMap,
    args: CrushMap['chooseArgs'] extends ReadonlyMap<number, infer A> ? A : never,
  ): CompiledChooseArgs {
    const count = map.buckets.length
    const positions = new Int32Array(count)
    const weightsAt = new Int32Array(count)
    const idsAt = new Int32Array(count).fill(absent)
    const weights: number[] = []
    const ids: number[] = []
    for (const [index, arg] of args) {
      if (map.buckets[index]?.algorithm !== 'straw2') continue
      positions[index] = arg.weightSet.length
      weightsAt[index] = weights.length
      for (const set of arg.weightSet) for (const weight of set) weights.push(weight | 0)
      if (arg.ids === undefined) continue
      idsAt[index] = ids.length
      ids.push(...arg.ids)
    }
    return { positions, weightsAt, weights: Float64Array.from(weights), idsAt, ids: Int32Array.from(ids) }
  }

  /** Those of `id`, else the default ones, else none. */
  chooseArgs(id: number): CompiledChooseArgs | undefined {
    return this.argsById.get(id) ?? this.argsById.get(defaultChooseArgs)
  }

  has(index: number): boolean {
    return index >= 0 && index < this.algorithms.length && this.algorithms[index] !== absent
  }

  size(index: number): number {
    return this.sizes[index] as number
  }

  /** -1 for a bucket that is not there. */
  type(index: number): number {
    return index < this.types.length ? (this.types[index] as number) : absent
  }

  isUniform(index: number): boolean {
    return this.algorithms[index] === uniform
  }

  /** Forgets the permutations of the last mapping. */
  begin(): void {
    this.generation++
  }

  /** The item that draw `r` of input `x` gives in a bucket that is not empty. */
  choose(index: number, x: number, r: number, args: CompiledChooseArgs | undefined, position: number): number {
    const algorithm = this.algorithms[index] as number
    if (algorithm > straw) return this.chooseStraw2(index, x, r, args, position)
    if (algorithm === uniform) return this.permutation(index, x, r)
    if (algorithm === list) return this.chooseList(index, x, r)
    if (algorithm === tree) return this.chooseTree(index, x, r)
    return this.chooseStraw(index, x, r)
  }

  private chooseStraw2(
    index: number,
    x: number,
    r: number,
    args: CompiledChooseArgs | undefined,
    position: number,
  ): number {
    const size = this.sizes[index] as number
    const itemsAt = this.itemsAt[index] as number
    const numerators = this.numerators
    let ids = this.items
    let idsAt = itemsAt
    let weights = this.divisors
    let weightsAt = itemsAt
    if (args !== undefined) {
      const positions = args.positions[index] as number
      if (positions > 0) {
        weights = args.weights
        weightsAt = (args.weightsAt[index] as number) + Math.min(position, positions - 1) * size
      }
      if ((args.idsAt[index] as number) >= 0) {
        ids = args.ids
        idsAt = args.idsAt[index] as number
      }
    }
    if (this.hashes[index] !== 0) return this.chooseUnhashed(itemsAt, size, weights, weightsAt)
    let high = 0
    let least = Number.POSITIVE_INFINITY
    let i = 0
    for (; i + 1 < size; i += 2) {
      const pair = hash3Pair(x, ids[idsAt + i] as number, ids[idsAt + i + 1] as number, r)
      // The magnitude of a draw; an item without weight is infinitely far away.
      const draw = Math.trunc((numerators[pair & 0xffff] as number) / (weights[weightsAt + i] as number))
      if (draw < least) {
        least = draw
        high = i
      }
      const other = Math.trunc((numerators[pair >>> 16] as number) / (weights[weightsAt + i + 1] as number))
      if (other < least) {
        least = other
        high = i + 1
      }
    }
    if (i < size) {
      const u = hash3(x, ids[idsAt + i] as number, r) & 0xffff
      if (Math.trunc((numerators[u] as number) / (weights[weightsAt + i] as number)) < least) high = i
    }
    return this.items[itemsAt + high] as number
  }

  /** A straw2 draw with a hash that does not exist: every input is 0, so that the weights alone decide. */
  private chooseUnhashed(itemsAt: number, size: number, weights: Float64Array, weightsAt: number): number {
    let high = 0
    let least = Number.POSITIVE_INFINITY
    for (let i = 0; i < size; i++) {
      const draw = Math.trunc((this.numerators[0] as number) / (weights[weightsAt + i] as number))
      if (draw < least) {
        least = draw
        high = i
      }
    }
    return this.items[itemsAt + high] as number
  }

  private chooseList(index: number, x: number, r: number): number {
    const itemsAt = this.itemsAt[index] as number
    const figuresAt = this.figuresAt[index] as number
    const id = -1 - index
    for (let i = (this.sizes[index] as number) - 1; i >= 0; i--) {
      const item = this.items[itemsAt + i] as number
      const u = this.hashes[index] === 0 ? hash4(x, item, r, id) & 0xffff : 0
      const sum = this.figures[figuresAt + 2 * i + 1] as number
      if (Math.floor((u * sum) / 0x1_0000) < (this.figures[figuresAt + 2 * i] as number)) return item
    }
    return this.items[itemsAt] as number
  }

  private chooseTree(index: number, x: number, r: number): number {
    const figuresAt = this.figuresAt[index] as number
    const id = -1 - index
    let node = (this.figuresCount[index] as number) >> 1
    while ((node & 1) === 0) {
      const weight = this.figures[figuresAt + node] as number
      const u = this.hashes[index] === 0 ? hash4(x, node, r, id) : 0
      const half = (node & -node) >> 1
      const left = node - half
      node = scaleDown(u, weight) < (this.figures[figuresAt + left] as number) ? left : node + half
    }
    return this.items[(this.itemsAt[index] as number) + (node >> 1)] as number
  }

  private chooseStraw(index: number, x: number, r: number): number {
    const itemsAt = this.itemsAt[index] as number
    const figuresAt = this.figuresAt[index] as number
    const size = this.sizes[index] as number
    let high = 0
    let longest = -1
    for (let i = 0; i < size; i++) {
      const u = this.hashes[index] === 0 ? hash3(x, this.items[itemsAt + i] as number, r) & 0xffff : 0
      const draw = u * (this.figures[figuresAt + i] as number)
      if (draw > longest) {
        longest = draw
        high = i
      }
    }
    return this.items[itemsAt + high] as number
  }

  /**
   * Entry `r` of the bucket's permutation for `x`, drawn only as far as needed. The first draw of an input takes a
   * shortcut that leaves the permutation to be completed by a later one, exactly as Ceph does.
   */
  permutation(index: number, x: number, r: number): number {
    const { perms } = this
    const size = this.sizes[index] as number
    const at = this.itemsAt[index] as number
    const id = -1 - index
    const hashed = this.hashes[index] === 0
    const wanted = (r >>> 0) % size
    let drawn = this.permGenerations[index] === this.generation ? (this.permCounts[index] as number) : 0
    if (drawn === 0 || this.permInputs[index] !== x) {
      this.permGenerations[index] = this.generation
      this.permInputs[index] = x
      if (wanted === 0) {
        const first = hashed ? hash3(x, id, 0) % size : 0
        perms[at] = first
        this.permCounts[index] = permutationFirstOnly
        return this.items[at + first] as number
      }
      for (let i = 0; i < size; i++) perms[at + i] = i
      drawn = 0
    } else if (drawn === permutationFirstOnly) {
      for (let i = 1; i < size; i++) perms[at + i] = i
      perms[at + (perms[at] as number)] = 0
      drawn = 1
    }
    for (; drawn <= wanted; drawn++) {
      if (drawn >= size - 1) continue
      const other = hashed ? hash3(x, id, drawn) % (size - drawn) : 0
      if (other === 0) continue
      const swapped = perms[at + drawn + other] as number
      perms[at + drawn + other] = perms[at + drawn] as number
      perms[at + drawn] = swapped
    }
    this.permCounts[index] = drawn
    return this.items[at + (perms[at + wanted] as number)] as number
  }
}

/** floor(u * weight / 2^32) of two unsigned 32-bit integers, exactly. */
function scaleDown(u: number, weight: number): number {
  const high = (u >>> 16) * weight
  const low = (u & 0xffff) * weight
  return Math.floor((high + Math.floor(low / 0x1_0000)) / 0x1_0000)
}
