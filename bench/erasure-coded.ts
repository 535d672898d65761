/**
 * The same load on a pool of three copies and on one of 4+2 shards, on six OSDs of this machine: whole objects of 4 MiB, and
 * 4 KiB overwritten and read at random offsets of them.
 *
 *   npm run build && npx tsx --conditions=source bench/erasure-coded.ts [--record] [--seconds N] [--ramp N]
 */
import { Histogram, Prng } from '../packages/base/src/index.ts'
import type { PoolHandle } from '../packages/client/src/index.ts'
import type { ObjectOp } from '../packages/wire/src/index.ts'
import { argument, cpuSeconds, LocalCluster, pause, report, round, shoalCommand } from './support/local-cluster.ts'

const objectBytes = 4 * 1024 * 1024
const blockBytes = 4096
const objects = 32

interface Load {
  readonly name: string
  readonly depth: number
  readonly bytes: number
  readonly op: (random: Prng) => ObjectOp
}

const whole = new Uint8Array(objectBytes).fill(0x5a)
const block = new Uint8Array(blockBytes).fill(0xa5)
const anyOffset = (random: Prng): number => random.below(objectBytes / blockBytes) * blockBytes

const loads: readonly Load[] = [
  { name: 'write 4 MiB', depth: 8, bytes: objectBytes, op: () => ({ kind: 'write-full', data: whole }) },
  { name: 'read 4 MiB', depth: 8, bytes: objectBytes, op: () => ({ kind: 'read', offset: 0, length: objectBytes }) },
  {
    name: 'overwrite 4 KiB',
    depth: 16,
    bytes: blockBytes,
    op: (random) => ({ kind: 'write', offset: anyOffset(random), data: block }),
  },
  {
    name: 'read 4 KiB',
    depth: 16,
    bytes: blockBytes,
    op: (random) => ({ kind: 'read', offset: anyOffset(random), length: blockBytes }),
  },
]

async function run(pool: PoolHandle, { depth, op }: Load, seconds: number): Promise<Histogram> {
  const latencyUs = new Histogram()
  const random = new Prng([1, 2, 3])
  const endMs = performance.now() + seconds * 1000
  const worker = async (): Promise<void> => {
    while (performance.now() < endMs) {
      const sentMs = performance.now()
      await pool.execute(`bench-${random.below(objects)}`, [op(random)])
      latencyUs.record((performance.now() - sentMs) * 1000)
    }
  }
  await Promise.all(Array.from({ length: depth }, worker))
  return latencyUs
}

async function main(cluster: LocalCluster): Promise<readonly object[]> {
  await cluster.shoal('osd', 'erasure-code-profile', 'set', 'wide', 'k=4', 'm=2', 'crush-failure-domain=osd')
  await cluster.shoal('pool', 'create', 'coded', '32', 'erasure', 'wide')
  await pause(3_000)
  const osds = (await cluster.daemons()).filter(({ kind }) => kind === 'osd')
  const cpu = (): number => osds.reduce((total, { pid }) => total + cpuSeconds(pid), 0)
  const { monitor, client } = await cluster.connect()
  const seconds = Number(argument('--seconds') ?? 8)
  const rampSeconds = Number(argument('--ramp') ?? 8)
  const results: object[] = []
  for (const name of ['objects', 'coded']) {
    const pool = client.pool(name)
    for (let i = 0; i < objects; i++) await pool.execute(`bench-${i}`, [{ kind: 'write-full', data: whole }])
    for (const load of loads) {
      await run(pool, load, rampSeconds)
      const before = cpu()
      const startedMs = performance.now()
      const { count, mean, p99 } = (await run(pool, load, seconds)).summary()
      const tookSeconds = (performance.now() - startedMs) / 1000
      results.push({
        pool: name === 'coded' ? '4+2 shards' : '3 copies',
        load: load.name,
        depth: load.depth,
        opsPerSecond: Math.round(count / tookSeconds),
        mibPerSecond: round((count * load.bytes) / tookSeconds / 2 ** 20, 1),
        meanMs: round(mean / 1000, 2),
        p99Ms: round(p99 / 1000, 2),
        osdCpuMsPerOp: round(((cpu() - before) * 1000) / Math.max(1, count), 3),
      })
    }
  }
  await client.close()
  await monitor.close()
  return results
}

const cluster = LocalCluster.temporary()
try {
  await cluster.start([process.execPath, shoalCommand, 'up', '--osds', '6'])
  report('erasure-coded', { monitors: 3, osds: 6, copies: 3, code: '4+2' }, await main(cluster))
} finally {
  await cluster.remove()
}
