/**
 * Who is primary by exception is a member of the set, and nothing but the primary changes by it; exceptions that are void are
 * gone from the map; and who has no primary affinity is not primary beside somebody who has all of it, whatever exceptions
 * say. Judged by what the map says without these exceptions.
 */
import { type OsdId, type PgId, parsePgId } from '@shoal/base'
import { noPrimary, type OsdMap, type PgMapping, PlacementCache, pgIdsOf, weightOne } from '@shoal/cluster-map'
import type { Violation } from '../history.ts'

export class UpmapPrimaryChecker {
  readonly violations: Violation[] = []
  private newestEpoch = 0
  /** Whose compiled CRUSH map is used again. */
  private previous: PlacementCache | undefined

  observe(map: OsdMap): void {
    if (map.epoch <= this.newestEpoch) return
    this.newestEpoch = map.epoch
    const exceptions = map.upmapPrimaries
    if (exceptions === undefined) return
    const { upmapPrimaries: _, ...plain } = map
    const placement = new PlacementCache(map, this.previous)
    const without = new PlacementCache(plain, placement)
    this.previous = placement
    for (const [id, osd] of exceptions) {
      const why = voidBecause(map, without, id, osd)
      if (why !== undefined) this.report(map, `keeps osd.${osd} as primary of ${id}, ${why}`)
    }
    for (const pool of map.pools.values()) {
      for (const id of pgIdsOf(pool)) {
        const given = placement.mapping(id)
        const mayMove = pool.type === 'replicated' && exceptions.has(id)
        this.compare(map, id, given.up, without.mapping(id).up, mayMove)
        this.judge(map, id, given, pool.type === 'replicated')
      }
    }
  }

  /** The same members; in the same order where none is to be first. */
  private compare(map: OsdMap, id: PgId, up: readonly OsdId[], before: readonly OsdId[], mayMove: boolean): void {
    const ordered = (osds: readonly OsdId[]): string => (mayMove ? [...osds].sort((a, b) => a - b) : osds).join()
    if (ordered(up) !== ordered(before)) this.report(map, `makes [${up.join()}] of [${before.join()}] for ${id}`)
  }

  private judge(map: OsdMap, id: PgId, { up, upPrimary }: PgMapping, isReplicated: boolean): void {
    if (upPrimary === noPrimary) return
    if (!up.includes(upPrimary))
      this.report(map, `has osd.${upPrimary} as primary of ${id}, which is on [${up.join()}]`)
    const affinity = (osd: OsdId): number => map.osds.get(osd)?.primaryAffinity ?? 0
    const better = up.find((osd) => affinity(osd) === weightOne)
    if (!isReplicated || affinity(upPrimary) > 0 || better === undefined) return
    this.report(map, `has osd.${upPrimary} without affinity as primary of ${id}, where osd.${better} is`)
  }

  private report(map: OsdMap, what: string): void {
    this.violations.push({ checker: 'upmap-primaries', message: `osdmap ${map.epoch} ${what}`, details: {} })
  }
}

/** Why an exception should have been dropped; undefined for one that may stay. */
function voidBecause(map: OsdMap, placement: PlacementCache, id: PgId, osd: OsdId): string | undefined {
  const parsed = parsePgId(id)
  const pool = parsed === undefined ? undefined : map.pools.get(parsed.pool)
  if (parsed === undefined || pool === undefined || parsed.seed >= pool.pgNum) return 'which does not exist'
  if (pool.type === 'erasure') return 'whose members have places of their own'
  if ((map.osds.get(osd)?.weight ?? 0) === 0) return 'and it is out'
  const placed = placement.placed(id)
  return placed.includes(osd) ? undefined : `which belongs on [${placed.join()}]`
}
