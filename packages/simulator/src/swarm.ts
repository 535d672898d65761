/** `node swarm.js --minutes M`: seed after seed in child processes, a line of progress, a table at the end. */
import { type ChildProcess, spawn } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import type { MeasuredResult } from './report.ts'
import { exitCodes } from './run-scenario.ts'
import { scenarioNames } from './scenario/draw-scenario.ts'

const usage = `usage: sim:swarm [--minutes M] [--seeds N] [--first SEED] [--scenario NAME] [--workers W] [--virtual-seconds S]
  runs seeds FIRST, FIRST + 1, ... until the time or the number is used up; scenarios: ${scenarioNames.join(', ')}
`
const progressEveryMs = 5_000
/** A seed that takes longer in real time hangs. */
const seedMsMax = 15 * 60_000
/** A worker is replaced after so many seeds, for what a process gathers. */
const seedsPerWorker = 50

const main = fileURLToPath(new URL('main.js', import.meta.url))

interface Options {
  readonly endMs: number
  readonly seeds: number
  readonly first: number
  readonly scenario: string | undefined
  readonly workers: number
  readonly virtualSeconds: string | undefined
}

class Swarm {
  readonly failures: { readonly seed: number; readonly what: string }[] = []
  private readonly options: Options
  private readonly startedMs = performance.now()
  private readonly faults = new Map<string, number>()
  private readonly totals = { seeds: 0, virtualMs: 0, cpuMs: 0, operations: 0, events: 0, skipped: 0 }
  private next: number

  constructor(options: Options) {
    this.options = options
    this.next = options.first
  }

  async run(): Promise<void> {
    const progress = setInterval(() => process.stderr.write(`\r${this.line()}\u001b[K`), progressEveryMs)
    await Promise.all(Array.from({ length: this.options.workers }, () => this.work()))
    clearInterval(progress)
    process.stderr.write(`\r${this.line()}\n`)
  }

  table(): string {
    const { seeds, virtualMs, cpuMs, operations, events, skipped } = this.totals
    const cpuMinutes = cpuMs / 60_000
    const rows: (readonly [string, string])[] = [
      ['seeds', String(seeds)],
      ['failures', String(this.failures.length)],
      ['virtual hours', (virtualMs / 3_600_000).toFixed(2)],
      ['CPU minutes', cpuMinutes.toFixed(2)],
      ['virtual hours per CPU minute', (virtualMs / 3_600_000 / Math.max(cpuMinutes, 1e-9)).toFixed(2)],
      ['operations checked', String(operations)],
      ['events', String(events)],
      ['faults', String([...this.faults.values()].reduce((sum, count) => sum + count, 0))],
      ['faults beyond the budget, skipped', String(skipped)],
      ...[...this.faults]
        .sort(([, a], [, b]) => b - a)
        .map(([kind, count]): readonly [string, string] => [`  ${kind}`, String(count)]),
    ]
    const width = Math.max(...rows.map(([name]) => name.length))
    return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join('\n')
  }

  private line(): string {
    const { seeds, virtualMs, operations } = this.totals
    const faults = [...this.faults.values()].reduce((sum, count) => sum + count, 0)
    const seconds = ((performance.now() - this.startedMs) / 1000).toFixed(0)
    return `${seconds} s: ${seeds} seeds, ${(virtualMs / 3_600_000).toFixed(2)} virtual hours, ${faults} faults of ${this.faults.size} kinds, ${operations} operations, ${this.failures.length} failures`
  }

  private nextSeed(): number | undefined {
    const { endMs, seeds, first } = this.options
    if (performance.now() >= endMs || this.next >= first + seeds) return undefined
    return this.next++
  }

  private async work(): Promise<void> {
    for (let seed = this.nextSeed(); seed !== undefined; ) {
      const child = this.spawn()
      const lines = createInterface({ input: child.stdout ?? process.stdin })[Symbol.asyncIterator]()
      for (let ran = 0; seed !== undefined && ran < seedsPerWorker; ran++) {
        const hang = setTimeout(() => child.kill('SIGKILL'), seedMsMax)
        child.stdin?.write(`${seed}\n`)
        const { value, done } = await lines.next()
        clearTimeout(hang)
        if (done === true) {
          const minutes = seedMsMax / 60_000
          const late = `took longer than ${minutes} minutes: it hangs, or this machine has no time for it`
          this.fail(seed, child.killed ? late : 'the process ended')
          seed = this.nextSeed()
          break
        }
        this.take(JSON.parse(value as string) as MeasuredResult)
        seed = this.nextSeed()
      }
      child.stdin?.end()
    }
  }

  private spawn(): ChildProcess {
    const { scenario, virtualSeconds } = this.options
    const args = [
      main,
      '--serve',
      ...(scenario === undefined ? [] : ['--scenario', scenario]),
      ...(virtualSeconds === undefined ? [] : ['--virtual-seconds', virtualSeconds]),
    ]
    const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit', 'ipc'] })
    child.stdin?.on('error', () => undefined)
    return child
  }

  private take(result: MeasuredResult): void {
    this.totals.seeds++
    this.totals.virtualMs += result.virtualMs
    this.totals.cpuMs += result.cpuMs
    this.totals.operations += result.operations
    this.totals.events += result.events
    this.totals.skipped += result.skippedFaults
    for (const [kind, count] of Object.entries(result.faults)) {
      this.faults.set(kind, (this.faults.get(kind) ?? 0) + count)
    }
    if (result.verdict === 'clean') return
    const what =
      result.crashes[0] !== undefined
        ? `${result.crashes[0].node}: ${result.crashes[0].reason}: ${result.crashes[0].details.split('\n')[0]}`
        : (result.violations[0]?.message ?? result.liveness ?? '')
    this.fail(result.seed, `${result.verdict}: ${what}`)
  }

  private fail(seed: number, what: string): void {
    this.failures.push({ seed, what })
    const { scenario, virtualSeconds } = this.options
    const more = `${scenario === undefined ? '' : ` --scenario ${scenario}`}${virtualSeconds === undefined ? '' : ` --virtual-seconds ${virtualSeconds}`}`
    process.stderr.write('\r\u001b[K')
    process.stdout.write(`seed ${seed}: ${what}\n  replay: npm run sim -- --seed ${seed}${more}\n`)
  }
}

function optionsOf(): Options | undefined {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string' },
      seeds: { type: 'string' },
      first: { type: 'string' },
      scenario: { type: 'string' },
      workers: { type: 'string' },
      'virtual-seconds': { type: 'string' },
      help: { type: 'boolean' },
    },
  })
  const minutes = Number(values.minutes ?? (values.seeds === undefined ? 1 : Number.POSITIVE_INFINITY))
  const seeds = Number(values.seeds ?? Number.POSITIVE_INFINITY)
  const first = Number(values.first ?? 1)
  const workers = Number(values.workers ?? availableParallelism())
  const known = values.scenario === undefined || scenarioNames.includes(values.scenario)
  if (values.help === true || !known || ![minutes, seeds, first, workers].every((value) => value > 0)) return undefined
  const endMs = performance.now() + minutes * 60_000
  return { endMs, seeds, first, scenario: values.scenario, workers, virtualSeconds: values['virtual-seconds'] }
}

const options = optionsOf()
if (options === undefined) {
  process.stderr.write(usage)
  process.exitCode = 2
} else {
  const swarm = new Swarm(options)
  await swarm.run()
  process.stdout.write(`${swarm.table()}\n`)
  const worst = (['crash', 'safety', 'liveness'] as const).find((verdict) =>
    swarm.failures.some(({ what }) => what.startsWith(verdict)),
  )
  process.exitCode = swarm.failures.length === 0 ? 0 : exitCodes[worst ?? 'crash']
}
