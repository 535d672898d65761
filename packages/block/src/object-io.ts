/** What images need of a pool: one compound operation on one object. The client library's pool handle is one. */
import type { ObjectOp, ObjectOpResult } from '@shoal/wire'

export interface ObjectIo {
  /** Rejects with the code of the step that failed; nothing was applied then. */
  execute(objectName: string, ops: readonly ObjectOp[]): Promise<{ readonly results: readonly ObjectOpResult[] }>
  /** Rejects with ENOENT when the pool itself is gone. */
  poolId?(): Promise<unknown>
  /** The same cluster's pool with this id, which may be of another kind: where an image keeps its data, if not here. */
  inPool?(poolId: number): ObjectIo
}
