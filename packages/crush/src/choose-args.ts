/**
 * Keeps the choose_args of a map in step with its buckets while it is edited: every weight set has one weight per item,
 * and the weight of a bucket in its parent's set is the sum of its own.
 */
import { itemWeightOf, type WorkBucket } from './bucket-builder.ts'
import type { WorkChooseArg, WorkMap } from './work-map.ts'

/** How many positions the weight sets of one pool have, inferred from the first bucket that has one. */
function positionsOf(args: ReadonlyMap<number, WorkChooseArg>): number {
  let lowest = Number.POSITIVE_INFINITY
  let positions = 1
  for (const [index, { weightSet }] of args) {
    if (weightSet.length === 0 || index >= lowest) continue
    lowest = index
    positions = weightSet.length
  }
  return positions
}

/** Gives a new bucket that has items a weight set of its own weights. */
export function addChooseArgsOf(map: WorkMap, bucket: WorkBucket): void {
  if (bucket.items.length === 0) return
  for (const args of map.chooseArgs.values()) {
    const weights = bucket.items.map((_, i) => itemWeightOf(bucket, i))
    const weightSet = Array.from({ length: positionsOf(args) }, () => [...weights])
    args.set(-1 - bucket.id, { weightSet, ids: undefined })
  }
}

export function appendChooseArgs(map: WorkMap, bucket: WorkBucket, item: number, weight: number): void {
  for (const args of map.chooseArgs.values()) {
    const arg = args.get(-1 - bucket.id)
    for (const weights of arg?.weightSet ?? []) weights.push(weight)
    arg?.ids?.push(item)
  }
}

export function removeChooseArgs(map: WorkMap, bucket: WorkBucket, position: number): void {
  for (const args of map.chooseArgs.values()) {
    const arg = args.get(-1 - bucket.id)
    for (const weights of arg?.weightSet ?? []) weights.splice(position, 1)
    arg?.ids?.splice(position, 1)
  }
}

/** Gives the item at `position` one weight in all positions. */
export function setChooseArgsWeight(map: WorkMap, bucket: WorkBucket, position: number, weight: number): void {
  for (const args of map.chooseArgs.values()) {
    for (const weights of args.get(-1 - bucket.id)?.weightSet ?? []) weights[position] = weight
  }
}

/** Carries the sums of a bucket's weight sets up to its ancestors. */
export function propagateChooseArgs(map: WorkMap, bucket: WorkBucket): void {
  for (const args of map.chooseArgs.values()) {
    const arg = args.get(-1 - bucket.id)
    if (arg === undefined || arg.weightSet.length === 0) continue
    adjustChooseArgs(map, args, bucket.id, sums(arg))
  }
}

function sums(arg: WorkChooseArg): number[] {
  return arg.weightSet.map((weights) => weights.reduce((sum, weight) => (sum + weight) >>> 0, 0))
}

/** Ceph gives every bucket without a weight set one on this occasion; so the ancestors all have one to adjust. */
function adjustChooseArgs(
  map: WorkMap,
  args: Map<number, WorkChooseArg>,
  item: number,
  weights: readonly number[],
): void {
  for (const bucket of map.existingBuckets()) {
    const index = -1 - bucket.id
    let changed = false
    let arg = args.get(index)
    if (arg === undefined || arg.weightSet.length === 0) {
      const own = bucket.items.map((_, i) => itemWeightOf(bucket, i))
      const weightSet = Array.from({ length: positionsOf(args) }, () => [...own])
      arg = { weightSet, ids: arg?.ids }
      args.set(index, arg)
      changed = true
    }
    if (arg.weightSet.length !== weights.length) continue
    for (let i = 0; i < bucket.items.length; i++) {
      if (bucket.items[i] !== item) continue
      for (let position = 0; position < weights.length; position++) {
        const set = arg.weightSet[position] as number[]
        set[i] = weights[position] as number
      }
      changed = true
    }
    if (changed) adjustChooseArgs(map, args, bucket.id, sums(arg))
  }
}

/** Drops the choose_args of buckets that are gone or are not straw2. */
export function trimChooseArgs(map: WorkMap): void {
  for (const args of map.chooseArgs.values()) {
    for (const index of args.keys()) {
      if (map.buckets[index]?.algorithm !== 'straw2') args.delete(index)
    }
  }
}
