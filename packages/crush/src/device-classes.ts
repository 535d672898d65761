/**
 * Shadow trees: for every root and every device class, a copy of the root's tree that holds only the devices of that
 * class, in buckets named `NAME~CLASS`. A rule that takes a root `class ssd` takes the shadow, and so sees neither other
 * devices nor their weight. Shadow ids stay what they were through a rebuild, because rules and clients know them.
 */
import { ClusterError } from '@shoal/base'
import { addBucketItem, itemWeightOf, makeBucket, type WorkBucket } from './bucket-builder.ts'
import { trimChooseArgs } from './choose-args.ts'
import { stepOp } from './types.ts'
import type { WorkChooseArg, WorkMap } from './work-map.ts'

type ClassBuckets = ReadonlyMap<number, ReadonlyMap<number, number>>

/** Makes the shadow tree of a map whose other shadows are gone or in `previous`. */
class ShadowBuilder {
  private readonly map: WorkMap
  private readonly previous: ClassBuckets
  private readonly usedIds = new Set<number>()
  /** By pool, the weight per position of each shadow made so far. */
  private readonly weightsByPool = new Map<number, Map<number, number[]>>()

  constructor(map: WorkMap, previous: ClassBuckets) {
    this.map = map
    this.previous = previous
    for (const shadows of previous.values()) for (const id of shadows.values()) this.usedIds.add(id)
  }

  /**
   * The id of the shadow of a bucket, made if need be; undefined if it cannot be made, upon which Ceph stops with the
   * shadows it has (a uniform bucket, whose copy starts with weight 0 and takes no other, is the known case).
   */
  clone(originalId: number, classId: number): number | undefined {
    const { map } = this
    const original = map.bucket(originalId)
    const name = map.names.get(originalId)
    if (original === undefined || name === undefined) return undefined
    const shadowName = `${name}~${map.classNames.get(classId) as string}`
    const known = map.idOf(shadowName)
    if (known !== undefined) return known

    const shadow = makeBucket({ ...original, id: 0, items: [], weights: [] }, map.tunables.strawCalcVersion)
    const origins = this.fill(shadow, original, classId)
    if (origins === undefined) return undefined
    shadow.id = this.previous.get(originalId)?.get(classId) ?? this.freeId()
    if (!map.place(shadow)) return undefined
    map.itemClasses.set(shadow.id, classId)
    map.setName(shadow.id, shadowName)
    const shadows = map.classBuckets.get(originalId) ?? new Map<number, number>()
    map.classBuckets.set(originalId, shadows.set(classId, shadow.id))
    for (const [pool, args] of map.chooseArgs) this.cloneChooseArgs(pool, args, original, shadow, origins)
    return shadow.id
  }

  /** Copies what belongs to the class; for each item of the copy, its index in the original. */
  private fill(shadow: WorkBucket, original: WorkBucket, classId: number): number[] | undefined {
    const { map } = this
    const version = map.tunables.strawCalcVersion
    const origins: number[] = []
    for (const [index, item] of original.items.entries()) {
      let copy = item
      let weight = itemWeightOf(original, index)
      if (item >= 0) {
        if (map.itemClasses.get(item) !== classId) continue
      } else {
        const child = this.clone(item, classId)
        if (child === undefined) return undefined
        copy = child
        weight = map.bucket(child)?.weight ?? 0
      }
      if (!addBucketItem(shadow, copy, weight, version)) return undefined
      origins.push(index)
    }
    return origins
  }

  private freeId(): number {
    let id = -1
    while (this.map.bucket(id) !== undefined || this.usedIds.has(id)) id--
    return id
  }

  private cloneChooseArgs(
    pool: number,
    args: Map<number, WorkChooseArg>,
    original: WorkBucket,
    shadow: WorkBucket,
    origins: readonly number[],
  ): void {
    const from = args.get(-1 - original.id)?.weightSet ?? []
    const known = this.weightsByPool.get(pool) ?? new Map<number, number[]>()
    this.weightsByPool.set(pool, known)
    const weightSet = from.map((weights, position) =>
      shadow.items.map((item, i) =>
        item >= 0 ? (weights[origins[i] as number] ?? 0) : (known.get(item)?.[position] ?? 0),
      ),
    )
    args.set(-1 - shadow.id, { weightSet, ids: undefined })
    // Ceph keeps the sum of the last position only: the others count as 0 in the parent's set.
    const last = weightSet.length - 1
    known.set(
      shadow.id,
      weightSet.map((weights, i) => (i === last ? weights.reduce((sum, weight) => (sum + weight) >>> 0, 0) : 0)),
    )
  }
}

/**
 * Makes the shadow trees of all roots; `previous` tells the ids that shadows had or are to have. False if one could
 * not be made, and so those after it were not tried.
 */
export function populateClasses(map: WorkMap, previous: ClassBuckets): boolean {
  const builder = new ShadowBuilder(map, previous)
  for (const root of map.roots()) {
    if (map.isShadow(root)) continue
    for (const classId of [...map.classNames.keys()].sort((a, b) => a - b)) {
      if (builder.clone(root, classId) === undefined) return false
    }
  }
  return true
}

/** Makes the shadow trees anew after a change of the tree or of the classes of devices. EINVAL if they cannot be. */
export function rebuildShadowTrees(map: WorkMap): void {
  const previous = new Map(map.classBuckets)
  dropDeadClasses(map)
  const shadowRoots = map.roots().filter((root) => map.isShadow(root))
  for (const root of shadowRoots) removeTree(map, root)
  if (shadowRoots.length > 0) trimChooseArgs(map)
  map.classBuckets.clear()
  if (populateClasses(map, previous)) return
  throw new ClusterError('EINVAL', 'the shadow trees of the device classes cannot be made with this change', {
    hint: 'a uniform bucket cannot hold devices with classes: remove the classes, or make it straw2',
  })
}

function dropDeadClasses(map: WorkMap): void {
  const alive = new Set<number>()
  for (const [item, classId] of map.itemClasses) if (item >= 0) alive.add(classId)
  const taken = new Set<number>()
  for (const rule of map.rules) {
    for (const step of rule?.steps ?? []) if (step.op === stepOp.take) taken.add(step.arg1)
  }
  for (const shadows of map.classBuckets.values()) {
    for (const [classId, shadow] of shadows) if (taken.has(shadow)) alive.add(classId)
  }
  for (const classId of map.classNames.keys()) if (!alive.has(classId)) map.classNames.delete(classId)
}

/** Removes a bucket with all buckets beneath it. */
function removeTree(map: WorkMap, root: number): void {
  const pending = [root]
  for (let id = pending.pop(); id !== undefined; id = pending.pop()) {
    const bucket = map.bucket(id)
    if (bucket === undefined) continue
    for (const item of bucket.items) if (item < 0) pending.push(item)
    map.buckets[-1 - id] = undefined
    map.deleteName(id)
    map.itemClasses.delete(id)
    map.classBuckets.delete(id)
  }
}
