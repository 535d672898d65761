/**
 * One simulation from empty disks to the verdict: make the cluster, load it while things go wrong, heal it, wait until it
 * is clean, check what clients saw and what is left.
 */
import { type Epoch, isClusterError, must, Prng } from '@shoal/base'
import { Messenger } from '@shoal/messenger'
import { FileObjectStore } from '@shoal/object-store'
import { makeSimEnv } from '@shoal/testkit'
import { capViolations } from './caps.ts'
import { checkReplicasEqual } from './checkers/replicas-equal.ts'
import { checkShardsAgree } from './checkers/shards-agree.ts'
import { ClusterReader } from './cluster/final-reader.ts'
import { scrubAll } from './cluster/scrub-all.ts'
import { type Crash, SimCluster } from './cluster/sim-cluster.ts'
import { configViolations } from './config-check.ts'
import { spoilingKinds } from './faults/disk-faults.ts'
import { FaultRunner } from './faults/fault-runner.ts'
import { installGuards } from './guards.ts'
import { healthHistoryViolations } from './health-check.ts'
import { History, type Violation, type Workload } from './history.ts'
import type { Scenario, WorkloadPlan } from './scenario/scenario.ts'
import { makeWorkload } from './workload-table.ts'

export type Verdict = 'clean' | 'crash' | 'safety' | 'liveness'

export const exitCodes: Readonly<Record<Verdict, number>> = { clean: 0, crash: 10, safety: 11, liveness: 12 }

export interface RunResult {
  readonly seed: number
  readonly scenario: string
  readonly verdict: Verdict
  readonly hash: string
  readonly virtualMs: number
  readonly events: number
  readonly operations: number
  /** By outcome. */
  readonly outcomes: Readonly<Record<string, number>>
  /** By kind: how many were injected. */
  readonly faults: Readonly<Record<string, number>>
  readonly skippedFaults: number
  readonly crashes: readonly Crash[]
  readonly violations: readonly Violation[]
  readonly liveness: string | undefined
  readonly lastLines: readonly string[]
}

export interface RunOptions {
  readonly print?: (line: string) => void
  /** Stop at the first failure that is seen instead of going on to the end. */
  readonly onPhase?: (phase: string) => void
  /** Given what clients saw, in the end. */
  readonly onHistory?: (workload: string, history: History) => void
}

const createWithinMs = 300_000
const answersWithinMs = 240_000
const healthyWithinMs = 900_000
/** After these the client must know the new map, or it goes on with the pool that was. */
const changesPools = /^osd pool (create|rm|set-quota)$/
/** Warnings that remain of what was done, and mean no harm. */
const allowedWarnings: ReadonlySet<string> = new Set([
  'BLOCK_REPAIRED',
  'TOO_MANY_PGS',
  'POOL_TOO_FEW_PGS',
  'POOL_TOO_MANY_PGS',
])

/** WebAssembly compiles outside of virtual time: once, before any of it passes. */
let warm: Promise<void> | undefined
async function warmUp(): Promise<void> {
  const { env } = makeSimEnv({ seed: 1 })
  const mebibyte = 1024 * 1024
  await FileObjectStore.create(env, '/warm-up', { sizeBytes: mebibyte, journalBytes: mebibyte })
  const nothing = { onSession: () => undefined, onPeerFrame: () => undefined, onPeerReset: () => undefined }
  await Messenger.create(env, { name: 'client.0' as never, nonce: 1, fsid: '' }, nothing)
}

interface RunningWorkload {
  readonly plan: WorkloadPlan
  readonly workload: Workload
  readonly history: History
}

class Simulation {
  readonly cluster: SimCluster
  readonly faults: FaultRunner
  readonly workloads: RunningWorkload[] = []
  readonly violations: Violation[] = []
  liveness: string | undefined
  /** What scrubs have found. */
  private readonly alarms: string[] = []
  private isScrubbed = false
  private readonly scenario: Scenario
  private running = 0
  private stopping = false
  private loadedSinceMs = 0
  private nextProcess = 1

  constructor(scenario: Scenario, print: ((line: string) => void) | undefined) {
    this.scenario = scenario
    this.cluster = new SimCluster(scenario)
    this.cluster.logs.onLine = (from, message) => {
      if (message.includes('inconsistent objects')) this.alarms.push(`${from}: ${message}`)
    }
    if (print !== undefined) this.cluster.trace.print = print
    this.faults = new FaultRunner(this.cluster)
  }

  /** Rejects with what must not happen; verdicts that are foreseen are fields. */
  async run(onPhase: (phase: string) => void): Promise<void> {
    const { cluster, scenario } = this
    onPhase('create')
    await cluster.create(createWithinMs)
    onPhase('load')
    this.loadedSinceMs = cluster.time.nowMs
    for (const plan of scenario.workloads) this.startWorkload(plan)
    this.faults.start(scenario.faults)
    await cluster.time.advance(scenario.durationMs)
    onPhase('heal')
    await this.faults.heal()
    this.stopping = true
    if (!(await this.bounded('every operation is answered', answersWithinMs, () => this.running === 0))) return
    onPhase('recover')
    const allowed = this.faults.allowedWarnings(allowedWarnings)
    try {
      await cluster.untilHealthy(healthyWithinMs, allowed)
      // It would move copies while they are compared.
      await cluster.settleCommand({ prefix: 'balancer off' })
      await cluster.untilHealthy(healthyWithinMs, allowed)
    } catch (error) {
      this.liveness = (error as Error).message
    }
    if (this.liveness === undefined && scenario.mode === 'within') {
      onPhase('scrub')
      this.violations.push(...(await scrubAll(cluster)), ...this.falseAlarms())
      this.isScrubbed = true
    }
    onPhase('check')
    this.violations.push(...cluster.observers.violations, ...(await capViolations(cluster)))
    if (this.liveness === undefined || scenario.mode === 'beyond') await this.check()
  }

  private async bounded(what: string, withinMs: number, condition: () => boolean): Promise<boolean> {
    try {
      await this.cluster.time.until(condition, withinMs)
      return true
    } catch {
      this.liveness = `${what}: not within ${withinMs / 1000} s of virtual time (${this.running} clients wait)`
      return false
    }
  }

  private startWorkload(plan: WorkloadPlan): void {
    const running = { plan, workload: makeWorkload(plan), history: new History() }
    this.workloads.push(running)
    for (let i = 0; i < plan.clients; i++) this.startClient(running)
  }

  private startClient(running: RunningWorkload): void {
    const { cluster } = this
    const process = this.nextProcess++
    const random = new Prng([this.scenario.seed, process, 77])
    const node = cluster.addClient(`client-${process}`, ({ client, monitor }, env) => {
      const life = must(node.machine.scope, 'a running client')
      this.running++
      let over = false
      const ended = (): void => {
        if (!over) this.running--
        over = true
      }
      void node.machine.dead.then(ended)
      const work = running.workload.run({
        client,
        pool: client.pool(running.plan.pool),
        random: random.fork(),
        nowMs: () => cluster.time.nowMs,
        sleep: (ms) => new Promise((resolve) => env.timers.after(this.pauseMs(ms), resolve)),
        stopped: () => this.stopping,
        process,
        history: running.history,
        command: async (command) => {
          const reply = await monitor.command(command)
          if (changesPools.test(command.prefix)) {
            const { data } = await monitor.command({ prefix: 'osd stat' })
            await monitor.waitForEpoch((data as { readonly epoch: Epoch }).epoch, answersWithinMs)
          }
          return reply
        },
      })
      work.then(ended, (error: unknown) => {
        ended()
        if (!life.ended) cluster.crash(node.name, 'the workload failed', error)
      })
    })
    node.start()
  }

  /** How long a client pauses that would for `ms`: it may rest until the next busy stretch, or until the end. */
  private pauseMs(ms: number): number {
    const { rest, pauseFactor } = this.scenario
    const pausedMs = ms * pauseFactor
    if (rest === undefined) return pausedMs
    const loadedMs = this.cluster.time.nowMs - this.loadedSinceMs
    const untilMs = loadedMs + pausedMs
    if (untilMs % rest.everyMs < rest.busyMs) return pausedMs
    const nextMs = (Math.floor(untilMs / rest.everyMs) + 1) * rest.everyMs
    return Math.max(pausedMs, Math.min(nextMs, this.scenario.durationMs) - loadedMs)
  }

  /** Copies differ only where a disk has spoiled one. */
  private falseAlarms(): readonly Violation[] {
    if (spoilingKinds.some((kind) => this.faults.injected.has(kind))) return []
    return this.alarms.map((message) => ({ checker: 'scrub', message: `nothing was damaged, but ${message}` }))
  }

  private async check(): Promise<void> {
    const { budget } = this.faults
    // What rotted was mended by the scrub before: it is left out of nothing.
    const reader = new ClusterReader(this.cluster, (osd) => !this.isScrubbed && budget.isSpoiled(osd))
    if (this.liveness === undefined) {
      this.violations.push(...(await configViolations(this.cluster)), ...(await healthHistoryViolations(this.cluster)))
      for (const pool of this.scenario.pools) {
        const copies = await reader.replicas(pool.name)
        const expected = { copies: (pgId: string) => this.cluster.copiesOf(pgId) ?? pool.size }
        const { erasure } = pool
        this.violations.push(
          ...(erasure === undefined
            ? checkReplicasEqual(copies, expected)
            : checkShardsAgree(copies, erasure, expected)),
        )
      }
    }
    for (const { workload, history } of this.workloads) {
      this.violations.push(...(await workload.check(history, reader)))
    }
  }
}

/** Never rejects for what the simulated cluster does. */
export async function runScenario(scenario: Scenario, options: RunOptions = {}): Promise<RunResult> {
  installGuards()
  warm ??= warmUp()
  await warm
  const simulation = new Simulation(scenario, options.print)
  const { cluster } = simulation
  const onRejection = (error: unknown): void => cluster.onError(error)
  process.on('unhandledRejection', onRejection)
  try {
    await simulation.run(options.onPhase ?? (() => undefined))
  } catch (error) {
    simulation.liveness ??=
      isClusterError(error) || error instanceof Error ? (error.stack ?? error.message) : String(error)
  } finally {
    process.off('unhandledRejection', onRejection)
  }
  for (const { plan, history } of simulation.workloads) options.onHistory?.(plan.workload, history)
  return resultOf(scenario, simulation)
}

function verdictOf({ cluster, violations, liveness }: Simulation, mode: Scenario['mode']): Verdict {
  if (cluster.crashes.length > 0) return 'crash'
  if (violations.some((violation) => violation.undecided !== true)) return 'safety'
  // Beyond what is promised, a cluster that says that it is not well keeps its promise.
  return liveness !== undefined && mode === 'within' ? 'liveness' : 'clean'
}

function resultOf(scenario: Scenario, simulation: Simulation): RunResult {
  const { cluster, faults, violations, liveness, workloads } = simulation
  const outcomes: Record<string, number> = {}
  let operations = 0
  for (const { history } of workloads) {
    for (const { outcome } of history.events) {
      operations++
      const kind = outcome === undefined ? 'unanswered' : outcome.kind === 'failed' ? outcome.code : outcome.kind
      outcomes[kind] = (outcomes[kind] ?? 0) + 1
    }
  }
  const verdict = verdictOf(simulation, scenario.mode)
  return {
    seed: scenario.seed,
    scenario: scenario.name,
    verdict,
    hash: cluster.trace.hash,
    virtualMs: cluster.time.nowMs,
    events: cluster.time.events,
    operations,
    outcomes,
    faults: Object.fromEntries(faults.injected),
    skippedFaults: faults.skipped,
    crashes: cluster.crashes,
    violations,
    liveness,
    lastLines: verdict === 'clean' ? [] : cluster.logs.last(60, ['info', 'warn', 'error']),
  }
}
