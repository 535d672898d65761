/** Edits of rules: the simple ones that Ceph's `osd crush rule create-…` makes, and removal. */
import { ClusterError } from '@shoal/base'
import { rebuildShadowTrees } from './device-classes.ts'
import { itemId } from './edits.ts'
import { type CrushMap, type CrushRule, type RuleStep, ruleTypeErasure, ruleTypeReplicated, stepOp } from './types.ts'
import { isValidCrushName, WorkMap } from './work-map.ts'

/** The most rules a map gets through edits: pools name them in a byte. */
const ruleIdMax = 255

export interface NewRule {
  readonly name: string
  /** The bucket to start from, `default` in most clusters. */
  readonly root: string
  /** The type of bucket of which no two replicas share one, `host` in most clusters; the device type for none. */
  readonly failureDomain: string
  /** Only devices of this class. */
  readonly deviceClass?: string
}

/** A rule for replicated pools. Its id is the lowest free one: find it with {@link ruleIdOf}. */
export function createReplicatedRule(map: CrushMap, rule: NewRule): CrushMap {
  const work = WorkMap.of(map)
  const { root, type } = resolve(work, rule)
  const steps = [
    step(stepOp.take, root),
    step(type === 0 ? stepOp.chooseFirstn : stepOp.chooseleafFirstn, 0, type),
    step(stepOp.emit),
  ]
  return add(work, rule.name, (id) => ({
    ruleset: id,
    type: ruleTypeReplicated,
    minSize: 1,
    maxSize: 10,
    steps,
  }))
}

/** A rule for erasure-coded pools: positions are kept, and a device is looked for longer. */
export function createErasureRule(map: CrushMap, rule: NewRule, sizeMax = 20): CrushMap {
  const work = WorkMap.of(map)
  const { root, type } = resolve(work, rule)
  const steps = [
    step(stepOp.setChooseleafTries, 5),
    step(stepOp.setChooseTries, 100),
    step(stepOp.take, root),
    step(type === 0 ? stepOp.chooseIndep : stepOp.chooseleafIndep, 0, type),
    step(stepOp.emit),
  ]
  return add(work, rule.name, (id) => ({
    ruleset: id,
    type: ruleTypeErasure,
    minSize: 3,
    maxSize: sizeMax,
    steps,
  }))
}

/** Whether pools use the rule is for the caller to know. */
export function removeRule(map: CrushMap, name: string): CrushMap {
  const work = WorkMap.of(map)
  const id = work.ruleIdOf(name)
  if (id === undefined) throw noRule(name)
  work.rules[id] = undefined
  work.ruleNames.delete(id)
  rebuildShadowTrees(work)
  return work.finish()
}

/** The id of the rule of that name; undefined if there is none. */
export function ruleIdOf(map: CrushMap, name: string): number | undefined {
  for (const [id, known] of map.ruleNames) if (known === name) return id
  return undefined
}

function noRule(name: string): ClusterError {
  return new ClusterError('ENOENT', `there is no rule '${name}'`, { hint: 'shoal osd crush rule ls lists them' })
}

function step(op: number, arg1 = 0, arg2 = 0): RuleStep {
  return { op, arg1, arg2 }
}

function resolve(map: WorkMap, rule: NewRule): { root: number; type: number } {
  const root = itemId(map, rule.root)
  const type = map.typeIdOf(rule.failureDomain)
  if (type === undefined) {
    throw new ClusterError('EINVAL', `there is no bucket type '${rule.failureDomain}'`, {
      hint: `the types are: ${[...map.types.values()].join(', ')}`,
    })
  }
  if (rule.deviceClass === undefined) return { root, type }
  const classId = map.classIdOf(rule.deviceClass)
  const shadow = classId === undefined ? undefined : map.classBuckets.get(root)?.get(classId)
  if (shadow === undefined) {
    throw new ClusterError('EINVAL', `${rule.root} has no devices of class ${rule.deviceClass}`, {
      hint: 'shoal osd tree shows the classes',
    })
  }
  return { root: shadow, type }
}

function add(map: WorkMap, name: string, make: (id: number) => CrushRule): CrushMap {
  if (!isValidCrushName(name)) {
    throw new ClusterError('EINVAL', `'${name}' is not a name CRUSH allows`, { hint: 'use letters, digits and - _ .' })
  }
  if (map.ruleIdOf(name) !== undefined) throw new ClusterError('EEXIST', `rule ${name} exists already`)
  const rulesets = new Set(map.rules.map((rule) => rule?.ruleset))
  let id = 0
  while (map.rules[id] !== undefined || rulesets.has(id)) id++
  if (id > ruleIdMax) throw new ClusterError('ENOSPC', 'the CRUSH map has no room for another rule')
  while (map.rules.length <= id) map.rules.push(undefined)
  map.rules[id] = make(id)
  map.ruleNames.set(id, name)
  return map.finish()
}
