/** The objects that a log says exist in a version that this copy does not have. */
import { array, type Codec, struct } from '@shoal/base'
import { type ObjectId, objectIdCodec, objectKey, type Version, versionCodec } from '@shoal/wire'

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

  set(missing: MissingObject): void {
    this.objects.set(objectKey(missing.object), missing)
  }

  delete(object: ObjectId): boolean {
    return this.objects.delete(objectKey(object))
  }

  values(): IterableIterator<MissingObject> {
    return this.objects.values()
  }

  clone(): MissingSet {
    return new MissingSet(this.objects.values())
  }
}
