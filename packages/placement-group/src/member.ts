/**
 * Members of a placement group. In a replicated one a member is an OSD. In an erasure-coded one it is an OSD *and a shard*
 * (Ceph's pg_shard_t): an OSD that comes back at another place of the acting set is another member, whose bytes are of no
 * use at the old one.
 *
 * Both are one number, the OSD in the low bits and the shard above, so that an OSD is its own member as shard 0. Inside the
 * state machine sets have no holes: the shard is in the member, not in its place.
 */
import type { OsdId } from '@shoal/base'
import { noOsd, noPrimary, type PgMapping } from '@shoal/cluster-map'

const shardStride = 0x10_0000

export function memberOf(osd: OsdId, shard: number): OsdId {
  return (shard * shardStride + osd) as OsdId
}

export function osdOf(member: OsdId): OsdId {
  return member < shardStride ? member : ((member % shardStride) as OsdId)
}

export function shardOf(member: OsdId): number {
  return Math.floor(member / shardStride)
}

/** A mapping of OSDs by place, as the map has it, as one of members without holes. */
export function memberMapping({ up, upPrimary, acting, actingPrimary }: PgMapping): PgMapping {
  const primaryOf = (set: readonly OsdId[], osd: OsdId): OsdId =>
    osd === noPrimary ? noPrimary : memberOf(osd, Math.max(0, set.indexOf(osd)))
  return {
    up: membersOf(up),
    upPrimary: primaryOf(up, upPrimary),
    acting: membersOf(acting),
    actingPrimary: primaryOf(acting, actingPrimary),
  }
}

function membersOf(set: readonly OsdId[]): readonly OsdId[] {
  return set.flatMap((osd, shard) => (osd === noOsd ? [] : [memberOf(osd, shard)]))
}

/** Back to OSDs by place, with a hole where nobody has the shard; at least `size` places. */
export function placesOf(members: readonly OsdId[], size: number): readonly OsdId[] {
  const places: OsdId[] = Array.from({ length: size }, () => noOsd)
  for (const member of members) places[shardOf(member)] = osdOf(member)
  return places
}
