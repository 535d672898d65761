/**
 * Compiles the text of a CRUSH map to a map, with crushtool's results down to the byte (ids assigned, shadow trees,
 * rounding of weights): the differential tests compare what `encodeCrushMap` makes of it.
 */
import { ClusterError } from '@shoal/base'
import { makeBucket } from './bucket-builder.ts'
import { populateClasses } from './device-classes.ts'
import type {
  BucketStatement,
  ChooseArgsStatement,
  DeviceStatement,
  RuleStatement,
  SetStep,
  TextChooseArg,
  TextMap,
  TextStep,
  TunableStatement,
} from './text-grammar.ts'
import { parseCrushText } from './text-grammar.ts'
import {
  type BucketAlgorithm,
  bucketAlgorithms,
  bucketSlotsMax,
  type CrushMap,
  type CrushTunables,
  depthMax,
  type RuleStep,
  rulesMax,
  ruleTypeErasure,
  ruleTypeReplicated,
  stepOp,
  tunableProfiles,
} from './types.ts'
import { WorkMap } from './work-map.ts'

/** Largest weights, 16.16. */
const deviceWeightMax = 0x64_0000
const bucketWeightMax = 0xffff_0000
/** Ceph adds rules only while there are fewer slots than this. */
const ruleSlotsMax = 256

const setOps: Readonly<Record<SetStep, number>> = {
  set_choose_tries: stepOp.setChooseTries,
  set_choose_local_tries: stepOp.setChooseLocalTries,
  set_choose_local_fallback_tries: stepOp.setChooseLocalFallbackTries,
  set_chooseleaf_tries: stepOp.setChooseleafTries,
  set_chooseleaf_vary_r: stepOp.setChooseleafVaryR,
  set_chooseleaf_stable: stepOp.setChooseleafStable,
}

/** By the name in the text: the field and its width. */
const tunableFields: Readonly<Record<string, readonly [keyof CrushTunables, (value: number) => number]>> = {
  choose_local_tries: ['chooseLocalTries', (value) => value >>> 0],
  choose_local_fallback_tries: ['chooseLocalFallbackTries', (value) => value >>> 0],
  choose_total_tries: ['chooseTotalTries', (value) => value >>> 0],
  chooseleaf_descend_once: ['chooseleafDescendOnce', (value) => (value === 0 ? 0 : 1)],
  chooseleaf_vary_r: ['chooseleafVaryR', (value) => value & 0xff],
  chooseleaf_stable: ['chooseleafStable', (value) => value & 0xff],
  straw_calc_version: ['strawCalcVersion', (value) => value & 0xff],
  allowed_bucket_algs: ['allowedBucketAlgs', (value) => value >>> 0],
}

/** Throws ClusterError EINVAL with the line and what to write there. */
export function crushCompile(text: string): CrushMap {
  return new Compiler(parseCrushText(text)).compile()
}

/** As C's strtol into an int: saturates at 64 bits, then keeps the low 32. */
function toInt(text: string): number {
  if (text.length < 15) return Number(text) | 0
  const limit = 1n << 63n
  const value = BigInt(text)
  const clamped = value < -limit ? -limit : value >= limit ? limit - 1n : value
  return Number(BigInt.asIntN(32, clamped))
}

/** As C's conversion of a float times 0x10000 to an unsigned int, which wraps. */
function toWeight(text: string): number {
  return (Math.fround(Number(text)) * 0x1_0000) >>> 0
}

class Compiler {
  private readonly text: TextMap
  private readonly map = new WorkMap(tunableProfiles.legacy)
  private readonly itemIds = new Map<string, number>()
  private readonly typeIds = new Map<string, number>()
  private readonly ruleNames = new Set<string>()
  /** Ids that are taken or reserved, so that none of them is assigned. */
  private readonly reservedIds = new Set<number>()
  private readonly bucketWeights = new Map<number, number>()
  private readonly depths = new Map<number, number>()
  /** The ids the text gives to shadows. */
  private readonly shadowIds = new Map<number, Map<number, number>>()

  constructor(text: TextMap) {
    this.text = text
  }

  compile(): CrushMap {
    for (const statement of this.text.settings) {
      if (statement.kind === 'tunable') this.tunable(statement)
      else if (statement.kind === 'device') this.device(statement)
      else this.type(toInt(statement.id), statement.name)
    }
    for (const statement of this.text.body) {
      if (statement.kind === 'bucket') for (const { id } of statement.ids) this.reservedIds.add(toInt(id))
    }
    let sawRule = false
    for (const statement of this.inOrderOfUse()) {
      if (statement.kind === 'bucket') {
        if (sawRule) {
          throw this.error(statement.at, 'buckets must be defined before rules', `move ${statement.name} up`)
        }
        this.bucket(statement)
        continue
      }
      if (!sawRule) populateClasses(this.map, this.shadowIds)
      sawRule = true
      this.rule(statement)
    }
    for (const statement of this.text.chooseArgs) this.chooseArgs(statement)
    return this.map.finish()
  }

  private error(at: number, message: string, hint: string): ClusterError {
    return this.text.errorAt(at, message, hint)
  }

  private tunable(statement: TunableStatement): void {
    const field = Object.hasOwn(tunableFields, statement.name) ? tunableFields[statement.name] : undefined
    if (field === undefined) {
      throw this.error(
        statement.at,
        `tunable ${statement.name} is not known`,
        `the tunables are ${Object.keys(tunableFields).join(', ')}`,
      )
    }
    this.map.tunables = { ...this.map.tunables, [field[0]]: field[1](toInt(statement.value)) }
  }

  private device(statement: DeviceStatement): void {
    const id = toInt(statement.id)
    if (this.itemIds.has(statement.name)) {
      throw this.error(statement.at, `item ${statement.name} is defined twice`, 'give each device a name of its own')
    }
    this.map.setName(id, statement.name)
    this.itemIds.set(statement.name, id)
    this.reservedIds.add(id)
    if (statement.deviceClass !== undefined) {
      this.map.itemClasses.set(id, this.map.classIdOrNew(statement.deviceClass))
    }
  }

  private type(id: number, name: string): void {
    this.typeIds.set(name, id)
    this.map.types.set(id, name)
  }

  /**
   * The body with buckets swapped so that each comes after those it contains. The way crushtool swaps decides which ids
   * are assigned, and so it is kept: for each pair in order of appearance, the places where they stood at first.
   */
  private inOrderOfUse(): (BucketStatement | RuleStatement)[] {
    const body = [...this.text.body]
    const places: { name: string; items: ReadonlySet<string> }[] = []
    const itemsByName = new Map<string, Set<string>>()
    const placeByName = new Map<string, number>()
    for (const [place, statement] of body.entries()) {
      if (statement.kind !== 'bucket') continue
      const items = itemsByName.get(statement.name) ?? new Set<string>()
      for (const item of statement.items) items.add(item.name)
      itemsByName.set(statement.name, items)
      placeByName.set(statement.name, place)
      places.push({ name: statement.name, items })
    }
    const orderByName = new Map<string, number[]>()
    for (const [order, { name }] of places.entries()) {
      orderByName.set(name, [...(orderByName.get(name) ?? []), order])
    }
    for (const [order, { name, items }] of places.entries()) {
      const later = [...items].flatMap((item) => orderByName.get(item) ?? []).filter((other) => other > order)
      for (const other of later.sort((a, b) => a - b)) {
        const contained = places[other]?.name as string
        if (itemsByName.get(contained)?.has(name) === true) {
          const at = body[placeByName.get(contained) as number]?.at ?? 0
          throw this.error(
            at,
            `buckets ${name} and ${contained} contain each other`,
            'remove one of them from the other',
          )
        }
        const [a, b] = [placeByName.get(name) as number, placeByName.get(contained) as number]
        const swapped = body[a] as BucketStatement
        body[a] = body[b] as BucketStatement
        body[b] = swapped
      }
    }
    return body
  }

  private bucket(statement: BucketStatement): void {
    const { name, at } = statement
    const type = this.typeIds.get(statement.typeName)
    if (type === undefined) {
      throw this.error(at, `bucket type '${statement.typeName}' is not defined`, `add: type N ${statement.typeName}`)
    }
    if (this.itemIds.has(name)) {
      throw this.error(at, `bucket or device '${name}' is already defined`, 'give each bucket a name of its own')
    }
    const algorithm = bucketAlgorithms.find((known) => known === statement.algorithm)
    if (algorithm === undefined) {
      throw this.error(at, `unknown bucket alg '${statement.algorithm}'`, `use one of ${bucketAlgorithms.join(', ')}`)
    }
    const { id: given, shadows } = this.bucketIds(statement)
    const { items, weights, total } = this.bucketItems(statement, algorithm)
    let id = given
    if (id === 0) for (id = -1; this.reservedIds.has(id); id--);
    if (shadows.size > 0) this.shadowIds.set(id, shadows)
    this.reservedIds.add(id)
    this.itemIds.set(name, id)
    this.bucketWeights.set(id, total)
    if (-id > bucketSlotsMax || id >= 0) {
      throw this.error(at, `bucket id ${id} is out of range`, `use an id from -1 to -${bucketSlotsMax}`)
    }
    this.nest(at, id, items)
    const bucket = this.located(at, () =>
      makeBucket(
        { id, type, hash: toInt(statement.hash), algorithm, items, weights },
        this.map.tunables.strawCalcVersion,
      ),
    )
    if (!this.map.place(bucket)) throw this.error(at, `bucket id ${id} is used twice`, 'leave one of the ids out')
    this.map.setName(id, name)
  }

  private bucketIds(statement: BucketStatement): { id: number; shadows: Map<number, number> } {
    const shadows = new Map<number, number>()
    let id = 0
    for (const line of statement.ids) {
      if (line.deviceClass === undefined) {
        id = toInt(line.id)
        continue
      }
      const classId = this.map.classIdOrNew(line.deviceClass)
      if (shadows.has(classId)) {
        throw this.error(
          statement.at,
          `bucket ${statement.name} has two ids for class ${line.deviceClass}`,
          'remove one of them',
        )
      }
      shadows.set(classId, toInt(line.id))
    }
    return { id, shadows }
  }

  /** Runs a step of the builder, which knows nothing of lines. */
  private located<T>(at: number, make: () => T): T {
    try {
      return make()
    } catch (error) {
      if (!(error instanceof ClusterError)) throw error
      throw this.error(at, error.message, error.hint ?? '')
    }
  }

  private nest(at: number, id: number, items: readonly number[]): void {
    let depth = 1
    for (const item of items) depth = Math.max(depth, 1 + (this.depths.get(item) ?? 0))
    if (depth > depthMax) throw this.error(at, `buckets are nested deeper than ${depthMax}`, 'use fewer levels')
    this.depths.set(id, depth)
  }

  private bucketItems(
    statement: BucketStatement,
    algorithm: BucketAlgorithm,
  ): { items: number[]; weights: number[]; total: number } {
    const taken = new Set<number>()
    for (const { at, name, position } of statement.items) {
      if (position === undefined) continue
      const index = toInt(position)
      if (taken.has(index)) throw this.error(at, `item '${name}' has pos ${index}, which is taken`, 'use another pos')
      taken.add(index)
    }
    const size = statement.items.length
    const items = Array.from({ length: size }, () => 0)
    const weights = [...items]
    let total = 0
    let free = 0
    let uniformWeight: number | undefined
    for (const { at, name, weight: written, position } of statement.items) {
      const id = this.itemIds.get(name)
      if (id === undefined) {
        throw this.error(at, `item '${name}' in bucket '${statement.name}' is not defined`, 'define it above')
      }
      const weight = written === undefined ? (this.bucketWeights.get(id) ?? 0x1_0000) : toWeight(written)
      if (written !== undefined && weight > (id >= 0 ? deviceWeightMax : bucketWeightMax)) {
        const limit = (id >= 0 ? deviceWeightMax : bucketWeightMax) / 0x1_0000
        throw this.error(at, `weight ${written} of '${name}' is out of range`, `a weight goes from 0 to ${limit} here`)
      }
      uniformWeight ??= weight
      if (algorithm === 'uniform' && weight !== uniformWeight) {
        throw this.error(
          at,
          `item '${name}' in uniform bucket '${statement.name}' weighs something else than those before`,
          'give all items of a uniform bucket one weight, or use alg straw2',
        )
      }
      let index = position === undefined ? -1 : toInt(position)
      if (index >= size) {
        throw this.error(at, `item '${name}' has pos ${index}, but there are ${size} items`, 'number items from 0')
      }
      if (index < 0) {
        while (taken.has(free)) free++
        index = free++
      }
      items[index] = id
      weights[index] = weight
      total += weight
      if (total > 0xffff_ffff) {
        throw this.error(at, `the weights of bucket '${statement.name}' overflow`, 'lower the weights of its items')
      }
    }
    return { items, weights, total }
  }

  private rule(statement: RuleStatement): void {
    const { at, name } = statement
    const id = toInt(statement.id)
    if (name !== undefined && this.ruleNames.has(name)) {
      throw this.error(at, `rule name '${name}' is already defined`, 'give each rule a name of its own')
    }
    const { rules } = this.map
    if (rules[id] !== undefined) throw this.error(at, `rule ${id} already exists`, 'give each rule an id of its own')
    if (id < 0 || id >= rulesMax || (id >= rules.length && rules.length >= ruleSlotsMax)) {
      throw this.error(at, `rule id ${statement.id} is out of range`, `use an id from 0 to ${ruleSlotsMax - 1}`)
    }
    while (rules.length <= id) rules.push(undefined)
    rules[id] = {
      ruleset: id & 0xff,
      type: statement.type === 'erasure' ? ruleTypeErasure : ruleTypeReplicated,
      minSize: toInt(statement.minSize) & 0xff,
      maxSize: toInt(statement.maxSize) & 0xff,
      steps: statement.steps.map((step) => this.step(step)),
    }
    if (name === undefined) return
    this.map.ruleNames.set(id, name)
    this.ruleNames.add(name)
  }

  private step(step: TextStep): RuleStep {
    switch (step.kind) {
      case 'emit':
        return { op: stepOp.emit, arg1: 0, arg2: 0 }
      case 'set':
        return { op: setOps[step.what], arg1: toInt(step.value), arg2: 0 }
      case 'take':
        return { op: stepOp.take, arg1: this.taken(step.at, step.item, step.deviceClass), arg2: 0 }
      default: {
        const type = this.typeIds.get(step.type)
        if (type === undefined) {
          throw this.error(
            step.at,
            `type '${step.type}' is not defined`,
            `the types: ${[...this.typeIds.keys()].join(', ')}`,
          )
        }
        const [firstn, indep] = step.leaf
          ? [stepOp.chooseleafFirstn, stepOp.chooseleafIndep]
          : [stepOp.chooseFirstn, stepOp.chooseIndep]
        return { op: step.firstn ? firstn : indep, arg1: toInt(step.count), arg2: type }
      }
    }
  }

  private taken(at: number, item: string, deviceClass: string | undefined): number {
    const id = this.itemIds.get(item)
    if (id === undefined) throw this.error(at, `item '${item}' is not defined`, 'take a bucket that is defined above')
    if (deviceClass === undefined) return id
    const classId = this.map.classIdOf(deviceClass)
    const shadow = classId === undefined ? undefined : this.map.classBuckets.get(id)?.get(classId)
    if (shadow === undefined) {
      throw this.error(
        at,
        `${item} has no devices of class ${deviceClass}`,
        'give devices the class: device 0 osd.0 class ssd',
      )
    }
    return shadow
  }

  private chooseArgs(statement: ChooseArgsStatement): void {
    const id = toInt(statement.id)
    if (this.map.chooseArgs.has(id)) {
      throw this.error(statement.at, `choose_args ${id} is defined twice`, 'merge the two')
    }
    const args = new Map<number, { weightSet: number[][]; ids: number[] | undefined }>()
    for (const arg of statement.args) {
      const index = -1 - toInt(arg.bucketId)
      const bucket = this.map.buckets[index]
      if (bucket === undefined) {
        throw this.error(
          arg.at,
          `bucket ${arg.bucketId} does not exist`,
          'use the id of a bucket that is defined above',
        )
      }
      this.checkSizes(arg, bucket.items.length)
      const known = args.get(index)
      args.set(index, {
        weightSet: arg.weightSet?.map((weights) => weights.map(toWeight)) ?? known?.weightSet ?? [],
        ids: arg.ids?.map(toInt) ?? known?.ids,
      })
    }
    this.map.chooseArgs.set(id, args)
  }

  private checkSizes(arg: TextChooseArg, size: number): void {
    for (const weights of arg.weightSet ?? []) {
      if (weights.length !== size) {
        throw this.error(
          arg.at,
          `bucket ${arg.bucketId} needs ${size} weights, got ${weights.length}`,
          'one for each item',
        )
      }
    }
    if (arg.ids !== undefined && arg.ids.length !== size) {
      throw this.error(arg.at, `bucket ${arg.bucketId} needs ${size} ids, got ${arg.ids.length}`, 'one for each item')
    }
  }
}
