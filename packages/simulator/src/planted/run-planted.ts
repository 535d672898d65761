/**
 * `node run-planted.js`: for each planted bug, seeds until one fails that passes without the bug. Prints the table; the
 * exit code is 1 when a bug was not found, 3 when the program fails by itself.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { must } from '@shoal/base'
import { plantedBugs } from './all-bugs.ts'
import type { HuntResult } from './hunt.ts'
import { hunts } from './hunts.ts'
import type { Edit, PlantedBug } from './planted-bug.ts'

const usage = `usage: sim:planted [--only NAME[,NAME...]] [--minutes M] [--seeds N] [--first SEED] [--record FILE]
  --minutes M   CPU minutes for each bug at most (default 10)
  --seeds N     seeds for each bug at most (default 200)
  bugs: ${plantedBugs.map(({ name }) => name).join(', ')}
`

const path = (file: string): string => fileURLToPath(new URL(file, import.meta.url))

/** A process that runs seeds of one hunt, with these edits. */
class Hunter {
  private readonly child: ChildProcess
  private readonly lines: AsyncIterator<string>

  constructor(hunt: string, edits: readonly Edit[]) {
    const all = [...(hunts[hunt]?.tuning ?? []), ...edits]
    this.child = spawn(process.execPath, ['--import', path('./register.js'), path('./hunt.js'), hunt], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, SHOAL_SIM_EDITS: JSON.stringify(all) },
    })
    this.child.stdin?.on('error', () => undefined)
    let errors = ''
    this.child.stderr?.on('data', (data: Buffer) => {
      errors = `${errors}${data.toString()}`.slice(-4_000)
    })
    this.errors = () => errors
    this.lines = createInterface({ input: must(this.child.stdout, 'a pipe') })[Symbol.asyncIterator]()
  }

  readonly errors: () => string

  /** Undefined when the process ended or hung. */
  async run(seed: number): Promise<HuntResult | undefined> {
    const hang = setTimeout(() => this.child.kill('SIGKILL'), hangMs)
    this.child.stdin?.write(`${seed}\n`)
    const { value, done } = await this.lines.next()
    clearTimeout(hang)
    return done === true ? undefined : (JSON.parse(value) as HuntResult)
  }

  end(): void {
    this.child.stdin?.end()
    this.child.kill()
  }
}

const hangMs = 15 * 60_000

export interface Finding {
  readonly bug: string
  readonly mechanism: string
  readonly scenario: string
  readonly found: boolean
  /** Seeds run until it was found, this one included. */
  readonly seeds: number
  readonly seed: number | undefined
  readonly virtualSeconds: number
  readonly cpuSeconds: number
  readonly checker: string
  readonly message: string
  /** Seeds that fail without the bug as well, and prove nothing. */
  readonly failingAnyway: readonly number[]
}

interface Limits {
  readonly cpuMs: number
  readonly seeds: number
  readonly first: number
}

async function findBug(bug: PlantedBug, limits: Limits): Promise<Finding> {
  const hunter = new Hunter(bug.scenario, [bug])
  let sound: Hunter | undefined
  const totals = { seeds: 0, virtualMs: 0, cpuMs: 0 }
  const failingAnyway: number[] = []
  const finding = (found: HuntResult | undefined): Finding => ({
    bug: bug.name,
    mechanism: bug.mechanism,
    scenario: bug.scenario,
    found: found !== undefined,
    seeds: totals.seeds,
    seed: found?.seed,
    virtualSeconds: Math.round(totals.virtualMs / 1000),
    cpuSeconds: Math.round(totals.cpuMs / 1000),
    checker: found?.checker ?? '',
    message: found?.message ?? '',
    failingAnyway,
  })
  try {
    for (let seed = limits.first; totals.seeds < limits.seeds && totals.cpuMs < limits.cpuMs; seed++) {
      const result = await hunter.run(seed)
      totals.seeds++
      if (result === undefined) {
        const dead = { seed, verdict: 'crash', checker: 'process', message: hunter.errors(), virtualMs: 0 }
        return finding({ ...dead, cpuMs: 0, operations: 0, hash: '' })
      }
      totals.virtualMs += result.virtualMs
      totals.cpuMs += result.cpuMs
      if (result.verdict === 'clean') continue
      sound ??= new Hunter(bug.scenario, [])
      const without = await sound.run(seed)
      if (without?.verdict === 'clean') return finding(result)
      failingAnyway.push(seed)
      process.stderr.write(
        `  seed ${seed} of ${bug.scenario} fails without the bug, too: ${without?.checker} ${without?.message.slice(0, 300)}\n`,
      )
    }
    return finding(undefined)
  } finally {
    hunter.end()
    sound?.end()
  }
}

function table(findings: readonly Finding[]): string {
  const rows = findings.map((one) => [
    one.bug,
    one.found ? String(one.seeds) : `not in ${one.seeds}`,
    String(one.virtualSeconds),
    String(one.cpuSeconds),
    one.checker,
    one.mechanism,
  ])
  const all = [['bug', 'seeds', 'virtual s', 'CPU s', 'found by', 'mechanism'], ...rows]
  const widths = all[0]?.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0))) ?? []
  return all
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      only: { type: 'string' },
      minutes: { type: 'string' },
      seeds: { type: 'string' },
      first: { type: 'string' },
      record: { type: 'string' },
      help: { type: 'boolean' },
    },
  })
  const only = values.only?.split(',')
  const bugs = plantedBugs.filter(({ name }) => only === undefined || only.includes(name))
  const limits = {
    cpuMs: Number(values.minutes ?? 10) * 60_000,
    seeds: Number(values.seeds ?? 200),
    first: Number(values.first ?? 1),
  }
  if (values.help === true || bugs.length === 0 || !Object.values(limits).every((value) => value > 0)) {
    process.stderr.write(usage)
    return 2
  }
  const findings: Finding[] = []
  for (const bug of bugs) {
    const found = await findBug(bug, limits)
    findings.push(found)
    process.stderr.write(
      `${bug.name}: ${found.found ? `seed ${found.seed}, ${found.checker}: ${found.message.split('\n')[0]?.slice(0, 160)}` : `not found in ${found.seeds} seeds`} (${found.cpuSeconds} s of CPU)\n`,
    )
    if (values.record !== undefined) {
      const record = {
        node: process.version,
        cpu: cpus()[0]?.model,
        // The message is for people, and long.
        findings: findings.map((one) => ({ ...one, message: undefined })),
      }
      writeFileSync(values.record, `${JSON.stringify(record, undefined, 2)}\n`)
    }
  }
  process.stdout.write(`${table(findings)}\n`)
  return findings.every(({ found }) => found) ? 0 : 1
}

process.exitCode = await main()
