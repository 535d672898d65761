/** The three kinds of processes of a simulated cluster, wired as their production processes are. */
import { type Address, address, type Env, osdId } from '@shoal/base'
import { ClusterClient } from '@shoal/client'
import type { MessengerSecurity } from '@shoal/messenger'
import { MonitorDaemon, type MonitorSettings } from '@shoal/monitor'
import { HuntingMonitorClient, type MemoryAdminTransport } from '@shoal/monitor-client'
import { FileObjectStore, inspectStore } from '@shoal/object-store'
import { type ObjectStoreFactory, OsdDaemon, type OsdSettings } from '@shoal/osd'
import type { SimMachine, SimTime } from '@shoal/testkit'
import type { OsdPlace, Scenario } from '../scenario/scenario.ts'
import { DaemonNode, type NodeEvents } from './daemon-node.ts'
import type { SimMonitorNetwork } from './monitor-network.ts'

export const monitorDirectory = '/mon'
export const osdDirectory = '/osd'
/** As the processes of production do. */
const startTimeoutMs = 120_000

/** The cluster's key, for what it seals; nothing is asked of those who connect. */
const keyOnly: MessengerSecurity = {
  authentications: ['none'],
  encryptions: ['crc'],
  secret: new Uint8Array(32).fill(0x5e),
}

export interface NodeWorld {
  readonly time: SimTime
  readonly monitorNetwork: SimMonitorNetwork
  readonly admin: MemoryAdminTransport
  readonly events: NodeEvents
  /** A process has made its client of the monitors, which it has not started yet. */
  watch(node: DaemonNode, monitor: HuntingMonitorClient): void
  /** Of the monitors that a new process is told. */
  monitorAddresses(): readonly Address[]
}

export class MonitorNode extends DaemonNode<MonitorDaemon> {
  readonly address: Address
  private readonly world: NodeWorld
  private readonly settings: Partial<MonitorSettings>

  constructor(name: string, machine: SimMachine, world: NodeWorld, settings: Partial<MonitorSettings>) {
    super(`mon.${name}`, machine, world.time, world.events)
    this.world = world
    this.settings = settings
    this.address = address(`${machine.host}:6789`)
  }

  get shortName(): string {
    return this.name.slice('mon.'.length)
  }

  protected startDaemon(env: Env): Promise<MonitorDaemon> {
    const scope = this.machine.scope
    if (scope === undefined) throw new Error('the machine has just started')
    return MonitorDaemon.start(env, {
      dataDirectory: monitorDirectory,
      transport: this.world.monitorNetwork.transport({ host: this.host, scope }),
      settings: this.settings,
    })
  }

  protected forget(): void {
    this.world.admin.close(this.address)
  }
}

export class OsdNode extends DaemonNode<OsdDaemon> {
  readonly place: OsdPlace
  private readonly world: NodeWorld
  private readonly settings: Partial<OsdSettings>
  private readonly store: Scenario['store']

  constructor(place: OsdPlace, machine: SimMachine, world: NodeWorld, scenario: Scenario) {
    super(`osd.${place.id}`, machine, world.time, world.events)
    this.place = place
    this.world = world
    this.settings = scenario.osdSettings
    this.store = scenario.store
  }

  get id(): number {
    return this.place.id
  }

  protected startDaemon(env: Env): Promise<OsdDaemon> {
    const { world, place, machine, store } = this
    const { scope } = machine
    if (scope === undefined) throw new Error('the machine has just started')
    const monitor = new HuntingMonitorClient(env, world.monitorNetwork.transport({ host: machine.host, scope }), {
      monitors: world.monitorAddresses(),
      entity: this.name,
      host: place.host,
      startTimeoutMs,
    })
    world.watch(this as unknown as DaemonNode, monitor)
    const options = {
      id: osdId(place.id),
      dataDirectory: osdDirectory,
      bindHost: machine.host,
      sizeBytes: store.sizeBytes,
      crushLocation: { root: 'default', rack: place.rack, host: place.host },
      settings: this.settings,
      ...(place.encrypted === true ? { encrypt: true, security: keyOnly } : {}),
    }
    return OsdDaemon.start(env, options, { monitor, stores: storesOf(store), admin: world.admin })
  }

  protected forget(daemon: OsdDaemon): void {
    this.world.admin.close(daemon.listening.admin)
  }
}

function storesOf({ journalBytes, mount }: Scenario['store']): ObjectStoreFactory {
  return {
    exists: (env, directory) => env.disk.exists(`${directory}/superblock`),
    create: (env, directory, sizeBytes, storeKey) =>
      FileObjectStore.create(env, directory, { sizeBytes, journalBytes, storeKey }),
    encrypted: async (env, directory) => (await inspectStore(env, directory)).encrypted,
    mount: (env, directory, _settings, storeKey) =>
      FileObjectStore.mount(env, directory, { ...mount, onJournalDamage: 'recover', storeKey }),
  }
}

/** A process that uses the cluster: a workload's, or the operator's. */
export class ClientProcess {
  readonly monitor: HuntingMonitorClient
  readonly client: ClusterClient

  constructor(monitor: HuntingMonitorClient, client: ClusterClient) {
    this.monitor = monitor
    this.client = client
  }

  async stop(): Promise<void> {
    await this.client.close()
    await this.monitor.close()
  }
}

export class ClientNode extends DaemonNode<ClientProcess> {
  env: Env | undefined
  private readonly world: NodeWorld
  private readonly onStarted: (process: ClientProcess, env: Env) => void

  constructor(
    name: string,
    machine: SimMachine,
    world: NodeWorld,
    onStarted: (process: ClientProcess, env: Env) => void = () => undefined,
  ) {
    super(name, machine, world.time, world.events)
    this.world = world
    this.onStarted = onStarted
  }

  protected async startDaemon(env: Env): Promise<ClientProcess> {
    const { world, machine } = this
    const { scope } = machine
    if (scope === undefined) throw new Error('the machine has just started')
    this.env = env
    const monitor = new HuntingMonitorClient(env, world.monitorNetwork.transport({ host: machine.host, scope }), {
      monitors: world.monitorAddresses(),
      entity: this.name,
      startTimeoutMs,
    })
    world.watch(this as unknown as DaemonNode, monitor)
    await monitor.start()
    const process = new ClientProcess(monitor, await ClusterClient.connect(env, { monitor }))
    this.onStarted(process, env)
    return process
  }

  protected forget(): void {
    this.env = undefined
  }
}
