/**
 * Objects on a real cluster: three monitors and three OSDs as processes of this machine, size 3, the client in this
 * process. 8 KiB writes and reads at random offsets of 4 MiB objects, 64 in flight and one at a time.
 *
 *   npm run build && npx tsx --conditions=source bench/rados.ts [--record] [--seconds N] [--ramp N] [--data DIR] [--loads write:64,read:1]
 *
 * Each load runs for `--ramp` seconds before it is measured: daemons compile what is used often, which takes them some
 * 10 s of processor time after their start. `bench/bare-path.ts` says what this machine can do at all.
 * With `--data` the load goes to the cluster of that directory, which must run; without, one is made and removed.
 */
import { Histogram, Prng } from '../packages/base/src/index.ts'
import type { ObjectOp } from '../packages/wire/src/index.ts'
import { argument, cpuSeconds, type DaemonRow, LocalCluster, report, round, rssMb } from './support/local-cluster.ts'

const blockBytes = 8192
const objectBytes = 4 * 1024 * 1024
const objects = 64

interface Measurement {
  readonly workload: string
  readonly depth: number
  readonly opsPerSecond: number
  readonly meanMs: number
  readonly p99Ms: number
  /** Of one core, summed over the OSDs, over the monitors, and of this process. */
  readonly cpuOsds: number
  readonly cpuMonitors: number
  readonly cpuClient: number
  /** The largest of the three. */
  readonly osdRssMb: number
}

class Load {
  private readonly rows: readonly DaemonRow[]
  private readonly seconds: number
  private readonly rampSeconds: number
  private readonly random = new Prng([1, 2, 3])
  private readonly run: (name: string, ops: readonly ObjectOp[]) => Promise<unknown>

  constructor(rows: readonly DaemonRow[], seconds: number, rampSeconds: number, run: Load['run']) {
    this.rows = rows
    this.seconds = seconds
    this.rampSeconds = rampSeconds
    this.run = run
  }

  /** So that reads find bytes and writes overwrite. */
  async fill(): Promise<void> {
    const data = new Uint8Array(objectBytes).fill(0x5a)
    for (let i = 0; i < objects; i++) await this.run(`bench-${i}`, [{ kind: 'write-full', data }])
  }

  async measure(workload: 'write' | 'read', depth: number): Promise<Measurement> {
    await this.keepBusy(workload, depth, this.rampSeconds)
    return this.keepBusy(workload, depth, this.seconds)
  }

  private async keepBusy(workload: 'write' | 'read', depth: number, forSeconds: number): Promise<Measurement> {
    const latencyUs = new Histogram()
    const data = new Uint8Array(blockBytes).fill(0xa5)
    const before = this.cpu()
    const startMs = performance.now()
    const endMs = startMs + forSeconds * 1000
    const worker = async (): Promise<void> => {
      while (performance.now() < endMs) {
        const offset = this.random.below(objectBytes / blockBytes) * blockBytes
        const op: ObjectOp =
          workload === 'write' ? { kind: 'write', offset, data } : { kind: 'read', offset, length: blockBytes }
        const sentMs = performance.now()
        await this.run(`bench-${this.random.below(objects)}`, [op])
        latencyUs.record((performance.now() - sentMs) * 1000)
      }
    }
    await Promise.all(Array.from({ length: depth }, worker))
    const seconds = (performance.now() - startMs) / 1000
    const after = this.cpu()
    const { count, mean, p99 } = latencyUs.summary()
    const share = (kind: keyof typeof after): number => round((after[kind] - before[kind]) / seconds, 2)
    return {
      workload: `${workload} 8 KiB`,
      depth,
      opsPerSecond: Math.round(count / seconds),
      meanMs: round(mean / 1000, 3),
      p99Ms: round(p99 / 1000, 3),
      cpuOsds: share('osd'),
      cpuMonitors: share('mon'),
      cpuClient: share('client'),
      osdRssMb: Math.round(Math.max(...this.pids('osd').map(rssMb))),
    }
  }

  private pids(kind: string): readonly number[] {
    return this.rows.filter((row) => row.kind === kind).map((row) => row.pid)
  }

  private cpu(): { readonly osd: number; readonly mon: number; readonly client: number } {
    const sum = (kind: string): number => this.pids(kind).reduce((total, pid) => total + cpuSeconds(pid), 0)
    return { osd: sum('osd'), mon: sum('mon'), client: cpuSeconds(process.pid) }
  }
}

async function main(cluster: LocalCluster): Promise<readonly Measurement[]> {
  const { monitor, client } = await cluster.connect()
  const pool = client.pool('objects')
  const seconds = Number(argument('--seconds') ?? 8)
  const rampSeconds = Number(argument('--ramp') ?? 10)
  const load = new Load(await cluster.daemons(), seconds, rampSeconds, (name, ops) => pool.execute(name, ops))
  await load.fill()
  const results: Measurement[] = []
  for (const named of (argument('--loads') ?? 'write:64,read:64,write:1,read:1').split(',')) {
    const [word, number] = named.split(':')
    const workload = word === 'read' ? 'read' : 'write'
    const depth = Number(number)
    process.stderr.write(`${workload} 8 KiB, depth ${depth} ...\n`)
    results.push(await load.measure(workload, depth))
  }
  await client.close()
  await monitor.close()
  return results
}

const given = argument('--data')
const cluster = given === undefined ? LocalCluster.temporary() : LocalCluster.running(given)
try {
  if (given === undefined) await cluster.start()
  report('rados', { monitors: 3, osds: 3, size: 3 }, await main(cluster))
} finally {
  await cluster.remove()
}
