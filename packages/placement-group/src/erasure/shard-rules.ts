/**
 * Peering of an erasure-coded PG (Ceph's find_best_info for pools that roll back, and calc_ec_acting). What differs from
 * copies:
 *
 * 1. The log that wins is the *shortest* one of those that may have everything that was acknowledged: a write is
 *    acknowledged when all members have it, so the shortest has it too, and a newer write may be on fewer than k shards,
 *    which nobody can read. Whoever has more rolls it back.
 * 2. Every place of the acting set is filled for itself: only who has that shard can serve there.
 * 3. Of a past interval k members must tell, not one: fewer cannot say what the others had, nor read it.
 */
import type { OsdId } from '@shoal/base'
import type { OsdMap, PgMapping } from '@shoal/cluster-map'
import { compareVersions } from '@shoal/wire'
import type { ActingChoice, PeeringRules } from '../choose-acting.ts'
import { memberOf, shardOf } from '../member.ts'
import type { PgInfo } from '../pg-info.ts'

export class ShardRules implements PeeringRules {
  readonly asksMembersFirst = true
  private readonly dataShards: () => number

  constructor(dataShards: () => number) {
    this.dataShards = dataShards
  }

  get tellersNeeded(): number {
    return this.dataShards()
  }

  isBetter(osd: OsdId, info: PgInfo, best: PgInfo, primary: OsdId): boolean {
    const newer = compareVersions(info.lastUpdate, best.lastUpdate)
    if (newer !== 0) return newer < 0
    const longer = compareVersions(best.logTail, info.logTail)
    return longer === 0 ? osd === primary : longer > 0
  }

  chooseActing(infos: ReadonlyMap<OsdId, PgInfo>, best: OsdId, mapping: PgMapping, size: number): ActingChoice {
    const tail = (infos.get(best) as PgInfo).logTail
    const usable = (member: OsdId): boolean => {
      const info = infos.get(member)
      return info !== undefined && info.lastBackfill.kind === 'complete' && compareVersions(info.lastUpdate, tail) >= 0
    }
    const acting: OsdId[] = []
    const backfill: OsdId[] = []
    for (let shard = 0; shard < size; shard++) {
      const ofShard = (member: OsdId): boolean => shardOf(member) === shard
      const wanted = mapping.up.find(ofShard)
      const others = [...mapping.acting, ...infos.keys()].filter((member) => ofShard(member) && usable(member))
      const chosen = wanted !== undefined && usable(wanted) ? wanted : others[0]
      if (chosen !== undefined) acting.push(chosen)
      if (wanted !== undefined && chosen !== wanted && infos.has(wanted)) backfill.push(wanted)
    }
    const isUp = this.isUp(acting, mapping)
    return { primary: isUp ? mapping.upPrimary : (acting[0] ?? best), acting, backfill }
  }

  isUp(acting: readonly OsdId[], { up }: PgMapping): boolean {
    return acting.length === up.length && acting.every((member) => up.includes(member))
  }

  /** An OSD may have any shard. */
  everybody(map: OsdMap, size: number): readonly OsdId[] {
    const shards = Array.from({ length: size }, (_, shard) => shard)
    return [...map.osds.keys()].flatMap((osd) => shards.map((shard) => memberOf(osd, shard)))
  }
}
