/**
 * What the primary must know of an object besides itself before it can order a write where there are snapshots: its
 * snapset, and the clone that it is rolled back to. What is not remembered is loaded.
 *
 * A pool that never had a snapshot has nothing of this: its writes do not come here.
 */
import { hasSnap, type Pool } from '@shoal/cluster-map'
import { type ClientOp, cloneOf, headSnap, type ObjectId, type SnapContext, snapDirOf } from '@shoal/wire'
import type { PgCore } from './core.ts'
import type { ObjectState } from './effects.ts'
import type { ObjectCache } from './object-cache.ts'
import type { RollbackTarget } from './op-executor.ts'
import type { Family } from './plan-snapshots.ts'
import { resolveSnap, snapSetIn } from './snap-set.ts'

/** Gives the state of an object, or undefined: it is being loaded, and the write is looked at again. */
export type LoadRelated = (object: ObjectId) => ObjectState | undefined

const headTarget: RollbackTarget = { kind: 'head' }
const absentTarget: RollbackTarget = { kind: 'absent' }

export class SnapshotFamilies {
  private readonly core: PgCore
  private readonly cache: ObjectCache
  /** The context that all writes of a pool with pool snapshots have. */
  private poolContext: SnapContext | undefined
  private contextOfPool: Pool | undefined

  constructor(core: PgCore, cache: ObjectCache) {
    this.core = core
    this.cache = cache
  }

  concerns(op: ClientOp): boolean {
    return op.snapContext !== undefined || this.core.pool?.snapshots !== undefined
  }

  /** Removed snapshots are not written for, whatever the client knows of them: nobody would trim what is made for them. */
  contextOf(op: ClientOp): SnapContext | undefined {
    const { pool } = this.core
    const snapshots = pool?.snapshots
    if (pool === undefined || snapshots === undefined) return op.snapContext
    if (snapshots.mode === 'pool') {
      if (this.contextOfPool !== pool) {
        this.contextOfPool = pool
        this.poolContext = { seq: snapshots.seq, snaps: snapshots.snaps.map(({ id }) => id).toReversed() }
      }
      return this.poolContext
    }
    const { snapContext } = op
    if (snapContext === undefined || !snapContext.snaps.some((snap) => hasSnap(snapshots.removed, snap)))
      return snapContext
    return { seq: snapContext.seq, snaps: snapContext.snaps.filter((snap) => !hasSnap(snapshots.removed, snap)) }
  }

  familyOf(object: ObjectId, head: ObjectState, load: LoadRelated): Family | undefined {
    if (head.exists) return { set: snapSetIn(head.xattrs), dir: undefined }
    const dirId = snapDirOf(object)
    const cached = this.cache.get(dirId)
    const dir = cached === undefined ? load(dirId) : { ...cached, omap: [], extents: [] }
    return dir === undefined ? undefined : { set: snapSetIn(dir.xattrs), dir }
  }

  /** Of an operation that rolls back; undefined while something is loaded. */
  rollbackOf(
    op: ClientOp,
    snap: number,
    head: ObjectState,
    family: Family,
    load: LoadRelated,
  ): RollbackTarget | undefined {
    const target = resolveSnap(family.set, head.exists, snap)
    if (target.kind === 'head') return headTarget
    if (target.kind === 'absent') return absentTarget
    const object = cloneOf(op.object, target.clone.id)
    const state = load(object)
    return state === undefined ? undefined : { kind: 'clone', object, state }
  }
}

/** The snapshot that the operation rolls back to. */
export function rollbackSnapOf({ ops }: ClientOp): number | undefined {
  for (const op of ops) if (op.kind === 'rollback') return op.snap
  return undefined
}

/** Whether what it tells depends on clones. */
export function readsSnaps({ object, ops }: ClientOp): boolean {
  return object.snap !== headSnap || ops.some(({ kind }) => kind === 'list-snaps')
}
