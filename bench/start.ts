/**
 * Starting, and doing nothing: how long `npm start` takes until HEALTH_OK on an installed, built checkout, for new clusters
 * and for ones that have run before; then memory and processor time of all daemons while nobody asks for anything.
 *
 *   npm run build && npx tsx --conditions=source bench/start.ts [--record] [--starts N] [--idle SECONDS]
 */
import { argument, cpuSeconds, LocalCluster, pause, report, round, rssMb } from './support/local-cluster.ts'

const starts = Number(argument('--starts') ?? 5)
const idleSeconds = Number(argument('--idle') ?? 30)
/** Caches fill and first maps are stored before the cluster counts as idle. */
const settleMs = 10_000

function summary(what: string, times: readonly number[]): object {
  const sorted = [...times].sort((a, b) => a - b).map((ms) => round(ms / 1000, 2))
  const median = sorted[Math.floor((sorted.length - 1) / 2)]
  return { what, starts: sorted.length, minSeconds: sorted[0], medianSeconds: median, maxSeconds: sorted.at(-1) }
}

async function idle(cluster: LocalCluster): Promise<object> {
  await pause(settleMs)
  const rows = await cluster.daemons()
  const pids = (kinds: readonly string[]): readonly number[] =>
    rows.filter((row) => kinds.includes(row.kind)).map((row) => row.pid)
  const groups = {
    'monitors and OSDs': pids(['mon', 'osd']),
    'NBD gateway': pids(['nbd']),
    supervisor: [cluster.supervisor],
  }
  const sum = (of: (pid: number) => number): readonly number[] =>
    Object.values(groups).map((group) => group.reduce((total, pid) => total + of(pid), 0))
  const before = sum(cpuSeconds)
  const startMs = performance.now()
  await pause(idleSeconds * 1000)
  const seconds = (performance.now() - startMs) / 1000
  const after = sum(cpuSeconds)
  const memory = sum(rssMb)
  return Object.keys(groups).map((what, i) => ({
    what,
    rssMb: Math.round(memory[i] ?? 0),
    cpuPercentOfOneCore: round((100 * ((after[i] ?? 0) - (before[i] ?? 0))) / seconds, 2),
  }))
}

const fresh: number[] = []
const again: number[] = []
let idleRows: object = []
for (let i = 0; i < starts; i++) {
  const cluster = LocalCluster.temporary()
  try {
    fresh.push(await cluster.start(['npm', 'start', '--silent', '--']))
    await cluster.stop()
    again.push(await cluster.start(['npm', 'start', '--silent', '--']))
    if (i === starts - 1) idleRows = await idle(cluster)
  } finally {
    await cluster.remove()
  }
}
report('start', { monitors: 3, osds: 3, idleSeconds }, [
  summary('new cluster', fresh),
  summary('the same again', again),
  ...(idleRows as readonly object[]),
])
