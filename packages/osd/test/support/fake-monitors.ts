/**
 * Monitors in a few lines, for tests of OSDs alone: one OSD map, every request granted at once, in a later turn. Failure
 * reports count when they name a refused connection or come from every other OSD that is up.
 */
import { ClusterError, type Env, type Epoch, type OsdId, type PgId, type PoolId, pgPool } from '@shoal/base'
import {
  applyIncremental,
  createOsdMap,
  erasurePoolOptions,
  type MonitorMap,
  type OsdFlag,
  type OsdInfo,
  type OsdMap,
  type OsdMapIncremental,
  type PgStats,
  type Pool,
  pgIdsOf,
  poolQuotaOf,
  type QuotaAnswer,
  type QuotaAsk,
  weightOne,
} from '@shoal/cluster-map'
import { addItem, createErasureRule, createReplicatedRule, emptyCrushMap, ruleIdOf } from '@shoal/crush'
import type {
  ClusterLogEntry,
  CommandReply,
  EffectiveConfig,
  FailureReport,
  MapSubscription,
  MonitorClient,
  MonitorCommand,
  OsdBoot,
  StatsReport,
} from '@shoal/monitor-client'

const fsid = '6f1a2b3c-0000-4000-8000-00000000000f'
const none = 0 as Epoch

type Change = Omit<OsdMapIncremental, 'fsid' | 'epoch' | 'modifiedMs'>

export class FakeMonitors {
  map: OsdMap
  readonly logEntries: ClusterLogEntry[] = []
  readonly pgStats = new Map<PgId, PgStats>()
  readonly reports: FailureReport[] = []
  readonly osdReports: StatsReport[] = []
  readonly listeners = new Set<(map: OsdMap) => void>()
  readonly configListeners = new Set<(config: EffectiveConfig) => void>()
  readonly history = new Map<Epoch, OsdMap>()
  private readonly env: Env
  private readonly accusers = new Map<OsdId, Set<OsdId>>()

  constructor(env: Env, osds: number) {
    this.env = env
    let crush = createReplicatedRule(emptyCrushMap(), {
      name: 'replicated_rule',
      root: 'default',
      failureDomain: 'osd',
    })
    for (let id = 0; id < osds; id++)
      crush = addItem(crush, id, `osd.${id}`, 1, { root: 'default', host: `host-${id}` })
    this.map = createOsdMap(fsid, crush, env.clock.wallMs())
    this.history.set(this.map.epoch, this.map)
  }

  /** For a process with this Env: it hears nothing any more once the process is dead. */
  client(env: Env): MonitorClient {
    return new FakeMonitorClient(env, this)
  }

  change(change: Change): void {
    const epoch = (this.map.epoch + 1) as Epoch
    this.map = applyIncremental(this.map, { fsid, epoch, modifiedMs: this.env.clock.wallMs(), ...change })
    this.history.set(epoch, this.map)
    for (const listener of [...this.listeners]) listener(this.map)
  }

  setOsd(id: OsdId, change: Partial<OsdInfo>): void {
    const info = this.map.osds.get(id)
    if (info !== undefined) this.change({ osds: new Map([[id, { ...info, ...change }]]) })
  }

  setFlags(...flags: OsdFlag[]): void {
    this.change({ flags: new Set(flags) })
  }

  /** `profile`: of an erasure-coded pool, as words. */
  createPool(name: string, pgNum: number, size: number, minSize: number, profile?: readonly string[]): PoolId {
    const crush =
      profile === undefined
        ? undefined
        : createErasureRule(this.map.crush, { name, root: 'default', failureDomain: 'osd' }, size)
    const id = (this.map.poolIdMax + 1) as PoolId
    const pool: Pool = {
      id,
      name,
      type: profile === undefined ? 'replicated' : 'erasure',
      size,
      minSize,
      pgNum,
      pgpNum: pgNum,
      crushRule: crush === undefined ? 0 : (ruleIdOf(crush, name) as number),
      hashPool: true,
      created: (this.map.epoch + 1) as Epoch,
      lastChange: (this.map.epoch + 1) as Epoch,
      applications: [],
      options: profile === undefined ? new Map() : erasurePoolOptions(name, profile),
    }
    this.change({ pools: new Map([[id, pool]]), poolIdMax: id, ...(crush === undefined ? {} : { crush }) })
    return id
  }

  setPool(id: PoolId, change: Partial<Pool>): void {
    const pool = this.map.pools.get(id) as Pool
    this.change({ pools: new Map([[id, { ...pool, ...change, lastChange: (this.map.epoch + 1) as Epoch }]]) })
  }

  /** For pools of one placement group, which may have all of the quota: what is wanted, to the byte. */
  answerQuota({ pgId, since, sequence, held, wanted }: QuotaAsk): QuotaAnswer {
    const { maxBytes, maxObjects } = poolQuotaOf(this.map.pools.get(pgPool(pgId))) ?? { maxBytes: 0, maxObjects: 0 }
    const fits = (limit: number, now: number, then: number): boolean => limit === 0 || then <= now || then <= limit
    const granted = fits(maxBytes, held.bytes, wanted.bytes) && fits(maxObjects, held.objects, wanted.objects)
    return { pgId, since, sequence, verdict: granted ? 'granted' : 'refused', held: granted ? wanted : held }
  }

  removePool(id: PoolId): void {
    this.change({ pools: new Map([[id, null]]) })
  }

  markDown(id: OsdId): void {
    this.setOsd(id, { up: false, downAt: (this.map.epoch + 1) as Epoch })
  }

  register(id: OsdId, uuid: string): void {
    const known = this.map.osds.get(id)
    if (known !== undefined && known.uuid !== '' && known.uuid !== uuid) {
      throw new ClusterError('EEXIST', `osd.${id} belongs to another store`, { hint: `shoal osd destroy ${id}` })
    }
    if (known?.uuid === uuid) return
    const info: OsdInfo = known ?? {
      id,
      uuid,
      up: false,
      weight: weightOne,
      autoOut: false,
      primaryAffinity: weightOne,
      addresses: undefined,
      incarnation: 0,
      upFrom: none,
      upThru: none,
      downAt: none,
      lostAt: none,
      lastCleanBegin: none,
      lastCleanEnd: none,
      features: 0,
      deviceClass: undefined,
    }
    this.change({ osds: new Map([[id, { ...info, uuid }]]) })
  }

  destroy(id: OsdId): void {
    this.setOsd(id, { uuid: '', lostAt: (this.map.epoch + 1) as Epoch })
  }

  boot(boot: OsdBoot): void {
    this.register(boot.osd, boot.uuid)
    const info = this.map.osds.get(boot.osd)
    if (info === undefined || (info.up && info.incarnation === boot.incarnation)) return
    if (info.up) return this.markDown(boot.osd)
    if (this.map.flags.has('noup')) return
    const { addresses, incarnation, features } = boot
    this.setOsd(boot.osd, { up: true, addresses, incarnation, features, upFrom: (this.map.epoch + 1) as Epoch })
  }

  reportFailure(report: FailureReport): void {
    this.reports.push(report)
    const failed = this.map.osds.get(report.failed)
    if (failed?.up !== true || failed.incarnation !== report.incarnation || this.map.flags.has('nodown')) return
    const accusers = this.accusers.get(report.failed) ?? new Set<OsdId>()
    this.accusers.set(report.failed, accusers)
    if (report.retracted) accusers.delete(report.reporter)
    else accusers.add(report.reporter)
    const others = [...this.map.osds.values()].filter((osd) => osd.up && osd.id !== report.failed)
    if (!report.refused && !others.every((osd) => accusers.has(osd.id))) return
    this.accusers.delete(report.failed)
    this.markDown(report.failed)
  }

  reportStats(report: StatsReport): void {
    this.osdReports.push(report)
    for (const stats of report.pgs) this.pgStats.set(stats.pgId, stats)
  }

  /** Whether the acting primary of every PG of the pool reported these states, under a map no older than the last change. */
  allPgs(pool: PoolId, ...states: readonly string[]): boolean {
    const found = this.map.pools.get(pool)
    if (found === undefined) return false
    return pgIdsOf(found).every((pgId) => {
      const stats = this.pgStats.get(pgId)
      if (stats === undefined || this.map.osds.get(stats.actingPrimary)?.up !== true) return false
      return stats.states.length === states.length && states.every((state) => stats.states.some((has) => has === state))
    })
  }
}

class FakeMonitorClient implements MonitorClient {
  readonly monitorMap: MonitorMap | undefined = undefined
  config: EffectiveConfig | undefined
  readonly leaderTerm = 1
  private readonly env: Env
  private readonly monitors: FakeMonitors
  private readonly own = new Set<(map: OsdMap) => void>()
  private closed = false

  constructor(env: Env, monitors: FakeMonitors) {
    this.env = env
    this.monitors = monitors
  }

  get osdMap(): OsdMap {
    return this.monitors.map
  }

  async start(): Promise<void> {}

  async close(): Promise<void> {
    this.closed = true
    for (const listener of this.own) this.monitors.listeners.delete(listener)
  }

  onOsdMap(listener: (map: OsdMap) => void): MapSubscription {
    const later = (map: OsdMap) =>
      this.env.timers.after(1, () => {
        if (!this.closed) listener(map)
      })
    this.monitors.listeners.add(later)
    this.own.add(later)
    return { cancel: () => this.monitors.listeners.delete(later) }
  }

  onConfig(listener: (config: EffectiveConfig) => void): MapSubscription {
    const entry = (config: EffectiveConfig) => {
      this.config = config
      listener(config)
    }
    this.monitors.configListeners.add(entry)
    return { cancel: () => this.monitors.configListeners.delete(entry) }
  }

  onNewLeader(): MapSubscription {
    return { cancel: () => undefined }
  }

  async waitForEpoch(epoch: Epoch): Promise<OsdMap> {
    if (this.monitors.map.epoch < epoch) throw new ClusterError('ETIMEDOUT', 'no such map')
    return this.monitors.map
  }

  async osdMapAt(epoch: Epoch): Promise<OsdMap> {
    const map = this.monitors.history.get(epoch)
    if (map === undefined) throw new ClusterError('ENOENT', `epoch ${epoch} is trimmed`)
    return map
  }

  async command(command: MonitorCommand): Promise<CommandReply> {
    if (command.prefix === 'osd pool quota-share') {
      return { status: '', data: (command['asks'] as readonly QuotaAsk[]).map((ask) => this.monitors.answerQuota(ask)) }
    }
    if (command.prefix !== 'osd new') throw new ClusterError('EOPNOTSUPP', command.prefix)
    this.monitors.register(command['id'] as OsdId, command['uuid'] as string)
    return { status: 'registered', data: { osd: command['id'] } }
  }

  boot(boot: OsdBoot): Promise<void> {
    return new Promise((resolve, reject) => {
      this.tell(() => {
        try {
          this.monitors.boot(boot)
          resolve()
        } catch (error) {
          reject(error as Error)
        }
      })
    })
  }

  async shutdown(osd: OsdId, incarnation: number): Promise<void> {
    if (this.monitors.map.osds.get(osd)?.incarnation === incarnation) this.monitors.markDown(osd)
  }

  reportFailure(report: FailureReport): void {
    this.tell(() => this.monitors.reportFailure(report))
  }

  requestUpThru(osd: OsdId, epoch: Epoch): void {
    this.tell(() => {
      const info = this.monitors.map.osds.get(osd)
      if (info?.up === true && info.upThru < epoch) this.monitors.setOsd(osd, { upThru: epoch })
    })
  }

  requestPgTemp(pgTemp: ReadonlyMap<PgId, readonly OsdId[]>): void {
    this.tell(() => {
      const entries = [...pgTemp].map(([pgId, osds]) => [pgId, osds.length === 0 ? null : osds] as const)
      const present = entries.filter(([pgId, osds]) => osds !== null || this.monitors.map.pgTemp.has(pgId))
      if (present.length > 0) this.monitors.change({ pgTemp: new Map(present) })
    })
  }

  reportStats(report: StatsReport): void {
    this.tell(() => this.monitors.reportStats(report))
  }

  log(entry: ClusterLogEntry): void {
    this.monitors.logEntries.push(entry)
  }

  private tell(run: () => void): void {
    this.env.timers.after(1, () => {
      if (!this.closed) run()
    })
  }
}
