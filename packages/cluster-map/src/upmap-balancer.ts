/**
 * Which exceptions (upmap items) make placement groups lie as evenly as their number allows: Ceph's balancer in upmap
 * mode (`osdmaptool --upmap`). CRUSH draws, and a draw of a few hundred is uneven; the fullest OSD then decides how much
 * the cluster holds and how fast it is.
 *
 * *Target* of an OSD: its share, by CRUSH weight and reweight, of a pool's PG copies. *Deviation*: what it has more than
 * that. A move of one copy from o to u is worth making when dev(o) - dev(u) > 1: it makes the sum of squares smaller.
 *
 * Invariants
 * 1. Every set that comes of a plan satisfies the pool's rule (rule-shape.ts), if it did before.
 * 2. Every step makes (sum over pools of squared deviations, squared deviations over all pools together) smaller in this
 *    order: so plans end, and the plan for a map that a plan has balanced is empty.
 * 3. When no step is left, no two OSDs of a pool between which a copy may move, directly or over others, differ by more
 *    than one PG in their deviations.
 */
import type { OsdId, PgId, PoolId } from '@shoal/base'
import type { OsdMap, Pool, UpmapItem } from './osd-map.ts'
import { applyUpmapItems, PlacementCache, pgIdsOf } from './placement.ts'
import { isAllowedSet, type RuleShape, ruleShape } from './rule-shape.ts'

export interface BalanceOptions {
  /** PGs that one plan changes at most: each of them moves a copy, or its primary. */
  readonly changesMax: number
  /** Looks at "may this copy go there" that one plan takes at most: bounds the time that it takes. */
  readonly checksMax?: number
}

export interface UpmapPlan {
  /** New items of PGs; null removes the entry, the PG lies where CRUSH says. */
  readonly upmapItems: ReadonlyMap<PgId, readonly UpmapItem[] | null>
}

export interface PoolBalance {
  readonly pool: PoolId
  readonly name: string
  readonly osds: number
  /** PG copies on the OSDs with the fewest and with the most. */
  readonly least: number
  readonly most: number
  /** The largest of |copies - target|. */
  readonly deviationMax: number
  /** Root of the mean of squared deviations. */
  readonly deviationRms: number
}

const slack = 1e-6
const defaultChecksMax = 400_000
/** OSDs that a chain of moves goes over: o -> x -> y -> u. */
const chainMax = 3

/** One pool's copies, and what each OSD has of them. */
class PoolLoad {
  readonly pool: Pool
  readonly shape: RuleShape
  readonly deviation = new Map<OsdId, number>()
  readonly count = new Map<OsdId, number>()
  readonly pgsOn = new Map<OsdId, Set<PgId>>()
  readonly sets = new Map<PgId, readonly OsdId[]>()
  readonly raw = new Map<PgId, readonly OsdId[]>()

  constructor(map: OsdMap, placement: PlacementCache, pool: Pool, shape: RuleShape) {
    this.pool = pool
    this.shape = shape
    for (const { weights, copies } of shape.takes) {
      const shares = [...weights].map(([osd, weight]) => [osd, weight * mayHold(map, osd)] as const)
      const total = shares.reduce((sum, [, share]) => sum + share, 0)
      for (const [osd, share] of shares) {
        if (share > 0) this.deviation.set(osd, (-share / total) * copies * pool.pgNum)
      }
    }
    for (const osd of this.deviation.keys()) {
      this.count.set(osd, 0)
      this.pgsOn.set(osd, new Set())
    }
    for (const id of pgIdsOf(pool)) {
      const set = placement.placed(id)
      this.sets.set(id, set)
      this.raw.set(id, placement.raw(id))
      for (const osd of set) this.add(id, osd)
    }
  }

  add(id: PgId, osd: OsdId): void {
    const before = this.count.get(osd)
    if (before === undefined) return
    this.count.set(osd, before + 1)
    this.deviation.set(osd, (this.deviation.get(osd) as number) + 1)
    this.pgsOn.get(osd)?.add(id)
  }

  remove(id: PgId, osd: OsdId): void {
    this.count.set(osd, (this.count.get(osd) as number) - 1)
    this.deviation.set(osd, (this.deviation.get(osd) as number) - 1)
    this.pgsOn.get(osd)?.delete(id)
  }

  dev(osd: OsdId): number {
    return this.deviation.get(osd) as number
  }
}

/** Reweight, 0 for an OSD that nothing may be moved to. */
function mayHold(map: OsdMap, osd: OsdId): number {
  const info = map.osds.get(osd)
  return info?.up === true ? info.weight : 0
}

/** Pools that are in the middle of a split or merge, and those with a rule that cannot be judged, are left alone. */
function loadsOf(map: OsdMap): PoolLoad[] {
  const placement = new PlacementCache(map)
  const loads: PoolLoad[] = []
  for (const pool of map.pools.values()) {
    if (pool.pgNum !== pool.pgpNum) continue
    const shape = ruleShape(map.crush, pool.crushRule, pool.size)
    if (shape !== undefined) loads.push(new PoolLoad(map, placement, pool, shape))
  }
  return loads
}

interface Move {
  readonly id: PgId
  readonly from: OsdId
  readonly to: OsdId
  readonly items: readonly UpmapItem[]
  readonly set: readonly OsdId[]
}

class Planner {
  readonly changed = new Map<PgId, readonly UpmapItem[] | null>()
  private readonly map: OsdMap
  private readonly changesMax: number
  private checksLeft: number
  /** Over all pools. */
  private readonly total = new Map<OsdId, number>()

  constructor(map: OsdMap, loads: readonly PoolLoad[], options: BalanceOptions) {
    this.map = map
    this.changesMax = options.changesMax
    this.checksLeft = options.checksMax ?? defaultChecksMax
    for (const load of loads) {
      for (const [osd, deviation] of load.deviation) this.total.set(osd, (this.total.get(osd) ?? 0) + deviation)
    }
  }

  /** Makes the best step for the pool; false when there is none. */
  step(load: PoolLoad): boolean {
    const order = this.order(load)
    for (const from of order) {
      for (const to of order.toReversed()) {
        if (load.dev(from) - load.dev(to) <= 1 + slack) break
        if (this.tryMove(load, from, to)) return true
      }
    }
    for (const from of order) if (this.tryChain(load, from, order)) return true
    return false
  }

  /** A step that is neutral for the pool and makes the sum of all pools more even. */
  evenStep(load: PoolLoad): boolean {
    const order = [...load.deviation.keys()].sort((a, b) => this.all(b) - this.all(a) || a - b)
    for (const from of order) {
      for (const to of order.toReversed()) {
        if (this.all(from) - this.all(to) <= 1 + slack) break
        if (Math.abs(load.dev(from) - load.dev(to) - 1) < slack && this.tryMove(load, from, to)) return true
      }
    }
    return false
  }

  get isDone(): boolean {
    return this.changed.size >= this.changesMax || this.checksLeft <= 0
  }

  private all(osd: OsdId): number {
    return this.total.get(osd) as number
  }

  /** The fullest first. */
  private order(load: PoolLoad): OsdId[] {
    return [...load.deviation.keys()].sort((a, b) => load.dev(b) - load.dev(a) || this.all(b) - this.all(a) || a - b)
  }

  private tryMove(load: PoolLoad, from: OsdId, to: OsdId): boolean {
    const move = this.findMove(load, from, to)
    if (move !== undefined) this.apply(load, move)
    return move !== undefined
  }

  /** Where no copy of `from` may go to anybody much emptier: one goes to another, and one of that one's further on. */
  private tryChain(load: PoolLoad, from: OsdId, order: readonly OsdId[]): boolean {
    const enough = (to: OsdId) => load.dev(from) - load.dev(to) > 1 + slack
    if (!enough(order.at(-1) as OsdId)) return false
    const cameFrom = new Map<OsdId, OsdId>()
    let edge: OsdId[] = [from]
    for (let length = 0; length < chainMax && edge.length > 0; length++) {
      const next: OsdId[] = []
      for (const at of edge) {
        for (const to of order.toReversed()) {
          if (to === from || cameFrom.has(to) || this.findMove(load, at, to) === undefined) continue
          cameFrom.set(to, at)
          if (enough(to)) return this.applyChain(load, from, to, cameFrom)
          next.push(to)
        }
      }
      edge = next
    }
    return false
  }

  /** From its end, so that each finds room; all of it or nothing. */
  private applyChain(load: PoolLoad, from: OsdId, end: OsdId, cameFrom: ReadonlyMap<OsdId, OsdId>): boolean {
    const undo: (() => void)[] = []
    for (let to = end; to !== from; ) {
      const at = cameFrom.get(to) as OsdId
      const move = this.findMove(load, at, to)
      if (move === undefined) {
        for (const step of undo.reverse()) step()
        return false
      }
      undo.push(this.apply(load, move))
      to = at
    }
    return true
  }

  private findMove(load: PoolLoad, from: OsdId, to: OsdId): Move | undefined {
    let found: Move | undefined
    for (const id of load.pgsOn.get(from) as Set<PgId>) {
      if (this.checksLeft-- <= 0) return found
      const move = this.moveOf(load, id, from, to)
      if (move === undefined) continue
      // An exception that changes or goes is better than one more.
      if (move.items.length <= this.itemsOf(id).length) return move
      found ??= move
    }
    return found
  }

  private moveOf(load: PoolLoad, id: PgId, from: OsdId, to: OsdId): Move | undefined {
    const before = load.sets.get(id) as readonly OsdId[]
    if (this.map.upmap.has(id) || before.includes(to)) return undefined
    const set = before.map((osd) => (osd === from ? to : osd))
    if (!isAllowedSet(load.shape, set)) return undefined
    const items = withMove(this.itemsOf(id), from, to)
    const given = applyUpmapItems(this.map, load.raw.get(id) as readonly OsdId[], items)
    return given.every((osd, at) => osd === set[at]) ? { id, from, to, items, set } : undefined
  }

  private itemsOf(id: PgId): readonly UpmapItem[] {
    const changed = this.changed.get(id)
    return changed === undefined ? (this.map.upmapItems.get(id) ?? []) : (changed ?? [])
  }

  private apply(load: PoolLoad, { id, from, to, items, set }: Move): () => void {
    const before = load.sets.get(id) as readonly OsdId[]
    const changedBefore = this.changed.get(id)
    const shift = (less: OsdId, more: OsdId): void => {
      load.remove(id, less)
      load.add(id, more)
      this.total.set(less, this.all(less) - 1)
      this.total.set(more, this.all(more) + 1)
    }
    shift(from, to)
    load.sets.set(id, set)
    this.changed.set(id, items.length === 0 ? null : items)
    return () => {
      shift(to, from)
      load.sets.set(id, before)
      if (changedBefore === undefined) this.changed.delete(id)
      else this.changed.set(id, changedBefore)
    }
  }
}

/** The items with one more exchange, put as an exchange of what CRUSH chose. */
function withMove(items: readonly UpmapItem[], from: OsdId, to: OsdId): readonly UpmapItem[] {
  const at = items.findIndex((item) => item.to === from)
  if (at < 0) return [...items, { from, to }]
  const origin = (items[at] as UpmapItem).from
  if (origin === to) return items.filter((_, index) => index !== at)
  return items.map((item, index) => (index === at ? { from: origin, to } : item))
}

/**
 * The next few exceptions. Empty when nothing would be better. The map should be one whose PGs are clean: what moves
 * already is not known here.
 */
export function planUpmaps(map: OsdMap, options: BalanceOptions): UpmapPlan {
  const loads = loadsOf(map)
  const planner = new Planner(map, loads, options)
  for (const load of loads) while (!planner.isDone && planner.step(load));
  for (const load of loads) while (!planner.isDone && planner.evenStep(load));
  return { upmapItems: planner.changed }
}

/** How evenly the PG copies of each pool lie. */
export function measureBalance(map: OsdMap): readonly PoolBalance[] {
  return loadsOf(map).map((load) => {
    const counts = [...load.count.values()]
    const deviations = [...load.deviation.values()]
    return {
      pool: load.pool.id,
      name: load.pool.name,
      osds: counts.length,
      least: counts.length === 0 ? 0 : Math.min(...counts),
      most: Math.max(0, ...counts),
      deviationMax: Math.max(0, ...deviations.map(Math.abs)),
      deviationRms: Math.sqrt(deviations.reduce((sum, one) => sum + one * one, 0) / Math.max(1, deviations.length)),
    }
  })
}
