/**
 * Runs client operations that read on the primary of an erasure-coded group: finds what holds the object, at a snapshot
 * perhaps one of its clones, has the bytes that the steps ask for put together from shards, and runs the steps on them.
 *
 * The machine has checked lease and order: nothing is written to the object or its clones until the answer is there.
 */
import { type ErrorCode, errorTable, type PgId } from '@shoal/base'
import type { ByteRange } from '@shoal/erasure'
import {
  type ClientOp,
  cloneOf,
  headOf,
  headSnap,
  type ObjectId,
  type ObjectOpResult,
  type ObjectSnaps,
  opLimits,
  type SnapSet,
  snapDirOf,
} from '@shoal/wire'
import type { ObjectState } from '../effects.ts'
import { noSnapSet, resolveSnap, snapSetIn } from '../snap-set.ts'
import { readsSnaps } from '../snapshot-family.ts'
import { executeShardRead, rangesOf } from './shard-read-ops.ts'

export interface ShardReads {
  readonly pgId: PgId
  wallMs(): number
  /** Attributes and size of the object, from memory or from the own shard; `errno` ECHECKSUM: that is bad. */
  stateOf(
    object: ObjectId,
    onState: (state: ObjectState) => void,
    onFailed: (errno: number, detail: string) => void,
  ): void
  /** Of an object in this state. `onGone`: it was given up meanwhile. */
  readRanges(
    object: ObjectId,
    state: ObjectState,
    ranges: readonly ByteRange[],
    onRead: (data: readonly Uint8Array[]) => void,
    onGone: () => void,
  ): void
}

export interface ShardReadAnswer {
  readonly errno: number
  readonly detail: string
  readonly results: readonly ObjectOpResult[]
  /** With ECHECKSUM: whose shard is bad. */
  readonly badObject?: ObjectId
}

/** What is known of an object besides its bytes. */
interface Family {
  readonly head: ObjectState
  readonly set: SnapSet | undefined
}

export class ShardReadExecutor {
  private readonly reads: ShardReads

  constructor(reads: ShardReads) {
    this.reads = reads
  }

  /** Not for listings. */
  execute(op: ClientOp, onDone: (answer: ShardReadAnswer) => void): void {
    const { object, ops } = op
    if (!readsSnaps(op)) return this.readFrom(op, object, undefined, onDone)
    this.loadFamily(headOf(object), onDone, ({ head, set }) => {
      if (!head.exists && set === undefined) return onDone(failure('ENOENT', 'no such object'))
      const snaps: ObjectSnaps = { ...(set ?? noSnapSet), headBytes: head.exists ? head.sizeBytes : undefined }
      if (object.snap === headSnap || ops.every(({ kind }) => kind === 'list-snaps'))
        return this.readFrom(op, headOf(object), snaps, onDone)
      const target = resolveSnap(set, head.exists, object.snap)
      if (target.kind === 'absent') return onDone(failure('ENOENT', `no such object at snapshot ${object.snap}`))
      const holder = target.kind === 'head' ? headOf(object) : cloneOf(object, target.clone.id)
      this.readFrom(op, holder, snaps, onDone)
    })
  }

  private loadFamily(head: ObjectId, onDone: (answer: ShardReadAnswer) => void, then: (family: Family) => void): void {
    this.load(head, onDone, (state) => {
      if (state.exists) return then({ head: state, set: snapSetIn(state.xattrs) })
      this.load(snapDirOf(head), onDone, (dir) => then({ head: state, set: snapSetIn(dir.xattrs) }))
    })
  }

  private load(object: ObjectId, onDone: (answer: ShardReadAnswer) => void, then: (state: ObjectState) => void): void {
    this.reads.stateOf(object, then, (errno, detail) => onDone({ errno, detail, results: [], badObject: object }))
  }

  /** `holder`: where the bytes are. */
  private readFrom(
    op: ClientOp,
    holder: ObjectId,
    snaps: ObjectSnaps | undefined,
    onDone: (answer: ShardReadAnswer) => void,
  ): void {
    const { reads } = this
    this.load(holder, onDone, (state) => {
      const ranges = rangesOf(op.ops).map((range) => withinObject(range, state.exists ? state.sizeBytes : 0))
      const total = ranges.reduce((sum, { length }) => sum + length, 0)
      if (total > opLimits.writeBytesMax) {
        const detail = `more than ${opLimits.writeBytesMax} bytes in one operation: read in pieces`
        return onDone(failure('E2BIG', detail))
      }
      const onRead = (extents: readonly Uint8Array[]): void => {
        const caller = { client: op.request.client, nowMs: reads.wallMs() }
        onDone(executeShardRead(reads.pgId, op, { ...state, extents }, caller, snaps))
      }
      reads.readRanges(holder, state, ranges, onRead, () => this.execute(op, onDone))
    })
  }
}

function failure(code: ErrorCode, detail: string): ShardReadAnswer {
  return { errno: errorTable[code].errno, detail, results: [] }
}

export function withinObject({ offset, length }: ByteRange, sizeBytes: number): ByteRange {
  return { offset, length: Math.max(0, Math.min(length, sizeBytes - offset)) }
}
