/** Questions about the CRUSH hierarchy that the monitors ask: parents, failure domains, trees. Shadow buckets excluded. */
import type { CrushBucket, CrushMap } from '@shoal/crush'

/** Shadow buckets of device classes are named `NAME~CLASS`. */
export function isShadow(map: CrushMap, id: number): boolean {
  return map.names.get(id)?.includes('~') ?? false
}

export function bucketsOf(map: CrushMap): readonly CrushBucket[] {
  return map.buckets.filter((bucket): bucket is CrushBucket => bucket !== undefined && !isShadow(map, bucket.id))
}

export function itemByName(map: CrushMap, name: string): number | undefined {
  for (const [id, candidate] of map.names) if (candidate === name) return id
  return undefined
}

export function typeByName(map: CrushMap, name: string): number | undefined {
  for (const [type, candidate] of map.types) if (candidate === name) return type
  return undefined
}

/** The first bucket that holds the item; undefined for roots and for what is not in the map. */
export function parentOf(map: CrushMap, item: number): CrushBucket | undefined {
  return bucketsOf(map).find((bucket) => bucket.items.includes(item))
}

/** The bucket of this type above the item. */
export function ancestorOf(map: CrushMap, item: number, typeName: string): CrushBucket | undefined {
  const type = typeByName(map, typeName)
  let bucket = parentOf(map, item)
  while (bucket !== undefined && bucket.type !== type) bucket = parentOf(map, bucket.id)
  return bucket
}

/** `{host: 'alpha', root: 'default'}`. */
export function locationOf(map: CrushMap, item: number): Readonly<Record<string, string>> {
  const location: Record<string, string> = {}
  for (let bucket = parentOf(map, item); bucket !== undefined; bucket = parentOf(map, bucket.id)) {
    location[map.types.get(bucket.type) ?? String(bucket.type)] = map.names.get(bucket.id) ?? String(bucket.id)
  }
  return location
}

/** All devices at or below an item. */
export function devicesBelow(map: CrushMap, item: number): readonly number[] {
  if (item >= 0) return [item]
  const bucket = map.buckets[-1 - item]
  return bucket === undefined ? [] : bucket.items.flatMap((child) => devicesBelow(map, child))
}

/** Weight of an item inside its bucket, 16.16. */
export function itemWeightIn(bucket: CrushBucket, item: number): number {
  const index = bucket.items.indexOf(item)
  if (index < 0) return 0
  switch (bucket.algorithm) {
    case 'uniform':
      return bucket.itemWeight
    case 'tree':
      return bucket.nodeWeights[2 * index + 1] ?? 0
    case 'list':
    case 'straw':
    case 'straw2':
      return bucket.itemWeights[index] ?? 0
  }
}

/** CRUSH weight of a device, 16.16; 0 when it is in no bucket. */
export function deviceWeight(map: CrushMap, device: number): number {
  const bucket = parentOf(map, device)
  return bucket === undefined ? 0 : itemWeightIn(bucket, device)
}

export interface CrushTreeNode {
  readonly id: number
  readonly name: string
  readonly type: string
  readonly depth: number
  /** In units of 1.0. */
  readonly crushWeight: number
  readonly deviceClass: string | undefined
}

/** Depth first, roots by id from -1 down, children in the order of their buckets. */
export function crushTree(map: CrushMap): readonly CrushTreeNode[] {
  const children = new Set(bucketsOf(map).flatMap((bucket) => bucket.items))
  const nodes: CrushTreeNode[] = []
  const visit = (id: number, depth: number, weight: number) => {
    const bucket = id < 0 ? map.buckets[-1 - id] : undefined
    const classId = map.itemClasses.get(id)
    nodes.push({
      id,
      name: map.names.get(id) ?? (id < 0 ? `bucket${id}` : `osd.${id}`),
      type: map.types.get(bucket?.type ?? 0) ?? 'osd',
      depth,
      crushWeight: weight / 0x1_0000,
      deviceClass: classId === undefined ? undefined : map.classNames.get(classId),
    })
    if (bucket === undefined) return
    for (const item of bucket.items) visit(item, depth + 1, itemWeightIn(bucket, item))
  }
  for (const bucket of bucketsOf(map)) if (!children.has(bucket.id)) visit(bucket.id, 0, bucket.weight)
  return nodes
}
