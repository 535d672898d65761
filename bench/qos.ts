/**
 * What clients and recovery get of the disks while both want them, by profile. Clients write and read 8 KiB without pause;
 * first alone, then while an OSD that was away gets back what was written meanwhile. `share` is recovery's part of all
 * bytes moved, an operation counted as the scheduler counts it (its bytes, and 16 KiB), a write on each of its copies.
 *
 *   npm run build && npx tsx --conditions=source bench/qos.ts [--record] [--mib N] [--depth N] [--bandwidth SIZE]
 */
import type { ClusterClient } from '../packages/client/src/index.ts'
import { argument, LocalCluster, pause, report, round } from './support/local-cluster.ts'

const depth = Number(argument('--depth') ?? 8)
const awayBytes = Number(argument('--mib') ?? 256) * 1024 * 1024
const bandwidth = argument('--bandwidth') ?? '64M'
const profiles = ['high_client_ops', 'balanced', 'high_recovery_ops']
const away = 'osd.2'
const copies = 3
const opBytes = 8192
const opCostBytes = opBytes + 16 * 1024
const objectBytes = 256 * 1024
const aloneMs = 5_000
const settleMs = 1_000

interface Measured {
  readonly latenciesMs: readonly number[]
  readonly seconds: number
}

/** Runs until `ended`; what began after `settleMs` counts. */
async function load(client: ClusterClient, ended: () => Promise<boolean>): Promise<Measured> {
  const pool = client.pool('objects')
  const data = new Uint8Array(opBytes)
  const latenciesMs: number[] = []
  const startMs = performance.now()
  const run = { isOver: false }
  const worker = async (at: number): Promise<void> => {
    for (let turn = 0; !run.isOver; turn++) {
      const name = `client-${at}-${turn % 16}`
      const beginMs = performance.now()
      if (turn % 2 === 0) await pool.writeFull(name, data)
      else await pool.read(`client-${at}-${(turn - 1) % 16}`, 0, opBytes)
      if (beginMs - startMs > settleMs) latenciesMs.push(performance.now() - beginMs)
    }
  }
  const workers = Array.from({ length: depth }, (_, at) => worker(at))
  while (!(await ended())) await pause(200)
  run.isOver = true
  await Promise.all(workers)
  return { latenciesMs, seconds: (performance.now() - startMs - settleMs) / 1000 }
}

function quantile(values: readonly number[], fraction: number): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length * fraction)] ?? 0
}

/** Of the OSDs that run; counters begin at zero when one starts. */
async function recoveredBytes(cluster: LocalCluster): Promise<number> {
  let sum = 0
  for (const { name, kind, pid } of await cluster.daemons()) {
    if (kind !== 'osd' || pid === undefined) continue
    const { counters } = await cluster.json<{ readonly counters: Readonly<Record<string, number>> }>(
      'daemon',
      'perf',
      name,
    )
    sum += counters['recoveredBytes'] ?? 0
  }
  return sum
}

async function whileRecovering(cluster: LocalCluster, client: ClusterClient): Promise<Measured & { bytes: number }> {
  const pool = client.pool('objects')
  const data = new Uint8Array(objectBytes).fill(0x5a)
  await cluster.shoal('daemon', 'stop', away)
  const count = Math.ceil(awayBytes / objectBytes)
  let next = 0
  const writer = async (): Promise<void> => {
    while (next < count) await pool.writeFull(`away-${next++}`, data)
  }
  await Promise.all(Array.from({ length: 16 }, writer))
  const before = await recoveredBytes(cluster)
  await cluster.shoal('daemon', 'start', away)
  let bytes = 0
  const measured = await load(client, async () => {
    bytes = (await recoveredBytes(cluster)) - before
    return bytes >= awayBytes * 0.9
  })
  await cluster.untilHealthy()
  return { ...measured, bytes }
}

const cluster = LocalCluster.temporary()
try {
  await cluster.start()
  await cluster.shoal('config', 'set', 'osd', 'osd_mclock_max_sequential_bandwidth', bandwidth)
  const { monitor, client } = await cluster.connect()
  const rows: object[] = []
  for (const profile of profiles) {
    await cluster.shoal('config', 'set', 'osd', 'osd_mclock_profile', profile)
    const untilMs = performance.now() + aloneMs
    const alone = await load(client, async () => performance.now() > untilMs)
    const both = await whileRecovering(cluster, client)
    const clientBytes = (both.latenciesMs.length * opCostBytes * (1 + copies)) / 2
    const [p99Alone, p99Both] = [quantile(alone.latenciesMs, 0.99), quantile(both.latenciesMs, 0.99)]
    rows.push({
      profile,
      opsAlone: round(alone.latenciesMs.length / alone.seconds, 0),
      p99AloneMs: round(p99Alone, 1),
      ops: round(both.latenciesMs.length / both.seconds, 0),
      p99Ms: round(p99Both, 1),
      times: round(p99Both / p99Alone, 2),
      recoveredMibPerSecond: round(both.bytes / both.seconds / 2 ** 20, 1),
      share: round((2 * both.bytes) / (2 * both.bytes + clientBytes), 2),
    })
  }
  await client.close()
  await monitor.close()
  report('qos', { monitors: 3, osds: 3, size: 3, depth, opBytes, awayBytes, bandwidth }, rows)
} finally {
  await cluster.remove()
}
