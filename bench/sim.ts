/**
 * How much of a cluster's life fits into a minute of one core: three monitors and six OSDs with production's settings,
 * idle, under a light load, and under as much as two busy clients make; a fault every half minute.
 *
 *   npx tsx --conditions=source bench/sim.ts [--record]
 */
import { writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { type FaultEvent, runScenario, type Scenario } from '../packages/simulator/src/index.ts'

const mebibyte = 1024 * 1024
const durationMs = 300_000
const hourMs = 3_600_000

const faultKinds: readonly FaultEvent[] = [
  { atMs: 0, kind: 'crash', params: { node: 'osd.1' } },
  { atMs: 0, kind: 'power-cut', durationMs: 5_000, params: { nodes: ['osd.2'] } },
  { atMs: 0, kind: 'pause', durationMs: 8_000, params: { node: 'osd.3' } },
  { atMs: 0, kind: 'partition', durationMs: 10_000, params: { group: ['osd.4'], way: 'both' } },
  { atMs: 0, kind: 'crash', params: { node: 'mon.a' } },
]

function scenario(clients: number, pauseFactor: number, heartbeatSeconds: number): Scenario {
  return {
    version: 1,
    seed: 1,
    name: 'bench',
    mode: 'within',
    durationMs,
    monitors: 3,
    osds: Array.from({ length: 6 }, (_, id) => ({ id, host: `host-${id % 3}`, rack: `rack-${id % 3}` })),
    failureDomain: 'host',
    pools: [{ name: 'pool-registers', pgNum: 16, size: 3, minSize: 2 }],
    workloads: clients === 0 ? [] : [{ workload: 'registers', pool: 'pool-registers', clients }],
    pauseFactor,
    network: { delayMs: { min: 0.05, max: 0.5 }, chunkBytesMax: 64 * 1024 },
    ioDelayMs: { min: 0.1, max: 1 },
    store: { sizeBytes: 64 * mebibyte, journalBytes: 8 * mebibyte, mount: {} },
    osdSettings: {
      osd_heartbeat_interval: heartbeatSeconds,
      osd_read_lease: heartbeatSeconds * 3,
      osd_heartbeat_grace: Math.max(4, heartbeatSeconds * 4),
    },
    monitorSettings: {},
    faults: Array.from({ length: durationMs / 30_000 - 1 }, (_, i) => ({
      ...(faultKinds[i % faultKinds.length] as FaultEvent),
      atMs: (i + 1) * 30_000,
    })),
  }
}

const rows = [
  { name: 'idle', clients: 0, pauseFactor: 1, heartbeatSeconds: 0.5 },
  { name: 'light load', clients: 2, pauseFactor: 20, heartbeatSeconds: 0.5 },
  { name: 'busy clients', clients: 2, pauseFactor: 1, heartbeatSeconds: 0.5 },
  { name: 'light load, heartbeats every 6 s', clients: 2, pauseFactor: 20, heartbeatSeconds: 6 },
] as const

// The first run compiles.
await runScenario({ ...scenario(1, 1, 0.5), durationMs: 10_000, faults: [] })

const results = []
for (const { name, clients, pauseFactor, heartbeatSeconds } of rows) {
  const before = process.cpuUsage()
  const result = await runScenario(scenario(clients, pauseFactor, heartbeatSeconds))
  const { user, system } = process.cpuUsage(before)
  const cpuMinutes = (user + system) / 60e6
  const row = {
    name,
    verdict: result.verdict,
    virtualHoursPerCpuMinute: Number((result.virtualMs / hourMs / cpuMinutes).toFixed(2)),
    operationsPerVirtualSecond: Number((result.operations / (result.virtualMs / 1000)).toFixed(1)),
    eventsPerVirtualSecond: Math.round(result.events / (result.virtualMs / 1000)),
    microsecondsPerEvent: Number(((user + system) / result.events).toFixed(1)),
    faults: Object.values(result.faults).reduce((sum, count) => sum + count, 0),
  }
  results.push(row)
  process.stdout.write(`${JSON.stringify(row)}\n`)
}
if (process.argv.includes('--record')) {
  const file = join(import.meta.dirname, 'results', 'sim.json')
  const record = { node: process.version, cpu: cpus()[0]?.model, goalVirtualHoursPerCpuMinute: 60, results }
  writeFileSync(file, `${JSON.stringify(record, undefined, 2)}\n`)
}
