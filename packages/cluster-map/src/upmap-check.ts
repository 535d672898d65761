/**
 * Exceptions (upmap) that have outlived their reason: Ceph's clean_pg_upmaps. An entry goes when its PG is gone, when it
 * names an OSD that is gone or out, when what it gives breaks the failure domains of the rule, and when it does nothing.
 * Of those that name a primary, when that OSD is no member of the set any more, or is not made the primary by it.
 *
 * Who is down is still a member: nothing is dropped for an OSD that comes back.
 *
 * Without this, an entry made for one CRUSH map puts two copies on one host under the next, and nobody notices before the
 * host fails.
 */
import { type OsdId, type PgId, parsePgId } from '@shoal/base'
import type { OsdMap, Pool, UpmapItem } from './osd-map.ts'
import { applyUpmapItems, PlacementCache } from './placement.ts'
import { isAllowedSet, type RuleShape, ruleShape } from './rule-shape.ts'

export interface UpmapCleaning {
  /** Explicit sets to remove. */
  readonly upmap: readonly PgId[]
  /** New items, or null to remove the entry. */
  readonly upmapItems: ReadonlyMap<PgId, readonly UpmapItem[] | null>
  /** Of which PGs nobody is made primary any more. */
  readonly upmapPrimaries: readonly PgId[]
}

/** What to change so that every exception of the map is valid and does something. */
export function cleanUpmaps(map: OsdMap): UpmapCleaning {
  const shapes = new Map<Pool, RuleShape | undefined>()
  const shapeOf = (pool: Pool): RuleShape | undefined => {
    if (!shapes.has(pool)) shapes.set(pool, ruleShape(map.crush, pool.crushRule, pool.size))
    return shapes.get(pool)
  }
  const placement = new PlacementCache(map)
  const upmap: PgId[] = []
  for (const [id, osds] of map.upmap) {
    const pool = poolOf(map, id)
    const sound = pool !== undefined && osds.length <= pool.size && osds.every((osd) => isIn(map, osd))
    if (!sound || !isAllowed(shapeOf(pool), osds)) upmap.push(id)
  }
  const upmapItems = new Map<PgId, readonly UpmapItem[] | null>()
  for (const [id, items] of map.upmapItems) {
    const pool = poolOf(map, id)
    if (pool === undefined) upmapItems.set(id, null)
    else {
      const base = upmap.includes(id) ? undefined : map.upmap.get(id)
      const kept = cleanItems(map, shapeOf(pool), base ?? placement.raw(id), items)
      if (kept.length < items.length) upmapItems.set(id, kept.length === 0 ? null : kept)
    }
  }
  return { upmap, upmapItems, upmapPrimaries: voidPrimaries(map, upmap, upmapItems) }
}

/** Judged by where the data belongs once the other exceptions are clean. */
function voidPrimaries(map: OsdMap, upmap: readonly PgId[], upmapItems: UpmapCleaning['upmapItems']): readonly PgId[] {
  if (map.upmapPrimaries === undefined) return []
  const kept = new Map(map.upmap)
  for (const id of upmap) kept.delete(id)
  const items = new Map(map.upmapItems)
  for (const [id, changed] of upmapItems) {
    if (changed === null) items.delete(id)
    else items.set(id, changed)
  }
  const placement = new PlacementCache({ ...map, upmap: kept, upmapItems: items })
  return [...map.upmapPrimaries].filter(([id, osd]) => !makesPrimary(placement, id, osd)).map(([id]) => id)
}

/** Whether the exception makes this OSD the primary, and it is not without. */
function makesPrimary(placement: PlacementCache, id: PgId, osd: OsdId): boolean {
  const pool = poolOf(placement.map, id)
  return (
    pool?.type === 'replicated' &&
    placement.placedPrimary(id, osd) === osd &&
    placement.placedPrimary(id, undefined) !== osd
  )
}

/** The items that do something; none when what they give together is not allowed. */
function cleanItems(
  map: OsdMap,
  shape: RuleShape | undefined,
  raw: readonly OsdId[],
  items: readonly UpmapItem[],
): readonly UpmapItem[] {
  const kept: UpmapItem[] = []
  let set = raw
  for (const item of items) {
    const next = isIn(map, item.to) ? applyUpmapItems(map, set, [item]) : set
    if (next.every((osd, at) => osd === set[at])) continue
    kept.push(item)
    set = next
  }
  return isAllowed(shape, set) ? kept : []
}

/** A rule that cannot be judged forbids nothing. */
function isAllowed(shape: RuleShape | undefined, osds: readonly OsdId[]): boolean {
  return shape === undefined || isAllowedSet(shape, osds)
}

function isIn(map: OsdMap, osd: OsdId): boolean {
  return (map.osds.get(osd)?.weight ?? 0) > 0
}

function poolOf(map: OsdMap, id: PgId): Pool | undefined {
  const parsed = parsePgId(id)
  const pool = parsed === undefined ? undefined : map.pools.get(parsed.pool)
  return parsed !== undefined && pool !== undefined && parsed.seed < pool.pgNum ? pool : undefined
}
