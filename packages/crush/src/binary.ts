/**
 * The binary form of a CRUSH map, byte for byte what Ceph 16.2 stores and crushtool writes: docs/formats/crush-map.md.
 *
 * Input may be hostile: every count is checked against the bytes that are left before anything is made from it, and a
 * map that decodes has been through `checkCrushMap`. Older maps, which end earlier, decode with legacy tunables.
 */
import { ByteReader, ByteWriter, ClusterError } from '@shoal/base'
import { checkCrushMap } from './check.ts'
import {
  bucketAlgorithms,
  bucketSlotsMax,
  type ChooseArg,
  type CrushBucket,
  type CrushMap,
  type CrushRule,
  type CrushTunables,
  type RuleStep,
  rulesMax,
  tunableProfiles,
} from './types.ts'
import { sorted } from './work-map.ts'

const magic = 0x0001_0000

export function encodeCrushMap(map: CrushMap): Uint8Array {
  const out = new ByteWriter(4096)
  out.u32(magic).u32(map.buckets.length).u32(map.rules.length).u32(map.maxDevices)
  for (const bucket of map.buckets) writeBucket(out, bucket)
  for (const rule of map.rules) writeRule(out, rule)
  for (const names of [map.types, map.names, map.ruleNames]) writeNames(out, names)
  writeTunables(out, map.tunables)
  writePairs(out, map.itemClasses)
  writeNames(out, map.classNames)
  out.u32(map.classBuckets.size)
  for (const [bucket, shadows] of sorted(map.classBuckets)) {
    out.i32(bucket)
    writePairs(out, shadows)
  }
  writeChooseArgs(out, map)
  return out.finish()
}

function writeBucket(out: ByteWriter, bucket: CrushBucket | undefined): void {
  if (bucket === undefined) {
    out.u32(0)
    return
  }
  const number = bucketAlgorithms.indexOf(bucket.algorithm) + 1
  out.u32(number).i32(bucket.id).u16(bucket.type).u8(number).u8(bucket.hash).u32(bucket.weight)
  out.u32(bucket.items.length)
  for (const item of bucket.items) out.i32(item)
  switch (bucket.algorithm) {
    case 'uniform':
      out.u32(bucket.itemWeight)
      break
    case 'list':
      for (const [i, weight] of bucket.itemWeights.entries()) out.u32(weight).u32(bucket.sumWeights[i] as number)
      break
    case 'tree':
      out.u8(bucket.nodeWeights.length)
      for (const weight of bucket.nodeWeights) out.u32(weight)
      break
    case 'straw':
      for (const [i, weight] of bucket.itemWeights.entries()) out.u32(weight).u32(bucket.straws[i] as number)
      break
    case 'straw2':
      for (const weight of bucket.itemWeights) out.u32(weight)
      break
  }
}

function writeRule(out: ByteWriter, rule: CrushRule | undefined): void {
  if (rule === undefined) {
    out.u32(0)
    return
  }
  out.u32(1).u32(rule.steps.length).u8(rule.ruleset).u8(rule.type).u8(rule.minSize).u8(rule.maxSize)
  for (const step of rule.steps) out.u32(step.op).i32(step.arg1).i32(step.arg2)
}

function writeNames(out: ByteWriter, names: ReadonlyMap<number, string>): void {
  out.u32(names.size)
  for (const [key, name] of sorted(names)) out.i32(key).string(name)
}

function writePairs(out: ByteWriter, pairs: ReadonlyMap<number, number>): void {
  out.u32(pairs.size)
  for (const [key, value] of sorted(pairs)) out.i32(key).i32(value)
}

function writeTunables(out: ByteWriter, tunables: CrushTunables): void {
  out.u32(tunables.chooseLocalTries).u32(tunables.chooseLocalFallbackTries).u32(tunables.chooseTotalTries)
  out.u32(tunables.chooseleafDescendOnce).u8(tunables.chooseleafVaryR).u8(tunables.strawCalcVersion)
  out.u32(tunables.allowedBucketAlgs).u8(tunables.chooseleafStable)
}

/** Whether the entry says anything: Ceph leaves out those that do not. */
export function isChooseArgUsed(arg: ChooseArg): boolean {
  return arg.weightSet.length > 0 || (arg.ids !== undefined && arg.ids.length > 0)
}

function writeChooseArgs(out: ByteWriter, map: CrushMap): void {
  out.u32(map.chooseArgs.size)
  for (const [id, args] of sorted(map.chooseArgs)) {
    const used = [...sorted(args)].filter(([, arg]) => isChooseArgUsed(arg))
    out.big64(BigInt.asUintN(64, BigInt(id))).u32(used.length)
    for (const [index, arg] of used) {
      out.u32(index).u32(arg.weightSet.length)
      for (const weights of arg.weightSet) {
        out.u32(weights.length)
        for (const weight of weights) out.u32(weight)
      }
      const ids = arg.ids ?? []
      out.u32(ids.length)
      for (const item of ids) out.i32(item)
    }
  }
}

function malformed(message: string): ClusterError {
  return new ClusterError('EBADMSG', `malformed CRUSH map: ${message}`, {
    hint: 'give a file that `shoal crush compile` or crushtool wrote',
  })
}

/** Throws EBADMSG on bytes that are no CRUSH map, EINVAL on a map that CRUSH cannot walk. */
export function decodeCrushMap(bytes: Uint8Array): CrushMap {
  const input = new ByteReader(bytes)
  if (bytes.length < 4 || input.u32() !== magic) throw malformed('it does not begin with the magic number')
  const bucketSlots = input.count(4)
  const ruleSlots = input.count(4)
  const storedMaxDevices = input.u32()
  if (bucketSlots > bucketSlotsMax || ruleSlots > rulesMax) {
    throw malformed(`it claims ${bucketSlots} buckets and ${ruleSlots} rules`)
  }
  const buckets = Array.from({ length: bucketSlots }, () => readBucket(input))
  const rules = Array.from({ length: ruleSlots }, () => readRule(input))
  const types = readNames(input, true)
  const names = readNames(input, true)
  const ruleNames = readNames(input, true)
  const tunables = readTunables(input)
  const more = input.remaining > 0
  const itemClasses = more ? readPairs(input) : new Map<number, number>()
  const classNames = more ? readNames(input, false) : new Map<number, string>()
  const classBuckets = more ? readClassBuckets(input) : new Map<number, Map<number, number>>()
  const chooseArgs = input.remaining > 0 ? readChooseArgs(input, buckets) : new Map()
  const maxDevices = deviceCount(buckets, names)
  if (maxDevices > storedMaxDevices && storedMaxDevices > 0x7fff_ffff) throw malformed('the number of devices')
  const map: CrushMap = {
    buckets,
    rules,
    maxDevices,
    tunables,
    types,
    names,
    ruleNames,
    itemClasses,
    classNames,
    classBuckets,
    chooseArgs,
  }
  checkCrushMap(map)
  return map
}

/** As Ceph counts them whenever a map is loaded, whatever was stored. */
function deviceCount(buckets: CrushMap['buckets'], names: ReadonlyMap<number, string>): number {
  let highest = -1
  for (const bucket of buckets) for (const item of bucket?.items ?? []) if (item > highest) highest = item
  for (const id of names.keys()) if (id > highest) highest = id
  return highest + 1
}

function readBucket(input: ByteReader): CrushBucket | undefined {
  const number = input.u32()
  if (number === 0) return undefined
  const algorithm = bucketAlgorithms[number - 1]
  if (algorithm === undefined) throw malformed(`unsupported bucket algorithm ${number}`)
  const id = input.i32()
  const type = input.u16()
  if (input.u8() !== number) throw malformed(`bucket ${id} has two algorithms`)
  const hash = input.u8()
  const weight = input.u32()
  const size = input.count(4)
  const items = readArray(size, () => input.i32())
  const base = { id, type, hash, weight, items }
  switch (algorithm) {
    case 'uniform':
      return { ...base, algorithm, itemWeight: input.u32() }
    case 'tree': {
      const nodes = input.u8()
      return { ...base, algorithm, nodeWeights: readArray(nodes, () => input.u32()) }
    }
    case 'straw2':
      return { ...base, algorithm, itemWeights: readArray(size, () => input.u32()) }
    default: {
      const pairs = readArray(size, () => [input.u32(), input.u32()] as const)
      const itemWeights = pairs.map(([first]) => first)
      const second = pairs.map(([, other]) => other)
      if (algorithm === 'list') return { ...base, algorithm, itemWeights, sumWeights: second }
      return { ...base, algorithm, itemWeights, straws: second }
    }
  }
}

/** `length` has been checked against the input, or each element reads and so checks itself. */
function readArray<T>(length: number, read: () => T): T[] {
  const array: T[] = []
  for (let i = 0; i < length; i++) array.push(read())
  return array
}

function readRule(input: ByteReader): CrushRule | undefined {
  if (input.u32() === 0) return undefined
  const length = input.count(12)
  const ruleset = input.u8()
  const type = input.u8()
  const minSize = input.u8()
  const maxSize = input.u8()
  const steps = readArray(length, (): RuleStep => ({ op: input.u32(), arg1: input.i32(), arg2: input.i32() }))
  return { ruleset, type, minSize, maxSize, steps }
}

/** In old maps keys were 64-bit by mistake; names are never empty, so that a length of 0 gives those away. */
function readNames(input: ByteReader, maybeWide: boolean): Map<number, string> {
  const names = new Map<number, string>()
  const count = input.count(8)
  for (let i = 0; i < count; i++) {
    const key = input.i32()
    let length = input.u32()
    if (length === 0 && maybeWide) length = input.u32()
    names.set(key, readText(input.raw(length)))
  }
  return sorted(names)
}

function readText(bytes: Uint8Array): string {
  return new ByteReader(new ByteWriter(bytes.length + 4).bytes(bytes).finish()).string()
}

function readPairs(input: ByteReader): Map<number, number> {
  const pairs = new Map<number, number>()
  const count = input.count(8)
  for (let i = 0; i < count; i++) pairs.set(input.i32(), input.i32())
  return sorted(pairs)
}

function readTunables(input: ByteReader): CrushTunables {
  const legacy = tunableProfiles.legacy
  const present = (): boolean => input.remaining > 0
  const tries = present() ? [input.u32(), input.u32(), input.u32()] : []
  return {
    chooseLocalTries: tries[0] ?? legacy.chooseLocalTries,
    chooseLocalFallbackTries: tries[1] ?? legacy.chooseLocalFallbackTries,
    chooseTotalTries: tries[2] ?? legacy.chooseTotalTries,
    chooseleafDescendOnce: present() ? input.u32() : legacy.chooseleafDescendOnce,
    chooseleafVaryR: present() ? input.u8() : legacy.chooseleafVaryR,
    strawCalcVersion: present() ? input.u8() : legacy.strawCalcVersion,
    allowedBucketAlgs: present() ? input.u32() : legacy.allowedBucketAlgs,
    chooseleafStable: present() ? input.u8() : legacy.chooseleafStable,
  }
}

function readClassBuckets(input: ByteReader): Map<number, Map<number, number>> {
  const classBuckets = new Map<number, Map<number, number>>()
  const count = input.count(8)
  for (let i = 0; i < count; i++) classBuckets.set(input.i32(), readPairs(input))
  return sorted(classBuckets)
}

function readChooseArgs(input: ByteReader, buckets: CrushMap['buckets']): Map<number, ReadonlyMap<number, ChooseArg>> {
  const chooseArgs = new Map<number, Map<number, ChooseArg>>()
  const count = input.count(12)
  for (let i = 0; i < count; i++) {
    const id = Number(BigInt.asIntN(64, input.big64()))
    if (!Number.isSafeInteger(id)) throw malformed(`choose_args of pool ${id}`)
    const args = new Map<number, ChooseArg>()
    const entries = input.count(12)
    for (let j = 0; j < entries; j++) {
      const index = input.u32()
      if (index >= buckets.length) throw malformed(`choose_args ${id} name bucket ${-1 - index}, which has no slot`)
      const positions = input.count(4)
      const weightSet = readArray(positions, () => readArray(input.count(4), () => input.u32()))
      const ids = readArray(input.count(4), () => input.i32())
      args.set(index, { weightSet, ids: ids.length === 0 ? undefined : ids })
    }
    chooseArgs.set(id, settleChooseArgs(args, buckets))
  }
  return sorted(chooseArgs)
}

/** Drops what does not apply (only straw2 buckets have choose_args) and mends sets of another size, as Ceph does. */
function settleChooseArgs(args: ReadonlyMap<number, ChooseArg>, buckets: CrushMap['buckets']): Map<number, ChooseArg> {
  const ordered = sorted(args)
  let positions = 1
  for (const { weightSet } of ordered.values()) {
    if (weightSet.length > 0) {
      positions = weightSet.length
      break
    }
  }
  const settled = new Map<number, ChooseArg>()
  for (const [index, arg] of ordered) {
    const bucket = buckets[index]
    if (bucket?.algorithm !== 'straw2' || !isChooseArgUsed(arg)) continue
    const size = bucket.items.length
    const mend = arg.weightSet.length === positions
    const weightSet = arg.weightSet.map((weights) => {
      if (!mend || weights.length === size) return weights
      return Array.from({ length: size }, (_, i) => weights[i] ?? 0)
    })
    settled.set(index, { weightSet, ids: arg.ids })
  }
  return settled
}
