/** What images need of a pool: one compound operation on one object. The client library's pool handle is one. */
import type { ObjectOp, ObjectOpResult, SnapContext } from '@shoal/wire'

export interface ObjectIoOptions {
  /** Reads are done as of this snapshot. */
  readonly snap?: number | undefined
  /** For which snapshots a write counts. */
  readonly snapContext?: SnapContext | undefined
}

export interface ObjectIo {
  /** Rejects with the code of the step that failed; nothing was applied then. */
  execute(
    objectName: string,
    ops: readonly ObjectOp[],
    options?: ObjectIoOptions,
  ): Promise<{ readonly results: readonly ObjectOpResult[] }>
  /** Rejects with ENOENT when the pool itself is gone. */
  poolId?(): Promise<unknown>
  /** The same cluster's pool with this id, which may be of another kind: where an image keeps its data, if not here. */
  inPool?(poolId: number): ObjectIo
  /** A new id, above all before it. EINVAL for a pool whose snapshots people name. */
  createSelfManagedSnapshot?(): Promise<number>
  /** What only this snapshot needed goes by and by. Can be done again. */
  removeSelfManagedSnapshot?(snap: number): Promise<void>
}
