/**
 * A pool in memory that several clients share, with what a lock needs: advisory locks, watch and notify, fences. Its OSDs are as
 * slow to learn of a fence as they may be: each object hears of it from the first operation that names the epoch.
 */
import { assert, ClusterError, type Epoch, emptyBytes, Prng, type Timers } from '@shoal/base'
import {
  type ChannelIo,
  channelQuiescer,
  type Fencer,
  ImageSession,
  type ImageSessionOptions,
  ImageStore,
  type ObjectIoOptions,
} from '@shoal/block'
import { SimTime, silentLog } from '@shoal/testkit'
import { isWriteOp, type NotifyOutcome, type ObjectLock, type ObjectOp, type ObjectOpResult } from '@shoal/wire'
import { MemoryObjects } from './memory-objects.ts'

const operationMs = 1

interface Watcher {
  readonly client: MemoryClient
  readonly handlers: Parameters<ChannelIo['watch']>[1]
}

type LockStep = Extract<ObjectOp, { kind: `${string}lock${string}` }>

export class MemoryCluster {
  readonly time: SimTime = new SimTime()
  readonly timers: Timers
  readonly objects: MemoryObjects = new MemoryObjects()
  readonly watchers = new Map<string, Set<Watcher>>()
  readonly locks = new Map<string, ObjectLock>()
  readonly fences = new Map<number, number>()
  epoch = 1
  private readonly epochOfObject = new Map<string, number>()
  private sessions = 100

  /** Virtual time when left out. */
  constructor(timers?: Timers) {
    this.timers = timers ?? this.time.timers
  }

  client(): MemoryClient {
    return new MemoryClient(this, ++this.sessions)
  }

  /** At the OSD: in one piece. */
  apply(
    client: MemoryClient,
    epoch: number,
    name: string,
    ops: readonly ObjectOp[],
    options: ObjectIoOptions,
  ): Promise<Results> {
    const heard = Math.max(this.epochOfObject.get(name) ?? 0, epoch)
    this.epochOfObject.set(name, heard)
    const fence = this.fences.get(client.session)
    if (fence !== undefined && heard >= fence) throw new ClusterError('ESHUTDOWN', 'fenced')
    let lock = this.locks.get(name)
    let listed: ObjectOpResult | undefined
    const rest: ObjectOp[] = []
    for (const op of ops) {
      if (!op.kind.includes('lock')) {
        rest.push(op)
        continue
      }
      if (op.kind === 'list-locks') listed = { kind: 'locks', locks: lock === undefined ? [] : [lock] }
      else lock = lockAfter(lock, op as LockStep, client.session)
    }
    const done = this.objects.execute(name, rest, options)
    return done.then((results) => {
      if (lock === undefined) this.locks.delete(name)
      else this.locks.set(name, lock)
      return listed === undefined ? results : { results: [listed] }
    })
  }
}

type Results = { readonly results: readonly ObjectOpResult[] }

function lockAfter(lock: ObjectLock | undefined, op: LockStep, session: number): ObjectLock | undefined {
  const holder = lock?.holders[0]
  const isHolder = (client: number, cookie: string): boolean => holder?.client === client && holder.cookie === cookie
  switch (op.kind) {
    case 'assert-locked':
      if (!isHolder(session, op.cookie)) throw new ClusterError('EBUSY', 'not held')
      return lock
    case 'lock':
      if (holder !== undefined && !isHolder(session, op.cookie)) throw new ClusterError('EBUSY', 'held')
      return {
        name: op.name,
        mode: op.mode,
        tag: op.tag,
        holders: [{ client: session, cookie: op.cookie, description: op.description, expiresMs: 0 }],
      }
    case 'unlock':
    case 'break-lock':
      if (!isHolder(op.kind === 'unlock' ? session : op.client, op.cookie)) throw new ClusterError('ENOENT', 'not held')
      return undefined
    default:
      throw new ClusterError('EOPNOTSUPP', op.kind)
  }
}

/** One client process. */
export class MemoryClient implements ChannelIo, Fencer {
  readonly session: number
  /** What it sends now takes so much longer to arrive. */
  delayMs = 0
  /** It neither hears nor answers notifies. */
  isDeaf = false
  /** After so many changes the client is dead. */
  mutationsLeft: number = Number.POSITIVE_INFINITY
  epoch: number
  private readonly cluster: MemoryCluster
  private readonly random: Prng

  constructor(cluster: MemoryCluster, session: number) {
    this.random = new Prng(session)
    this.cluster = cluster
    this.session = session
    this.epoch = cluster.epoch
  }

  get env(): ImageSessionOptions['env'] {
    const { time, timers } = this.cluster
    return {
      clock: { monotonicMs: () => time.nowMs, wallMs: () => time.nowMs },
      timers,
      random: this.random,
      log: silentLog,
    }
  }

  get store(): ImageStore {
    return new ImageStore(this.env, this, channelQuiescer(this.env, this, this))
  }

  async open(name: string, options: Partial<ImageSessionOptions> = {}): Promise<ImageSession> {
    return ImageSession.open(await this.store.open(name), { env: this.env, io: this, fencer: this, ...options })
  }

  async execute(name: string, ops: readonly ObjectOp[], options: ObjectIoOptions = {}): Promise<Results> {
    const { epoch } = this
    if (ops.some(isWriteOp)) this.mutationsLeft--
    if (this.mutationsLeft < 0) throw new ClusterError('ESHUTDOWN', 'crashed')
    await this.sleep(operationMs + this.delayMs)
    return this.cluster.apply(this, epoch, name, ops, options)
  }

  createSelfManagedSnapshot(): Promise<number> {
    return this.cluster.objects.createSelfManagedSnapshot()
  }

  removeSelfManagedSnapshot(snap: number): Promise<void> {
    return this.cluster.objects.removeSelfManagedSnapshot(snap)
  }

  async watch(name: string, handlers: Parameters<ChannelIo['watch']>[1]): Promise<{ close(): Promise<void> }> {
    await this.sleep(operationMs)
    const watcher: Watcher = { client: this, handlers }
    const watchers = this.cluster.watchers.get(name) ?? new Set()
    this.cluster.watchers.set(name, watchers.add(watcher))
    return { close: async () => void watchers.delete(watcher) }
  }

  async notify(name: string, data: Uint8Array, timeoutMs: number): Promise<NotifyOutcome> {
    await this.sleep(operationMs)
    const acks: { client: number; cookie: number; data: Uint8Array }[] = []
    const timedOut: { client: number; cookie: number }[] = []
    const watchers = [...(this.cluster.watchers.get(name) ?? [])]
    await Promise.all(
      watchers.map(async ({ client, handlers }, cookie) => {
        const silence = this.sleep(timeoutMs).then(() => undefined)
        const answer = client.isDeaf
          ? silence
          : Promise.race([silence, handlers.onNotify({ notifier: this.session, data }) ?? emptyBytes])
        const said = await answer
        if (said === undefined) timedOut.push({ client: client.session, cookie })
        else acks.push({ client: client.session, cookie, data: said })
      }),
    )
    return { notifyId: 1, acks, timedOut }
  }

  async fence(session: number): Promise<Epoch> {
    assert(session !== this.session, 'nobody fences itself')
    await this.sleep(operationMs)
    this.epoch = ++this.cluster.epoch
    this.cluster.fences.set(session, this.epoch)
    return this.epoch as Epoch
  }

  async waitForMap(epoch: Epoch): Promise<void> {
    await this.sleep(operationMs)
    this.epoch = Math.max(this.epoch, epoch)
  }

  pool(): this {
    return this
  }

  withTimeout(): this {
    return this
  }

  async close(): Promise<void> {
    this.isDeaf = true
  }

  private sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.cluster.timers.after(ms, resolve))
  }
}
