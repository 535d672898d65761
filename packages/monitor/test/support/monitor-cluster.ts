/** Monitors in one process under virtual time: links that can be cut, machines that lose power. */
import { type Address, address, type Env, type Epoch, type OsdId } from '@shoal/base'
import {
  type CommandReply,
  HuntingMonitorClient,
  MemoryAdminTransport,
  MemoryMonitorNetwork,
  type MonitorCommand,
  type OsdBoot,
} from '@shoal/monitor-client'
import { type SimMachine, SimWorld } from '@shoal/testkit'
import { MonitorDaemon, type MonitorSettings } from '../../src/index.ts'

const names = ['a', 'b', 'c', 'd', 'e']

interface Member {
  readonly name: string
  readonly address: Address
  readonly machine: SimMachine
  daemon: MonitorDaemon | undefined
}

export class MonitorCluster {
  readonly world: SimWorld
  readonly network: MemoryMonitorNetwork
  readonly members = new Map<string, Member>()
  /** Endpoints (addresses, or `client`) that nobody reaches. */
  readonly isolated = new Set<string>()
  private readonly settings: Partial<MonitorSettings>
  private readonly founders: number
  private clients = 0

  constructor(seed: number, founders = 3, settings: Partial<MonitorSettings> = {}) {
    this.world = new SimWorld({ seed })
    this.settings = settings
    this.founders = founders
    const random = this.world.random.fork()
    this.network = new MemoryMonitorNetwork(this.world.time.timers, new MemoryAdminTransport(), (from, to) =>
      from !== to && (this.isolated.has(from) || this.isolated.has(to)) ? undefined : 0.1 + random.fraction(),
    )
  }

  /** Makes and starts the founding monitors, and waits for a leader. */
  async found(): Promise<void> {
    const founders = names.slice(0, this.founders).map((name, i) => this.member(name, i))
    const monitors = founders.map((member, i) => ({ id: 100 + i, name: member.name, address: member.address }))
    for (const { name, machine } of founders) {
      const env = machine.start()
      await MonitorDaemon.mkfs(env, '/var/mon', { fsid: 'cluster', name, monitors, failureDomain: 'osd' })
      machine.kill()
    }
    for (const { name } of founders) await this.start(name)
    await this.world.time.until(() => this.leader !== undefined)
  }

  member(name: string, index: number = this.members.size): Member {
    let member = this.members.get(name)
    if (member === undefined) {
      const machine = this.world.machine(`host-${name}`)
      member = { name, address: address(`10.0.0.${index + 1}:6789`), machine, daemon: undefined }
      this.members.set(name, member)
    }
    return member
  }

  async start(name: string): Promise<void> {
    const member = this.member(name)
    const env = member.machine.start()
    const starting = MonitorDaemon.start(env, {
      dataDirectory: '/var/mon',
      transport: this.network.transport(member.address),
      settings: this.settings,
    })
    member.daemon = await this.settle(starting)
  }

  /** Loses power: what was not synced is gone. */
  powerCut(name: string): void {
    const member = this.member(name)
    this.network.crash(member.address)
    member.machine.powerCut()
    member.daemon = undefined
  }

  get leader(): string | undefined {
    return [...this.members.values()].find(({ name, daemon }) => daemon?.isLeader === true && !this.isIsolated(name))
      ?.name
  }

  isIsolated(name: string): boolean {
    return this.isolated.has(this.member(name).address)
  }

  isolate(name: string): void {
    this.isolated.add(this.member(name).address)
  }

  heal(): void {
    this.isolated.clear()
  }

  daemon(name: string): MonitorDaemon {
    const { daemon } = this.member(name)
    if (daemon === undefined) throw new Error(`mon.${name} is not running`)
    return daemon
  }

  /** A client that knows all monitors (or only those named), on a machine of its own. */
  client(only?: readonly string[]): HuntingMonitorClient {
    const env: Env = this.world.machine(`client-${++this.clients}`).start()
    const monitors = (only ?? [...this.members.keys()]).map((name) => this.member(name).address)
    return new HuntingMonitorClient(env, this.network.transport(`client-${this.clients}`), { monitors })
  }

  async started(client: HuntingMonitorClient): Promise<HuntingMonitorClient> {
    await this.settle(client.start())
    return client
  }

  command(client: HuntingMonitorClient, command: MonitorCommand, timeoutMs?: number): Promise<CommandReply> {
    return this.settle(client.command(command, timeoutMs))
  }

  settle<T>(work: Promise<T>): Promise<T> {
    return this.world.time.settle(work)
  }
}

export function bootOf(osd: number, incarnation = 1, host = 'alpha'): OsdBoot {
  return {
    osd: osd as OsdId,
    uuid: `store-${osd}`,
    incarnation,
    addresses: {
      data: address(`10.1.0.${osd}:1`),
      heartbeat: address(`10.1.0.${osd}:2`),
      admin: address(`10.1.0.${osd}:3`),
    },
    features: 0,
    crushLocation: { root: 'default', host },
    deviceClass: 'ssd',
    crushWeight: 1,
    mapEpoch: 1 as Epoch,
  }
}
