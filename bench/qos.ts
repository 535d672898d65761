/**
 * Clients beside recovery, by profile. One OSD of three is stopped, every object of a set is written anew, and it is started
 * again, with `norecover` until it is warm: a daemon compiles what is used often, which takes it seconds. Then it fetches
 * all of them. Meanwhile clients read and write other objects of the same placement groups.
 *
 * - `idle`: clients alone, just before each recovery.
 * - `unthrottled`: recovery alone.
 * - each profile: both at once. Compared are the clients' p99 with `idle`, and the rate of recovery with `unthrottled`.
 *
 *   npm run build && npx tsx --conditions=source bench/qos.ts [--record] [--objects N] [--kib N] [--depth N] [--rounds N]
 *     [--profiles A,B]
 *
 * Rounds go through all of it in turn: the machine may be another one from minute to minute. Medians are told.
 */
import { type Address, Histogram, Prng } from '../packages/base/src/index.ts'
import { ClusterLayout } from '../packages/cli/src/local/layout.ts'
import { readRunFile } from '../packages/cli/src/local/process-table.ts'
import type { PoolHandle } from '../packages/client/src/index.ts'
import { callAdmin } from '../packages/monitor-client/src/index.ts'
import { createRealEnv } from '../packages/runtime/src/index.ts'
import type { ObjectOp } from '../packages/wire/src/index.ts'
import { argument, type DaemonRow, LocalCluster, pause, report, round } from './support/local-cluster.ts'

const objects = Number(argument('--objects') ?? 600)
const objectBytes = Number(argument('--kib') ?? 1024) * 1024
const depth = Number(argument('--depth') ?? 16)
const rounds = Number(argument('--rounds') ?? 3)
const profiles = (argument('--profiles') ?? 'high_client_ops,balanced,high_recovery_ops').split(',')
const away = 'osd.2'
const idleSeconds = 8
const warmSeconds = 10
const clientObjects = 64
const blockBytes = 8192
/** Asking costs the daemons, and this process, more than some operations do. */
const pollMs = 1_000
const recoveryMsMax = 240_000

const env = createRealEnv({ name: 'bench', logLevel: 'error' })

interface Measured {
  readonly opsPerSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly recoveryMbPerSecond: number
}

/** 70 % reads, 30 % writes of 8 KiB, `depth` in flight, until told to end. */
class Clients {
  private readonly pool: PoolHandle
  private readonly random = new Prng(7)

  constructor(pool: PoolHandle) {
    this.pool = pool
  }

  async fill(): Promise<void> {
    const data = new Uint8Array(objectBytes).fill(1)
    for (let i = 0; i < clientObjects; i++) await this.pool.writeFull(`client-${i}`, data)
  }

  async during(until: Promise<unknown>): Promise<Omit<Measured, 'recoveryMbPerSecond'>> {
    const state = { ended: false }
    const latencyUs = new Histogram()
    const data = new Uint8Array(blockBytes).fill(2)
    const startMs = performance.now()
    const worker = async (): Promise<void> => {
      while (!state.ended) {
        const offset = this.random.below(Math.floor(objectBytes / blockBytes)) * blockBytes
        const isRead = this.random.below(10) < 7
        const op: ObjectOp = isRead ? { kind: 'read', offset, length: blockBytes } : { kind: 'write', offset, data }
        const sentMs = performance.now()
        await this.pool.execute(`client-${this.random.below(clientObjects)}`, [op])
        latencyUs.record((performance.now() - sentMs) * 1000)
      }
    }
    const working = Promise.all(Array.from({ length: depth }, worker))
    await until
    state.ended = true
    await working
    const { count, p50, p99 } = latencyUs.summary()
    const seconds = (performance.now() - startMs) / 1000
    return { opsPerSecond: Math.round(count / seconds), p50Ms: round(p50 / 1000, 2), p99Ms: round(p99 / 1000, 2) }
  }
}

async function inParallel(count: number, work: (i: number) => Promise<unknown>): Promise<void> {
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < count) await work(next++)
  }
  await Promise.all(Array.from({ length: 16 }, worker))
}

/** Copies that the OSDs have made anew, since each was started. */
async function recoveredBytes(layout: ClusterLayout, rows: readonly DaemonRow[]): Promise<number> {
  let sum = 0
  for (const { kind, name } of rows) {
    const run = kind === 'osd' ? readRunFile(layout, name) : undefined
    if (run === undefined || run.adminAddress === '') continue
    const { counters } = (await callAdmin(env, run.adminAddress as Address, 'perf')) as {
      readonly counters: Readonly<Record<string, number>>
    }
    sum += counters['recoveredBytes'] ?? 0
  }
  return sum
}

class Bench {
  private readonly cluster: LocalCluster
  private readonly pool: PoolHandle
  private readonly clients: Clients
  private readonly layout: ClusterLayout

  constructor(cluster: LocalCluster, pool: PoolHandle) {
    this.cluster = cluster
    this.pool = pool
    this.clients = new Clients(pool)
    this.layout = new ClusterLayout(cluster.directory)
  }

  async prepare(): Promise<void> {
    await this.clients.fill()
    await this.writeAll(0)
    await this.clients.during(pause(warmSeconds * 1000))
  }

  /** `busy`: with clients. */
  async recovery(profile: string, busy: boolean): Promise<{ readonly idle: Measured; readonly during: Measured }> {
    const { cluster } = this
    await cluster.shoal('config', 'set', 'osd', 'osd_mclock_profile', profile)
    await cluster.shoal('osd', 'set', 'norecover')
    await cluster.shoal('daemon', 'stop', away)
    await this.writeAll(1)
    const others = (await cluster.daemons()).filter(({ name }) => name !== away)
    const before = await recoveredBytes(this.layout, others)
    await cluster.shoal('daemon', 'start', away)
    const rows = await cluster.daemons()
    await this.clients.during(pause(warmSeconds * 1000))
    const idle = { ...(await this.clients.during(pause(idleSeconds * 1000))), recoveryMbPerSecond: 0 }
    await cluster.shoal('osd', 'unset', 'norecover')
    const done = this.untilRecovered(rows, before)
    if (busy) await this.untilBegun(rows, before)
    const clients = busy ? await this.clients.during(done) : { opsPerSecond: 0, p50Ms: 0, p99Ms: 0 }
    const during = { ...clients, recoveryMbPerSecond: await done }
    await cluster.untilHealthy()
    return { idle, during }
  }

  private async writeAll(fill: number): Promise<void> {
    const data = new Uint8Array(objectBytes).fill(fill)
    await inParallel(objects, (i) => this.pool.writeFull(`qos-${i}`, data))
  }

  private async untilBegun(rows: readonly DaemonRow[], before: number): Promise<void> {
    while ((await recoveredBytes(this.layout, rows)) <= before) await pause(pollMs / 10)
  }

  /** MB per second from the first copy to the last but a tenth: the tail is of few placement groups. */
  private async untilRecovered(rows: readonly DaemonRow[], before: number): Promise<number> {
    const wanted = 0.9 * objects * objectBytes
    const deadlineMs = performance.now() + recoveryMsMax
    let from: { readonly atMs: number; readonly bytes: number } | undefined
    for (;;) {
      const bytes = (await recoveredBytes(this.layout, rows)) - before
      const atMs = performance.now()
      if (bytes > 0) from ??= { atMs, bytes }
      if (from !== undefined && (bytes >= wanted || atMs > deadlineMs)) {
        return round((bytes - from.bytes) / 1e3 / (atMs - from.atMs), 1)
      }
      await pause(pollMs)
    }
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
}

const cluster = LocalCluster.temporary()
try {
  await cluster.start()
  const { monitor, client } = await cluster.connect()
  const bench = new Bench(cluster, client.pool('objects'))
  await bench.prepare()
  const runs = new Map<string, Measured[]>()
  const keep = (name: string, measured: Measured): void => {
    process.stderr.write(`${name} ${JSON.stringify(measured)}\n`)
    runs.set(name, [...(runs.get(name) ?? []), measured])
  }
  for (let i = 0; i < rounds; i++) {
    for (const name of ['unthrottled', ...profiles]) {
      const busy = name !== 'unthrottled'
      const { idle, during } = await bench.recovery(busy ? name : 'high_recovery_ops', busy)
      keep('idle', idle)
      keep(name, during)
    }
  }
  await client.close()
  await monitor.close()
  const of = (name: string, what: keyof Measured): number => median((runs.get(name) ?? []).map((one) => one[what]))
  const rows = [...runs.keys()].map((name) => ({
    load: name,
    clientOpsPerSecond: of(name, 'opsPerSecond'),
    clientP50Ms: of(name, 'p50Ms'),
    clientP99Ms: of(name, 'p99Ms'),
    p99TimesIdle: round(of(name, 'p99Ms') / of('idle', 'p99Ms'), 2),
    recoveryMbPerSecond: of(name, 'recoveryMbPerSecond'),
    shareOfUnthrottled: round(of(name, 'recoveryMbPerSecond') / of('unthrottled', 'recoveryMbPerSecond'), 2),
  }))
  report('qos', { monitors: 3, osds: 3, size: 3, objects, objectBytes, depth, rounds }, rows)
} finally {
  await cluster.remove()
}
