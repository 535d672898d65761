/**
 * Makes and changes one bucket, keeping its sums, tree nodes and straws true. A {@link WorkBucket} is private to one
 * edit of a map; what comes out of an edit is immutable.
 *
 * Arithmetic is on unsigned 32-bit integers and wraps where Ceph's does; sums that would overflow are refused.
 * Source: Ceph's builder, whose results are compared byte for byte in the tests.
 */
import { ClusterError } from '@shoal/base'
import { strawLengths } from './straw-lengths.ts'
import type { BucketAlgorithm, CrushBucket } from './types.ts'

/** Every algorithm in one shape. */
export interface WorkBucket {
  id: number
  readonly type: number
  readonly hash: number
  readonly algorithm: BucketAlgorithm
  weight: number
  items: number[]
  /** Uniform only. */
  itemWeight: number
  /** List, straw and straw2. */
  itemWeights: number[]
  /** The sums of a list, the nodes of a tree, the straws of a straw bucket. */
  derived: number[]
}

export function toWorkBucket(bucket: CrushBucket): WorkBucket {
  const { id, type, hash, algorithm, weight } = bucket
  const work: WorkBucket = {
    id,
    type,
    hash,
    algorithm,
    weight,
    items: [...bucket.items],
    itemWeight: 0,
    itemWeights: [],
    derived: [],
  }
  if (bucket.algorithm === 'uniform') work.itemWeight = bucket.itemWeight
  else if (bucket.algorithm === 'tree') work.derived = [...bucket.nodeWeights]
  else work.itemWeights = [...bucket.itemWeights]
  if (bucket.algorithm === 'list') work.derived = [...bucket.sumWeights]
  if (bucket.algorithm === 'straw') work.derived = [...bucket.straws]
  return work
}

export function fromWorkBucket(work: WorkBucket): CrushBucket {
  const { id, type, hash, algorithm, weight, items, itemWeights, derived } = work
  const base = { id, type, hash, weight, items }
  switch (algorithm) {
    case 'uniform':
      return { ...base, algorithm, itemWeight: work.itemWeight }
    case 'list':
      return { ...base, algorithm, itemWeights, sumWeights: derived }
    case 'tree':
      return { ...base, algorithm, nodeWeights: derived }
    case 'straw':
      return { ...base, algorithm, itemWeights, straws: derived }
    default:
      return { ...base, algorithm, itemWeights }
  }
}

/** A tree has at most 128 nodes: Ceph counts them in a byte. */
const treeItemsMax = 64

function overflow(id: number): ClusterError {
  return new ClusterError('EINVAL', `the weights of bucket ${id} add up to more than 65535`, {
    hint: 'lower the weights of its items',
  })
}

function addChecked(a: number, b: number, id: number): number {
  const sum = a + b
  if (sum > 0xffff_ffff) throw overflow(id)
  return sum
}

/** The node of item `index` in a tree. */
function treeNode(index: number): number {
  return index * 2 + 1
}

function treeParent(node: number): number {
  const height = 31 - Math.clz32(node & -node)
  return (node & (1 << (height + 1))) !== 0 ? node - (1 << height) : node + (1 << height)
}

function treeDepth(size: number): number {
  return size === 0 ? 0 : 33 - Math.clz32(size - 1)
}

/** The weight of the item at `index`. */
export function itemWeightOf(bucket: WorkBucket, index: number): number {
  if (bucket.algorithm === 'uniform') return bucket.itemWeight
  if (bucket.algorithm === 'tree') return bucket.derived[treeNode(index)] ?? 0
  return bucket.itemWeights[index] ?? 0
}

export interface NewBucket {
  readonly id: number
  readonly type: number
  readonly hash: number
  readonly algorithm: BucketAlgorithm
  readonly items: readonly number[]
  readonly weights: readonly number[]
}

export function makeBucket(from: NewBucket, strawCalcVersion: number): WorkBucket {
  const { id, algorithm, weights } = from
  const bucket: WorkBucket = {
    id,
    type: from.type & 0xffff,
    hash: from.hash & 0xff,
    algorithm,
    weight: 0,
    items: [],
    itemWeight: 0,
    itemWeights: [],
    derived: [],
  }
  if (algorithm === 'uniform') {
    bucket.items = [...from.items]
    bucket.itemWeight = weights[0] ?? 0
    bucket.weight = bucket.itemWeight * bucket.items.length
    if (bucket.weight > 0xffff_ffff) throw overflow(id)
    return bucket
  }
  if (algorithm === 'straw' || algorithm === 'straw2') {
    bucket.items = [...from.items]
    bucket.itemWeights = [...weights]
    for (const weight of weights) bucket.weight = (bucket.weight + weight) >>> 0
    if (algorithm === 'straw') bucket.derived = strawLengths(weights, strawCalcVersion)
    return bucket
  }
  for (let i = 0; i < from.items.length; i++) {
    addBucketItem(bucket, from.items[i] as number, weights[i] as number, strawCalcVersion)
  }
  return bucket
}

function addTreeItem(bucket: WorkBucket, item: number, weight: number): void {
  const size = bucket.items.length + 1
  if (size > treeItemsMax) {
    throw new ClusterError('EINVAL', `tree bucket ${bucket.id} would have ${size} items`, {
      hint: `a tree has at most ${treeItemsMax} items: use alg straw2`,
    })
  }
  const depth = treeDepth(size)
  const nodes = bucket.derived
  while (nodes.length < 1 << depth) nodes.push(0)
  let node = treeNode(size - 1)
  const root = nodes.length / 2
  // The first item of a new right half: the new root starts with what the left half weighs.
  if (depth >= 2 && node - 1 === root) nodes[root] = nodes[root / 2] as number
  nodes[node] = weight
  for (let level = 1; level < depth; level++) {
    node = treeParent(node)
    nodes[node] = addChecked(nodes[node] as number, weight, bucket.id)
  }
  bucket.weight = addChecked(bucket.weight, weight, bucket.id)
  bucket.items.push(item)
}

/** Appends an item. False if the bucket is uniform and its items weigh something else. */
export function addBucketItem(bucket: WorkBucket, item: number, weight: number, strawCalcVersion: number): boolean {
  if (bucket.algorithm === 'tree') {
    addTreeItem(bucket, item, weight)
    return true
  }
  if (bucket.algorithm === 'uniform' && bucket.itemWeight !== weight) return false
  bucket.weight = addChecked(bucket.weight, weight, bucket.id)
  bucket.items.push(item)
  if (bucket.algorithm === 'uniform') return true
  bucket.itemWeights.push(weight)
  if (bucket.algorithm === 'list') bucket.derived.push(((bucket.derived.at(-1) ?? 0) + weight) >>> 0)
  if (bucket.algorithm === 'straw') bucket.derived = strawLengths(bucket.itemWeights, strawCalcVersion)
  return true
}

function removeTreeItem(bucket: WorkBucket, index: number): void {
  const { items, derived: nodes } = bucket
  const depth = treeDepth(items.length)
  let node = treeNode(index)
  const weight = nodes[node] as number
  items[index] = 0
  nodes[node] = 0
  for (let level = 1; level < depth; level++) {
    node = treeParent(node)
    nodes[node] = ((nodes[node] as number) - weight) >>> 0
  }
  bucket.weight = Math.max(0, bucket.weight - weight)
  // A hole in the middle keeps its place, so that the others keep theirs; holes at the end go.
  while (items.length > 0 && nodes[treeNode(items.length - 1)] === 0) items.pop()
  nodes.length = 1 << treeDepth(items.length)
}

/** Removes the item at `index`. */
export function removeBucketItem(bucket: WorkBucket, index: number, strawCalcVersion: number): void {
  if (bucket.algorithm === 'tree') {
    removeTreeItem(bucket, index)
    return
  }
  const weight = itemWeightOf(bucket, index)
  bucket.items.splice(index, 1)
  bucket.weight = Math.max(0, bucket.weight - weight)
  if (bucket.algorithm === 'uniform') return
  bucket.itemWeights.splice(index, 1)
  if (bucket.algorithm === 'list') {
    bucket.derived.splice(index, 1)
    for (let i = index; i < bucket.derived.length; i++) {
      bucket.derived[i] = ((bucket.derived[i] as number) - weight) >>> 0
    }
  }
  if (bucket.algorithm === 'straw') bucket.derived = strawLengths(bucket.itemWeights, strawCalcVersion)
}

/** Gives the item at `index` (all items of a uniform bucket) another weight. */
export function setItemWeight(bucket: WorkBucket, index: number, weight: number, strawCalcVersion: number): void {
  if (bucket.algorithm === 'uniform') {
    bucket.itemWeight = weight
    bucket.weight = Math.imul(weight, bucket.items.length) >>> 0
    return
  }
  const difference = weight - itemWeightOf(bucket, index)
  bucket.weight = (bucket.weight + difference) >>> 0
  if (bucket.algorithm === 'tree') {
    let node = treeNode(index)
    bucket.derived[node] = weight
    const depth = treeDepth(bucket.items.length)
    for (let level = 1; level < depth; level++) {
      node = treeParent(node)
      bucket.derived[node] = ((bucket.derived[node] as number) + difference) >>> 0
    }
    return
  }
  bucket.itemWeights[index] = weight
  if (bucket.algorithm === 'list') {
    for (let i = index; i < bucket.derived.length; i++) {
      bucket.derived[i] = ((bucket.derived[i] as number) + difference) >>> 0
    }
  }
  if (bucket.algorithm === 'straw') bucket.derived = strawLengths(bucket.itemWeights, strawCalcVersion)
}
