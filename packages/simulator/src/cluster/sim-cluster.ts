/**
 * The whole cluster under one seed: monitors, OSDs and clients, each process on a machine of its own, on one simulated
 * network, in virtual time. Made as `shoal up` makes one.
 *
 * Invariant 1: all randomness comes from the scenario's seed; every component has a generator of its own, drawn in the
 *              order in which components are made, so that what one draws does not shift another's.
 */
import { type Address, hexEncode, type PgId, type PoolId, Prng } from '@shoal/base'
import { noOsd, PlacementCache } from '@shoal/cluster-map'
import { MonitorDaemon } from '@shoal/monitor'
import {
  type CommandReply,
  type HealthReport,
  MemoryAdminTransport,
  type MonitorCommand,
  type PgSummary,
} from '@shoal/monitor-client'
import { SimAbort, SimMachine, SimNetwork, type SimScope, SimTime } from '@shoal/testkit'
import { guarded } from '../guards.ts'
import type { OsdPlace, PoolPlan, Scenario } from '../scenario/scenario.ts'
import { Trace } from '../trace.ts'
import type { DaemonNode, NodeEvents } from './daemon-node.ts'
import { SimMonitorNetwork } from './monitor-network.ts'
import { ClientNode, MonitorNode, monitorDirectory, type NodeWorld, OsdNode } from './nodes.ts'
import { Observers } from './observers.ts'
import { withoutScrub } from './scrub-all.ts'
import { SimLogs } from './sim-log.ts'

export interface Crash {
  readonly atMs: number
  readonly node: string
  readonly reason: string
  readonly details: string
}

const idBelow = 2 ** 47
/** So many times in a row, a second apart and under the same map, all must be well. */
const settledPolls = 4
const mebibyte = 1024 * 1024

interface PgRow {
  readonly pgId: string
  readonly state: string
  readonly acting: readonly number[]
}

export class SimCluster {
  readonly scenario: Scenario
  readonly time: SimTime = new SimTime()
  readonly random: Prng
  readonly trace: Trace = new Trace()
  readonly logs: SimLogs
  readonly network: SimNetwork
  readonly admin: MemoryAdminTransport = new MemoryAdminTransport()
  readonly monitorNetwork: SimMonitorNetwork
  readonly monitors: MonitorNode[] = []
  readonly osds: OsdNode[] = []
  readonly clients: ClientNode[] = []
  readonly operator: ClientNode
  readonly observers: Observers
  /** Daemons that ended by a broken invariant. */
  readonly crashes: Crash[] = []
  readonly counts = { aborts: 0, failedStarts: 0, ioOperations: 0, deliveries: 0 }
  private readonly nodeWorld: NodeWorld
  private readonly nodes = new Map<string, DaemonNode>()

  constructor(scenario: Scenario) {
    this.scenario = scenario
    this.random = new Prng(scenario.seed)
    const { time, trace } = this
    this.logs = new SimLogs(time, trace)
    this.network = new SimNetwork(time, this.random.fork())
    const { faults } = this.network
    faults.delayMsMin = scenario.network.delayMs.min
    faults.delayMsMax = scenario.network.delayMs.max
    faults.chunkBytesMax = scenario.network.chunkBytesMax
    this.monitorNetwork = new SimMonitorNetwork(time, this.network, this.admin, trace)
    time.onEvent = (atMs, order) => {
      trace.number(atMs)
      trace.number(order)
      this.observers.onEvent(atMs)
    }
    time.onError = (error, scope) => this.onError(error, scope)
    time.aroundTurn = guarded
    this.network.onBytes = (from, to, bytes) => {
      this.counts.deliveries++
      trace.text(from)
      trace.text(to)
      trace.bytes(bytes)
      trace.line(time.nowMs, () => `net ${from} > ${to} ${bytes.length} bytes`)
    }
    this.nodeWorld = {
      time,
      monitorNetwork: this.monitorNetwork,
      admin: this.admin,
      events: this.nodeEvents(),
      watch: (node, monitor) => this.observers.watchMaps(node, monitor),
      monitorAddresses: () => this.monitorAddresses(),
    }
    this.observers = new Observers(this)
    this.operator = this.add(new ClientNode('operator', this.machine('operator'), this.nodeWorld))
  }

  // Making

  /** From empty disks to HEALTH_OK. */
  async create(withinMs: number): Promise<void> {
    const { scenario } = this
    for (let i = 0; i < scenario.monitors; i++) this.addMonitorNode(String.fromCharCode(97 + i))
    await this.makeMonitorStores()
    for (const monitor of this.monitors) monitor.start()
    for (const place of scenario.osds) this.addOsdNode(place).start()
    this.operator.start()
    await this.time.until(() => this.operator.daemon !== undefined, withinMs)
    await this.time.until(() => this.osds.every((osd) => osd.daemon?.isUp === true), withinMs)
    for (const pool of scenario.pools) {
      await this.settleCommand({
        prefix: 'osd pool create',
        pool: pool.name,
        pg_num: pool.pgNum,
        size: pool.size,
        min_size: pool.minSize,
        ...(await this.kindOf(pool)),
      })
      for (const [name, value] of Object.entries(pool.compression ?? {})) {
        await this.settleCommand({ prefix: 'osd pool set', pool: pool.name, var: name, val: value })
      }
    }
    await this.untilHealthy(withinMs)
  }

  private async kindOf({ erasure }: PoolPlan): Promise<object> {
    if (erasure === undefined) return {}
    const { k, m, stripeUnit } = erasure
    const name = `code-${k}-${m}-${stripeUnit}`
    const domain = `crush-failure-domain=${this.scenario.failureDomain}`
    const profile = [`k=${k}`, `m=${m}`, `stripe_unit=${stripeUnit}`, domain]
    await this.settleCommand({ prefix: 'osd erasure-code-profile set', name, profile })
    return { pool_type: 'erasure', erasure_code_profile: name }
  }

  private async makeMonitorStores(): Promise<void> {
    const { scenario, random } = this
    const fsid = hexEncode(random.bytes(16))
    const monitors = this.monitors.map((monitor) => ({
      id: 1 + (random.uint53() % idBelow),
      name: monitor.shortName,
      address: monitor.address,
    }))
    let createdMs: number | undefined
    for (const monitor of this.monitors) {
      const env = monitor.machine.start()
      createdMs ??= env.clock.wallMs()
      const making = MonitorDaemon.mkfs(env, monitorDirectory, {
        fsid,
        name: monitor.shortName,
        monitors,
        poolSize: Math.min(3, scenario.osds.length),
        createdMs,
        failureDomain: scenario.failureDomain,
      })
      await this.time.settle(making)
      monitor.machine.kill()
    }
  }

  addMonitorNode(name: string): MonitorNode {
    const machine = this.machine(`mon-${name}`)
    const node = this.add(new MonitorNode(name, machine, this.nodeWorld, this.scenario.monitorSettings))
    this.monitors.push(node)
    return node
  }

  addOsdNode(place: OsdPlace): OsdNode {
    const node = this.add(new OsdNode(place, this.machine(`osd-${place.id}`), this.nodeWorld, this.scenario))
    this.osds.push(node)
    return node
  }

  addClient(name: string, onStarted: ConstructorParameters<typeof ClientNode>[3]): ClientNode {
    const node = this.add(new ClientNode(name, this.machine(name), this.nodeWorld, onStarted))
    this.clients.push(node)
    return node
  }

  /** Of nodes that were removed for good. */
  forgetNode(node: DaemonNode): void {
    this.nodes.delete(node.name)
    for (const list of [this.monitors, this.osds] as unknown as DaemonNode[][]) {
      const at = list.indexOf(node)
      if (at >= 0) list.splice(at, 1)
    }
  }

  find(name: string): DaemonNode | undefined {
    return this.nodes.get(name)
  }

  get daemons(): readonly DaemonNode[] {
    return [...this.monitors, ...this.osds] as unknown as readonly DaemonNode[]
  }

  // Asking

  command(command: MonitorCommand, timeoutMs?: number): Promise<CommandReply> {
    const { daemon } = this.operator
    if (daemon === undefined) return Promise.reject(new Error('the operator is not connected'))
    return daemon.monitor.command(command, timeoutMs)
  }

  settleCommand(command: MonitorCommand, withinMs = 120_000): Promise<CommandReply> {
    return this.time.settle(this.command(command, withinMs), withinMs + 1_000)
  }

  /** Undefined when the monitors do not answer. */
  async health(): Promise<HealthReport | undefined> {
    try {
      return (await this.settleCommand({ prefix: 'health' }, 10_000)).data as HealthReport
    } catch {
      return undefined
    }
  }

  async pgSummary(): Promise<PgSummary | undefined> {
    try {
      const { data } = await this.settleCommand({ prefix: 'status' }, 10_000)
      return (data as { readonly pgMap: PgSummary }).pgMap
    } catch {
      return undefined
    }
  }

  /** Waits until all PGs are active and clean and nothing is wrong but what is allowed to be. Throws what is. */
  async untilHealthy(withinMs: number, allowed: ReadonlySet<string> = new Set()): Promise<void> {
    const endMs = this.time.nowMs + withinMs
    let last = 'the monitors do not answer'
    let since = { epoch: -1, polls: 0 }
    while (this.time.nowMs < endMs) {
      const health = await this.health()
      const wrong = health?.checks.filter((check) => !allowed.has(check.code))
      const onlyDegraded = wrong?.every(({ code }) => code === 'PG_DEGRADED') === true
      if (onlyDegraded) {
        const states = (await this.pgSummary())?.states
        const isClean = states?.every(({ state }) => withoutScrub(state) === 'active+clean') === true
        if ((wrong?.length === 0 && isClean) || (await this.unclean())?.length === 0) {
          // Statistics follow a new map a moment later.
          const epoch = this.operator.daemon?.monitor.osdMap?.epoch ?? 0
          since = { epoch, polls: since.epoch === epoch ? since.polls + 1 : 1 }
          if (since.polls >= settledPolls) return
          await this.time.advance(1_000)
          continue
        }
        last = JSON.stringify(states)
      }
      if (wrong !== undefined && wrong.length > 0) {
        last = wrong.map((check) => `${check.code}: ${check.summary}; ${check.detail.join('; ')}`).join('\n')
      }
      since = { epoch: -1, polls: 0 }
      await this.time.advance(1_000)
    }
    throw new Error(`not healthy within ${withinMs / 1000} s of virtual time: ${last}${await this.uncleanGroups()}`)
  }

  /** What is known of the placement groups that are not well, for the report. */
  private async uncleanGroups(): Promise<string> {
    const rows = (await this.unclean()) ?? []
    return rows.map((row) => `\n    ${JSON.stringify(row)}`).join('')
  }

  /** Placement groups that lack something which they could have. Undefined when the monitors do not answer. */
  private async unclean(): Promise<readonly PgRow[] | undefined> {
    try {
      const { data } = await this.settleCommand({ prefix: 'pg ls' }, 10_000)
      return (data as readonly PgRow[]).filter(
        (row) => withoutScrub(row.state) !== 'active+clean' && !this.hasWhatCrushFound(row),
      )
    } catch {
      return undefined
    }
  }

  /** Whether a group that is not `active+clean` is as well as it can be, for CRUSH finds it too few OSDs. */
  hasWhatCrushFound({ pgId, state, acting }: PgRow): boolean {
    const copies = this.copiesOf(pgId)
    if (copies === undefined || presentOf(acting) !== copies) return false
    const rest = withoutScrub(state)
    return rest === 'active+remapped+clean' || rest === 'active+undersized+degraded'
  }

  /**
   * How many copies a group can have, when that is not the size of its pool: weights near zero make CRUSH give up before
   * it has found as many OSDs, though all are up and in. Then the copies stay where they were, or there are fewer.
   */
  copiesOf(id: string): number | undefined {
    const map = this.operator.daemon?.monitor.osdMap
    const pool = map?.pools.get(Number(id.split('.')[0]) as PoolId)
    if (map === undefined || pool === undefined) return undefined
    const { up, acting } = new PlacementCache(map).mapping(id as PgId)
    return presentOf(up) < pool.size ? presentOf(acting) : undefined
  }

  monitorAddresses(): readonly Address[] {
    return this.monitors.map((monitor) => monitor.address)
  }

  // Watching

  crash(node: string, reason: string, cause: unknown): void {
    const details = cause instanceof Error ? describe(cause) : String(cause ?? '')
    this.crashes.push({ atMs: this.time.nowMs, node, reason, details })
    this.logs.add('error', 'simulator', `${node} crashed: ${reason}`, { details })
  }

  /** What nobody caught, in an event or a promise. */
  onError(error: unknown, scope?: SimScope): void {
    if (error instanceof SimAbort) return
    if (scope?.ended === true) return
    const node = [...this.nodes.values()].find((one) => scope !== undefined && one.machine.scope === scope)
    this.crash(node?.name ?? 'somebody', 'uncaught exception', error)
    node?.kill()
  }

  private nodeEvents(): NodeEvents {
    return {
      processEnded: (node) => this.monitorNetwork.processEnded(node.host),
      hostLost: (node) => this.monitorNetwork.hostLost(node.host),
      aborted: (node, reason, cause) => {
        this.counts.aborts++
        this.logs.add('error', node.name, `ends itself: ${reason}`, { cause })
        if (node.injectedErrors === 0) this.crash(node.name, reason, cause)
      },
      startFailed: (node, error) => {
        this.counts.failedStarts++
        node.startError = error
        this.logs.add('error', node.name, 'cannot start', { error })
      },
      note: (node, what) => this.logs.add('info', node.name, what),
    }
  }

  private add<Node extends { readonly name: string; readonly machine: SimMachine }>(node: Node): Node {
    this.nodes.set(node.name, node as unknown as DaemonNode)
    return node
  }

  private machine(host: string): SimMachine {
    const { time, network, trace } = this
    const machine = new SimMachine({
      host,
      time,
      network,
      random: this.random.fork(),
      log: this.logs.of(host),
      ioDelayMs: this.scenario.ioDelayMs,
    })
    machine.disk.capacityBytes = 64 * 1024 * mebibyte
    machine.onIo = (operation) => {
      this.counts.ioOperations++
      trace.text(host)
      trace.text(operation.kind)
      trace.number(operation.bytes)
      trace.line(time.nowMs, () => `io ${host} ${operation.kind} ${operation.path} ${operation.bytes}`)
    }
    return machine
  }
}

function describe(error: Error): string {
  const cause = error.cause instanceof Error ? `\ncaused by ${describe(error.cause)}` : ''
  return `${error.stack ?? error.message}${cause}`
}

/** Without the holes of an erasure-coded set. */
function presentOf(osds: readonly number[]): number {
  return osds.filter((osd) => osd !== noOsd).length
}
