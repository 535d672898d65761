/**
 * An OSD that was away gets what was written meanwhile, and nothing else. Many objects exist; one OSD is stopped; 1,000
 * writes go to some of them, some of them several times; it is started again. Compared are the objects and bytes that were
 * recovered, by the counters of all OSDs, with those that were written; and the time from its start to HEALTH_OK.
 *
 *   npm run build && npx tsx --conditions=source bench/recovery.ts [--record] [--writes N] [--objects N] [--kib N]
 */
import { Prng } from '../packages/base/src/index.ts'
import { argument, LocalCluster, report, round } from './support/local-cluster.ts'

const writes = Number(argument('--writes') ?? 1000)
const objects = Number(argument('--objects') ?? 4000)
const objectBytes = Number(argument('--kib') ?? 64) * 1024
const away = 'osd.2'
const depth = 32

interface Recovered {
  readonly objects: number
  readonly bytes: number
}

async function inParallel(count: number, work: (i: number) => Promise<unknown>): Promise<void> {
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < count) await work(next++)
  }
  await Promise.all(Array.from({ length: depth }, worker))
}

/** Copies made anew, by the counters of the OSDs that run; these begin at zero when an OSD starts. */
async function recovered(cluster: LocalCluster): Promise<Recovered> {
  const sum = { objects: 0, bytes: 0 }
  for (const { name, kind, pid } of await cluster.daemons()) {
    if (kind !== 'osd' || pid === undefined) continue
    const { counters } = await cluster.json<{ readonly counters: Readonly<Record<string, number>> }>(
      'daemon',
      'perf',
      name,
    )
    sum.objects += counters['recoveredObjects'] ?? 0
    sum.bytes += counters['recoveredBytes'] ?? 0
  }
  return sum
}

const cluster = LocalCluster.temporary()
try {
  await cluster.start()
  const { monitor, client } = await cluster.connect()
  const pool = client.pool('objects')
  const data = new Uint8Array(objectBytes).fill(0x5a)
  await inParallel(objects, (i) => pool.writeFull(`recovery-${i}`, data))
  await cluster.shoal('daemon', 'stop', away)
  const before = await recovered(cluster)
  const random = new Prng(1)
  const touched = new Set<string>()
  const names = Array.from({ length: writes }, () => `recovery-${random.below(objects)}`)
  for (const name of names) touched.add(name)
  await inParallel(writes, (i) => pool.write(names[i] as string, 4096 * (i % 8), data.subarray(0, 4096)))
  const startMs = performance.now()
  await cluster.shoal('daemon', 'start', away)
  await cluster.untilHealthy()
  const seconds = (performance.now() - startMs) / 1000
  const after = await recovered(cluster)
  await client.close()
  await monitor.close()
  report('recovery', { monitors: 3, osds: 3, size: 3, objects, objectBytes, writes }, [
    {
      objectsWritten: touched.size,
      objectsRecovered: after.objects - before.objects,
      bytesOfThem: touched.size * objectBytes,
      bytesRecovered: after.bytes - before.bytes,
      secondsToHealthy: round(seconds, 1),
    },
  ])
} finally {
  await cluster.remove()
}
