/** The objects that a log says exist in a version that this copy does not have. */
import { array, type Codec, struct } from '@shoal/base'
import { headOf, headSnap, type ObjectId, objectIdCodec, objectKey, type Version, versionCodec } from '@shoal/wire'

export interface MissingObject {
  readonly object: ObjectId
  /** The version to get. */
  readonly need: Version
}

export const missingObjectCodec: Codec<MissingObject> = struct<MissingObject>({
  object: objectIdCodec,
  need: versionCodec,
})
export const missingObjectsCodec: Codec<readonly MissingObject[]> = array(missingObjectCodec)

export class MissingSet {
  private readonly objects: Map<string, MissingObject>
  /** Clones, and snapdirs, by the key of their head. */
  private readonly clones = new Map<string, Map<string, MissingObject>>()

  constructor(objects: Iterable<MissingObject> = []) {
    this.objects = new Map()
    for (const one of objects) this.set(one)
  }

  get size(): number {
    return this.objects.size
  }

  get(object: ObjectId): MissingObject | undefined {
    return this.objects.get(objectKey(object))
  }

  has(object: ObjectId): boolean {
    return this.objects.size > 0 && this.objects.has(objectKey(object))
  }

  /** A clone of this head, or its snapdir, that is missing; clones first. */
  cloneOf(head: ObjectId): ObjectId | undefined {
    if (this.clones.size === 0) return undefined
    let first: ObjectId | undefined
    for (const { object } of this.clones.get(objectKey(head))?.values() ?? []) {
      if (first === undefined || object.snap < first.snap) first = object
    }
    return first
  }

  set(missing: MissingObject): void {
    const { object } = missing
    this.objects.set(objectKey(object), missing)
    if (object.snap === headSnap) return
    const head = objectKey(headOf(object))
    let clones = this.clones.get(head)
    if (clones === undefined) {
      clones = new Map()
      this.clones.set(head, clones)
    }
    clones.set(objectKey(object), missing)
  }

  delete(object: ObjectId): boolean {
    if (object.snap !== headSnap && this.clones.size > 0) {
      const head = objectKey(headOf(object))
      const clones = this.clones.get(head)
      clones?.delete(objectKey(object))
      if (clones?.size === 0) this.clones.delete(head)
    }
    return this.objects.delete(objectKey(object))
  }

  values(): IterableIterator<MissingObject> {
    return this.objects.values()
  }

  clone(): MissingSet {
    return new MissingSet(this.objects.values())
  }
}
