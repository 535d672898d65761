/**
 * The monitor: consensus around the replicated state, the service that clients and OSDs call, and the leader's duties.
 *
 * Durable before what: a change is acknowledged after a majority has it on disk (consensus); nothing else is stored.
 *
 * Invariant 1: only the leader decides and answers linearizable reads. A follower passes requests to the leader once and
 *              never answers from its own state, unless the client asked for a stale answer, which is marked as such.
 * Invariant 2: what a leader knows from reports only (statistics, suspicions, clocks) begins empty with each leadership.
 */
import {
  type Address,
  ClusterError,
  decode,
  type Env,
  type Epoch,
  encode,
  isClusterError,
  type Timer,
} from '@shoal/base'
import { type MonitorInfo, type MonitorMap, type OsdMap, osdMapCodec, PlacementCache } from '@shoal/cluster-map'
import {
  type AdminHandlers,
  type CommandReply,
  type CommandRequest,
  type ConsensusMessage,
  crashHandlers,
  DaemonConfig,
  followLogLevels,
  HuntingMonitorClient,
  type LogControl,
  logHandlers,
  type MonitorConnection,
  type MonitorServer,
  type MonitorService,
  type MonitorTransport,
  monitorOptions,
  type Report,
  type SubscribeRequest,
  type Subscriber,
  type SubscriberSession,
} from '@shoal/monitor-client'
import type { ClusterView, QuorumView } from '../commands/command.ts'
import { findCommand } from '../commands/command-table.ts'
import type { MonitorSettings } from '../config.ts'
import { ConsensusDriver, type StateMachine } from '../consensus/consensus-driver.ts'
import { effectiveConfig } from '../services/effective-config.ts'
import { FailureDetector } from '../services/failure-detector.ts'
import { Statistics } from '../services/statistics.ts'
import type { ClusterState } from '../state/cluster-state.ts'
import { noOperations } from '../state/operations.ts'
import { proposalCodec, type RecordedReply } from '../state/proposal.ts'
import { Leader } from './leader.ts'
import {
  blankState,
  consensusDirectory,
  drawMonitorId,
  type MkfsOptions,
  type MonitorIdentity,
  makeJoiningStore,
  makeMonitorStore,
  readIdentity,
} from './monitor-store.ts'
import { OpTracker } from './op-tracker.ts'
import { PeerMonitors } from './peer-monitors.ts'
import { Proposer } from './proposer.ts'
import { Subscriptions } from './subscriptions.ts'

const tickMs = 1_000
/** 450 ms: an idle cluster of monitors should cost next to nothing, and an election takes 1.2 s of silence. */
const heartbeatTicks = 3
/** A request that meets no leader waits this long for one before it fails. */
const leaderWaitMs = 3_000
const leaderPollMs = 50
const forwardTimeoutMs = 10_000
/** What a stopping leader allows its successor to take over. */
const handOverMs = 200

export interface MonitorOptions {
  /** Made by `mkfs` or `join`. */
  readonly dataDirectory: string
  readonly transport: MonitorTransport
  /** In place of defaults; the configuration of the cluster counts more. */
  readonly settings?: Partial<MonitorSettings>
  /** The machine, as CRUSH would name it, for masks of the configuration. */
  readonly host?: string
  /** The process's log: its levels follow the options. */
  readonly log?: LogControl
}

export interface JoinOptions {
  readonly name: string
  /** Where it will listen. */
  readonly address: Address
  /** Monitors of the running cluster; one that answers is enough. */
  readonly monitors: readonly Address[]
  readonly transport: MonitorTransport
}

export class MonitorDaemon implements MonitorService {
  private readonly env: Env
  private readonly options: MonitorOptions
  private readonly config: DaemonConfig<MonitorSettings>
  /** The newest values at any time: read at use. */
  private readonly settings: MonitorSettings
  private readonly identity: MonitorIdentity
  private readonly state: ClusterState
  private readonly peers: PeerMonitors
  private readonly subscriptions: Subscriptions
  private readonly ops: OpTracker
  private readonly counters = { commands: 0, reports: 0, forwarded: 0, applied: 0 }
  /** Writes under way by request id: a retry joins the first attempt. */
  private readonly writes = new Map<string, Promise<CommandReply>>()
  private readonly quietStatistics = new Statistics()
  private driver!: ConsensusDriver
  private proposer!: Proposer
  private server!: MonitorServer
  private leader: Leader | undefined
  /** The leadership that has applied everything its predecessors committed. */
  private ready: Leader | undefined
  private ticker: Timer | undefined
  private placement: PlacementCache | undefined
  private quorum: QuorumView = { leaderId: 0, term: 0, members: [] }
  /** When the present leader (or the lack of one) was first known. */
  private ledSinceMs: number
  /** When each other monitor last sent a consensus message, on the monotonic clock. */
  private readonly heardMs = new Map<number, number>()
  private stopped = false

  private constructor(env: Env, options: MonitorOptions, identity: MonitorIdentity) {
    this.env = env
    this.options = options
    const start = { osd_pool_default_size: identity.poolSize, ...options.settings }
    this.config = new DaemonConfig(monitorOptions, start, env.log)
    this.settings = this.config.settings
    followLogLevels(this.config, options.log)
    this.identity = identity
    this.state = blankState(identity.fsid)
    this.ops = new OpTracker(env.clock)
    this.ledSinceMs = env.clock.monotonicMs()
    this.peers = new PeerMonitors(env, options.transport, identity.id, () => this.ownAddress())
    this.peers.setMap(identity.monitors)
    this.subscriptions = new Subscriptions(this.state, () => ({
      leaderId: this.quorum.leaderId,
      term: this.quorum.term,
    }))
  }

  /** Makes the store of a founding monitor. Rejects with EEXIST when there is one. */
  static mkfs(env: Env, directory: string, options: MkfsOptions): Promise<void> {
    return makeMonitorStore(env, directory, options)
  }

  /**
   * Makes the store of a monitor that joins a running cluster, and has the cluster add it. Started after that, it learns
   * the state from the leader and then votes. Also the way back after a lost disk, once the old one was removed.
   */
  static async join(env: Env, directory: string, options: JoinOptions): Promise<void> {
    const client = new HuntingMonitorClient(env, options.transport, {
      monitors: options.monitors,
      entity: `mon.${options.name}`,
    })
    try {
      await client.start()
      const { data } = await client.command({ prefix: 'mon dump' })
      const map = data as MonitorMap
      const id = drawMonitorId(env.random)
      const self: MonitorInfo = { id, name: options.name, address: options.address }
      const others = map.monitors.filter((monitor) => monitor.name !== options.name)
      const identity: MonitorIdentity = {
        fsid: map.fsid,
        name: options.name,
        id,
        monitors: { ...map, monitors: [...others, self] },
        poolSize: await defaultPoolSize(client),
      }
      await makeJoiningStore(env, directory, identity)
      await client.command({ prefix: 'mon add', name: self.name, addr: self.address, id })
    } finally {
      await client.close()
    }
  }

  /** Resolves once it listens; it may take an election until it answers. */
  static async start(env: Env, options: MonitorOptions): Promise<MonitorDaemon> {
    const daemon = new MonitorDaemon(env, options, await readIdentity(env, options.dataDirectory))
    await daemon.open()
    return daemon
  }

  get address(): Address {
    return this.server.address
  }

  /** The admin calls share the port. */
  get adminAddress(): Address {
    return this.server.address
  }

  get isLeader(): boolean {
    return this.driver.isLeader
  }

  private async open(): Promise<void> {
    const { env, options, identity } = this
    this.driver = await ConsensusDriver.open(env, {
      id: identity.id,
      directory: consensusDirectory(options.dataDirectory),
      heartbeatTicks,
      stateMachine: this.stateMachine(),
      transport: this.peers,
      onLeaderChange: (leader, term) => this.onLeaderChange(leader, term),
    })
    const { name } = identity
    const { state, driver: consensus } = this
    this.proposer = new Proposer(env, { name, state, consensus, logMax: () => this.settings.mon_log_max })
    try {
      this.server = await options.transport.serve(this.ownAddress(), this, this.adminHandlers())
    } catch (error) {
      await this.driver.close()
      throw error
    }
    this.config.started()
    this.scheduleTick()
  }

  /** The map's word counts; a monitor that has not learned the map yet goes by what it was made with. */
  private ownAddress(): Address {
    const { id, monitors } = this.identity
    const known = this.state.monitorMap.monitors.find((monitor) => monitor.id === id)
    const own = known ?? monitors.monitors.find((monitor) => monitor.id === id)
    if (own === undefined)
      throw new ClusterError('EIO', `the store of mon.${this.identity.name} does not know its address`)
    return own.address
  }

  private stateMachine(): StateMachine {
    return {
      apply: (_index, command) => {
        this.counters.applied++
        const result = this.state.apply(decode(proposalCodec, command))
        this.onStateChanged()
        return result
      },
      snapshot: () => this.state.snapshot(),
      restore: (snapshot) => {
        this.state.restore(snapshot)
        this.onStateChanged()
      },
    }
  }

  private onStateChanged(): void {
    if (this.state.monitorMap.epoch > 0) this.peers.setMap(this.state.monitorMap)
    this.followConfig()
    this.subscriptions.notify()
  }

  /** This monitor's own values. */
  private followConfig(): void {
    const { state, identity, options } = this
    if (state.operations?.configVersion === this.config.version) return
    const config = effectiveConfig(state.operations, state.osdMap, `mon.${identity.name}`, options.host ?? '')
    if (config !== undefined) this.config.apply(config)
  }

  private onLeaderChange(leaderId: number, term: number): void {
    this.quorum = { leaderId, term, members: leaderId === 0 ? [] : [...new Set([leaderId, this.identity.id])] }
    this.ledSinceMs = this.env.clock.monotonicMs()
    // A new term is a new leadership, even of the same monitor.
    this.leader = undefined
    this.subscriptions.notify()
  }

  /** The present leadership. Only while `driver.isLeader`. */
  private leading(): Leader {
    if (this.leader === undefined) {
      const { env, settings, state, driver: consensus, proposer } = this
      this.leader = new Leader(env, env.log.child('leader'), {
        settings,
        state,
        consensus,
        proposer,
        view: () => this.view(),
        votersHeard: () => this.votersHeard(Number.NEGATIVE_INFINITY),
      })
    }
    return this.leader
  }

  private scheduleTick(): void {
    this.ticker = this.env.timers.after(tickMs, () => {
      if (this.stopped) return
      if (this.driver.isLeader) this.leading().tick()
      else this.dropSubscribersWithoutQuorum()
      this.scheduleTick()
    })
  }

  /** Clients of a monitor that is cut off should find one that is not. */
  private dropSubscribersWithoutQuorum(): void {
    const sinceMs = this.env.clock.monotonicMs() - this.ledSinceMs
    if (this.driver.leader !== 0 || sinceMs < this.settings.mon_lease * 1_000) return
    this.subscriptions.endAll(this.notLeader())
  }

  /** Hands leadership over, ends the sessions, closes the store. Idempotent. */
  async stop(): Promise<void> {
    if (this.stopped) return
    this.stopped = true
    this.ticker?.cancel()
    // Somebody else leads at once, instead of after an election timeout.
    const successor = this.driver.status().quorum.find((id) => id !== this.identity.id)
    if (this.driver.isLeader && successor !== undefined) {
      this.driver.transferLeadership(successor)
      await this.pause(handOverMs)
    }
    const reason = new ClusterError('ESHUTDOWN', `mon.${this.identity.name} is stopping`, { retry: true })
    this.subscriptions.endAll(reason)
    await this.server.close()
    await this.driver.close()
    this.peers.close()
  }

  private pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.env.timers.after(delayMs, resolve)
    })
  }

  // MonitorService

  consensus(message: ConsensusMessage): void {
    if (message.to !== this.identity.id) return
    this.heardMs.set(message.from, this.env.clock.monotonicMs())
    this.peers.introduce(message.from, message.address)
    this.driver.receive(message.from, message.payload)
  }

  subscribe(request: SubscribeRequest, subscriber: Subscriber): SubscriberSession {
    return this.subscriptions.add(request, subscriber)
  }

  async osdMap(epoch: Epoch): Promise<Uint8Array> {
    return encode(osdMapCodec, this.state.osdMaps.at(epoch))
  }

  async report(reports: readonly Report[], forwarded: boolean): Promise<void> {
    this.counters.reports += reports.length
    const leader = await this.findLeader(forwarded)
    if (leader !== 'self') {
      this.counters.forwarded++
      return leader.report(reports, true, forwardTimeoutMs)
    }
    await this.becomeReady()
    return this.leading().report(reports)
  }

  command(request: CommandRequest): Promise<CommandReply> {
    this.counters.commands++
    return this.ops.track(request.command.prefix, request.requestId, (stage) => this.dispatch(request, stage))
  }

  private async dispatch(request: CommandRequest, stage: (name: string) => void): Promise<CommandReply> {
    const { prefix, ...args } = request.command
    const command = findCommand(prefix)
    if (request.stale && command.kind === 'read') return { ...command.run(args, this.view()), stale: true }
    const leader = await this.findLeader(request.forwarded)
    stage('leader found')
    if (leader !== 'self') {
      this.counters.forwarded++
      return leader.command({ ...request, forwarded: true })
    }
    await this.becomeReady()
    stage('leader ready')
    if (command.kind === 'read') {
      await this.driver.readBarrier(request.timeoutMs)
      stage('read confirmed')
      return command.run(args, this.view())
    }
    const underWay = this.writes.get(request.requestId)
    if (underWay !== undefined) return underWay
    const write = this.proposer.mutate((draft): CommandReply => {
      const known = this.state.replyTo(request.requestId)
      if (known !== undefined) return recordedReply(known)
      const reply = command.run(args, { ...this.view(draft.map), operations: draft.operations.value, draft })
      const dataJson = reply.data === undefined ? '' : JSON.stringify(reply.data)
      draft.recordReply({ requestId: request.requestId, status: reply.status, dataJson })
      return reply
    })
    this.writes.set(request.requestId, write)
    try {
      return await write
    } finally {
      this.writes.delete(request.requestId)
      stage('committed')
    }
  }

  /** A new leader first commits in its own term: then it has applied all that was ever acknowledged. */
  private async becomeReady(): Promise<void> {
    const leader = this.leading()
    const deadlineMs = this.env.clock.monotonicMs() + leaderWaitMs
    while (this.ready !== leader) {
      try {
        await this.driver.readBarrier(leaderWaitMs)
        this.ready = leader
      } catch (error) {
        const again = isClusterError(error, 'EAGAIN') && this.env.clock.monotonicMs() < deadlineMs
        if (!again) throw error
        await this.pause(leaderPollMs)
      }
    }
  }

  /**
   * This monitor, or a connection to the one that leads; waits a while for an election. Rejects with ENOQUORUM without a
   * leader, and with ENOTLEADER when another monitor took us for it.
   */
  private async findLeader(forwarded: boolean): Promise<'self' | MonitorConnection> {
    const deadlineMs = this.env.clock.monotonicMs() + (forwarded ? 0 : leaderWaitMs)
    for (;;) {
      if (this.driver.isLeader) return 'self'
      if (forwarded || this.stopped) throw this.notLeader()
      const connection = this.driver.leader === 0 ? undefined : this.peers.connection(this.driver.leader)
      if (connection !== undefined) return connection
      if (this.env.clock.monotonicMs() >= deadlineMs) throw this.notLeader()
      await this.pause(leaderPollMs)
    }
  }

  private notLeader(): ClusterError {
    return this.driver.leader === 0
      ? new ClusterError('ENOQUORUM', 'the monitors have no quorum', {
          retry: true,
          hint: 'start more than half of the monitors: shoal daemon ls',
        })
      : new ClusterError('ENOTLEADER', `mon.${this.identity.name} does not lead`, { retry: true })
  }

  private view(map: OsdMap = this.state.osdMap): ClusterView {
    const { env, state, settings, leader } = this
    return {
      state,
      map,
      operations: state.operations ?? noOperations,
      settings,
      statistics: leader?.statistics ?? this.quietStatistics,
      failures: leader?.failures ?? new FailureDetector(settings),
      balancer: leader?.balancer,
      quotas: leader?.quotas,
      quorum: this.driver.isLeader ? { ...this.quorum, members: this.membersHeard() } : this.quorum,
      nowMs: env.clock.monotonicMs(),
      wallMs: env.clock.wallMs(),
      isLeader: this.driver.isLeader,
      placement: () => {
        if (this.placement?.map !== map) this.placement = new PlacementCache(map, this.placement)
        return this.placement
      },
    }
  }

  /** Of a leader: voters that are in quorum. A leader that has just begun takes them all for alive, for a lease. */
  private membersHeard(): readonly number[] {
    return this.votersHeard(this.ledSinceMs)
  }

  /** Itself, and voters that have sent something within the lease; `otherwiseMs` is when one did that sent nothing yet. */
  private votersHeard(otherwiseMs: number): readonly number[] {
    const sinceMs = this.env.clock.monotonicMs() - this.settings.mon_lease * 1_000
    const heardMs = (id: number): number => {
      const lastMs = this.heardMs.get(id) ?? otherwiseMs
      return lastMs < this.ledSinceMs ? otherwiseMs : lastMs
    }
    return this.driver.status().membership.voters.filter((id) => id === this.identity.id || heardMs(id) > sinceMs)
  }

  private adminHandlers(): AdminHandlers {
    return {
      perf: () => ({
        ...this.counters,
        subscribers: this.subscriptions.size,
        mutationsWaiting: this.proposer.waiting,
        commandLatencyMs: this.ops.summary(),
        osdMapEpochs: { first: this.state.osdMaps.first, last: this.state.osdMaps.last },
        consensus: this.driver.status(),
        failuresReported: this.leader?.failures.pending() ?? [],
      }),
      ops: () => this.ops.reports(),
      status: () => ({ name: this.identity.name, ...this.driver.status() }),
      sessions: () => this.subscriptions.entities(),
      'config show': () => this.config.show(),
      ...logHandlers(this.options.log),
      ...crashHandlers(this.env, this.settings),
    }
  }
}

async function defaultPoolSize(client: HuntingMonitorClient): Promise<number> {
  const { data } = await client.command({ prefix: 'mon settings' })
  return (data as MonitorSettings).osd_pool_default_size
}

function recordedReply({ status, dataJson }: RecordedReply): CommandReply {
  return { status, data: dataJson === '' ? undefined : JSON.parse(dataJson) }
}
