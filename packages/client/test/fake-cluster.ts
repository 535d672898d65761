/**
 * OSDs in a few lines, over the simulated network: all share one set of objects, as if each write were replicated at
 * once. They refuse what an OSD must refuse: operations that are not theirs, or from before the present interval.
 */
import {
  type Address,
  address,
  type Env,
  type Epoch,
  type ErrorCode,
  entityName,
  errorTable,
  type OsdId,
  osdId,
  type PgId,
  type PoolId,
  pgSeed,
  poolId,
} from '@shoal/base'
import {
  applyIncremental,
  createOsdMap,
  isNewInterval,
  type OsdFlag,
  type OsdInfo,
  type OsdMap,
  type OsdMapIncremental,
  PlacementCache,
  type Pool,
  pgIdsOf,
  weightOne,
} from '@shoal/cluster-map'
import { addItem, createReplicatedRule, emptyCrushMap } from '@shoal/crush'
import { type LossySession, Messenger } from '@shoal/messenger'
import type { MonitorClient } from '@shoal/monitor-client'
import { SimWorld } from '@shoal/testkit'
import {
  type ClientOp,
  type ClientOpReply,
  decodeMessage,
  encodeMessage,
  isWriteOp,
  type ObjectOp,
  type ObjectOpResult,
  requestKey,
  zeroVersion,
} from '@shoal/wire'

const fsid = '5b0e4b2c-7d1f-4f5e-9d52-1c8f2f6f6a01'
export const pool1: PoolId = poolId(1)

export interface Received {
  readonly osd: OsdId
  readonly op: ClientOp
}

/** What becomes of an operation that is this OSD's to do. */
export type Fate = 'answer' | 'ignore' | 'lose-reply' | 'reset-before' | 'garbage' | { readonly fail: ErrorCode }

export class FakeCluster {
  readonly world: SimWorld
  readonly env: Env
  /** As the OSDs know it. The client hears of it by `publish`. */
  map: OsdMap
  /** Everything that reached an OSD, in order. */
  readonly received: Received[] = []
  /** Marks that were appended, by object, in the order in which they were applied. */
  readonly objects = new Map<string, number[]>()
  fate: (osd: OsdId, op: ClientOp) => Fate = () => 'answer'
  private readonly answered = new Map<string, readonly ObjectOpResult[]>()
  private readonly intervalStart = new Map<PgId, Epoch>()
  private readonly listeners = new Set<(map: OsdMap) => void>()
  private published: OsdMap
  private versions = 0

  private constructor(seed: number) {
    this.world = new SimWorld({ seed })
    this.env = this.world.machine('client').start()
    let crush = createReplicatedRule(emptyCrushMap(), { name: 'r', root: 'default', failureDomain: 'osd' })
    for (let id = 0; id < 3; id++) crush = addItem(crush, id, `osd.${id}`, 1, { root: 'default', host: `host-${id}` })
    this.map = createOsdMap(fsid, crush, 0)
    this.published = this.map
  }

  static async create(seed: number, pgNum: number): Promise<FakeCluster> {
    const cluster = new FakeCluster(seed)
    const osds = new Map<OsdId, OsdInfo>()
    for (let id = 0; id < 3; id++) osds.set(osdId(id), osdInfo(osdId(id), await cluster.startOsd(osdId(id))))
    cluster.change({ osds, pools: new Map([[pool1, replicatedPool(pool1, 'data', pgNum)]]) })
    cluster.publish()
    return cluster
  }

  change(change: Omit<OsdMapIncremental, 'fsid' | 'epoch' | 'modifiedMs'>): void {
    const before = this.map
    const epoch = (before.epoch + 1) as Epoch
    this.map = applyIncremental(before, { fsid, epoch, modifiedMs: epoch, ...change })
    const [old, now] = [new PlacementCache(before), new PlacementCache(this.map)]
    for (const pool of this.map.pools.values()) {
      const oldPool = before.pools.get(pool.id)
      for (const id of pgIdsOf(pool)) {
        const mapping = now.mapping(id)
        const isNew = oldPool === undefined || pgSeed(id) >= oldPool.pgNum
        const same = !isNew && !isNewInterval(id, { mapping: old.mapping(id), map: before }, { mapping, map: this.map })
        if (!same) this.intervalStart.set(id, epoch)
      }
    }
  }

  /** Splits the PGs of the pool. */
  split(pgNum: number): void {
    this.change({ pools: new Map([[pool1, replicatedPool(pool1, 'data', pgNum)]]) })
  }

  /** Tells the client the newest map. */
  publish(): void {
    if (this.published === this.map) return
    this.published = this.map
    for (const listener of this.listeners) listener(this.map)
  }

  setFlags(...flags: OsdFlag[]): void {
    this.change({ flags: new Set(flags) })
    this.publish()
  }

  /** Makes this OSD the primary of a PG. */
  movePrimary(id: PgId, to: number): void {
    const others = [0, 1, 2].filter((osd) => osd !== to)
    this.change({ pgTemp: new Map([[id, [to, ...others].map(osdId)]]) })
  }

  primaryOf(id: PgId): OsdId {
    return new PlacementCache(this.map).mapping(id).actingPrimary
  }

  get monitor(): MonitorClient {
    const published = (): OsdMap => this.published
    const monitor: Pick<MonitorClient, 'osdMap' | 'onOsdMap' | 'config' | 'onConfig' | 'waitForEpoch' | 'command'> = {
      config: undefined,
      onConfig: () => ({ cancel: () => undefined }),
      get osdMap() {
        return published()
      },
      onOsdMap: (listener) => {
        this.listeners.add(listener)
        return { cancel: () => this.listeners.delete(listener) }
      },
      waitForEpoch: async () => {
        this.publish()
        return this.map
      },
      command: async () => ({ status: '', data: { epoch: this.map.epoch } }),
    }
    return monitor as MonitorClient
  }

  get mapListeners(): number {
    return this.listeners.size
  }

  private async startOsd(osd: OsdId): Promise<Address> {
    const env = this.world.machine(`osd-${osd}`).start()
    const messenger = await Messenger.create(
      env,
      { name: entityName('osd', osd), nonce: osd + 1, fsid },
      {
        onSession: (session) => {
          session.onFrame = (frame) => {
            const op = decodeMessage(frame.type, frame.header, frame.payload)
            if (op.type === 'client-op') this.onOp(osd, session, op)
          }
        },
        onPeerFrame: () => undefined,
        onPeerReset: () => undefined,
      },
    )
    return messenger.bind(address(`osd-${osd}:6800`))
  }

  private onOp(osd: OsdId, session: LossySession, op: ClientOp): void {
    this.received.push({ osd, op })
    const fate = this.fate(osd, op)
    if (fate === 'ignore') return
    if (fate === 'reset-before') return session.close()
    if (fate === 'garbage') {
      session.send({ type: 17, tid: op.request.tid, traceId: 0, header: new Uint8Array([1, 2, 3]), payload: [] })
      return
    }
    if (typeof fate === 'object') return this.reply(session, op, fate.fail, [])
    if (this.primaryOf(op.pgId) !== osd || op.epoch < (this.intervalStart.get(op.pgId) ?? 0)) {
      return this.reply(session, op, 'ESTALE', [])
    }
    const results = this.apply(op)
    if (fate === 'lose-reply') session.close()
    else this.reply(session, op, undefined, results)
  }

  private apply(op: ClientOp): readonly ObjectOpResult[] {
    const key = requestKey(op.request)
    const known = this.answered.get(key)
    if (known !== undefined) return known
    const results = op.ops.map((step) => this.step(op, step))
    if (op.ops.some(isWriteOp)) this.answered.set(key, results)
    return results
  }

  private step(op: ClientOp, step: ObjectOp): ObjectOpResult {
    const { name } = op.object
    if (step.kind === 'append') {
      const marks = this.objects.get(name) ?? []
      marks.push(...step.data)
      this.objects.set(name, marks)
    } else if (step.kind === 'remove') {
      this.objects.delete(name)
    } else if (step.kind === 'read') {
      return { kind: 'data', data: Uint8Array.from(this.objects.get(name) ?? []) }
    } else if (step.kind === 'list-objects') {
      return this.page(op, step.after?.name, step.limit)
    }
    return { kind: 'none' }
  }

  private page(op: ClientOp, after: string | undefined, limit: number): ObjectOpResult {
    const { pgId, object } = op
    const inPg = [...this.objects.keys()].filter((name) => this.pgOf(name) === pgId).sort()
    const rest = inPg.filter((name) => after === undefined || name > after)
    const objects = rest.slice(0, limit).map((name) => ({ ...object, namespace: '', name }))
    return { kind: 'objects', objects, more: rest.length > limit }
  }

  private pgOf(name: string): PgId | undefined {
    return this.received.find(({ op }) => op.object.name === name)?.op.pgId
  }

  private reply(
    session: LossySession,
    op: ClientOp,
    code: ErrorCode | undefined,
    results: readonly ObjectOpResult[],
  ): void {
    const { request, pgId, attempt } = op
    const wrote = code === undefined && op.ops.some(isWriteOp)
    const reply: ClientOpReply = {
      type: 'client-op-reply',
      request,
      pgId,
      epoch: this.map.epoch,
      errno: code === undefined ? 0 : errorTable[code].errno,
      detail: '',
      results,
      version: wrote ? { epoch: this.map.epoch, version: ++this.versions } : zeroVersion,
      attempt,
    }
    session.send({ ...encodeMessage(reply), tid: request.tid, traceId: 0 })
  }
}

export function replicatedPool(id: PoolId, name: string, pgNum: number): Pool {
  const created = 1 as Epoch
  const placement = {
    type: 'replicated',
    size: 3,
    minSize: 2,
    pgNum,
    pgpNum: pgNum,
    crushRule: 0,
    hashPool: true,
  } as const
  return { id, name, ...placement, created, lastChange: created, applications: [], options: new Map() }
}

function osdInfo(id: OsdId, data: Address): OsdInfo {
  const none = 0 as Epoch
  return {
    id,
    uuid: `uuid-${id}`,
    up: true,
    weight: weightOne,
    autoOut: false,
    primaryAffinity: weightOne,
    addresses: { data, heartbeat: data, admin: data },
    incarnation: 1,
    upFrom: 1 as Epoch,
    upThru: 1 as Epoch,
    downAt: none,
    lostAt: none,
    lastCleanBegin: none,
    lastCleanEnd: none,
    features: 0,
    deviceClass: undefined,
  }
}
