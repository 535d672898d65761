/** Several OSDs, each on a machine of its own, under virtual time, with monitors in a few lines and a real client. */
import { assert, type Env, must, type OsdId, type PoolId } from '@shoal/base'
import { ClusterClient, type PoolHandle } from '@shoal/client'
import { Messenger } from '@shoal/messenger'
import { MemoryAdminTransport } from '@shoal/monitor-client'
import { FileObjectStore } from '@shoal/object-store'
import { CollectingLog, makeSimEnv, type SimMachine, SimWorld } from '@shoal/testkit'
import { type ObjectStoreFactory, OsdDaemon, type OsdDaemonOptions } from '../../src/index.ts'
import { FakeMonitors } from './fake-monitors.ts'

const mebibyte = 1024 * 1024

function smallStores(journalBytes: number): ObjectStoreFactory {
  return {
    exists: (env, directory) => env.disk.exists(`${directory}/superblock`),
    create: (env, directory, sizeBytes) => FileObjectStore.create(env, directory, { sizeBytes, journalBytes }),
    mount: (env, directory) => FileObjectStore.mount(env, directory, { onJournalDamage: 'recover' }),
  }
}

/** WebAssembly compiles outside of virtual time: once, before any of it passes. */
async function loadChecksums(): Promise<void> {
  const { env } = makeSimEnv({ seed: 1 })
  await FileObjectStore.create(env, '/warm-up', { sizeBytes: mebibyte, journalBytes: mebibyte })
  const nothing = { onSession: () => undefined, onPeerFrame: () => undefined, onPeerReset: () => undefined }
  await Messenger.create(env, { name: 'client.0' as never, nonce: 1, fsid: '' }, nothing)
}

export interface OsdChange {
  readonly settings?: OsdDaemonOptions['settings']
  readonly sizeBytes?: number
  readonly journalBytes?: number
  readonly ioDelayMs?: { readonly min: number; readonly max: number }
}

export class MiniCluster {
  readonly world: SimWorld
  readonly log: CollectingLog = new CollectingLog()
  readonly monitors: FakeMonitors
  readonly admin: MemoryAdminTransport = new MemoryAdminTransport()
  readonly machines: SimMachine[] = []
  readonly daemons: (OsdDaemon | undefined)[] = []
  private readonly clientEnv: Env

  private constructor(seed: number, osds: number, { ioDelayMs }: OsdChange) {
    this.world = new SimWorld({ seed, log: this.log, ...(ioDelayMs === undefined ? {} : { ioDelayMs }) })
    this.clientEnv = this.world.machine('client').start()
    this.monitors = new FakeMonitors(this.world.machine('monitors').start(), osds)
    for (let id = 0; id < osds; id++) this.machines.push(this.world.machine(`host-${id}`))
  }

  static async create(seed: number, osds: number, change: OsdChange = {}): Promise<MiniCluster> {
    await loadChecksums()
    const cluster = new MiniCluster(seed, osds, change)
    for (let id = 0; id < osds; id++) await cluster.start(id, change)
    await cluster.until(() => cluster.daemons.every((daemon) => daemon?.isUp === true))
    return cluster
  }

  async start(id: number, change: OsdChange = {}): Promise<OsdDaemon> {
    const options: OsdDaemonOptions = {
      id: id as OsdId,
      dataDirectory: '/data',
      bindHost: this.machine(id).host,
      sizeBytes: change.sizeBytes ?? 64 * mebibyte,
      crushLocation: { root: 'default', host: `host-${id}` },
      ...(change.settings === undefined ? {} : { settings: change.settings }),
    }
    const env = this.machine(id).start()
    const parts = {
      monitor: this.monitors.client(env),
      stores: smallStores(change.journalBytes ?? 8 * mebibyte),
      admin: this.admin,
    }
    const daemon = await this.run(OsdDaemon.start(env, options, parts))
    this.daemons[id] = daemon
    return daemon
  }

  async stop(id: number): Promise<void> {
    await this.run(must(this.daemons[id], 'a running OSD').stop())
    this.machine(id).kill()
    this.daemons[id] = undefined
  }

  kill(id: number): void {
    this.machine(id).kill()
    this.daemons[id] = undefined
  }

  cutPower(id: number): void {
    this.machine(id).powerCut()
    this.daemons[id] = undefined
  }

  wallMs(): number {
    return this.clientEnv.clock.wallMs()
  }

  machine(id: number): SimMachine {
    return must(this.machines[id], 'a machine')
  }

  until(condition: () => boolean, withinMs = 60_000): Promise<void> {
    return this.world.time.until(condition, withinMs)
  }

  run<T>(work: Promise<T>, withinMs = 60_000): Promise<T> {
    return this.world.time.settle(work, withinMs)
  }

  async pool(name: string, pgNum: number, size: number, minSize: number): Promise<PoolId> {
    const id = this.monitors.createPool(name, pgNum, size, minSize)
    await this.untilClean(id)
    return id
  }

  /** Erasure-coded; `minSize`: k unless given, so that it serves with as many as it takes to read. */
  async codedPool(name: string, pgNum: number, k: number, m: number, minSize = k): Promise<PoolId> {
    const id = this.monitors.createPool(name, pgNum, k + m, minSize, [`k=${k}`, `m=${m}`, 'stripe_unit=4096'])
    await this.untilClean(id)
    return id
  }

  untilClean(pool: PoolId, withinMs = 60_000): Promise<void> {
    return this.until(() => this.monitors.allPgs(pool, 'active', 'clean'), withinMs)
  }

  /** On the machine of all clients, or on one of its own. */
  async client(pool: string, host?: string): Promise<PoolHandle> {
    const env = host === undefined ? this.clientEnv : this.world.machine(host).start()
    const client = await this.run(ClusterClient.connect(env, { monitor: this.monitors.client(env) }))
    return client.pool(pool)
  }

  /** Counters of `perf`. */
  async counters(id: number): Promise<Readonly<Record<string, number>>> {
    const perf = (await this.ask(id, 'perf')) as { readonly counters: Record<string, number> }
    return perf.counters
  }

  ask(id: number, method: string, args: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    return this.run(this.admin.call(must(this.daemons[id], 'a running OSD').listening.admin, method, args))
  }

  async put(pool: PoolHandle, name: string, data: Uint8Array): Promise<void> {
    await this.run(pool.execute(name, [{ kind: 'write-full', data }]))
  }

  async get(pool: PoolHandle, name: string): Promise<Uint8Array> {
    const { results } = await this.run(pool.execute(name, [{ kind: 'read', offset: 0, length: mebibyte }]))
    const [first] = results
    return first?.kind === 'data' ? first.data : new Uint8Array(0)
  }
}

export function bytesOf(seed: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  let state = seed * 2654435761 + 1
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    bytes[i] = state >>> 24
  }
  return bytes
}

/** Flips a byte of the journal record that holds these bytes. The OSD is not running. */
export async function damageJournal(cluster: MiniCluster, id: number, bytes: Uint8Array): Promise<void> {
  const path = '/data/store/journal'
  const machine = cluster.machine(id)
  const journal = Buffer.from(await cluster.run(machine.start().disk.readFile(path)))
  machine.kill()
  const at = journal.indexOf(bytes)
  assert(at >= 0, 'the journal holds the bytes')
  machine.disk.flip(path, at)
}
