/** Questions about the CRUSH hierarchy beyond those that the crush package answers. Shadow trees excluded. */
import { ancestorsOf, bucketItemWeight, type CrushMap } from '@shoal/crush'

/** All devices at or below an item. */
export function devicesBelow(map: CrushMap, item: number): readonly number[] {
  if (item >= 0) return [item]
  const bucket = map.buckets[-1 - item]
  return bucket === undefined ? [] : bucket.items.flatMap((child) => devicesBelow(map, child))
}

export function isPlaced(map: CrushMap, device: number): boolean {
  return ancestorsOf(map, device).length > 0
}

/** CRUSH weight of a device, 16.16; 0 when it is in no bucket. */
export function deviceWeight(map: CrushMap, device: number): number {
  const [parent] = ancestorsOf(map, device)
  const bucket = parent === undefined ? undefined : map.buckets[-1 - parent]
  return bucket === undefined ? 0 : bucketItemWeight(bucket, bucket.items.indexOf(device))
}
