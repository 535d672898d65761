/**
 * Gets operations to the right OSD until they are answered (Ceph's Objecter).
 *
 * Each operation belongs to a placement group and is sent to its acting primary. It is sent again, with the same
 * request id, whenever the primary may have dropped it: the PG's interval changed, the session was reset, or the OSD
 * said that it is not the one. When its PG is split or merged, it goes on with the PG that has its object.
 *
 * Invariants
 * 1. Operations of one PG go out in the order in which they were submitted, resends included: while one of them waits
 *    to be sent again, later ones wait behind it.
 * 2. A request id is used for one operation only, for ever.
 * 3. Every operation ends: answered, or with ETIMEDOUT after its time (outcome unknown if it was ever sent).
 * 4. A request is not sent again once a later one of its PG was sent that says so (`oldestTid`): it was answered, or given
 *    up. OSDs forget it then.
 * 5. A failure counts only as the answer to the latest send: an earlier one may fail at a primary that has lost its
 *    PG while the later one succeeds at the next. A success counts whenever it comes.
 */
import {
  assert,
  ClusterError,
  type Env,
  entityName,
  errorCodeOf,
  isClusterError,
  type Log,
  type OsdId,
  type Outcome,
  type PgId,
  type PoolId,
  type Timer,
  pgId as toPgId,
} from '@shoal/base'
import {
  hashObjectName,
  isNewInterval,
  noPrimary,
  type OsdMap,
  type PgMapping,
  PlacementCache,
  type Pool,
  seedOfHash,
} from '@shoal/cluster-map'
import { type LossySession, Messenger, type MessengerSecurity, type ReceivedFrame } from '@shoal/messenger'
import type { MapSubscription, MonitorClient } from '@shoal/monitor-client'
import {
  type ClientOp,
  type ClientOpReply,
  decodeMessage,
  encodeMessage,
  headSnap,
  isWriteOp,
  type ObjectId,
  type ObjectOp,
  type SnapContext,
} from '@shoal/wire'
import { LingerTable } from './linger-table.ts'

const sweepMs = 500
/** After a reset or a refusal the PG is tried again this much later, doubling. */
const retryMsMin = 20
const retryMsMax = 1_000
/** The flags of the map that hold operations back. */
const pauseFlags = ['pauserd', 'pausewr', 'full'] as const

function noPool(pool: PoolId): ClusterError {
  return new ClusterError('ENOENT', `pool ${pool} does not exist`, { hint: 'shoal pool ls' })
}

function clientClosed(outcome: Outcome): ClusterError {
  return new ClusterError('ESHUTDOWN', 'the client was closed', { outcome })
}

export interface ObjecterOptions {
  readonly monitor: MonitorClient
  readonly clientId: number
  /** What is asked of OSDs, and how we prove ourselves to them; nothing when left out. */
  readonly security?: MessengerSecurity | undefined
}

interface Operation {
  readonly tid: number
  readonly object: ObjectId
  readonly ops: readonly ObjectOp[]
  readonly snapContext: SnapContext | undefined
  readonly writes: boolean
  readonly traceId: number
  readonly deadlineMs: number
  readonly resolve: (reply: ClientOpReply) => void
  readonly reject: (error: ClusterError) => void
  /** How often it was sent. */
  sends: number
  /** Not to be sent before a map says otherwise. */
  held: boolean
}

/** Where operations of two PGs come together: the first must be the oldest, and each client's keep their order. */
function sortByTid(operations: Map<number, Operation>): void {
  const sorted = [...operations.values()].sort((a, b) => a.tid - b.tid)
  operations.clear()
  for (const operation of sorted) operations.set(operation.tid, operation)
}

export interface Submission {
  readonly pool: PoolId
  readonly namespace: string
  readonly name: string
  readonly ops: readonly ObjectOp[]
  readonly timeoutMs: number
  /** Goes with the operation through all daemons that take part in it; 0 for none. */
  readonly traceId: number
  /** Read as it was at this snapshot. */
  readonly snap?: number | undefined
  /** For which snapshots the write counts. */
  readonly snapContext?: SnapContext | undefined
}

/** A placement group that has operations under way. */
interface Target {
  readonly pgId: PgId
  readonly pool: PoolId
  /** By tid, in order of submission. */
  readonly operations: Map<number, Operation>
  mapping: PgMapping
  /** Set while operations wait to be sent (again). */
  retry: Timer | undefined
  retryMs: number
}

export class Objecter {
  readonly env: Pick<Env, 'clock' | 'timers' | 'log'>
  readonly lingers: LingerTable = new LingerTable(() => this.placement)
  private readonly log: Log
  private readonly options: ObjecterOptions
  private readonly messenger: Messenger
  private readonly targets = new Map<PgId, Target>()
  /** By OSD and the address of its present run. */
  private readonly sessions = new Map<string, LossySession>()
  private readonly targetOfTid = new Map<number, Target>()
  private placement: PlacementCache
  private nextTid = 1
  private sweep: Timer | undefined
  private closed = false
  /** An OSD has let us in: a later refusal is that OSD's fault, not our key's. */
  private admitted = false
  private refusal: ClusterError | undefined
  private subscription: MapSubscription = { cancel: () => undefined }

  private constructor(
    env: Pick<Env, 'clock' | 'timers' | 'log'>,
    options: ObjecterOptions,
    messenger: Messenger,
    map: OsdMap,
  ) {
    this.env = env
    this.log = env.log.child('objecter')
    this.options = options
    this.messenger = messenger
    this.placement = new PlacementCache(map)
  }

  /** The monitor client has started: there is a map. */
  static async create(
    env: Pick<Env, 'clock' | 'timers' | 'log' | 'network' | 'random'>,
    options: ObjecterOptions,
  ): Promise<Objecter> {
    const map = options.monitor.osdMap
    assert(map !== undefined, 'the monitor client has started')
    const { clientId, security } = options
    const messenger = await Messenger.create(
      env,
      { name: entityName('client', clientId), nonce: clientId, fsid: map.fsid, security },
      { onSession: (session) => session.close(), onPeerFrame: () => undefined, onPeerReset: () => undefined },
    )
    const objecter = new Objecter(env, options, messenger, map)
    objecter.subscription = options.monitor.onOsdMap((next) => objecter.onMap(next))
    return objecter
  }

  get clientId(): number {
    return this.options.clientId
  }

  get map(): OsdMap {
    return this.placement.map
  }

  get operationsInFlight(): number {
    return this.targetOfTid.size
  }

  /**
   * Resolves with the primary's reply, whatever its errno. Rejects with ENOENT (no such pool), EACCES (no OSD has let us in
   * yet, and this one does not), ETIMEDOUT or ESHUTDOWN.
   */
  submit(submission: Submission): Promise<ClientOpReply> {
    const { pool, namespace, name, snap = headSnap } = submission
    const found = this.map.pools.get(pool)
    if (found === undefined) return Promise.reject(noPool(pool))
    const hash = hashObjectName(namespace, name)
    return this.enqueue(toPgId(pool, seedOfHash(found, hash)), { pool, hash, namespace, name, snap }, submission)
  }

  /** The same for a whole PG: `ops` may only list its objects, of any namespace. */
  submitToPg(seed: number, submission: Omit<Submission, 'namespace' | 'name'>): Promise<ClientOpReply> {
    const { pool, snap = headSnap } = submission
    if (!this.map.pools.has(pool)) return Promise.reject(noPool(pool))
    return this.enqueue(toPgId(pool, seed), { pool, hash: seed, namespace: '', name: '', snap }, submission)
  }

  async close(): Promise<void> {
    this.closed = true
    this.lingers.close()
    this.subscription.cancel()
    this.sweep?.cancel()
    for (const target of this.targets.values()) {
      target.retry?.cancel()
      for (const operation of target.operations.values()) {
        operation.reject(clientClosed(operation.sends > 0 ? 'unknown' : 'not-applied'))
      }
    }
    this.targets.clear()
    this.targetOfTid.clear()
    await this.messenger.close()
  }

  private enqueue(
    pgId: PgId,
    object: ObjectId,
    { pool, ops, timeoutMs, traceId, snapContext }: Omit<Submission, 'namespace' | 'name'>,
  ): Promise<ClientOpReply> {
    if (this.closed) return Promise.reject(clientClosed('not-applied'))
    const target = this.targetOf(pgId, pool)
    return new Promise((resolve, reject) => {
      const operation: Operation = {
        tid: this.nextTid++,
        object,
        ops,
        snapContext,
        writes: ops.some(isWriteOp),
        traceId,
        deadlineMs: this.env.clock.monotonicMs() + timeoutMs,
        resolve,
        reject,
        sends: 0,
        held: false,
      }
      target.operations.set(operation.tid, operation)
      this.targetOfTid.set(operation.tid, target)
      if (target.retry === undefined) this.send(target, operation)
      this.sweep ??= this.env.timers.after(sweepMs, () => this.onSweep())
    })
  }

  private targetOf(pgId: PgId, pool: PoolId): Target {
    let target = this.targets.get(pgId)
    if (target === undefined) {
      const mapping = this.placement.mapping(pgId)
      target = { pgId, pool, operations: new Map(), mapping, retry: undefined, retryMs: retryMsMin }
      this.targets.set(pgId, target)
    }
    return target
  }

  // Sending

  private isPaused(operation: Operation): boolean {
    const { flags } = this.map
    if (!operation.writes) return flags.has('pauserd')
    // A full cluster still takes removals: they are how it gets better.
    return (
      flags.has('pausewr') ||
      (flags.has('full') && !operation.ops.every((op) => op.kind === 'remove' || !isWriteOp(op)))
    )
  }

  /** Whether an earlier operation on the same object is held: this one must not overtake it. */
  private isBehindHeld(target: Target, operation: Operation): boolean {
    const { namespace, name } = operation.object
    for (const earlier of target.operations.values()) {
      if (earlier === operation) return false
      if (earlier.held && earlier.object.name === name && earlier.object.namespace === namespace) return true
    }
    return false
  }

  private send(target: Target, operation: Operation): void {
    const session = this.sessionOf(target.mapping.actingPrimary)
    // Held until a map that changes it; without a primary the whole PG is.
    operation.held =
      session === undefined ||
      (pauseFlags.some((flag) => this.map.flags.has(flag)) &&
        (this.isPaused(operation) || this.isBehindHeld(target, operation)))
    if (session === undefined || operation.held) return
    const message: ClientOp = {
      type: 'client-op',
      request: { client: this.options.clientId, tid: operation.tid },
      // In order of submission: the first is the oldest.
      oldestTid: target.operations.keys().next().value ?? operation.tid,
      pgId: target.pgId,
      epoch: this.map.epoch,
      object: operation.object,
      ops: operation.ops,
      attempt: operation.sends++,
      snapContext: operation.snapContext,
    }
    session.send({ ...encodeMessage(message), tid: operation.tid, traceId: operation.traceId })
  }

  private sendAll(target: Target): void {
    for (const operation of target.operations.values()) this.send(target, operation)
  }

  private sendHeld(target: Target): void {
    for (const operation of target.operations.values()) if (operation.held) this.send(target, operation)
  }

  private sessionOf(osd: OsdId): LossySession | undefined {
    if (osd === noPrimary) return undefined
    const address = this.map.osds.get(osd)?.addresses?.data
    if (address === undefined) return undefined
    const key = `${osd}@${address}`
    let session = this.sessions.get(key)
    if (session === undefined) {
      const opened = this.messenger.connect(address, entityName('osd', osd))
      session = opened
      session.onFrame = (frame) => this.onFrame(frame)
      session.onReset = (error) => this.onReset(key, osd, opened, error)
      this.sessions.set(key, session)
    }
    return session
  }

  /** Sends everything of the PG again a little later; until then nothing of it is sent. */
  private retryLater(target: Target): void {
    if (target.retry !== undefined || this.closed) return
    target.retry = this.env.timers.after(target.retryMs, () => {
      target.retry = undefined
      this.sendAll(target)
    })
    target.retryMs = Math.min(retryMsMax, target.retryMs * 2)
  }

  // Answers and changes

  private onFrame(frame: ReceivedFrame): void {
    const message = decodeMessage(frame.type, frame.header, frame.payload)
    if (message.type === 'client-op-reply') this.onReply(message)
    else if (message.type === 'watch-event') this.lingers.onEvent(message)
  }

  private onReply(reply: ClientOpReply): void {
    const target = this.targetOfTid.get(reply.request.tid)
    const operation = target?.operations.get(reply.request.tid)
    // Answered before: an earlier send and its resend were both answered.
    if (target === undefined || operation === undefined) return
    // Invariant 5.
    if (reply.errno !== 0 && reply.attempt !== operation.sends - 1) return
    const code = reply.errno === 0 ? undefined : errorCodeOf(reply.errno)
    if (code === 'ESTALE' || code === 'EAGAIN') return this.retryLater(target)
    target.retryMs = retryMsMin
    this.finish(target, operation)
    operation.resolve(reply)
  }

  private finish(target: Target, operation: Operation): void {
    target.operations.delete(operation.tid)
    this.targetOfTid.delete(operation.tid)
    if (target.operations.size > 0) return
    target.retry?.cancel()
    this.targets.delete(target.pgId)
  }

  private onReset(key: string, osd: OsdId, session: LossySession, error: Error | undefined): void {
    this.sessions.delete(key)
    if (this.closed) return
    this.admitted ||= [session, ...this.sessions.values()].some(({ peer }) => peer !== undefined)
    if (isClusterError(error, 'EACCES')) {
      this.refusal = error
      // A key that no OSD accepts will not get better by waiting; nothing has been sent with it.
      if (!this.admitted) return this.rejectAll(osd, error)
    }
    this.log.debug('session reset', { osd, error: error?.message })
    for (const target of this.targets.values()) if (target.mapping.actingPrimary === osd) this.retryLater(target)
    this.lingers.onReset(osd)
  }

  private rejectAll(osd: OsdId, error: ClusterError): void {
    for (const target of [...this.targets.values()]) {
      if (target.mapping.actingPrimary !== osd) continue
      for (const operation of [...target.operations.values()]) {
        this.finish(target, operation)
        operation.reject(error)
      }
    }
  }

  private onMap(map: OsdMap): void {
    const before = this.placement.map
    this.placement = new PlacementCache(map, this.placement)
    for (const target of [...this.targets.values()])
      if (this.wasSplit(target, before, map)) this.divide(target, before, map)
    for (const target of this.targets.values()) this.remap(target, before, map)
    this.lingers.onMap()
    for (const [key, session] of this.sessions) {
      const osd = Number(key.slice(0, key.indexOf('@'))) as OsdId
      const info = map.osds.get(osd)
      if (info?.up !== true || key !== `${osd}@${info.addresses?.data}`) session.close()
    }
  }

  private wasSplit({ pool }: Target, before: OsdMap, map: OsdMap): boolean {
    const now = map.pools.get(pool)?.pgNum
    return now !== undefined && now !== before.pools.get(pool)?.pgNum
  }

  /**
   * The operations go, in their order, with their objects. The new parts are to be sent to like any PG with a new interval:
   * `remap` follows, and sees that pg_num has changed.
   */
  private divide(target: Target, before: OsdMap, map: OsdMap): void {
    const pool = map.pools.get(target.pool) as Pool
    const oldNum = before.pools.get(target.pool)?.pgNum ?? 0
    const parts = new Set<Target>()
    for (const operation of [...target.operations.values()]) {
      const id = toPgId(target.pool, seedOfHash(pool, operation.object.hash))
      if (id === target.pgId) continue
      target.operations.delete(operation.tid)
      const part = this.targetOf(id, target.pool)
      part.operations.set(operation.tid, operation)
      this.targetOfTid.set(operation.tid, part)
      parts.add(part)
    }
    if (pool.pgNum < oldNum) for (const { operations } of parts) sortByTid(operations)
    if (target.operations.size > 0) return
    target.retry?.cancel()
    this.targets.delete(target.pgId)
  }

  private remap(target: Target, before: OsdMap, map: OsdMap): void {
    const pool = map.pools.get(target.pool)
    if (pool === undefined) {
      for (const operation of target.operations.values()) {
        this.finish(target, operation)
        operation.reject(noPool(target.pool))
      }
      return
    }
    const mapping = this.placement.mapping(target.pgId)
    const changed = isNewInterval(target.pgId, { mapping: target.mapping, map: before }, { mapping, map })
    target.mapping = mapping
    const restarted =
      before.osds.get(mapping.actingPrimary)?.incarnation !== map.osds.get(mapping.actingPrimary)?.incarnation
    if (!changed && !restarted) {
      if (target.retry === undefined) this.sendHeld(target)
      return
    }
    target.retry?.cancel()
    target.retry = undefined
    target.retryMs = retryMsMin
    this.sendAll(target)
  }

  private onSweep(): void {
    const nowMs = this.env.clock.monotonicMs()
    for (const target of this.targets.values()) {
      for (const operation of target.operations.values()) {
        if (operation.deadlineMs > nowMs) continue
        this.finish(target, operation)
        operation.reject(
          new ClusterError(
            'ETIMEDOUT',
            `no answer for ${operation.object.name} in ${target.pgId} from osd.${target.mapping.actingPrimary}`,
            {
              cause: this.refusal,
              outcome: operation.sends > 0 ? 'unknown' : 'not-applied',
              hint: 'shoal health detail',
              retry: true,
            },
          ),
        )
      }
    }
    this.sweep = this.targetOfTid.size === 0 ? undefined : this.env.timers.after(sweepMs, () => this.onSweep())
  }
}
