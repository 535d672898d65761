/**
 * What a client notices when a daemon fails. It writes and reads without pause, each worker on one object, while an OSD is
 * killed (and stays down), an OSD is stopped (SIGSTOP), and the leading monitor is killed.
 *
 * Of an OSD: after how long the map said that it is down (`noticed`), and how long after that the operation that was
 * blocked longest went on, for objects whose primary failed and for those of which it held a copy. Of the leader: after how
 * long a change of the map was committed again.
 *
 *   npm run build && npx tsx --conditions=source bench/failover.ts [--record] [--rounds N]
 */
import type { OsdId } from '../packages/base/src/index.ts'
import type { ClusterClient } from '../packages/client/src/index.ts'
import { type OsdMap, PlacementCache, placeObject, poolByName } from '../packages/cluster-map/src/index.ts'
import type { MonitorClient } from '../packages/monitor-client/src/index.ts'
import { argument, LocalCluster, pause, report, round } from './support/local-cluster.ts'

const rounds = Number(argument('--rounds') ?? 3)
const poolName = 'objects'
const blockBytes = 8192
const objectsOfEach = 16
const noticeTimeoutMs = 30_000
/** Blocked operations must have gone on by then. */
const aftermathMs = 8_000
/** Before a fault: connections exist, leases are held. */
const warmMs = 2_000

type Part = 'primary' | 'replica'

interface Span {
  readonly part: Part
  readonly beginMs: number
  readonly endMs: number
}

/** One operation at a time on each of the objects, alternately a write and a read, until told to end. */
class Load {
  readonly spans: Span[] = []
  errors = 0
  private isEnding = false
  private readonly workers: Promise<void>[] = []
  private readonly pool: ReturnType<ClusterClient['pool']>

  constructor(client: ClusterClient) {
    this.pool = client.pool(poolName)
  }

  add(part: Part, name: string): void {
    this.workers.push(this.work(part, name))
  }

  private async work(part: Part, name: string): Promise<void> {
    const data = new Uint8Array(blockBytes)
    for (let turn = 0; !this.isEnding; turn++) {
      const beginMs = performance.now()
      data.fill(turn)
      try {
        if (turn % 2 === 0) await this.pool.writeFull(name, data)
        else if ((await this.pool.read(name, 0, blockBytes))[0] !== (turn - 1) % 256) throw new Error('a stale read')
      } catch (error) {
        this.errors++
        console.error(name, error)
      }
      this.spans.push({ part, beginMs, endMs: performance.now() })
      // A pace that leaves the processors to those who have to notice.
      await pause(5)
    }
  }

  async end(): Promise<void> {
    this.isEnding = true
    await Promise.all(this.workers)
  }

  /** Of the operation that took longest among those that ended after the fault. */
  longest(part: Part, afterMs: number): Span {
    const candidates = this.spans.filter((span) => span.part === part && span.endMs > afterMs)
    return candidates.reduce((a, b) => (b.endMs - b.beginMs > a.endMs - a.beginMs ? b : a))
  }
}

/** Names of objects whose primary is, or is not, the OSD. */
function namesFor(map: OsdMap, osd: number, part: Part): readonly string[] {
  const pool = poolByName(map, poolName)
  if (pool === undefined) throw new Error(`there is no pool ${poolName}`)
  const placement = new PlacementCache(map)
  const names: string[] = []
  for (let i = 0; names.length < objectsOfEach; i++) {
    const name = `failover-${part}-${osd}-${i}`
    const { actingPrimary } = placement.mapping(placeObject(map, pool.id, '', name).pgId)
    if ((actingPrimary === osd) === (part === 'primary')) names.push(name)
  }
  return names
}

function untilDown(monitor: MonitorClient, osd: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`osd.${osd} was not noticed`)), noticeTimeoutMs)
    const subscription = monitor.onOsdMap((map) => {
      if (map.osds.get(osd as OsdId)?.up !== false) return
      clearTimeout(timer)
      resolve(performance.now())
      setImmediate(() => subscription.cancel())
    })
  })
}

async function failOsd(cluster: LocalCluster, osd: number, signal: 'SIGKILL' | 'SIGSTOP'): Promise<readonly object[]> {
  const { monitor, client } = await cluster.connect()
  const load = new Load(client)
  const name = `osd.${osd}`
  const map = monitor.osdMap as OsdMap
  for (const part of ['primary', 'replica'] as const) for (const one of namesFor(map, osd, part)) load.add(part, one)
  await pause(warmMs)
  const { pid } = await cluster.daemon(name)
  if (signal === 'SIGKILL') cluster.keepStopped(name)
  const down = untilDown(monitor, osd)
  const faultMs = performance.now()
  process.kill(pid, signal)
  const noticedMs = await down
  await pause(aftermathMs)
  if (signal === 'SIGSTOP') process.kill(pid, 'SIGCONT')
  await load.end()
  await client.close()
  await monitor.close()
  if (signal === 'SIGKILL') await cluster.shoal('daemon', 'start', name)
  await cluster.untilHealthy()
  return (['primary', 'replica'] as const).map((part) => {
    const longest = load.longest(part, faultMs)
    return {
      fault: `${signal} of an OSD`,
      objects: part === 'primary' ? 'it led' : 'it held a copy of',
      noticedMs: Math.round(noticedMs - faultMs),
      blockedMsMax: Math.round(longest.endMs - longest.beginMs),
      afterNoticeMs: Math.round(Math.max(0, longest.endMs - noticedMs)),
      errors: load.errors,
    }
  })
}

/** One change after the other; resolves with when the first was committed after the leader was killed. */
async function failLeader(cluster: LocalCluster): Promise<object> {
  const { monitor, client } = await cluster.connect()
  const stat = await cluster.json<{ readonly leader: string }>('mon', 'stat')
  const name = `mon.${stat.leader}`
  const { pid } = await cluster.daemon(name)
  let isOut = false
  const change = async (): Promise<void> => {
    isOut = !isOut
    await monitor.command({ prefix: isOut ? 'osd set' : 'osd unset', key: 'noout' }, 1_000)
  }
  for (let i = 0; i < 5; i++) await change()
  cluster.keepStopped(name)
  const faultMs = performance.now()
  process.kill(pid, 'SIGKILL')
  for (;;) {
    try {
      await change()
      break
    } catch {
      await pause(10)
    }
  }
  const committedMs = performance.now()
  await monitor.command({ prefix: 'osd unset', key: 'noout' })
  await client.close()
  await monitor.close()
  await cluster.shoal('daemon', 'start', name)
  await cluster.untilHealthy()
  return { fault: 'SIGKILL of the leading monitor', committedAgainMs: Math.round(committedMs - faultMs) }
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor((values.length - 1) / 2)] ?? 0
}

/** Rows of the same fault become one: the median and the largest of each figure. */
function summarize(rows: readonly object[]): readonly object[] {
  const groups = new Map<string, Record<string, unknown>[]>()
  for (const row of rows as readonly Record<string, unknown>[]) {
    const key = `${String(row['fault'])} ${String(row['objects'])}`
    groups.set(key, [...(groups.get(key) ?? []), row])
  }
  return [...groups.values()].map((group) =>
    Object.fromEntries(
      Object.entries(group[0] ?? {}).flatMap(([name, value]) => {
        if (typeof value !== 'number') return [[name, value]]
        const values = group.map((row) => row[name] as number)
        if (name === 'errors') return [[name, values.reduce((a, b) => a + b, 0)]]
        return [
          [name, round(median(values), 0)],
          [`${name}Worst`, Math.max(...values)],
        ]
      }),
    ),
  )
}

const cluster = LocalCluster.temporary()
try {
  await cluster.start()
  const rows: object[] = []
  for (let i = 0; i < rounds; i++) {
    rows.push(...(await failOsd(cluster, i % 3, 'SIGKILL')))
    rows.push(...(await failOsd(cluster, (i + 1) % 3, 'SIGSTOP')))
    rows.push(await failLeader(cluster))
  }
  report('failover', { monitors: 3, osds: 3, size: 3, rounds, workers: 2 * objectsOfEach }, summarize(rows))
} finally {
  await cluster.remove()
}
