/** What the primary knows of objects without asking the store: those written last. */
import { isClone, type ObjectId, objectKey } from '@shoal/wire'
import type { CachedObject } from './op-executor.ts'

const objectsMax = 512

export class ObjectCache {
  private readonly objects = new Map<string, CachedObject>()

  get(object: ObjectId): CachedObject | undefined {
    return this.objects.get(objectKey(object))
  }

  set(object: ObjectId, state: CachedObject): void {
    const key = objectKey(object)
    this.objects.delete(key)
    this.objects.set(key, state)
    if (this.objects.size <= objectsMax) return
    const oldest = this.objects.keys().next().value
    if (oldest !== undefined) this.objects.delete(oldest)
  }

  delete(object: ObjectId): void {
    this.objects.delete(objectKey(object))
  }

  /** What became of the clones of an object is not remembered: reads at snapshots may have remembered what was before. */
  forgetClones(changed: readonly { readonly object: ObjectId }[]): void {
    for (const { object } of changed) if (isClone(object)) this.delete(object)
  }

  clear(): void {
    this.objects.clear()
  }
}
