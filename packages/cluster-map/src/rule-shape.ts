/**
 * What a CRUSH rule asks of a set of OSDs, read from its steps: from which devices it takes, with what share of the data,
 * and which of them may hold copies of one placement group together. CRUSH itself never needs this: it is for those who
 * place by exception (upmap) and must not undo what the rule is for. Ceph: CrushWrapper's verify_upmap and
 * get_rule_weight_osd_map.
 */
import type { OsdId } from '@shoal/base'
import { bucketItemWeight, type CrushMap, stepOp } from '@shoal/crush'
import { noOsd } from './osd-map.ts'

interface Level {
  /** CRUSH type; 0 for devices. */
  readonly type: number
  /** How many of it are chosen under each one of the level before. */
  readonly count: number
}

/** From a `take` to its `emit`. */
export interface RuleTake {
  /** CRUSH weight (16.16) of each device below what is taken, of those that the steps can reach. */
  readonly weights: ReadonlyMap<OsdId, number>
  /** Copies that come from here. */
  readonly copies: number
  /** Outermost first; no two copies share one of the last level. */
  readonly levels: readonly Level[]
  /** For each device, the bucket of each level that holds it (itself for level type 0). */
  readonly domains: ReadonlyMap<OsdId, readonly number[]>
}

export interface RuleShape {
  readonly takes: readonly RuleTake[]
}

/** Undefined when there is no such rule, or when two of its takes share devices: then none can be told from the set. */
export function ruleShape(crush: CrushMap, rule: number, size: number): RuleShape | undefined {
  const steps = crush.rules[rule]?.steps
  if (steps === undefined) return undefined
  const takes: RuleTake[] = []
  let taken: number | undefined
  let levels: Level[] = []
  let left = size
  for (const { op, arg1, arg2 } of steps) {
    switch (op) {
      case stepOp.take:
        taken = arg1
        levels = []
        break
      case stepOp.chooseFirstn:
      case stepOp.chooseIndep:
      case stepOp.chooseleafFirstn:
      case stepOp.chooseleafIndep:
        levels.push({ type: arg2, count: arg1 > 0 ? arg1 : Math.max(0, size + arg1) })
        break
      case stepOp.emit: {
        if (taken === undefined || levels.length === 0) break
        const product = levels.reduce((copies, level) => copies * level.count, 1)
        const copies = Math.min(left, product)
        left -= copies
        takes.push(takeOf(crush, taken, effective(levels), copies))
        taken = undefined
        break
      }
      default:
    }
  }
  const seen = new Set<OsdId>()
  for (const { weights } of takes) {
    for (const osd of weights.keys()) {
      if (seen.has(osd)) return undefined
      seen.add(osd)
    }
  }
  return takes.length === 0 ? undefined : { takes }
}

/** "3 hosts, in each 1 OSD" keeps hosts apart: the last level is the innermost of which more than one is chosen. */
function effective(levels: readonly Level[]): readonly Level[] {
  let end = levels.length
  while (end > 1 && levels[end - 1]?.count === 1) end--
  return levels.slice(0, end)
}

function takeOf(crush: CrushMap, root: number, levels: readonly Level[], copies: number): RuleTake {
  const weights = new Map<OsdId, number>()
  const domains = new Map<OsdId, readonly number[]>()
  const visit = (item: number, weight: number, above: ReadonlyMap<number, number>): void => {
    if (item >= 0) {
      const path = levels.map(({ type }) => (type === 0 ? item : above.get(type)))
      if (weight <= 0 || path.includes(undefined)) return
      weights.set(item as OsdId, weight)
      domains.set(item as OsdId, path as number[])
      return
    }
    const bucket = crush.buckets[-1 - item]
    if (bucket === undefined) return
    const here = new Map(above).set(bucket.type, item)
    for (const [at, child] of bucket.items.entries()) visit(child, bucketItemWeight(bucket, at), here)
  }
  visit(root, 1, new Map())
  return { weights, copies, levels, domains }
}

/**
 * Whether the rule's failure domains allow the set: every member lies where the rule takes from, no two in one domain, and
 * no outer bucket holds more than its part. Sets with fewer members than the pool wants are judged by what is there.
 */
export function isAllowedSet(shape: RuleShape, osds: readonly OsdId[]): boolean {
  let members = 0
  for (const take of shape.takes) {
    const own = osds.filter((osd) => take.domains.has(osd))
    if (own.length > take.copies || !fits(take, own)) return false
    members += own.length
  }
  const present = osds.filter((osd) => osd !== noOsd)
  return members === present.length && new Set(present).size === present.length
}

function fits({ levels, domains }: RuleTake, osds: readonly OsdId[]): boolean {
  let below = levels.reduce((product, level) => product * level.count, 1)
  let outer = 1
  for (const [at, { count }] of levels.entries()) {
    below /= Math.max(1, count)
    outer *= count
    const held = new Map<number, number>()
    for (const osd of osds) {
      const domain = domains.get(osd)?.[at] as number
      held.set(domain, (held.get(domain) ?? 0) + 1)
    }
    const most = at === levels.length - 1 ? 1 : below
    if (held.size > outer) return false
    for (const number of held.values()) if (number > most) return false
  }
  return true
}
