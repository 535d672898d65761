/** What an OSD says that it can when it boots, as bits of `OsdInfo.features`; a map may require some of it. */

/** It keeps the quotas of pools. One that does not would let its share grow without end. */
export const featureQuotas = 1
/** As a member it follows when an operator gives up unfound objects. */
export const featureLostObjects = 2
/** It keeps shards of erasure-coded pools. One that does not would take them for copies. */
export const featureShards = 4
/** Splits its placement groups when a pool's pg_num grows. */
export const featurePgSplit = 0x10
/** Merges them when it becomes smaller. */
export const featurePgMerge = 0x20
/** A change of pg_num ends the intervals of the PGs that it splits or merges; those of others go on. */
export const featureOwnIntervals = 0x40
/** Makes clones of shards for snapshots of erasure-coded pools. */
export const featureShardSnapshots = 0x80
/** Follows who is to be primary by exception (pg_upmap_primaries). One that does not would see another primary. */
export const featureUpmapPrimaries = 0x100

/** Of this build. */
export const osdFeatures: number =
  featureQuotas +
  featureLostObjects +
  featureShards +
  featurePgSplit +
  featurePgMerge +
  featureOwnIntervals +
  featureShardSnapshots +
  featureUpmapPrimaries

export function hasFeatures(features: number, required: number): boolean {
  const wanted = BigInt(required)
  return (BigInt(features) & wanted) === wanted
}
