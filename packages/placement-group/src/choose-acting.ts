/** Which copy has the authoritative history, and who should serve (Ceph's find_best_info and choose_acting). */
import type { OsdId } from '@shoal/base'
import type { OsdMap, PgMapping } from '@shoal/cluster-map'
import { compareVersions } from '@shoal/wire'
import type { PgInfo } from './pg-info.ts'

/** What peering decides differently for copies and for shards. */
export interface PeeringRules {
  /** So many members of a past interval must tell what was written in it. */
  readonly tellersNeeded: number
  /** Whether one of two logs that qualify is to be preferred. */
  isBetter(osd: OsdId, info: PgInfo, best: PgInfo, primary: OsdId): boolean
  chooseActing(infos: ReadonlyMap<OsdId, PgInfo>, best: OsdId, mapping: PgMapping, size: number): ActingChoice
  /** Whether this acting set is what up gives by itself. */
  isUp(acting: readonly OsdId[], mapping: PgMapping): boolean
  /** All that may have a copy, when nobody knows who served. */
  everybody(map: OsdMap, size: number): readonly OsdId[]
  /** Whether they are asked only when no member of up and acting knows either: there are many of them. */
  readonly asksMembersFirst: boolean
}

/**
 * The copy whose log wins: of those that may have everything that was acknowledged, the one with the newest entry, then
 * the longest log, then the present primary. Undefined when no complete copy qualifies.
 *
 * Copies that last served before the newest start that anybody knows are out: they may lack writes that were
 * acknowledged since, however new their own last entry (ordered by a primary that never finished it) looks.
 */
export function findBestInfo(
  infos: ReadonlyMap<OsdId, PgInfo>,
  primary: OsdId,
  rules: Pick<PeeringRules, 'isBetter'> = copyRules,
): OsdId | undefined {
  let started = 0
  for (const info of infos.values()) {
    const own = info.lastBackfill.kind === 'complete' ? info.lastEpochStarted : 0
    started = Math.max(started, info.history.lastEpochStarted, own)
  }
  let best: readonly [OsdId, PgInfo] | undefined
  for (const [osd, info] of infos) {
    if (info.lastBackfill.kind !== 'complete' || info.lastEpochStarted < started) continue
    if (best === undefined || rules.isBetter(osd, info, best[1], primary)) best = [osd, info]
  }
  return best?.[0]
}

function isBetterCopy(osd: OsdId, info: PgInfo, best: PgInfo, primary: OsdId): boolean {
  const newer = compareVersions(info.lastUpdate, best.lastUpdate)
  if (newer !== 0) return newer > 0
  const longer = compareVersions(best.logTail, info.logTail)
  if (longer !== 0) return longer > 0
  return osd === primary
}

export interface ActingChoice {
  readonly primary: OsdId
  /** Primary first. */
  readonly acting: readonly OsdId[]
  /** Members of up that must be filled object by object. */
  readonly backfill: readonly OsdId[]
}

/** `best` is the copy of {@link findBestInfo}. Copies that its log can bring up to date serve; others are filled. */
export function chooseActing(
  infos: ReadonlyMap<OsdId, PgInfo>,
  best: OsdId,
  mapping: PgMapping,
  size: number,
): ActingChoice {
  const tail = (infos.get(best) as PgInfo).logTail
  const usable = (osd: OsdId): boolean => {
    const info = infos.get(osd)
    return info !== undefined && info.lastBackfill.kind === 'complete' && compareVersions(info.lastUpdate, tail) >= 0
  }
  const primary = usable(mapping.upPrimary) ? mapping.upPrimary : best
  const acting = [primary]
  const backfill: OsdId[] = []
  for (const osd of mapping.up) {
    if (osd === primary) continue
    if (usable(osd)) acting.push(osd)
    else backfill.push(osd)
  }
  for (const osd of [...mapping.acting, ...infos.keys()]) {
    if (acting.length >= size) break
    if (!acting.includes(osd) && !backfill.includes(osd) && usable(osd)) acting.push(osd)
  }
  return { primary, acting, backfill }
}

export const copyRules: PeeringRules = {
  tellersNeeded: 1,
  isBetter: isBetterCopy,
  chooseActing,
  isUp(acting, { up, upPrimary }) {
    return acting.length === up.length && acting.every((osd, at) => osd === up[at]) && acting[0] === upPrimary
  },
  everybody: (map) => [...map.osds.keys()],
  asksMembersFirst: false,
}

/**
 * Whether acting is what it should stay. Usually that is up. Where up is smaller than the pool wants, copies that stand in
 * for what is missing stay too: peering would ask for them again, and the PG would go from one interval to the next for ever.
 */
export function isSettled({ up, acting, upPrimary, actingPrimary }: PgMapping, size: number): boolean {
  if (upPrimary !== actingPrimary) return false
  if (acting.length === up.length) return up.every((osd, at) => osd === acting[at])
  return up.length < size && up.length < acting.length && up.every((osd) => acting.includes(osd))
}
