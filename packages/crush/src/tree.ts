/** Views of the hierarchy: the tree as `osd tree` prints it, and where an item stands in it. */
import { ClusterError } from '@shoal/base'
import type { CrushBucket, CrushMap } from './types.ts'
import { isValidCrushName } from './work-map.ts'

export interface CrushTreeNode {
  readonly id: number
  readonly name: string
  /** Type name; that of type 0 (`osd`) for devices. */
  readonly type: string
  /** 0 for a root. */
  readonly depth: number
  /** In its parent, or its own for a root; 16.16 fixed point. */
  readonly weight: number
  readonly deviceClass: string | undefined
  readonly children: readonly CrushTreeNode[]
}

/** A bucket linked in many places appears in each of them; this bounds what that can multiply to. */
const treeNodesMax = 1 << 20

/** The roots with all beneath them; shadow trees only if asked for. Roots and children are in Ceph's order. */
export function treeOf(map: CrushMap, withShadows = false): CrushTreeNode[] {
  const held = new Set(map.buckets.flatMap((bucket) => bucket?.items ?? []))
  const roots: CrushTreeNode[] = []
  let nodes = 0
  const grow = (id: number, depth: number, weight: number): CrushTreeNode => {
    if (++nodes > treeNodesMax) throw new ClusterError('E2BIG', 'the CRUSH tree is too large to show')
    const bucket = id < 0 ? map.buckets[-1 - id] : undefined
    const classId = map.itemClasses.get(id)
    return {
      id,
      name: itemName(map, id),
      type: map.types.get(bucket?.type ?? 0) ?? (bucket === undefined ? 'osd' : `type${bucket.type}`),
      depth,
      weight,
      deviceClass: classId === undefined ? undefined : map.classNames.get(classId),
      children: (bucket?.items ?? []).map((item, i) =>
        grow(item, depth + 1, bucket === undefined ? 0 : bucketItemWeight(bucket, i)),
      ),
    }
  }
  for (const bucket of map.buckets) {
    if (bucket === undefined || held.has(bucket.id)) continue
    if (withShadows || !isShadow(map, bucket.id)) roots.push(grow(bucket.id, 0, bucket.weight))
  }
  return roots
}

/** The weight of the item at `index` of a bucket, 16.16. */
export function bucketItemWeight(bucket: CrushBucket, index: number): number {
  if (bucket.algorithm === 'uniform') return bucket.itemWeight
  if (bucket.algorithm === 'tree') return bucket.nodeWeights[2 * index + 1] ?? 0
  return bucket.itemWeights[index] ?? 0
}

/** Whether the bucket is a device class's copy of another. */
export function isShadow(map: CrushMap, id: number): boolean {
  const name = map.names.get(id)
  return name !== undefined && !isValidCrushName(name)
}

function itemName(map: CrushMap, id: number): string {
  return map.names.get(id) ?? (id >= 0 ? `osd.${id}` : `bucket${-1 - id}`)
}

/** The nearest bucket of a type above a device (or bucket), for instance its host; undefined if there is none. */
export function ancestorOf(map: CrushMap, item: number, typeName: string): number | undefined {
  for (const id of ancestorsOf(map, item)) {
    const bucket = map.buckets[-1 - id]
    if (bucket !== undefined && map.types.get(bucket.type) === typeName) return id
  }
  return undefined
}

/** The buckets above an item from its parent to its root; of several parents the first, as in Ceph. */
export function ancestorsOf(map: CrushMap, item: number): number[] {
  const path: number[] = []
  for (let id = parentId(map, item); id !== undefined; id = parentId(map, id)) path.push(id)
  return path
}

/** Type name to bucket name, what Ceph calls the full location. */
export function locationOf(map: CrushMap, item: number): Record<string, string> {
  const location: Record<string, string> = {}
  for (const id of ancestorsOf(map, item)) {
    const type = map.types.get(map.buckets[-1 - id]?.type ?? 0)
    if (type !== undefined) location[type] ??= itemName(map, id)
  }
  return location
}

function parentId(map: CrushMap, item: number): number | undefined {
  for (const bucket of map.buckets) {
    if (bucket !== undefined && !isShadow(map, bucket.id) && bucket.items.includes(item)) return bucket.id
  }
  return undefined
}
