/** One pool (and namespace) as its user sees it: operations on named objects, and their names. */
import { ClusterError, type Epoch, emptyBytes, errorCodeOf, type PoolId, utf8Encode } from '@shoal/base'
import { type Pool, type PoolSnapshot, poolByName, seedOfHash, splitSeeds } from '@shoal/cluster-map'
import type { MonitorClient, MonitorCommand } from '@shoal/monitor-client'
import {
  isWriteOp,
  type LockMode,
  type LockRenewal,
  type NotifyOutcome,
  type ObjectId,
  type ObjectLock,
  type ObjectOp,
  type ObjectOpResult,
  type ObjectSnaps,
  type ObjectWatcher,
  type OmapEntry,
  objectNameBytesMax,
  objectNamespaceBytesMax,
  opLimits,
  type SnapContext,
  type Version,
} from '@shoal/wire'
import type { Objecter } from './objecter.ts'
import type { Throttle } from './throttle.ts'
import { Watch, type WatchHandlers, type WatchOptions } from './watch.ts'

const operationTimeoutMs = 120_000
const notifyTimeoutMs = 10_000
const listPage = 1000

/** What is left to list of a PG, or of what was one. */
interface Listing {
  readonly seed: number
  /**
   * Of the pool, when this was noted. If it has grown since, there are parts to list, too; if it has shrunk, the objects of
   * this PG are listed by the one that it went into, and others with them.
   */
  readonly pgNum: number
  readonly after: ObjectId | undefined
}

export interface OperationOutcome {
  readonly results: readonly ObjectOpResult[]
  /** Of the write; zero for reads. */
  readonly version: Version
}

export interface ObjectStat {
  readonly sizeBytes: number
  readonly modifiedMs: number
  /** What `assert-version` takes. */
  readonly version: number
}

export interface OperationOptions {
  readonly timeoutMs?: number
  readonly traceId?: number
  /** Reads are done as of this snapshot, by its id; EROFS for anything that writes. */
  readonly snap?: number | undefined
  /** For which self-managed snapshots a write counts; a pool with pool snapshots takes its own. */
  readonly snapContext?: SnapContext | undefined
}

type OperationDefaults = Pick<OperationOptions, 'snap' | 'snapContext' | 'timeoutMs'>

export interface LockOptions {
  readonly mode?: LockMode
  /** Tells the locks of one client apart. */
  readonly cookie?: string
  readonly tag?: string
  readonly description?: string
  /** 0: until it is given back or broken. */
  readonly durationMs?: number
  readonly renew?: LockRenewal
}

export class PoolHandle {
  readonly name: string
  readonly namespace: string
  private readonly objecter: Objecter
  private readonly monitor: MonitorClient
  private readonly throttle: Throttle
  /** Of every operation that does not say otherwise. */
  private readonly defaults: OperationDefaults
  private id: PoolId | undefined
  /** Of a handle that was made for an id instead of a name. */
  private fixedId: PoolId | undefined
  private resolving: Promise<Pool> | undefined

  constructor(
    name: string,
    namespace: string,
    objecter: Objecter,
    monitor: MonitorClient,
    throttle: Throttle,
    defaults: OperationDefaults = {},
  ) {
    this.defaults = defaults
    this.name = name
    this.namespace = namespace
    this.objecter = objecter
    this.monitor = monitor
    this.throttle = throttle
  }

  /** The pool with this id, whatever its name is or becomes. */
  inPool(id: number): PoolHandle {
    const handle = new PoolHandle(`#${id}`, this.namespace, this.objecter, this.monitor, this.throttle, this.defaults)
    handle.fixedId = id as PoolId
    return handle
  }

  /** ENOENT when there is no such pool. */
  async poolId(): Promise<PoolId> {
    return (this.knownPool() ?? (await this.resolve())).id
  }

  /**
   * Runs a compound operation on one object. Rejects with the code of the step that failed (nothing was applied then),
   * ENOENT for an unknown pool, EINVAL and E2BIG for an operation over the limits, ETIMEDOUT (outcome unknown).
   */
  async execute(
    objectName: string,
    ops: readonly ObjectOp[],
    options: OperationOptions = {},
  ): Promise<OperationOutcome> {
    const bytes = checkOperation(objectName, this.namespace, ops)
    const snap = options.snap ?? this.defaults.snap
    const snapContext = options.snapContext ?? this.defaults.snapContext
    // Without a turn in between where the pool is known: operations are submitted in the order of the calls.
    const pool = this.knownPool(Math.max(snap ?? 0, snapContext?.seq ?? 0))?.id ?? (await this.resolve()).id
    const reply = await this.throttle.run(bytes, () =>
      this.objecter.submit({
        pool,
        namespace: this.namespace,
        name: objectName,
        ops,
        timeoutMs: options.timeoutMs ?? this.defaults.timeoutMs ?? operationTimeoutMs,
        traceId: options.traceId ?? 0,
        snap,
        snapContext,
      }),
    )
    if (reply.errno === 0) return { results: reply.results, version: reply.version }
    const code = errorCodeOf(reply.errno)
    // A fence refuses without looking: an earlier send may have been done.
    const outcome = code === 'ESHUTDOWN' && reply.attempt > 0 ? 'unknown' : 'not-applied'
    throw new ClusterError(code, `${this.name}/${objectName}: ${reply.detail === '' ? code : reply.detail}`, {
      outcome,
    })
  }

  /** Up to `length` bytes: fewer where the object ends before. */
  async read(objectName: string, offset: number, length: number): Promise<Uint8Array> {
    const [result] = (await this.execute(objectName, [{ kind: 'read', offset, length }])).results
    return answer(result, 'data').data
  }

  async write(objectName: string, offset: number, data: Uint8Array): Promise<Version> {
    return (await this.execute(objectName, [{ kind: 'write', offset, data }])).version
  }

  /** The object is `data` afterwards, whatever it was. */
  async writeFull(objectName: string, data: Uint8Array): Promise<Version> {
    return (await this.execute(objectName, [{ kind: 'write-full', data }])).version
  }

  async append(objectName: string, data: Uint8Array): Promise<Version> {
    return (await this.execute(objectName, [{ kind: 'append', data }])).version
  }

  async remove(objectName: string): Promise<void> {
    await this.execute(objectName, [{ kind: 'remove' }])
  }

  async stat(objectName: string): Promise<ObjectStat> {
    const [result] = (await this.execute(objectName, [{ kind: 'stat' }])).results
    const { sizeBytes, modifiedMs, version } = answer(result, 'stat')
    return { sizeBytes, modifiedMs, version }
  }

  async xattrs(objectName: string): Promise<ReadonlyMap<string, Uint8Array>> {
    const [result] = (await this.execute(objectName, [{ kind: 'get-xattrs' }])).results
    return answer(result, 'xattrs').xattrs
  }

  /** Takes a lock; see `LockOp` of the wire for the rules, and for the codes that this rejects with. */
  async lock(objectName: string, name: string, options: LockOptions = {}): Promise<void> {
    const { mode = 'exclusive', cookie = '', tag = '', description = '', durationMs = 0, renew = 'no' } = options
    await this.execute(objectName, [{ kind: 'lock', name, mode, cookie, tag, description, durationMs, renew }])
  }

  /** Gives a lock back. ENOENT when this client does not hold it under this cookie. */
  async unlock(objectName: string, name: string, cookie = ''): Promise<void> {
    await this.execute(objectName, [{ kind: 'unlock', name, cookie }])
  }

  /** Takes a lock from another session, which may be writing still: fence it first. */
  async breakLock(objectName: string, name: string, client: number, cookie = ''): Promise<void> {
    await this.execute(objectName, [{ kind: 'break-lock', name, client, cookie }])
  }

  // Snapshots: docs/mechanisms/snapshots.md

  /** The pool as it was at a snapshot: reads alone, and names of what there was. */
  at(snap: number): PoolHandle {
    return this.with({ snap })
  }

  /** The pool as one writes to it who manages its snapshots. */
  withSnapContext(snapContext: SnapContext): PoolHandle {
    return this.with({ ...this.defaults, snapContext })
  }

  /** The pool for who does not wait as long for an answer. */
  withTimeout(timeoutMs: number): PoolHandle {
    return this.with({ ...this.defaults, timeoutMs })
  }

  private with(defaults: OperationDefaults): PoolHandle {
    return new PoolHandle(this.name, this.namespace, this.objecter, this.monitor, this.throttle, defaults)
  }

  /** All snapshots of a pool of pool snapshots, oldest first. ENOENT for an unknown pool. */
  async snapshots(): Promise<readonly PoolSnapshot[]> {
    return ((await this.askForPool()).snapshots?.snaps ?? []).toSorted((a, b) => a.id - b.id)
  }

  /** The id of a pool snapshot. ENOENT when there is none of this name. */
  async snapshotId(name: string): Promise<number> {
    const found = (await this.snapshots()).find((snapshot) => snapshot.name === name)
    if (found !== undefined) return found.id
    throw new ClusterError('ENOENT', `pool ${this.name} has no snapshot ${name}`, {
      hint: `shoal pool lssnap ${this.name}`,
    })
  }

  /**
   * Takes a snapshot of the whole pool; resolves with its id. Every write that this client begins afterwards leaves it as it
   * is. EINVAL for a pool whose clients manage its snapshots.
   */
  createSnapshot(name: string): Promise<number> {
    return this.changeSnapshots({ prefix: 'osd pool mksnap', pool: this.name, snap: name })
  }

  /** Nothing can be read at it any more; what only it needed goes by and by. */
  async removeSnapshot(name: string): Promise<void> {
    await this.changeSnapshots({ prefix: 'osd pool rmsnap', pool: this.name, snap: name })
  }

  /** A new id, for the context of writes from now on. EINVAL for a pool with pool snapshots. */
  async createSelfManagedSnapshot(): Promise<number> {
    return this.changeSnapshots({ prefix: 'osd pool selfmanaged-snap create', pool: await this.nameOfNow() })
  }

  async removeSelfManagedSnapshot(snap: number): Promise<void> {
    await this.changeSnapshots({ prefix: 'osd pool selfmanaged-snap rm', pool: await this.nameOfNow(), snap })
  }

  /** A handle that was made for an id does not know the pool's name, which may change, too. */
  private async nameOfNow(): Promise<string> {
    return this.fixedId === undefined ? this.name : (this.knownPool() ?? (await this.resolve())).name
  }

  private async changeSnapshots(command: MonitorCommand): Promise<number> {
    const { data } = await this.monitor.command(command)
    const { snap, epoch } = data as { readonly snap?: number; readonly epoch: Epoch }
    // Later operations name this map: no OSD does them without it.
    await this.monitor.waitForEpoch(epoch, operationTimeoutMs)
    return snap ?? 0
  }

  /** The clones of an object. ENOENT when there is neither the object nor a clone. */
  async listSnaps(objectName: string): Promise<ObjectSnaps> {
    return answer((await this.execute(objectName, [{ kind: 'list-snaps' }])).results[0], 'snaps').snaps
  }

  /** Makes an object what it was at a snapshot; removes it if it was not there then. Its locks stay. */
  async rollback(objectName: string, snap: number): Promise<Version> {
    return (await this.execute(objectName, [{ kind: 'rollback', snap }])).version
  }

  /** All locks on an object that hold now, or one of them. */
  async locks(objectName: string, name = ''): Promise<readonly ObjectLock[]> {
    return answer((await this.execute(objectName, [{ kind: 'list-locks', name }])).results[0], 'locks').locks
  }

  /** Watches an object until the watch is closed, or its `onError` is called; see `Watch`. Rejects with ENOENT or EBUSY. */
  async watch(objectName: string, handlers: WatchHandlers, options: WatchOptions = {}): Promise<Watch> {
    const pool = (this.knownPool() ?? (await this.resolve())).id
    const { env, lingers } = this.objecter
    return Watch.register(
      {
        env,
        lingers,
        place: { pool, namespace: this.namespace, name: objectName },
        execute: (ops, timeoutMs) => this.execute(objectName, ops, { timeoutMs }),
      },
      handlers,
      options,
    )
  }

  /**
   * Tells all watchers of an object (at most 64 KiB), and resolves with what they said, and who did not answer in time
   * (milliseconds, 1 to 60,000). Rejects with ENOENT without the object. After a failure a watcher may be told twice.
   */
  async notify(objectName: string, data: Uint8Array, timeoutMs: number = notifyTimeoutMs): Promise<NotifyOutcome> {
    const ops: ObjectOp[] = [{ kind: 'notify', timeoutMs, data }]
    const outcome = await this.execute(objectName, ops, { timeoutMs: timeoutMs + operationTimeoutMs })
    const { notifyId, acks, timedOut } = answer(outcome.results[0], 'notified')
    return { notifyId, acks, timedOut }
  }

  async listWatchers(objectName: string): Promise<readonly ObjectWatcher[]> {
    return answer((await this.execute(objectName, [{ kind: 'list-watchers' }])).results[0], 'watchers').watchers
  }

  /** The entries of the omap whose keys begin with `prefix`, in order, page by page. */
  async *omap(objectName: string, prefix: Uint8Array = emptyBytes): AsyncGenerator<OmapEntry> {
    let after: Uint8Array | undefined
    for (;;) {
      const ops: ObjectOp[] = [{ kind: 'omap-get-range', after, prefix, limit: listPage }]
      const page = answer((await this.execute(objectName, ops)).results[0], 'omap')
      yield* page.entries
      after = page.entries.at(-1)?.key
      if (!page.more || after === undefined) return
    }
  }

  /**
   * Names of the objects of this namespace, PG by PG; objects that come or go meanwhile may be missed or named. When a PG is
   * split meanwhile, its parts are listed from where it had come to: all PGs list in the same order. What was merged is
   * listed as what it was.
   */
  async *list(): AsyncGenerator<string> {
    const { id, pgNum: number } = this.knownPool() ?? (await this.resolve())
    const left: Listing[] = Array.from({ length: number }, (_, seed) => ({ seed, pgNum: number, after: undefined }))
    for (let next = left.shift(); next !== undefined; next = left.shift()) {
      const { seed, after } = next
      const current = this.pgNumOf(id)
      const pgNum = Math.max(next.pgNum, current)
      for (const part of splitSeeds(seed, next.pgNum, pgNum)) left.push({ seed: part, pgNum, after })
      const page = await this.listPage(id, seedOfHash({ pgNum: current }, seed), after)
      // Nobody knows whether it was the whole or the part that answered.
      if (this.pgNumOf(id) !== current) {
        left.unshift({ seed, pgNum, after })
        continue
      }
      for (const { namespace, name, hash } of page.objects) {
        if (namespace === this.namespace && seedOfHash({ pgNum }, hash) === seed) yield name
      }
      const last = page.objects.at(-1)
      if (page.more && last !== undefined) left.unshift({ seed, pgNum, after: last })
    }
  }

  private pgNumOf(pool: Pool['id']): number {
    const found = this.objecter.map.pools.get(pool)
    if (found === undefined)
      throw new ClusterError('ENOENT', `there is no pool ${this.name}`, { hint: 'shoal pool ls' })
    return found.pgNum
  }

  private async listPage(
    pool: Pool['id'],
    seed: number,
    after: ObjectId | undefined,
  ): Promise<Extract<ObjectOpResult, { kind: 'objects' }>> {
    const ops: ObjectOp[] = [{ kind: 'list-objects', after, limit: listPage }]
    const reply = await this.objecter.submitToPg(seed, {
      pool,
      ops,
      timeoutMs: operationTimeoutMs,
      traceId: 0,
      snap: this.defaults.snap,
    })
    if (reply.errno !== 0) throw new ClusterError(errorCodeOf(reply.errno), `listing ${this.name}: ${reply.detail}`)
    return answer(reply.results[0], 'objects')
  }

  /**
   * A pool that was removed and made again under the same name is another pool. `snap`: another client may have told of a
   * snapshot that our map does not show yet; OSDs go by the map that we name.
   */
  private knownPool(snap = 0): Pool | undefined {
    const { map } = this.objecter
    const id = this.fixedId ?? this.id
    const known = id === undefined ? undefined : map.pools.get(id)
    const pool = this.fixedId === undefined ? (known ?? poolByName(map, this.name)) : known
    this.id = pool?.id
    return snap > 0 && snap > (pool?.snapshots?.seq ?? 0) ? undefined : pool
  }

  /** Asks the monitors for a pool that our map does not have (yet); once for all who wait for it. */
  private resolve(): Promise<Pool> {
    this.resolving ??= this.askForPool().finally(() => {
      this.resolving = undefined
    })
    return this.resolving
  }

  private async askForPool(): Promise<Pool> {
    const { data } = await this.monitor.command({ prefix: 'osd stat' })
    const { epoch } = data as { readonly epoch: Parameters<MonitorClient['waitForEpoch']>[0] }
    await this.monitor.waitForEpoch(epoch, operationTimeoutMs)
    const pool = this.knownPool()
    if (pool === undefined) throw new ClusterError('ENOENT', `there is no pool ${this.name}`, { hint: 'shoal pool ls' })
    return pool
  }
}

/** The step's result, which is of the kind that the step asked for. */
function answer<K extends ObjectOpResult['kind']>(
  result: ObjectOpResult | undefined,
  kind: K,
): Extract<ObjectOpResult, { kind: K }> {
  if (result?.kind === kind) return result as Extract<ObjectOpResult, { kind: K }>
  throw new ClusterError('EPROTO', `the OSD answered with ${result?.kind ?? 'nothing'} instead of ${kind}`)
}

/** The bytes the operation moves, or what is wrong with it. The primary checks the same bounds. */
function checkOperation(objectName: string, namespace: string, ops: readonly ObjectOp[]): number {
  const nameBytes = utf8Encode(objectName).length
  if (nameBytes === 0 || nameBytes > objectNameBytesMax) {
    throw new ClusterError('EINVAL', `an object's name has 1 to ${objectNameBytesMax} bytes, not ${nameBytes}`)
  }
  if (utf8Encode(namespace).length > objectNamespaceBytesMax) {
    throw new ClusterError('EINVAL', `a namespace has at most ${objectNamespaceBytesMax} bytes`)
  }
  if (ops.length === 0 || ops.length > opLimits.stepsMax) {
    throw new ClusterError('EINVAL', `an operation has 1 to ${opLimits.stepsMax} steps, not ${ops.length}`)
  }
  let bytes = 0
  for (const op of ops) {
    if ('data' in op) bytes += op.data.length
    else if (op.kind === 'read' || op.kind === 'sparse-read') bytes += Math.min(op.length, opLimits.objectBytesMax)
  }
  if (bytes > opLimits.writeBytesMax && ops.some(isWriteOp)) {
    throw new ClusterError('E2BIG', `${bytes} bytes in one operation`, {
      hint: `at most ${opLimits.writeBytesMax}; split it`,
    })
  }
  return bytes
}
