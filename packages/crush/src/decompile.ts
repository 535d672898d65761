/** The text of a CRUSH map, character for character what `crushtool -d` prints. */
import { ClusterError } from '@shoal/base'
import { isChooseArgUsed } from './binary.ts'
import { checkCrushMap } from './check.ts'
import { bucketItemWeight, isShadow } from './tree.ts'
import {
  type CrushBucket,
  type CrushMap,
  type CrushRule,
  type CrushTunables,
  type RuleStep,
  ruleTypeErasure,
  ruleTypeReplicated,
  stepOp,
  tunableProfiles,
} from './types.ts'
import { sorted } from './work-map.ts'

const keepNote = '\t\t# do not change unnecessarily\n'

const tunableNames: readonly (readonly [keyof CrushTunables, string])[] = [
  ['chooseLocalTries', 'choose_local_tries'],
  ['chooseLocalFallbackTries', 'choose_local_fallback_tries'],
  ['chooseTotalTries', 'choose_total_tries'],
  ['chooseleafDescendOnce', 'chooseleaf_descend_once'],
  ['chooseleafVaryR', 'chooseleaf_vary_r'],
  ['chooseleafStable', 'chooseleaf_stable'],
  ['strawCalcVersion', 'straw_calc_version'],
  ['allowedBucketAlgs', 'allowed_bucket_algs'],
]

const setNames = new Map<number, string>([
  [stepOp.setChooseTries, 'set_choose_tries'],
  [stepOp.setChooseLocalTries, 'set_choose_local_tries'],
  [stepOp.setChooseLocalFallbackTries, 'set_choose_local_fallback_tries'],
  [stepOp.setChooseleafTries, 'set_chooseleaf_tries'],
  [stepOp.setChooseleafVaryR, 'set_chooseleaf_vary_r'],
  [stepOp.setChooseleafStable, 'set_chooseleaf_stable'],
])

const chooseNames = new Map<number, string>([
  [stepOp.chooseFirstn, 'choose firstn'],
  [stepOp.chooseIndep, 'choose indep'],
  [stepOp.chooseleafFirstn, 'chooseleaf firstn'],
  [stepOp.chooseleafIndep, 'chooseleaf indep'],
])

/** Throws EINVAL for a map that has no text: one that CRUSH cannot walk, or whose rules take what has no name. */
export function crushDecompile(map: CrushMap): string {
  checkCrushMap(map)
  const out: string[] = ['# begin crush map\n']
  for (const [field, name] of tunableNames) {
    const value = map.tunables[field]
    if (value === tunableProfiles.legacy[field]) continue
    out.push(`tunable ${name} ${field === 'allowedBucketAlgs' ? value : value | 0}\n`)
  }
  out.push('\n# devices\n')
  for (const [id, name] of sorted(map.names)) {
    if (id >= 0) out.push(`device ${id} ${name}${classSuffix(map, id)}\n`)
  }
  out.push('\n# types\n')
  const types = sorted(map.types)
  if (types.size > 0 && !types.has(0)) out.push('type 0 osd\n')
  for (const [id, name] of types) if (id >= 0) out.push(`type ${id} ${name}\n`)
  out.push('\n# buckets\n')
  for (const bucket of childrenFirst(map)) if (!isShadow(map, bucket.id)) out.push(bucketText(map, bucket))
  out.push('\n# rules\n')
  for (const [id, rule] of map.rules.entries()) if (rule !== undefined) out.push(ruleText(map, id, rule))
  if (map.chooseArgs.size > 0) {
    out.push('\n# choose_args\n')
    for (const id of sorted(map.chooseArgs).keys()) out.push(chooseArgsText(map, id))
  }
  out.push('\n# end crush map\n')
  return out.join('')
}

function classSuffix(map: CrushMap, item: number): string {
  const classId = map.itemClasses.get(item)
  const name = classId === undefined ? undefined : map.classNames.get(classId)
  return name === undefined ? '' : ` class ${name}`
}

/** Each bucket after all it contains, and otherwise from -1 downwards. */
function childrenFirst(map: CrushMap): CrushBucket[] {
  const ordered: CrushBucket[] = []
  const seen = new Set<number>()
  const visit = (index: number): void => {
    const bucket = map.buckets[index]
    if (bucket === undefined || seen.has(index)) return
    seen.add(index)
    for (const item of bucket.items) if (item < 0) visit(-1 - item)
    ordered.push(bucket)
  }
  for (const index of map.buckets.keys()) visit(index)
  return ordered
}

function itemName(map: CrushMap, id: number): string {
  return map.names.get(id) ?? (id >= 0 ? `device${id}` : `bucket${-1 - id}`)
}

function typeName(map: CrushMap, type: number): string {
  return map.types.get(type) ?? (type === 0 ? 'device' : `type${type}`)
}

/** Three decimals of a 16.16 weight, through a 32-bit float and rounded half to even, as C prints it. */
export function weightText(weight: number): string {
  const thousandths = (Math.fround(weight | 0) / 0x1_0000) * 1000
  const whole = Math.floor(Math.abs(thousandths))
  const rest = Math.abs(thousandths) - whole
  const rounded = rest > 0.5 || (rest === 0.5 && whole % 2 === 1) ? whole + 1 : whole
  const digits = String(rounded).padStart(4, '0')
  return `${thousandths < 0 ? '-' : ''}${digits.slice(0, -3)}.${digits.slice(-3)}`
}

function bucketText(map: CrushMap, bucket: CrushBucket): string {
  const { id, algorithm, items } = bucket
  const out = [`${typeName(map, bucket.type)} ${itemName(map, id)} {\n\tid ${id}${keepNote}`]
  for (const [classId, shadow] of sorted(map.classBuckets.get(id) ?? new Map<number, number>())) {
    out.push(`\tid ${shadow} class ${map.classNames.get(classId) ?? ''}${keepNote}`)
  }
  out.push(`\t# weight ${weightText(bucket.weight)}\n\talg ${algorithm}`)
  if (algorithm === 'uniform') out.push(`\t# do not change bucket size (${items.length}) unnecessarily`)
  if (algorithm === 'list') out.push('\t# add new items at the end; do not change order unnecessarily')
  if (algorithm === 'tree') out.push('\t# do not change pos for existing items unnecessarily')
  out.push(`\n\thash ${bucket.hash}\t# ${bucket.hash === 0 ? 'rjenkins1' : 'unknown'}\n`)
  const positions = algorithm === 'uniform' || algorithm === 'tree'
  for (const [i, item] of items.entries()) {
    const position = positions ? ` pos ${i}` : ''
    out.push(`\titem ${itemName(map, item)} weight ${weightText(bucketItemWeight(bucket, i))}${position}\n`)
  }
  out.push('}\n')
  return out.join('')
}

function ruleText(map: CrushMap, id: number, rule: CrushRule): string {
  const out = [`rule ${map.ruleNames.get(id) ?? ''} {\n\tid ${id}\n`]
  if (rule.ruleset !== id) {
    out.push(`\t# WARNING: ruleset ${rule.ruleset} != id ${id}; this will not recompile to the same map\n`)
  }
  let type = String(rule.type)
  if (rule.type === ruleTypeReplicated) type = 'replicated'
  if (rule.type === ruleTypeErasure) type = 'erasure'
  out.push(`\ttype ${type}\n\tmin_size ${rule.minSize}\n\tmax_size ${rule.maxSize}\n`)
  for (const step of rule.steps) {
    const text = stepText(map, id, step)
    if (text !== undefined) out.push(`\tstep ${text}\n`)
  }
  out.push('}\n')
  return out.join('')
}

function stepText(map: CrushMap, ruleId: number, { op, arg1, arg2 }: RuleStep): string | undefined {
  if (op === stepOp.noop) return 'noop'
  if (op === stepOp.emit) return 'emit'
  if (op === stepOp.take) return `take ${takenText(map, ruleId, arg1)}`
  const set = setNames.get(op)
  if (set !== undefined) return `${set} ${arg1}`
  const choose = chooseNames.get(op)
  return choose === undefined ? undefined : `${choose} ${arg1} type ${typeName(map, arg2)}`
}

function takenText(map: CrushMap, ruleId: number, item: number): string {
  const name = map.names.get(item)
  const split = name?.indexOf('~') ?? -1
  if (name !== undefined && split < 0) return name
  const original = name?.slice(0, split)
  const className = name?.slice(split + 1)
  const known =
    [...map.names.values()].includes(original ?? '') && [...map.classNames.values()].includes(className ?? '')
  if (name === undefined || !known) {
    throw new ClusterError('EINVAL', `rule ${ruleId} takes item ${item}, which has no name`, {
      hint: 'remove the rule, or name the item',
    })
  }
  return `${original} class ${className}`
}

function chooseArgsText(map: CrushMap, id: number): string {
  const out = [`choose_args ${BigInt.asUintN(64, BigInt(id))} {\n`]
  for (const [index, arg] of sorted(map.chooseArgs.get(id) ?? new Map())) {
    if (!isChooseArgUsed(arg)) continue
    out.push(`  {\n    bucket_id ${-1 - index}\n`)
    if (arg.weightSet.length > 0) {
      out.push('    weight_set [\n')
      for (const weights of arg.weightSet)
        out.push(`      [ ${weights.map((weight: number) => `${weightText(weight)} `).join('')}]\n`)
      out.push('    ]\n')
    }
    if (arg.ids !== undefined && arg.ids.length > 0) {
      out.push(`    ids [ ${arg.ids.map((item: number) => `${item} `).join('')}]\n`)
    }
    out.push('  }\n')
  }
  out.push('}\n')
  return out.join('')
}
