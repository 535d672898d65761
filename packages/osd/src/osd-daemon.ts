/**
 * The OSD: wires store, placement groups, clients, peers, heartbeats and monitors together, and owns start and stop.
 *
 * Start: superblock and store -> stored maps -> placement groups -> listeners -> maps of the monitors -> boot.
 * Stop: goodbye to the monitors (peers begin a new interval at once) -> operations under way -> listeners -> store.
 *
 * Invariant 1: a map is handed to the store before any placement group sees it: what a PG writes about an epoch is never
 *              durable before the map of that epoch is.
 * Invariant 2: within one turn, placement groups and heartbeats see the same map.
 */
import {
  type Address,
  address,
  ClusterError,
  type Env,
  type Epoch,
  entityName,
  isClusterError,
  type OsdId,
  type PgId,
  pgShard,
  wholePgId,
} from '@shoal/base'
import { type OsdAddresses, type OsdMap, type OsdStats, type PgStats, poolCompressions } from '@shoal/cluster-map'
import { Messenger } from '@shoal/messenger'
import {
  type AdminHandlers,
  type AdminServer,
  crashHandlers,
  DaemonConfig,
  followLogLevels,
  logHandlers,
  osdOptions,
} from '@shoal/monitor-client'
import { memberOf, PlacementGroup, type ScrubRequest } from '@shoal/placement-group'
import { adminHandlers } from './admin-handlers.ts'
import { BootDriver } from './boot-driver.ts'
import { ClientDispatcher } from './client-dispatcher.ts'
import { ClientSessions } from './client-sessions.ts'
import { chooseHeartbeatPeers } from './heartbeat-peers.ts'
import { HeartbeatService } from './heartbeat-service.ts'
import { LeaseTable } from './lease-table.ts'
import { LogChannel } from './log-channel.ts'
import { MapFeed } from './map-feed.ts'
import { MapStore } from './map-store.ts'
import { MonitorRequests } from './monitor-requests.ts'
import { OpScheduler } from './op-scheduler.ts'
import { OpTracker } from './op-tracker.ts'
import type { OsdDaemonOptions, OsdParts, OsdStore } from './osd-options.ts'
import { PeerLinks } from './peer-links.ts'
import { PerfCounters } from './perf-counters.ts'
import { pgSettings } from './pg-log-budget.ts'
import { mappingIfPresent } from './pg-mapping.ts'
import type { PgServices } from './pg-services.ts'
import { PgTable } from './pg-table.ts'
import { type PreparedOsd, prepareOsd } from './prepare.ts'
import { QuotaRequests } from './quota-requests.ts'
import { Reservers } from './reservers.ts'
import type { OsdSettings } from './settings.ts'
import { shardLeases, shardSpace } from './shard-services.ts'
import { SpaceWatch } from './space-watch.ts'
import { StatsReporter } from './stats-reporter.ts'

const drainMsMax = 2_000
const drainPollMs = 20
/** Placement groups look at them only when a scrub is due, or at a new map. */
const scheduleOptions = [
  'osd_scrub_min_interval',
  'osd_scrub_max_interval',
  'osd_deep_scrub_interval',
  'osd_scrub_interval_randomize_ratio',
]

interface ConfiguredOsd extends PreparedOsd {
  readonly config: DaemonConfig<OsdSettings>
}

export class OsdDaemon {
  private readonly env: Env
  private readonly options: OsdDaemonOptions
  private readonly parts: OsdParts
  private readonly whoami: OsdId
  private readonly incarnation: number
  private readonly config: DaemonConfig<OsdSettings>
  /** The newest values at any time: read at use. */
  private readonly settings: OsdSettings
  private readonly store: OsdStore
  private readonly uuid: string
  private readonly counters = new PerfCounters()
  private readonly tracker: OpTracker
  private readonly scheduler: OpScheduler
  private readonly reservers: Reservers
  private readonly logChannel: LogChannel
  private readonly leases: LeaseTable
  private readonly space: SpaceWatch
  private readonly boot: BootDriver
  private readonly requests: MonitorRequests
  private readonly quotas: QuotaRequests
  private readonly stats: StatsReporter
  private readonly links: PeerLinks
  private readonly sessions: ClientSessions
  private readonly table: PgTable
  private readonly dispatcher: ClientDispatcher
  private readonly maps: MapStore
  private readonly heartbeats: HeartbeatService
  private readonly fsid: string
  private feed: MapFeed | undefined
  private messenger: Messenger | undefined
  private admin: AdminServer | undefined
  private addresses: OsdAddresses | undefined
  private stopped = false
  /** Algorithms that pools want and this machine has not, as far as told. */
  private readonly uncompressible = new Set<string>()
  private scrubbingOwn = false

  private constructor(env: Env, options: OsdDaemonOptions, parts: OsdParts, prepared: ConfiguredOsd) {
    this.env = env
    this.options = options
    this.parts = parts
    this.whoami = options.id
    this.incarnation = env.random.uint53() || 1
    this.config = prepared.config
    this.settings = this.config.settings
    this.store = prepared.store
    this.uuid = prepared.superblock.uuid
    this.fsid = prepared.superblock.fsid
    const { settings, whoami, incarnation, counters } = this
    const nowMs = env.clock.monotonicMs()
    this.tracker = new OpTracker(settings)
    this.scheduler = new OpScheduler(env, settings, () => this.sessions.inFlight.ops)
    this.reservers = new Reservers(settings)
    this.logChannel = new LogChannel(env, parts.monitor, entityName('osd', whoami))
    this.leases = new LeaseTable(settings.osd_read_lease * 1000, prepared.isNew ? undefined : nowMs)
    this.space = new SpaceWatch(env, this.store, {
      whoami,
      settings,
      clientBytes: () => this.sessions.spaceBytes,
    })
    this.boot = new BootDriver(env, {
      whoami,
      uuid: this.uuid,
      incarnation,
      place: options,
      settings,
      monitor: parts.monitor,
      logChannel: this.logChannel,
      map: () => this.table.placement?.map,
      addresses: () => this.addresses,
      totalBytes: () => this.store.usage().totalBytes,
      isHealthy: () => this.heartbeats.isHealthy(),
      onUp: () => this.stats.reportAll(),
    })
    this.requests = new MonitorRequests(env, parts.monitor, whoami)
    this.quotas = new QuotaRequests(env, parts.monitor, (answer) =>
      this.table.find(answer.pgId)?.feed({ kind: 'quota-answer', answer }),
    )
    this.stats = new StatsReporter(env, settings, (pgs) => this.sendStats(pgs))
    this.links = new PeerLinks(env.log.child('peers'), (from, message) => this.table.deliver(from, message))
    this.sessions = new ClientSessions(env, {
      settings,
      tracker: this.tracker,
      counters,
      onOp: (session, op, bytes) => this.dispatcher.onOp(session, op, bytes),
      onDone: () => this.scheduler.onClientDone(),
      onClosed: (session, pgs) => this.onSessionClosed(session, pgs),
    })
    this.table = this.makeTable()
    this.dispatcher = new ClientDispatcher({
      whoami,
      table: this.table,
      counters,
      scheduler: this.scheduler,
      isTracked: (session, op) => this.sessions.isTracked(session, op),
      reply: (session, reply) => this.sessions.reply(session, reply),
    })
    this.maps = new MapStore(this.store, () => settings.osd_map_keep, env.log.child('maps'))
    this.heartbeats = new HeartbeatService(env, {
      whoami,
      incarnation,
      fsid: this.fsid,
      security: options.security,
      settings,
      counters,
      leases: this.leases,
      roomBytes: () => this.space.roomBytes,
      onRoom: (peer, roomBytes) => this.space.onRoom(peer, roomBytes),
      onReport: (report) =>
        parts.monitor.reportFailure({
          ...report,
          failed: report.osd,
          reporter: whoami,
          epoch: this.table.placement?.map.epoch ?? (0 as Epoch),
        }),
    })
    this.config.onChange((changed) => this.guarded(() => this.onConfigChange(changed), 'settings'))
  }

  /**
   * Makes the directory an OSD if it is not one, joins the cluster and boots. Resolves once it listens; the monitors mark
   * it up a moment later. Rejects with EINVAL, EEXIST, EIO, EBUSY, ENOQUORUM, each with what to do.
   */
  static async start(env: Env, options: OsdDaemonOptions, parts: OsdParts): Promise<OsdDaemon> {
    const config = new DaemonConfig(osdOptions, options.settings ?? {}, env.log)
    followLogLevels(config, parts.log)
    parts.monitor.onConfig((effective) => config.apply(effective))
    await parts.monitor.start()
    config.started()
    try {
      const prepared = await prepareOsd(env, options, parts, config.settings)
      const daemon = new OsdDaemon(env, options, parts, { ...prepared, config })
      await daemon.run()
      return daemon
    } catch (error) {
      await parts.monitor.close()
      throw error
    }
  }

  /** Where it listens; defined once started. */
  get listening(): OsdAddresses {
    if (this.addresses === undefined) throw new ClusterError('EAGAIN', `osd.${this.whoami} does not listen yet`)
    return this.addresses
  }

  get isUp(): boolean {
    return this.boot.state === 'up'
  }

  async stop(): Promise<void> {
    if (this.stopped) return
    this.stopped = true
    await this.boot.goodbye()
    await this.drain()
    this.stats.stop()
    this.requests.stop()
    this.quotas.stop()
    await this.feed?.stop()
    await this.admin?.close()
    await this.messenger?.close()
    await this.heartbeats.stop()
    this.scheduler.stop()
    this.table.close()
    await this.store.close()
    await this.parts.monitor.close()
  }

  // Start

  private async run(): Promise<void> {
    const { env, parts, settings } = this
    const damaged = this.store.lostTransactions === true
    if (damaged) {
      this.logChannel.write(
        'error',
        'the journal was damaged: acknowledged writes are missing here; comparing every object with its other copies',
        true,
      )
    }
    const oldest = await this.table.load(damaged)
    // Only now: a crash before it begins again with every copy distrusted.
    if (damaged) await this.store.clearDamage?.()
    const newest = await this.maps.load(oldest ?? (Number.MAX_SAFE_INTEGER as Epoch), async (map) => {
      await this.table.prepare(map, () => undefined)
      this.table.onMap(map, false)
    })
    this.addresses = await this.listen()
    env.log.info('osd starts', {
      uuid: this.uuid,
      incarnation: this.incarnation,
      pgs: this.table.size,
      newestMap: newest?.epoch ?? 0,
      oldestPgMap: oldest ?? 0,
      heartbeatMs: settings.osd_heartbeat_interval * 1000,
    })
    const feed = new MapFeed(env, parts.monitor, newest?.epoch ?? (0 as Epoch), {
      prepare: (map) => this.table.prepare(map, () => this.storeMap(map)),
      onMap: (map, latest) => this.onMap(map, latest),
      onCurrent: () => this.onCurrent(),
    })
    this.feed = feed
    parts.monitor.onOsdMap((map) => this.guarded(() => feed.push(map)))
    parts.monitor.onNewLeader(() => this.guarded(() => this.table.onNewLeader()))
    const { osdMap } = parts.monitor
    if (osdMap !== undefined) this.guarded(() => feed.push(osdMap))
    this.boot.poll()
  }

  private async listen(): Promise<OsdAddresses> {
    const { env, whoami, incarnation, fsid, links } = this
    const any: Address = address(`${this.options.bindHost}:0`)
    this.messenger = await Messenger.create(
      env,
      {
        name: entityName('osd', whoami),
        nonce: incarnation,
        fsid,
        featuresSupported: 0,
        security: this.options.security,
      },
      {
        onSession: (session) => this.sessions.add(session),
        onPeerFrame: (peer, frame) => links.onFrame(peer, frame),
        onPeerReset: (peer) => links.onPeerReset(peer),
      },
    )
    links.attach(this.messenger)
    const data = await this.messenger.bind(any)
    const heartbeat = await this.heartbeats.start(any)
    this.admin = await this.parts.admin.serve(any, this.adminHandlers())
    return { data, heartbeat, admin: this.admin.address }
  }

  private makeTable(): PgTable {
    const { env, whoami, leases, space } = this
    const settings = pgSettings(this.settings, () => this.table.size, this.store.transactionBytesMax)
    return new PgTable({
      whoami,
      services: this.pgServices(),
      createMachine: (pgId, stored, lastMap) => {
        const shard = pgShard(pgId)
        const own =
          shard === undefined
            ? { whoami, leases, space }
            : {
                whoami: memberOf(whoami, shard),
                leases: shardLeases(leases, whoami),
                space: shardSpace(space, whoami),
              }
        const last = lastMap === undefined ? {} : { lastMap }
        return new PlacementGroup({ pgId, ...own, settings, stored, clock: env.clock, ...last })
      },
      onIntervalsEnded: (pgs) => {
        this.sessions.dropOpsOf(pgs)
        const { placement } = this.table
        if (placement !== undefined) this.requests.onMap(placement.map, pgs)
      },
      onNotPrimary: (pgId) => this.stats.forget(pgId),
    })
  }

  private pgServices(): PgServices {
    const { env, store, counters, scheduler, reservers, space, links, sessions, stats, requests, quotas } = this
    return {
      env,
      store,
      counters,
      scheduler,
      reservers,
      send: (to, message) => links.send(to, message),
      reply: (session, reply) => sessions.reply(session, reply),
      sendEvent: (session, event) => sessions.sendEvent(session, event),
      park: (session, tid) => sessions.park(session, tid),
      mark: (session, tid, stage) => sessions.mark(session, tid, stage),
      publishStats: (published) => stats.publish(published),
      askQuota: (ask) => quotas.ask(ask),
      requestUpThru: (epoch) => requests.requestUpThru(epoch),
      requestPgTemp: (pgId, osds) => requests.requestPgTemp(pgId, osds),
      log: (pgId, level, message, cluster) => this.logChannel.write(level, `${pgId} ${message}`, cluster),
      space,
      scrubOwnRecords: () => this.scrubOwnRecords(),
      removed: (pgId) => {
        this.table.remove(pgId)
        if (this.table.find(wholePgId(pgId)) === undefined) stats.forget(wholePgId(pgId))
        stats.touch()
      },
    }
  }

  // Maps

  /** Invariant 1. */
  private storeMap(map: OsdMap): void {
    if (map.fsid !== this.fsid) this.env.abort(`the monitors are of cluster ${map.fsid}, not ${this.fsid}`)
    if (map.epoch <= this.maps.newestEpoch) return
    this.maps.add(map).catch((error: unknown) => {
      if (!isClusterError(error)) this.env.abort('a map cannot be stored', error)
      this.env.log.error('a map cannot be stored', { epoch: map.epoch, error: error.message })
    })
  }

  private onMap(map: OsdMap, latest: boolean): void {
    this.storeMap(map)
    this.setCompression(map)
    this.links.onMap(map)
    this.table.onMap(map, latest)
    const { placement } = this.table
    if (placement === undefined) return
    this.stats.onMap(map)
    this.choosePeers(placement)
    this.dispatcher.onMap()
    this.links.deliverWaiting()
    if (latest) this.boot.onLatestMap(map)
  }

  private setCompression(map: OsdMap): void {
    const pools = poolCompressions(map.pools)
    this.store.setCompression?.(pools)
    for (const [pool, { algorithm }] of pools) {
      if (this.env.compression.supports(algorithm) || this.uncompressible.has(algorithm)) continue
      this.uncompressible.add(algorithm)
      this.logChannel.write(
        'warn',
        `pool ${pool} wants ${algorithm}, which this Node does not have: its writes are stored as they are`,
        true,
      )
    }
  }

  private choosePeers(placement: NonNullable<PgTable['placement']>): void {
    const { map } = placement
    const { osd_heartbeat_min_peers } = this.settings
    const peers = chooseHeartbeatPeers(map, placement, this.whoami, this.table.ids, osd_heartbeat_min_peers)
    this.space.onMap(map, peers.length)
    this.heartbeats.setPeers(map, peers)
  }

  /** Most settings are read at use; these are held by somebody. */
  private onConfigChange(changed: ReadonlySet<string>): void {
    this.reservers.onConfigChange(changed)
    if ([...changed].some((name) => name.startsWith('osd_mclock_'))) this.scheduler.onSettings()
    if (scheduleOptions.some((name) => changed.has(name))) {
      for (const pgId of this.table.ids) this.table.find(pgId)?.feed({ kind: 'scrub-schedule' })
    }
    const { placement } = this.table
    if (changed.has('osd_heartbeat_min_peers') && placement !== undefined) this.choosePeers(placement)
  }

  /** The newest map of the monitors is one that was stored before the restart. */
  private onCurrent(): void {
    this.table.activate()
  }

  // Stop

  /** Waits for what is under way, within bounds: clients send again elsewhere what is left. */
  private async drain(): Promise<void> {
    const deadlineMs = this.env.clock.monotonicMs() + drainMsMax
    while (this.tracker.size > 0 && this.env.clock.monotonicMs() < deadlineMs) {
      await new Promise<void>((resolve) => this.env.timers.after(drainPollMs, resolve))
    }
  }

  // Reports

  private sendStats(pgs: readonly PgStats[]): void {
    if (!this.isUp) return
    this.parts.monitor.reportStats({
      osd: this.osdStats(),
      incarnation: this.incarnation,
      epoch: this.table.placement?.map.epoch ?? (0 as Epoch),
      pgs,
    })
  }

  private osdStats(): OsdStats {
    const usage = this.space.usage()
    const { counters } = this
    const compression = [...(this.store.compressionUsage?.() ?? [])].map(([pool, sums]) => ({ pool, ...sums }))
    return {
      ...(compression.length === 0 ? {} : { compression }),
      osd: this.whoami,
      totalBytes: usage.totalBytes,
      usedBytes: usage.usedBytes,
      metadataBytes: usage.metadataBytes,
      pgs: this.table.size,
      commitLatencyMs: counters.commitLatencyUs.summary().mean / 1000,
      applyLatencyMs: counters.storeReadLatencyUs.summary().mean / 1000,
      slowOps: this.tracker.slowInFlight(this.env.clock.monotonicMs()),
      silentPeers: this.heartbeats.silentPeers(),
      checksumErrors: counters.get('storeChecksumErrors'),
      repairedBlocks: counters.get('repairedObjects'),
    }
  }

  private onSessionClosed(session: number, pgs: ReadonlySet<PgId>): void {
    this.dispatcher.onSessionClosed(session)
    for (const pgId of pgs) this.table.find(pgId)?.feed({ kind: 'session-closed', session })
  }

  private adminHandlers(): AdminHandlers {
    return {
      ...adminHandlers(this.adminView()),
      ...logHandlers(this.parts.log),
      ...crashHandlers(this.env, this.settings),
    }
  }

  private adminView(): Parameters<typeof adminHandlers>[0] {
    return {
      perf: () => ({
        ...this.counters.summary(),
        store: this.store.perf?.() ?? {},
        messenger: { ...this.messenger?.counters },
        heartbeatMessenger: { ...this.heartbeats.messengerCounters },
        clients: { sessions: this.sessions.count, ...this.sessions.inFlight },
        scheduler: this.scheduler.summary(),
        ...this.reservers.summary(),
      }),
      ops: () => this.tracker.summary(this.env.clock.monotonicMs()),
      status: () => this.status(),
      pgs: () => [...this.table.ids].sort().map((pgId) => this.stats.latestOf(wholePgId(pgId)) ?? { pgId }),
      queryPg: (pgId) => this.table.find(pgId)?.query(),
      config: () => this.config.show(),
      operatePg: (pgId, command) => this.table.find(pgId)?.operate(command),
      inconsistent: (pgId) => this.table.find(pgId)?.inconsistent(),
      ledPgs: () => [...new Set([...this.table.ids].map(wholePgId))].filter((pgId) => this.leads(pgId)).sort(),
      scrub: (pgId, what) => this.scrub(pgId, what),
    }
  }

  private scrubOwnRecords(): void {
    if (this.scrubbingOwn) return
    this.scrubbingOwn = true
    this.maps.scrub(this.uuid).then(
      (damaged) => {
        this.scrubbingOwn = false
        if (damaged > 0)
          this.logChannel.write('error', `${damaged} damaged records of this OSD itself are mended`, true)
      },
      (error: unknown) => {
        this.scrubbingOwn = false
        if (!isClusterError(error)) this.env.abort('the records of the OSD cannot be looked at', error)
        if (!this.stopped) this.logChannel.write('error', `own records cannot be looked at: ${error.message}`, true)
      },
    )
  }

  private leads(pgId: PgId): boolean {
    const { placement } = this.table
    return placement !== undefined && mappingIfPresent(placement, pgId)?.actingPrimary === this.whoami
  }

  private scrub(pgId: PgId, what: ScrubRequest): void {
    if (!this.leads(pgId)) {
      throw new ClusterError('EAGAIN', `osd.${this.whoami} does not lead ${pgId}`, {
        hint: `shoal pg map ${pgId} names its primary`,
        retry: true,
      })
    }
    this.table.find(pgId)?.feed({ kind: 'scrub', what })
  }

  private status(): unknown {
    const usage = this.space.usage()
    return {
      osd: this.whoami,
      uuid: this.uuid,
      fsid: this.fsid,
      incarnation: this.incarnation,
      state: this.boot.state,
      bootError: this.boot.error,
      epoch: this.table.placement?.map.epoch ?? 0,
      newestStoredEpoch: this.maps.newestEpoch,
      addresses: this.addresses,
      pgs: this.table.size,
      usage,
      space: this.space.summary(),
      opsInFlight: this.tracker.size,
      slowOps: this.tracker.slowOps,
      waitingForMap: this.dispatcher.waitingForMap,
      peerMessagesWaiting: this.links.waitingMessages,
      silentPeers: this.heartbeats.silentPeers(),
    }
  }

  /** A bug in what a map (or a setting) sets off ends the daemon: the subscription would swallow it. */
  private guarded(run: () => void, what = 'a map'): void {
    try {
      run()
    } catch (error) {
      this.env.abort(`${what} could not be taken in`, error)
    }
  }
}
