/**
 * Whether a map is one that CRUSH can walk: invariants 1 to 3 of types.ts. What comes from outside goes through here
 * once, so that the hot path has no checks.
 */
import { ClusterError } from '@shoal/base'
import { type CrushBucket, type CrushMap, depthMax, devicesMax } from './types.ts'

function invalid(message: string): ClusterError {
  return new ClusterError('EINVAL', `invalid CRUSH map: ${message}`, {
    hint: 'compile the map again from its text, or take it from a running cluster',
  })
}

function checkShape(bucket: CrushBucket): void {
  const size = bucket.items.length
  if (bucket.algorithm === 'uniform') return
  if (bucket.algorithm === 'tree') {
    const nodes = bucket.nodeWeights.length
    if (size > 0 && (nodes < 2 * size || (nodes & (nodes - 1)) !== 0)) {
      throw invalid(`tree bucket ${bucket.id} has ${nodes} nodes for ${size} items`)
    }
    return
  }
  const lengths = [bucket.itemWeights.length]
  if (bucket.algorithm === 'list') lengths.push(bucket.sumWeights.length)
  if (bucket.algorithm === 'straw') lengths.push(bucket.straws.length)
  for (const length of lengths) {
    if (length !== size) throw invalid(`bucket ${bucket.id} has ${length} weights for ${size} items`)
  }
}

/** Walks down without recursion, because it is what proves that others may recurse. */
function checkDepth(buckets: CrushMap['buckets']): void {
  const unseen = 0
  const open = 1
  const done = 2
  const states = new Uint8Array(buckets.length)
  const depths = new Int32Array(buckets.length).fill(1)
  for (let start = 0; start < buckets.length; start++) {
    if (states[start] !== unseen || buckets[start] === undefined) continue
    const path = [{ index: start, next: 0 }]
    states[start] = open
    for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
      const item = buckets[top.index]?.items[top.next++]
      if (item === undefined) {
        states[top.index] = done
        path.pop()
        const depth = depths[top.index] as number
        if (depth > depthMax) throw invalid(`buckets are nested deeper than ${depthMax}`)
        const above = path.at(-1)
        if (above !== undefined) depths[above.index] = Math.max(depths[above.index] as number, depth + 1)
        continue
      }
      const child = -1 - item
      if (item >= 0 || buckets[child] === undefined) continue
      if (states[child] === done) {
        depths[top.index] = Math.max(depths[top.index] as number, (depths[child] as number) + 1)
        continue
      }
      if (states[child] === open) throw invalid(`bucket ${item} contains itself`)
      states[child] = open
      path.push({ index: child, next: 0 })
    }
  }
}

/** Throws EINVAL with what is wrong. */
export function checkCrushMap(map: CrushMap): void {
  for (const [index, bucket] of map.buckets.entries()) {
    if (bucket === undefined) continue
    if (bucket.id !== -1 - index) throw invalid(`bucket ${bucket.id} lies in slot ${index}`)
    checkShape(bucket)
  }
  if (map.maxDevices > devicesMax) throw invalid(`device ids go up to ${map.maxDevices - 1}`)
  checkDepth(map.buckets)
  for (const [id, args] of map.chooseArgs) {
    for (const [index, arg] of args) {
      const bucket = map.buckets[index]
      if (bucket?.algorithm !== 'straw2') continue
      for (const list of arg.ids === undefined ? arg.weightSet : [...arg.weightSet, arg.ids]) {
        if (list.length !== bucket.items.length) {
          throw invalid(`choose_args ${id} has ${list.length} entries for the ${bucket.items.length} of ${bucket.id}`)
        }
      }
    }
  }
}
