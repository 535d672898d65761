/**
 * Which exceptions (upmap primaries) make the primaries of placement groups lie as evenly as the sets permit: Ceph's
 * balancer in read mode. The primary serves all reads and orders all writes of its PG, so the OSD with the most primaries
 * decides how fast a pool is. No data moves.
 *
 * *Target* of an OSD: its share of a pool's PGs by (copies that it has, times primary affinity). *Deviation*: the PGs that
 * it is primary of beyond that.
 *
 * Invariants
 * 1. A plan names only members of a PG's set that are up and that affinity lets be primary, and only in replicated pools.
 * 2. Every step makes (sum over pools of squared deviations, squared deviations over all pools together) smaller in this
 *    order: so plans end, and the plan for a map that a plan has balanced is empty.
 * 3. When no step is left, there is no path over which a primary could go from one OSD to another with a deviation lower by
 *    more than one. So no choice of primaries among the members is more even: what is left over is the sets' doing.
 */
import type { OsdId, PgId, PoolId } from '@shoal/base'
import { noPrimary, type OsdMap, type Pool, weightOne } from './osd-map.ts'
import { PlacementCache, pgIdsOf } from './placement.ts'
import type { BalanceOptions } from './upmap-balancer.ts'

export interface PrimaryPlan {
  /** Who is to be primary of PGs; null removes the entry. */
  readonly upmapPrimaries: ReadonlyMap<PgId, OsdId | null>
}

export interface PrimaryBalance {
  readonly pool: PoolId
  readonly name: string
  /** PGs of the pool that an OSD is primary of: the fewest and the most, of the OSDs that should have any. */
  readonly least: number
  readonly most: number
  /** The largest of |primaries - target|. */
  readonly deviationMax: number
  /** Ceph's read_balance_score: the largest of primaries / target, 1 when all is even. 0 for an empty pool. */
  readonly score: number
}

const slack = 1e-6
const defaultChecksMax = 2_000_000

/** A PG that could pass from one primary to another. */
interface Way {
  readonly id: PgId
  readonly from: OsdId
  readonly to: OsdId
}

/** Who is primary of what in one pool, and who could be. */
class PrimaryLoad {
  readonly pool: Pool
  readonly target = new Map<OsdId, number>()
  readonly count = new Map<OsdId, number>()
  readonly primary = new Map<PgId, OsdId>()
  /** Who is it without an exception. */
  readonly byItself = new Map<PgId, OsdId>()
  /** By present primary: the PGs. */
  readonly pgsOf = new Map<OsdId, Set<PgId>>()
  readonly candidates = new Map<PgId, readonly OsdId[]>()

  constructor(map: OsdMap, placement: PlacementCache, pool: Pool) {
    this.pool = pool
    const shares = new Map<OsdId, number>()
    for (const id of pgIdsOf(pool)) {
      for (const osd of placement.placed(id)) {
        const info = map.osds.get(osd)
        if (info === undefined) continue
        shares.set(osd, (shares.get(osd) ?? 0) + Math.min(weightOne, info.primaryAffinity))
        this.count.set(osd, 0)
        this.pgsOf.set(osd, new Set())
      }
      const candidates = placement.primaryCandidates(id)
      this.candidates.set(
        id,
        candidates.filter((osd) => map.osds.get(osd)?.up === true),
      )
      this.byItself.set(id, placement.placedPrimary(id, undefined))
      this.primary.set(id, placement.placedPrimary(id, map.upmapPrimaries?.get(id)))
    }
    const total = [...shares.values()].reduce((sum, share) => sum + share, 0)
    for (const [osd, share] of shares) this.target.set(osd, total === 0 ? 0 : (share / total) * pool.pgNum)
    for (const [id, osd] of this.primary) if (osd !== noPrimary) this.shift(id, undefined, osd)
  }

  dev(osd: OsdId): number {
    return (this.count.get(osd) ?? 0) - (this.target.get(osd) ?? 0)
  }

  shift(id: PgId, from: OsdId | undefined, to: OsdId): void {
    if (from !== undefined) {
      this.count.set(from, (this.count.get(from) as number) - 1)
      this.pgsOf.get(from)?.delete(id)
    }
    this.count.set(to, (this.count.get(to) ?? 0) + 1)
    this.pgsOf.get(to)?.add(id)
    this.primary.set(id, to)
  }
}

/** Pools in the middle of a split or merge are left alone, and so are those whose members have places of their own. */
function loadsOf(map: OsdMap, placement: PlacementCache): PrimaryLoad[] {
  return [...map.pools.values()]
    .filter((pool) => pool.type === 'replicated' && pool.pgNum === pool.pgpNum)
    .map((pool) => new PrimaryLoad(map, placement, pool))
}

class Planner {
  readonly changed = new Map<PgId, OsdId | null>()
  private readonly map: OsdMap
  private readonly changesMax: number
  private checksLeft: number
  private readonly total = new Map<OsdId, number>()

  constructor(map: OsdMap, loads: readonly PrimaryLoad[], options: BalanceOptions) {
    this.map = map
    this.changesMax = options.changesMax
    this.checksLeft = options.checksMax ?? defaultChecksMax
    for (const load of loads) {
      for (const osd of load.count.keys()) this.total.set(osd, this.all(osd) + load.dev(osd))
    }
  }

  get isDone(): boolean {
    return this.changed.size >= this.changesMax || this.checksLeft <= 0
  }

  /** Makes the pool more even; false when nothing does. */
  step(load: PrimaryLoad): boolean {
    return this.improve(load, (osd) => load.dev(osd))
  }

  /** Is neutral for the pool, and makes the sum of all pools more even. */
  evenStep(load: PrimaryLoad): boolean {
    return this.improve(
      load,
      (osd) => this.all(osd),
      (from, to) => Math.abs(load.dev(from) - load.dev(to) - 1) < slack,
    )
  }

  /** From the fullest that can give to the emptiest that can take, by the shortest way there is. */
  private improve(
    load: PrimaryLoad,
    height: (osd: OsdId) => number,
    isAllowed: (from: OsdId, to: OsdId) => boolean = () => true,
  ): boolean {
    const order = [...load.count.keys()].sort((a, b) => height(b) - height(a) || a - b)
    const lowest = height(order.at(-1) ?? (0 as OsdId))
    for (const from of order) {
      if (height(from) - lowest <= 1 + slack || this.checksLeft <= 0) return false
      const cameBy = this.waysFrom(load, from)
      for (const to of order.toReversed()) {
        if (height(from) - height(to) <= 1 + slack) break
        if (!cameBy.has(to) || !isAllowed(from, to)) continue
        this.take(load, from, to, cameBy)
        return true
      }
    }
    return false
  }

  /** By which PG each OSD that can be reached is reached, breadth first. */
  private waysFrom(load: PrimaryLoad, start: OsdId): ReadonlyMap<OsdId, Way> {
    const cameBy = new Map<OsdId, Way>()
    const line = [start]
    for (let at = 0; at < line.length && this.checksLeft > 0; at++) {
      const from = line[at] as OsdId
      const found = new Map<OsdId, Way>()
      for (const id of load.pgsOf.get(from) as Set<PgId>) {
        this.checksLeft--
        for (const to of load.candidates.get(id) as readonly OsdId[]) {
          if (to === start || cameBy.has(to)) continue
          const known = found.get(to)
          if (known === undefined || this.cost(load, id, to) < this.cost(load, known.id, to)) {
            found.set(to, { id, from, to })
          }
        }
      }
      for (const [to, way] of found) {
        cameBy.set(to, way)
        line.push(to)
      }
    }
    return cameBy
  }

  /** An exception that goes is better than one that changes, and that better than one more. */
  private cost(load: PrimaryLoad, id: PgId, to: OsdId): number {
    if (load.byItself.get(id) === to) return 0
    const changed = this.changed.get(id)
    const has = changed === undefined ? this.map.upmapPrimaries?.has(id) === true : changed !== null
    return has ? 1 : 2
  }

  private take(load: PrimaryLoad, start: OsdId, end: OsdId, cameBy: ReadonlyMap<OsdId, Way>): void {
    for (let at = end; at !== start; ) {
      const { id, from, to } = cameBy.get(at) as Way
      load.shift(id, from, to)
      this.changed.set(id, load.byItself.get(id) === to ? null : to)
      this.total.set(from, this.all(from) - 1)
      this.total.set(to, this.all(to) + 1)
      at = from
    }
  }

  private all(osd: OsdId): number {
    return this.total.get(osd) ?? 0
  }
}

/**
 * The next few exceptions: about `changesMax`, for a path of changes is taken whole. Empty when nothing would be better. The map
 * should be one whose PGs are clean.
 */
export function planPrimaries(map: OsdMap, options: BalanceOptions): PrimaryPlan {
  const loads = loadsOf(map, new PlacementCache(map))
  const planner = new Planner(map, loads, options)
  for (const load of loads) while (!planner.isDone && planner.step(load));
  for (const load of loads) while (!planner.isDone && planner.evenStep(load));
  const kept = [...planner.changed].filter(([id, osd]) => (map.upmapPrimaries?.get(id) ?? null) !== osd)
  return { upmapPrimaries: new Map(kept) }
}

/** How evenly the primaries of each replicated pool lie. `placement`: of the same map. */
export function measurePrimaries(map: OsdMap, placement: PlacementCache): readonly PrimaryBalance[] {
  return loadsOf(map, placement).map(({ pool, count, target }) => {
    const wanted = [...target].filter(([, share]) => share > 0)
    const counts = wanted.map(([osd]) => count.get(osd) as number)
    return {
      pool: pool.id,
      name: pool.name,
      least: counts.length === 0 ? 0 : Math.min(...counts),
      most: Math.max(0, ...counts),
      deviationMax: Math.max(0, ...[...count].map(([osd, primaries]) => Math.abs(primaries - (target.get(osd) ?? 0)))),
      score: Math.max(0, ...wanted.map(([osd, share]) => (count.get(osd) as number) / share)),
    }
  })
}
