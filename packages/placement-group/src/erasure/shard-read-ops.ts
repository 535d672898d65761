/** The read steps of an operation on an erasure-coded object, whose bytes have been put together. */
import { type ErrorCode, errorTable, must, type PgId } from '@shoal/base'
import type { ClientOp, ObjectOp, ObjectOpResult, ObjectSnaps } from '@shoal/wire'
import type { ObjectState } from '../effects.ts'
import type { Caller } from '../object-lock.ts'
import { executeWrite } from '../op-executor.ts'

interface Range {
  readonly offset: number
  readonly length: number
}

/** The bytes that the steps ask for, in order. */
export function rangesOf(ops: readonly ObjectOp[]): readonly Range[] {
  return ops.flatMap((op) => {
    if (op.kind === 'read' || op.kind === 'sparse-read') return [{ offset: op.offset, length: op.length }]
    return op.kind === 'compare-extent' ? [{ offset: op.offset, length: op.data.length }] : []
  })
}

export interface ShardReadOutcome {
  readonly errno: number
  readonly detail: string
  readonly results: readonly ObjectOpResult[]
}

/** What needs the object to be there, and no more of it: shards have no omap, which reads as empty. */
const asStat: ReadonlySet<ObjectOp['kind']> = new Set(['map-extents', 'omap-get-header', 'omap-get-range'])

/**
 * `state.extents`: of {@link rangesOf}. Shards do not tell which parts of an object were never written: what lies within
 * its size counts as data in a sparse read (as in Ceph). `snaps`: what `list-snaps` answers, where it is asked for.
 */
export function executeShardRead(
  collection: PgId,
  { object, ops }: Pick<ClientOp, 'object' | 'ops'>,
  state: ObjectState,
  caller: Caller,
  snaps?: ObjectSnaps,
): ShardReadOutcome {
  const unsupported = ops.find(({ kind }) => kind === 'list-objects')
  if (unsupported !== undefined) return failure('EOPNOTSUPP', 'a listing stands alone in an operation')
  const others = snaps === undefined ? ops : ops.filter(({ kind }) => kind !== 'list-snaps')
  const plain = others.map((op): ObjectOp => {
    if (op.kind === 'sparse-read') return { kind: 'read', offset: op.offset, length: op.length }
    return asStat.has(op.kind) ? { kind: 'stat' } : op
  })
  const execution = executeWrite(collection, object, plain, state, caller)
  if (execution.kind === 'failed') return failure(execution.code, execution.detail)
  const left = [...execution.results]
  const results = ops.map((op): ObjectOpResult => {
    if (snaps !== undefined && op.kind === 'list-snaps') return { kind: 'snaps', snaps }
    const result = must(left.shift(), 'a result of each step')
    if (op.kind === 'sparse-read' && result.kind === 'data') {
      const { data } = result
      return { kind: 'extents', extents: data.length > 0 ? [{ offset: op.offset, length: data.length }] : [], data }
    }
    if (op.kind === 'omap-get-header') return { kind: 'data', data: new Uint8Array(0) }
    if (op.kind === 'omap-get-range') return { kind: 'omap', entries: [], more: false }
    if (op.kind !== 'map-extents') return result
    const length = Math.max(0, Math.min(op.length, state.sizeBytes - op.offset))
    return { kind: 'extents', extents: length > 0 ? [{ offset: op.offset, length }] : [], data: new Uint8Array(0) }
  })
  return { errno: 0, detail: '', results }
}

function failure(code: ErrorCode, detail: string): ShardReadOutcome {
  return { errno: errorTable[code].errno, detail, results: [] }
}

const omapWrites: ReadonlySet<ObjectOp['kind']> = new Set(['omap-set', 'omap-remove', 'omap-clear', 'omap-set-header'])

/** Whether shards can do this step: omap has no place in a code. (In Ceph, too, it reads as empty and cannot be written.) */
export function isShardOp(op: ObjectOp): boolean {
  return !omapWrites.has(op.kind)
}
