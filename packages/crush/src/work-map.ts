/**
 * A CRUSH map while it is edited: the same data as {@link CrushMap}, mutable, with the reverse look-ups edits need.
 * One is made for each edit and dropped after it; nothing outside this package sees one.
 */
import { ClusterError } from '@shoal/base'
import { fromWorkBucket, toWorkBucket, type WorkBucket } from './bucket-builder.ts'
import { bucketSlotsMax, type CrushMap, type CrushRule, type CrushTunables } from './types.ts'

export interface WorkChooseArg {
  /** Empty: none. */
  weightSet: number[][]
  ids: number[] | undefined
}

export class WorkMap {
  readonly buckets: (WorkBucket | undefined)[] = []
  readonly rules: (CrushRule | undefined)[] = []
  maxDevices = 0
  tunables: CrushTunables
  readonly types: Map<number, string> = new Map<number, string>()
  readonly names: Map<number, string> = new Map<number, string>()
  readonly ruleNames: Map<number, string> = new Map<number, string>()
  readonly itemClasses: Map<number, number> = new Map<number, number>()
  readonly classNames: Map<number, string> = new Map<number, string>()
  readonly classBuckets: Map<number, Map<number, number>> = new Map<number, Map<number, number>>()
  readonly chooseArgs: Map<number, Map<number, WorkChooseArg>> = new Map<number, Map<number, WorkChooseArg>>()
  private idsByName: Map<string, number> | undefined

  constructor(tunables: CrushTunables) {
    this.tunables = tunables
  }

  static of(map: CrushMap): WorkMap {
    const work = new WorkMap(map.tunables)
    for (const bucket of map.buckets) work.buckets.push(bucket === undefined ? undefined : toWorkBucket(bucket))
    work.rules.push(...map.rules)
    work.maxDevices = map.maxDevices
    for (const name of ['types', 'names', 'ruleNames', 'classNames'] as const) {
      for (const [key, value] of map[name]) work[name].set(key, value)
    }
    for (const [item, id] of map.itemClasses) work.itemClasses.set(item, id)
    for (const [bucket, shadows] of map.classBuckets) work.classBuckets.set(bucket, new Map(shadows))
    for (const [id, args] of map.chooseArgs) {
      const copy = new Map<number, WorkChooseArg>()
      for (const [index, arg] of args) {
        copy.set(index, {
          weightSet: arg.weightSet.map((weights) => [...weights]),
          ids: arg.ids === undefined ? undefined : [...arg.ids],
        })
      }
      work.chooseArgs.set(id, copy)
    }
    return work
  }

  /** The immutable map. Recomputes maxDevices; `this` must not be used afterwards. */
  finish(): CrushMap {
    this.finalize()
    return {
      buckets: this.buckets.map((bucket) => (bucket === undefined ? undefined : fromWorkBucket(bucket))),
      rules: this.rules,
      maxDevices: this.maxDevices,
      tunables: this.tunables,
      types: sorted(this.types),
      names: sorted(this.names),
      ruleNames: sorted(this.ruleNames),
      itemClasses: sorted(this.itemClasses),
      classNames: sorted(this.classNames),
      classBuckets: sorted(new Map([...this.classBuckets].map(([id, shadows]) => [id, sorted(shadows)]))),
      chooseArgs: sorted(new Map([...this.chooseArgs].map(([id, args]) => [id, sorted(args)]))),
    }
  }

  private finalize(): void {
    let deviceMax = -1
    for (const bucket of this.buckets) {
      if (bucket !== undefined) for (const item of bucket.items) if (item > deviceMax) deviceMax = item
    }
    for (const id of this.names.keys()) if (id > deviceMax) deviceMax = id
    this.maxDevices = deviceMax + 1
  }

  bucket(id: number): WorkBucket | undefined {
    return id < 0 ? this.buckets[-1 - id] : undefined
  }

  *existingBuckets(): Generator<WorkBucket> {
    for (const bucket of this.buckets) if (bucket !== undefined) yield bucket
  }

  /** Puts a bucket into its slot; the slots double as Ceph's do. False if the slot is taken. */
  place(bucket: WorkBucket): boolean {
    const index = -1 - bucket.id
    if (index < 0 || index >= bucketSlotsMax) {
      throw new ClusterError('EINVAL', `bucket id ${bucket.id} is out of range`, {
        hint: `ids of buckets go from -1 to -${bucketSlotsMax}; leave the id out to have one assigned`,
      })
    }
    if (index >= this.buckets.length) {
      let slots = this.buckets.length
      while (slots <= index) slots = slots === 0 ? 8 : slots * 2
      while (this.buckets.length < slots) this.buckets.push(undefined)
    }
    if (this.buckets[index] !== undefined) return false
    this.buckets[index] = bucket
    return true
  }

  freeBucketId(): number {
    const hole = this.buckets.indexOf(undefined)
    return -1 - (hole < 0 ? this.buckets.length : hole)
  }

  setName(id: number, name: string): void {
    this.names.set(id, name)
    this.idsByName = undefined
  }

  deleteName(id: number): void {
    this.names.delete(id)
    this.idsByName = undefined
  }

  idOf(name: string): number | undefined {
    if (this.idsByName === undefined) {
      this.idsByName = new Map()
      for (const [id, known] of sorted(this.names)) this.idsByName.set(known, id)
    }
    return this.idsByName.get(name)
  }

  typeIdOf(name: string): number | undefined {
    let found: number | undefined
    for (const [id, known] of sorted(this.types)) if (known === name) found = id
    return found
  }

  ruleIdOf(name: string): number | undefined {
    let found: number | undefined
    for (const [id, known] of sorted(this.ruleNames)) if (known === name) found = id
    return found
  }

  classIdOf(name: string): number | undefined {
    for (const [id, known] of this.classNames) if (known === name) return id
    return undefined
  }

  classIdOrNew(name: string): number {
    const known = this.classIdOf(name)
    if (known !== undefined) return known
    let id = 0
    for (const used of this.classNames.keys()) if (used >= id) id = used + 1
    this.classNames.set(id, name)
    return id
  }

  /** Whether any bucket holds the item. */
  isLinked(item: number): boolean {
    for (const bucket of this.existingBuckets()) if (bucket.items.includes(item)) return true
    return false
  }

  isShadow(id: number): boolean {
    const name = this.names.get(id)
    return name !== undefined && !isValidCrushName(name)
  }

  /** Buckets that no bucket holds, lowest id first. */
  roots(): number[] {
    const held = new Set<number>()
    for (const bucket of this.existingBuckets()) for (const item of bucket.items) held.add(item)
    const roots: number[] = []
    for (const bucket of this.existingBuckets()) if (!held.has(bucket.id)) roots.push(bucket.id)
    return roots.reverse()
  }

  subtreeContains(root: number, item: number): boolean {
    const pending = [root]
    const seen = new Set<number>()
    for (let id = pending.pop(); id !== undefined; id = pending.pop()) {
      if (id === item) return true
      if (seen.has(id)) continue
      seen.add(id)
      const bucket = this.bucket(id)
      if (bucket !== undefined) for (const child of bucket.items) pending.push(child)
    }
    return false
  }
}

/** A copy in ascending order of keys, the order in which Ceph stores, prints and walks its maps. */
export function sorted<V>(map: ReadonlyMap<number, V>): Map<number, V> {
  return new Map([...map].sort(([a], [b]) => a - b))
}

/** What Ceph allows in names of buckets, devices, types and classes. */
export function isValidCrushName(name: string): boolean {
  return /^[-_.0-9A-Za-z]+$/.test(name)
}
