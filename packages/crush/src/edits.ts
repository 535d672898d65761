/**
 * Edits of a CRUSH map with the semantics of Ceph's `osd crush …` commands. Each takes a map and returns another; the
 * given one stays as it is. Weights in the parameters are the numbers people write (1.0 = one tebibyte by custom).
 *
 * All throw ClusterError: ENOENT for what does not exist, EEXIST for what does, EBUSY for what is in use, EINVAL for
 * what makes no sense.
 */
import { ClusterError } from '@shoal/base'
import {
  addBucketItem,
  itemWeightOf,
  makeBucket,
  removeBucketItem,
  setItemWeight,
  type WorkBucket,
} from './bucket-builder.ts'
import {
  addChooseArgsOf,
  appendChooseArgs,
  propagateChooseArgs,
  removeChooseArgs,
  setChooseArgsWeight,
  trimChooseArgs,
} from './choose-args.ts'
import { rebuildShadowTrees } from './device-classes.ts'
import {
  type BucketAlgorithm,
  bucketAlgorithms,
  type CrushMap,
  defaultTypes,
  stepOp,
  type TunableProfile,
  tunableProfiles,
} from './types.ts'
import { isValidCrushName, WorkMap } from './work-map.ts'

/** Type name to bucket name, from `root` down to as deep as wanted: `{ root: 'default', host: 'node-1' }`. */
export type CrushLocation = Readonly<Record<string, string>>

const preferredAlgorithms: readonly BucketAlgorithm[] = ['straw2', 'straw', 'tree', 'list', 'uniform']

/** A new cluster's map: Ceph's types, optimal tunables and an empty root named `default`. */
export function emptyCrushMap(): CrushMap {
  const map = new WorkMap(tunableProfiles.optimal)
  for (const [id, name] of defaultTypes.entries()) map.types.set(id, name)
  const root = newBucket(map, defaultTypes.indexOf('root'), undefined)
  map.setName(root.id, 'default')
  return map.finish()
}

/** Adds an empty bucket, beneath `location` if that is given. */
export function addBucket(map: CrushMap, name: string, typeName: string, location: CrushLocation = {}): CrushMap {
  const work = WorkMap.of(map)
  checkName(name)
  if (work.idOf(name) !== undefined) throw new ClusterError('EEXIST', `bucket ${name} exists already`)
  const type = work.typeIdOf(typeName)
  if (type === undefined || type <= 0) throw unknownType(work, typeName)
  const bucket = newBucket(work, type, undefined)
  work.setName(bucket.id, name)
  if (Object.keys(location).length > 0) insertItem(work, bucket.id, 0, name, location, false)
  return work.finish()
}

/** Adds a device (or links a bucket) at a location, whose missing buckets are made. */
export function addItem(map: CrushMap, item: number, name: string, weight: number, location: CrushLocation): CrushMap {
  const work = WorkMap.of(map)
  insertItem(work, item, toFixed(weight), name, location, true)
  return work.finish()
}

/** Adds a device, or moves it there and gives it that weight if it exists. The same map if nothing changes. */
export function updateItem(
  map: CrushMap,
  item: number,
  name: string,
  weight: number,
  location: CrushLocation,
): CrushMap {
  const work = WorkMap.of(map)
  checkName(name)
  const fixed = toFixed(weight)
  const at = weightAt(work, item, location)
  if (at === undefined) {
    if (work.names.has(item)) unlinkItem(work, item)
    insertItem(work, item, fixed, name, location, true)
    return work.finish()
  }
  if (at === fixed && work.names.get(item) === name) return map
  if (at !== fixed) {
    setWeightAt(work, item, fixed, location, true)
    rebuildShadowTrees(work)
  }
  if (work.names.get(item) !== name) work.setName(item, name)
  return work.finish()
}

/**
 * What an OSD does when it starts: adds itself with `weight` if it is new, moves itself (keeping the weight it has) if
 * it is elsewhere. The same map if it is there already.
 */
export function createOrMove(
  map: CrushMap,
  item: number,
  name: string,
  weight: number,
  location: CrushLocation,
): CrushMap {
  const work = WorkMap.of(map)
  checkName(name)
  if (weightAt(work, item, location) !== undefined) return map
  let fixed = toFixed(weight)
  if (work.isLinked(item)) {
    fixed = weightOf(work, item) ?? fixed
    unlinkItem(work, item)
  }
  insertItem(work, item, fixed, name, location, true)
  return work.finish()
}

/** Moves a bucket with all beneath it, or a device, to another place. The same map if it is there already. */
export function moveItem(map: CrushMap, name: string, location: CrushLocation): CrushMap {
  const work = WorkMap.of(map)
  const id = itemId(work, name)
  if (Object.keys(location).length === 0) {
    throw new ClusterError('EINVAL', `no place given to move ${name} to`, { hint: 'give one like root=default host=a' })
  }
  if (id >= 0) return createOrMove(map, id, name, 0, location)
  if (weightAt(work, id, location) !== undefined) return map
  const weight = work.bucket(id)?.weight ?? 0
  const parent = parentOf(work, id)
  if (parent !== undefined) takeOut(work, parent, parent.items.indexOf(id))
  insertItem(work, id, weight, name, location, false)
  return work.finish()
}

/** Removes a device, or an empty bucket that no rule takes. */
export function removeItem(map: CrushMap, name: string): CrushMap {
  const work = WorkMap.of(map)
  const id = itemId(work, name)
  const bucket = work.bucket(id)
  if (bucket !== undefined && bucket.items.length > 0) {
    throw new ClusterError('EBUSY', `bucket ${name} is not empty`, { hint: 'move or remove its items first' })
  }
  if (id < 0 && isInUse(work, id)) {
    throw new ClusterError('EBUSY', `bucket ${name} is in use by a rule or a device class`, {
      hint: 'remove the rule first: shoal osd crush rule rm',
    })
  }
  unlink(work, id)
  // A hole in a tree bucket reads as device 0, which then cannot go (nor could it in Ceph).
  if (work.isLinked(id)) return work.finish()
  if (id < 0) {
    work.buckets[-1 - id] = undefined
    work.classBuckets.delete(id)
    trimChooseArgs(work)
  }
  work.itemClasses.delete(id)
  work.deleteName(id)
  rebuildShadowTrees(work)
  return work.finish()
}

/** Gives an item another weight wherever it is, and its ancestors the new sums. */
export function reweightItem(map: CrushMap, name: string, weight: number): CrushMap {
  const work = WorkMap.of(map)
  const id = itemId(work, name)
  const fixed = toFixed(weight)
  if (!setWeightEverywhere(work, id, fixed, true)) {
    throw new ClusterError('ENOENT', `${name} is not in the hierarchy`, { hint: 'add it first: shoal osd crush add' })
  }
  return work.finish()
}

export function renameBucket(map: CrushMap, from: string, to: string): CrushMap {
  const work = WorkMap.of(map)
  const id = itemId(work, from)
  if (id >= 0) throw new ClusterError('EINVAL', `${from} is a device, not a bucket`)
  if (work.idOf(to) !== undefined) throw new ClusterError('EEXIST', `${to} exists already`)
  checkName(to)
  work.setName(id, to)
  rebuildShadowTrees(work)
  return work.finish()
}

/** Binds a device to a class. A device of another class must be released from it first. */
export function setDeviceClass(map: CrushMap, osd: number, className: string): CrushMap {
  const work = WorkMap.of(map)
  checkName(className)
  if (osd < 0 || !work.names.has(osd)) throw new ClusterError('ENOENT', `osd.${osd} is not in the CRUSH map`)
  const present = work.itemClasses.get(osd)
  const presentName = present === undefined ? undefined : work.classNames.get(present)
  if (presentName === className) return map
  if (presentName !== undefined) {
    throw new ClusterError('EBUSY', `osd.${osd} has the class ${presentName} already`, {
      hint: `first run: shoal osd crush rm-device-class osd.${osd}`,
    })
  }
  work.itemClasses.set(osd, work.classIdOrNew(className))
  rebuildShadowTrees(work)
  return work.finish()
}

/** Releases a device from its class. The same map if it has none. */
export function rmDeviceClass(map: CrushMap, osd: number): CrushMap {
  const work = WorkMap.of(map)
  if (!work.names.has(osd)) throw new ClusterError('ENOENT', `osd.${osd} is not in the CRUSH map`)
  if (!work.itemClasses.delete(osd)) return map
  rebuildShadowTrees(work)
  return work.finish()
}

/** Replaces the tunables by those of a profile. Lengths of straws are left as they are. */
export function setTunables(map: CrushMap, profile: TunableProfile): CrushMap {
  return { ...map, tunables: tunableProfiles[profile] }
}

// What follows works on a map under edit.

function checkName(name: string): void {
  if (isValidCrushName(name)) return
  throw new ClusterError('EINVAL', `'${name}' is not a name CRUSH allows`, {
    hint: 'use letters, digits and - _ .',
  })
}

function unknownType(map: WorkMap, typeName: string): ClusterError {
  return new ClusterError('EINVAL', `there is no bucket type '${typeName}'`, {
    hint: `the types are: ${[...map.types.values()].join(', ')}`,
  })
}

export function itemId(map: WorkMap, name: string): number {
  const id = map.idOf(name)
  if (id !== undefined) return id
  throw new ClusterError('ENOENT', `there is no item '${name}' in the CRUSH map`, {
    hint: 'shoal osd tree lists them',
  })
}

/** 16.16 through a 32-bit float, as in Ceph. */
function toFixed(weight: number): number {
  const fixed = Math.trunc(Math.fround(weight) * 0x1_0000)
  if (fixed >= 0 && fixed <= 0x7fff_ffff) return fixed
  throw new ClusterError('EINVAL', `weight ${weight} is out of range`, {
    hint: 'a weight is at least 0 and below 32768',
  })
}

function newBucket(map: WorkMap, type: number, only: number | undefined): WorkBucket {
  const allowed = map.tunables.allowedBucketAlgs
  const algorithm = preferredAlgorithms.find((name) => (allowed & (2 << bucketAlgorithms.indexOf(name))) !== 0)
  if (algorithm === undefined) {
    throw new ClusterError('EINVAL', 'the tunables allow no bucket algorithm', {
      hint: 'shoal osd crush tunables optimal',
    })
  }
  const items = only === undefined ? [] : [only]
  const bucket = makeBucket(
    { id: map.freeBucketId(), type, hash: 0, algorithm, items, weights: items.map(() => 0) },
    map.tunables.strawCalcVersion,
  )
  map.place(bucket)
  addChooseArgsOf(map, bucket)
  return bucket
}

/** The types of a location from the lowest up, with the names given for them; without the device type. */
function levels(map: WorkMap, location: CrushLocation): { type: number; name: string }[] {
  const found: { type: number; name: string }[] = []
  for (const typeName of Object.keys(location)) {
    if (map.typeIdOf(typeName) === undefined) throw unknownType(map, typeName)
  }
  for (const [type, typeName] of [...map.types].sort(([a], [b]) => a - b)) {
    const name = location[typeName]
    if (type !== 0 && name !== undefined) found.push({ type, name })
  }
  return found
}

/** The weight of an item in the lowest bucket of a location; undefined if it is not there. */
function weightAt(map: WorkMap, item: number, location: CrushLocation): number | undefined {
  const lowest = levels(map, location)[0]
  const id = lowest === undefined ? undefined : map.idOf(lowest.name)
  const bucket = id === undefined ? undefined : map.bucket(id)
  const index = bucket?.items.indexOf(item) ?? -1
  return bucket === undefined || index < 0 ? undefined : itemWeightOf(bucket, index)
}

function weightOf(map: WorkMap, item: number): number | undefined {
  for (const bucket of map.existingBuckets()) {
    if (bucket.id === item) return bucket.weight
    const index = bucket.items.indexOf(item)
    if (index >= 0) return itemWeightOf(bucket, index)
  }
  return undefined
}

/** The first bucket that holds an item, shadows aside. */
function parentOf(map: WorkMap, item: number): WorkBucket | undefined {
  for (const bucket of map.existingBuckets()) {
    if (!map.isShadow(bucket.id) && bucket.items.includes(item)) return bucket
  }
  return undefined
}

/** Adds an item to the lowest bucket of the location that exists; those below it are made. */
function insertItem(
  map: WorkMap,
  item: number,
  weight: number,
  name: string,
  location: CrushLocation,
  intoWeightSets: boolean,
): void {
  checkName(name)
  for (const bucketName of Object.values(location)) checkName(bucketName)
  const known = map.idOf(name)
  if (known !== undefined && known !== item) {
    throw new ClusterError('EEXIST', `the name ${name} belongs to item ${known}`)
  }
  if (known === undefined) map.setName(item, name)
  let current = item
  for (const level of levels(map, location)) {
    const id = map.idOf(level.name)
    if (id === undefined) {
      current = newBucket(map, level.type, current).id
      map.setName(current, level.name)
      continue
    }
    link(map, current, id, level.type)
    break
  }
  if (setWeightAt(map, item, weight, location, item >= 0 && intoWeightSets) === 0) {
    throw new ClusterError('EINVAL', `there is no place for ${name} in the location given`, {
      hint: 'name a bucket that exists, or a new one of some type: root=default host=a',
    })
  }
  rebuildShadowTrees(map)
}

function link(map: WorkMap, item: number, id: number, type: number): void {
  const bucket = map.bucket(id)
  if (bucket === undefined) throw new ClusterError('EINVAL', `item ${id} is a device, not a bucket`)
  if (map.subtreeContains(id, item)) throw new ClusterError('EINVAL', `item ${item} lies beneath ${id} already`)
  if (bucket.type !== type) {
    const [is, wanted] = [map.types.get(bucket.type) ?? bucket.type, map.types.get(type) ?? type]
    throw new ClusterError('EINVAL', `bucket ${map.names.get(id) ?? id} is a ${is}, not a ${wanted}`)
  }
  if (map.subtreeContains(item, id)) throw new ClusterError('EINVAL', `item ${item} contains ${id}`)
  if (!addBucketItem(bucket, item, 0, map.tunables.strawCalcVersion)) {
    throw new ClusterError('EINVAL', `uniform bucket ${map.names.get(id) ?? id} takes items of one weight only`, {
      hint: 'use a straw2 bucket',
    })
  }
  appendChooseArgs(map, bucket, item, 0)
}

function setWeightAt(
  map: WorkMap,
  item: number,
  weight: number,
  location: CrushLocation,
  intoWeightSets: boolean,
): number {
  let changed = 0
  for (const typeName of Object.keys(location).sort()) {
    const bucket = map.bucket(map.idOf(location[typeName] as string) ?? 0)
    if (bucket !== undefined && setWeightIn(map, bucket, item, weight, intoWeightSets)) changed++
  }
  return changed
}

function setWeightEverywhere(map: WorkMap, item: number, weight: number, intoWeightSets: boolean): boolean {
  let changed = false
  for (const bucket of map.existingBuckets()) {
    if (setWeightIn(map, bucket, item, weight, intoWeightSets)) changed = true
  }
  return changed
}

/** Gives an item its weight in one bucket and all ancestors of that their sums. */
function setWeightIn(map: WorkMap, bucket: WorkBucket, item: number, weight: number, intoWeightSets: boolean): boolean {
  let changed = false
  const first = bucket.items.indexOf(item)
  for (const candidate of bucket.items) {
    if (candidate !== item) continue
    if (intoWeightSets) setChooseArgsWeight(map, bucket, first, weight)
    setItemWeight(bucket, first, weight, map.tunables.strawCalcVersion)
    setWeightEverywhere(map, bucket.id, bucket.weight, false)
    changed = true
  }
  propagateChooseArgs(map, bucket)
  return changed
}

function takeOut(map: WorkMap, bucket: WorkBucket, index: number): void {
  setWeightIn(map, bucket, bucket.items[index] as number, 0, true)
  removeBucketItem(bucket, index, map.tunables.strawCalcVersion)
  removeChooseArgs(map, bucket, index)
}

/** Takes an item out of every bucket, shadows too. */
function unlink(map: WorkMap, item: number): void {
  for (const bucket of map.existingBuckets()) {
    // A tree keeps removed items as holes that read as device 0, so that a search has to go on behind the last one.
    for (let index = bucket.items.indexOf(item); index >= 0; index = bucket.items.indexOf(item, index + 1)) {
      takeOut(map, bucket, index)
      if (bucket.algorithm !== 'tree') index--
    }
  }
}

/** Unlinks a device, which keeps its name out until it is linked again (a bucket keeps everything). */
function unlinkItem(map: WorkMap, item: number): void {
  unlink(map, item)
  if (map.isLinked(item)) return
  if (item >= 0) map.deleteName(item)
  rebuildShadowTrees(map)
}

function isInUse(map: WorkMap, id: number): boolean {
  for (const shadows of map.classBuckets.values()) {
    for (const shadow of shadows.values()) if (shadow === id) return true
  }
  const shadows = [...(map.classBuckets.get(id)?.values() ?? [])]
  return map.rules.some((rule) =>
    rule?.steps.some((step) => step.op === stepOp.take && (step.arg1 === id || shadows.includes(step.arg1))),
  )
}
