/**
 * How much of a cluster's life fits into a minute of one core: three monitors and six OSDs with production's settings,
 * idle, with the load of an office, with that load and faults, with clients that never rest; and the mix that the swarm
 * draws. Each row is a process of its own that runs the compiled simulator, as `npm run sim` does.
 *
 *   npm run build && npx tsx --conditions=source bench/sim.ts [--record]
 *
 * The figures are of processor time (user and system, garbage collector and compiler included), so that what else runs
 * on the machine disturbs them little.
 */
import { execFile, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import type { FaultEvent, RunResult, Scenario } from '../packages/simulator/src/index.ts'

type Measured = RunResult & { readonly cpuMs: number }

const mebibyte = 1024 * 1024
const minuteMs = 60_000
const hourMs = 60 * minuteMs
const program = join(import.meta.dirname, '../packages/simulator/dist/main.js')
const swarmSeeds = 24

const faultKinds: readonly FaultEvent[] = [
  { atMs: 0, kind: 'crash', params: { node: 'osd.1' } },
  { atMs: 0, kind: 'power-cut', durationMs: 5_000, params: { nodes: ['osd.2'] } },
  { atMs: 0, kind: 'pause', durationMs: 8_000, params: { node: 'osd.3' } },
  { atMs: 0, kind: 'partition', durationMs: 10_000, params: { group: ['osd.4'], way: 'both' } },
  { atMs: 0, kind: 'crash', params: { node: 'mon.a' } },
]

interface Plan {
  readonly name: string
  readonly durationMs: number
  readonly clients: number
  readonly pauseFactor: number
  readonly rest?: NonNullable<Scenario['rest']>
  readonly faultEveryMs?: number
}

/** One minute in ten is busy: two clients with two operations each under way, 0.75 s between them on average. */
const office = { clients: 2, pauseFactor: 10, rest: { everyMs: 10 * minuteMs, busyMs: minuteMs } }

const plans: readonly Plan[] = [
  { name: 'idle', durationMs: 8 * hourMs, clients: 0, pauseFactor: 1 },
  { name: 'realistic load, calm', durationMs: 8 * hourMs, ...office },
  { name: 'realistic load, a fault every ten minutes', durationMs: 8 * hourMs, ...office, faultEveryMs: 10 * minuteMs },
  {
    name: 'busy clients, a fault every half minute',
    durationMs: 5 * minuteMs,
    clients: 2,
    pauseFactor: 1,
    faultEveryMs: 30_000,
  },
]

function scenarioOf({ durationMs, clients, pauseFactor, rest, faultEveryMs }: Plan): Scenario {
  const faults = faultEveryMs === undefined ? 0 : Math.floor(durationMs / faultEveryMs) - 1
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
    ...(rest === undefined ? {} : { rest }),
    network: { delayMs: { min: 0.05, max: 0.5 }, chunkBytesMax: 64 * 1024 },
    ioDelayMs: { min: 0.1, max: 1 },
    store: { sizeBytes: 64 * mebibyte, journalBytes: 8 * mebibyte, mount: {} },
    osdSettings: {},
    monitorSettings: {},
    faults: Array.from({ length: faults }, (_, i) => ({
      ...(faultKinds[i % faultKinds.length] as FaultEvent),
      // Within the busy minute, where there is one.
      atMs: (i + 1) * (faultEveryMs ?? 0) + 10_000,
    })),
  }
}

function rowOf(name: string, results: readonly Measured[]): object {
  const sum = (of: (result: Measured) => number): number => results.reduce((total, result) => total + of(result), 0)
  const virtualMs = sum((result) => result.virtualMs)
  const cpuMs = sum((result) => result.cpuMs)
  const events = sum((result) => result.events)
  return {
    name,
    verdicts: [...new Set(results.map((result) => result.verdict))].join(', '),
    virtualHours: Number((virtualMs / hourMs).toFixed(2)),
    virtualHoursPerCpuMinute: Number((virtualMs / hourMs / (cpuMs / minuteMs)).toFixed(2)),
    operationsPerVirtualSecond: Number((sum((result) => result.operations) / (virtualMs / 1000)).toFixed(2)),
    eventsPerVirtualSecond: Math.round(events / (virtualMs / 1000)),
    microsecondsPerEvent: Number(((cpuMs * 1000) / events).toFixed(1)),
    faults: sum((result) => Object.values(result.faults).reduce((total, count) => total + count, 0)),
  }
}

async function runPlan(plan: Plan, directory: string): Promise<Measured> {
  const file = join(directory, 'scenario.json')
  writeFileSync(file, JSON.stringify(scenarioOf(plan)))
  // A verdict other than clean is an exit code, and stands in the row.
  const run = promisify(execFile)(process.execPath, [program, '--file', file, '--json'])
  const { stdout } = await run.catch((error: { readonly stdout: string }) => error)
  return JSON.parse(stdout) as Measured
}

/** The swarm's mix: what it draws for the first seeds, in one process. */
async function runSwarm(seeds: number): Promise<readonly Measured[]> {
  const child = spawn(process.execPath, [program, '--serve'], { stdio: ['pipe', 'pipe', 'inherit'] })
  for (let seed = 1; seed <= seeds; seed++) child.stdin.write(`${seed}\n`)
  child.stdin.end()
  const results: Measured[] = []
  for await (const line of createInterface({ input: child.stdout })) results.push(JSON.parse(line) as Measured)
  return results
}

const rows: object[] = []
const tell = (row: object): void => {
  rows.push(row)
  process.stdout.write(`${JSON.stringify(row)}\n`)
}
const directory = mkdtempSync(join(tmpdir(), 'shoal-bench-'))
try {
  for (const plan of plans) tell(rowOf(plan.name, [await runPlan(plan, directory)]))
  tell(rowOf(`the swarm's mix, seeds 1 to ${swarmSeeds}`, await runSwarm(swarmSeeds)))
} finally {
  rmSync(directory, { recursive: true })
}
if (process.argv.includes('--record')) {
  const file = join(import.meta.dirname, 'results', 'sim.json')
  const record = { node: process.version, cpu: cpus()[0]?.model, goalVirtualHoursPerCpuMinute: 60, results: rows }
  writeFileSync(file, `${JSON.stringify(record, undefined, 2)}\n`)
}
