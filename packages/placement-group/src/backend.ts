/**
 * How a placement group keeps its objects: as copies, or as shards of a code. Chosen once, when the machine is made, as
 * Ceph's PGBackend; order, log, peering and recovery are the same for both.
 */
import type { OsdId } from '@shoal/base'
import type { ClientOp, ObjectId, ObjectOp, TransactionOp, Version } from '@shoal/wire'
import { copyRules, type PeeringRules } from './choose-acting.ts'
import type { PgCore } from './core.ts'
import type { LoadRequest, ObjectState } from './effects.ts'
import type { ShardSteps } from './erasure/shard-steps.ts'
import { ObjectCache } from './object-cache.ts'
import { ObjectTransfer } from './object-transfer.ts'
import { type CachedObject, loadRequestFor } from './op-executor.ts'
import type { PeerMessage, ShardMessage } from './peer-message.ts'
import type { LogEntry } from './pg-log.ts'
import { removeMissing } from './pg-store.ts'
import type { ShardCheck } from './scrub-compare.ts'
import { type InFlightWrite, WriteReplicator, type WriteTargets } from './write-replicator.ts'

/** What one ordered write does: the same on every member, or a share for each. */
export type WriteSteps = readonly TransactionOp[] | ShardSteps

/** The object of a write, before and after it. */
export interface HeadStates {
  readonly before: ObjectState
  readonly after: CachedObject
}

/** errno 0: the object is here, durably. `failed`: who could not give it. */
export type OnFetched = (errno: number, bytes: number, failed: readonly OsdId[]) => void

export interface PgBackend {
  readonly rules: PeeringRules
  readonly transfer: ObjectTransfer
  /** What is known of objects without asking the store. */
  readonly cache: ObjectCache

  /** What must be loaded before a write can be executed; undefined when the cached state is enough. */
  loadRequest(object: ObjectId, ops: readonly ObjectOp[], cached: CachedObject | undefined): LoadRequest | undefined
  /** `loaded` or `load-failed` answers the token. */
  load(request: LoadRequest, token: number): void
  /** `read-done` answers the token. */
  executeRead(op: ClientOp, token: number): void
  /** `steps` change the object and its clones as a whole; what they become on the members. `head`: where its bytes may change. */
  plan(entries: readonly LogEntry[], steps: readonly TransactionOp[], head?: HeadStates): WriteSteps
  /** What becomes of an object that is given up: own, and of other members. */
  planGivenUp(object: ObjectId): { readonly steps: WriteSteps; readonly memberSteps: WriteSteps }
  createReplicator<Q>(targets: WriteTargets, onDone: (write: InFlightWrite<Q>) => void): WriteReplicator<Q>

  /** Whether the object can be read in this version from these members. */
  canFetch(sources: readonly OsdId[]): boolean
  fetch(object: ObjectId, version: Version, sources: readonly OsdId[], onFetched: OnFetched): void
  /** Whether a member can get it from here, where it is, and these. */
  canGive(sources: readonly OsdId[]): boolean
  /** Tells a member to get the object, in this version, from us or from these members. */
  recoverMessage(object: ObjectId, version: Version, sources: readonly OsdId[]): PeerMessage

  /** What a scrub can tell of shards; undefined among copies. */
  shardCheck(): ShardCheck | undefined

  /** Whether this primary can read the object now. */
  isReadable(object: ObjectId): boolean
  onMessage(from: OsdId, message: ShardMessage): void
  /** The interval has begun to serve. */
  onStarted(): void
  /** Entries wait to be told as settled. */
  onTimer(): void
  /** What could not be read may be there now. */
  retry(object?: ObjectId): void
  /** The interval is over. */
  reset(): void
}

export class CopyBackend implements PgBackend {
  readonly rules: PeeringRules = copyRules
  readonly transfer: ObjectTransfer
  readonly cache: ObjectCache = new ObjectCache()
  private readonly core: PgCore

  constructor(core: PgCore, temporaries: readonly ObjectId[]) {
    this.core = core
    this.transfer = new ObjectTransfer(core, temporaries)
  }

  loadRequest(object: ObjectId, ops: readonly ObjectOp[], cached: CachedObject | undefined): LoadRequest | undefined {
    const wanted = loadRequestFor(object, ops)
    return wanted === undefined && cached === undefined ? { object, omapKeys: [], extents: [] } : wanted
  }

  load(request: LoadRequest, token: number): void {
    this.core.emit({ kind: 'load', request, token })
  }

  executeRead({ request, object, ops }: ClientOp, token: number): void {
    this.core.emit({ kind: 'execute-read', client: request.client, object, ops, token })
  }

  plan(_entries: readonly LogEntry[], steps: readonly TransactionOp[]): WriteSteps {
    return steps
  }

  planGivenUp(object: ObjectId): { readonly steps: WriteSteps; readonly memberSteps: WriteSteps } {
    const collection = this.core.pgId
    const remove: TransactionOp = { kind: 'remove', collection, object }
    return { steps: [remove, removeMissing(collection, [object])], memberSteps: [remove] }
  }

  createReplicator<Q>(targets: WriteTargets, onDone: (write: InFlightWrite<Q>) => void): WriteReplicator<Q> {
    return new WriteReplicator(this.core, targets, onDone)
  }

  canFetch(sources: readonly OsdId[]): boolean {
    return sources.length > 0
  }

  fetch(object: ObjectId, version: Version, sources: readonly OsdId[], onFetched: OnFetched): void {
    const source = sources[0] as OsdId
    this.transfer.fetch(object, version, source, (errno, bytes) => onFetched(errno, bytes, errno === 0 ? [] : [source]))
  }

  canGive(): boolean {
    return true
  }

  recoverMessage(object: ObjectId, version: Version): PeerMessage {
    return { kind: 'recover', object, version }
  }

  shardCheck(): undefined {}

  isReadable(object: ObjectId): boolean {
    return !this.core.missing.has(object)
  }

  /** Members of a replicated PG say nothing of shards. */
  onMessage(): void {}
  onStarted(): void {}
  onTimer(): void {}
  retry(): void {}

  reset(): void {
    this.transfer.reset()
    this.cache.clear()
  }
}
