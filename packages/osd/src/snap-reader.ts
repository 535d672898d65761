/**
 * Reads that concern snapshots: which clone serves one, what clones an object has, and names of objects without their
 * clones. The machine has seen to it that nothing of this is missing here, and that no write goes on meanwhile.
 */
import { ClusterError, isClusterError, type PgId } from '@shoal/base'
import type { ObjectPage, ObjectStore } from '@shoal/object-store'
import { isTemporary, noSnapSet, resolveSnap, snapSetIn } from '@shoal/placement-group'
import {
  cloneOf,
  headOf,
  headSnap,
  isClone,
  type ObjectId,
  type ObjectSnaps,
  type SnapSet,
  snapDirOf,
} from '@shoal/wire'

interface Found {
  readonly headExists: boolean
  readonly set: SnapSet | undefined
}

export class SnapReader {
  private readonly store: ObjectStore
  private readonly collection: PgId

  constructor(store: ObjectStore, collection: PgId) {
    this.store = store
    this.collection = collection
  }

  /** The clone, or the head, that holds what an object was at a snapshot. Rejects with ENOENT. */
  async at(named: ObjectId): Promise<ObjectId> {
    const head = headOf(named)
    const { headExists, set } = await this.find(head)
    const target = resolveSnap(set, headExists, named.snap)
    if (target.kind === 'absent') throw new ClusterError('ENOENT', `no such object at snapshot ${named.snap}`)
    return target.kind === 'head' ? head : cloneOf(head, target.clone.id)
  }

  /** Rejects with ENOENT when there is neither the object nor a clone. */
  async snapsOf(named: ObjectId): Promise<ObjectSnaps> {
    const head = headOf(named)
    const { headExists, set } = await this.find(head)
    if (!headExists && set === undefined) throw new ClusterError('ENOENT', 'no such object')
    const stat = headExists ? await this.store.stat(this.collection, head) : undefined
    return { ...(set ?? noSnapSet), headBytes: stat?.sizeBytes }
  }

  /** A page of names: those of heads, or of all that existed at a snapshot. Empty only when nothing follows. */
  async list(after: ObjectId | undefined, limit: number, snap: number): Promise<ObjectPage> {
    const objects: ObjectId[] = []
    for (let from = after; ; ) {
      const page = await this.store.list(this.collection, from, limit)
      for (const object of page.objects) {
        // Behind its clones, and of each object only one of the two is there: its head, or its snapdir.
        // A page without any object that clients may see would look like the end: it is passed over.
        if (!isClone(object) && !isTemporary(object) && (await this.existed(object, snap))) objects.push(headOf(object))
      }
      from = page.objects.at(-1)
      if (objects.length > 0 || !page.more || from === undefined) return { objects, more: page.more }
    }
  }

  private async existed(object: ObjectId, snap: number): Promise<boolean> {
    const isHead = object.snap === headSnap
    if (snap === headSnap) return isHead
    try {
      const set = snapSetIn(await this.store.xattrs(this.collection, object))
      return resolveSnap(set, isHead, snap).kind !== 'absent'
    } catch (error) {
      // Removed between the listing and now.
      if (isClusterError(error, 'ENOENT')) return false
      throw error
    }
  }

  private async find(head: ObjectId): Promise<Found> {
    const headExists = (await this.store.stat(this.collection, head)) !== undefined
    if (headExists) return { headExists, set: snapSetIn(await this.store.xattrs(this.collection, head)) }
    const dir = snapDirOf(head)
    if ((await this.store.stat(this.collection, dir)) === undefined) return { headExists, set: undefined }
    return { headExists, set: snapSetIn(await this.store.xattrs(this.collection, dir)) }
  }
}
