/**
 * `node run-planted.js`: for each planted bug, seeds until one fails that passes without the bug. Prints the table; the
 * exit code is 1 when a bug was not found, or when a seed fails with nothing planted.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { plantedBugs } from './all-bugs.ts'
import { type Finding, findBug, type Limits, runSound, type SoundHunt } from './findings.ts'
import { hunts } from './hunts.ts'
import type { PlantedBug } from './planted-bug.ts'

const usage = `usage: sim:planted [--only NAME[,NAME...]] [--minutes M] [--seeds N] [--first SEED] [--record FILE]
                   [--replay FILE] [--sound]
  --only        these bugs; with --sound, these hunts
  --minutes M   CPU minutes for each bug at most (default 10)
  --seeds N     seeds for each bug at most (default 200)
  --record FILE writes what was found, as JSON
  --replay FILE runs the seeds alone that found each bug when FILE was recorded
  --sound       plants nothing: the same hunts, whose seeds must all pass
  bugs: ${plantedBugs.map(({ name }) => name).join(', ')}
  hunts: ${Object.keys(hunts).join(', ')}
`

type Table = readonly (readonly string[])[]

function format(all: Table): string {
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

function findingsTable(findings: readonly Finding[]): Table {
  const rows = findings.map((one) => [
    one.bug,
    one.found ? String(one.seeds) : `not in ${one.seeds}`,
    String(one.virtualSeconds),
    String(one.cpuSeconds),
    one.checker,
    one.mechanism,
  ])
  return [['bug', 'seeds', 'virtual s', 'CPU s', 'found by', 'mechanism'], ...rows]
}

function soundTable(runs: readonly SoundHunt[]): Table {
  const rows = runs.map((one) => [
    one.hunt,
    String(one.seeds),
    String(one.virtualSeconds),
    String(one.cpuSeconds),
    one.failing.length === 0 ? '-' : one.failing.join(' '),
  ])
  return [['hunt', 'seeds', 'virtual s', 'CPU s', 'failing seeds'], ...rows]
}

function note(line: string): void {
  process.stderr.write(`${line}\n`)
}

function record(file: string, findings: readonly Finding[]): void {
  const content = {
    node: process.version,
    cpu: cpus()[0]?.model,
    // The message is for people, and long.
    findings: findings.map((one) => ({ ...one, message: undefined })),
  }
  // As the formatter of this repository writes it: lists of numbers on one line.
  const text = JSON.stringify(content, undefined, 2).replace(/\[[\d,\s]+\]/g, (list) =>
    list.replace(/\s+/g, ' ').replace('[ ', '[').replace(' ]', ']'),
  )
  writeFileSync(file, `${text}\n`)
}

/** The seed that found each bug; bugs that were not found then are left out. */
function recordedSeeds(file: string): ReadonlyMap<string, number> {
  const { findings } = JSON.parse(readFileSync(file, 'utf8')) as { readonly findings: readonly Finding[] }
  return new Map(findings.flatMap(({ bug, seed }) => (seed === undefined ? [] : [[bug, seed] as const])))
}

async function hunt(
  bugs: readonly PlantedBug[],
  limits: Limits,
  files: { readonly record?: string; readonly replay?: string },
): Promise<boolean> {
  const known = files.replay === undefined ? undefined : recordedSeeds(files.replay)
  const findings: Finding[] = []
  for (const bug of bugs) {
    const seed = known?.get(bug.name)
    if (known !== undefined && seed === undefined) continue
    const found = await findBug(bug, seed === undefined ? limits : { ...limits, first: seed, seeds: 1 }, note)
    findings.push(found)
    const how = found.found
      ? `seed ${found.seed}, ${found.checker}: ${found.message.split('\n')[0]?.slice(0, 160)}`
      : `not found in ${found.seeds} seeds`
    note(`${bug.name}: ${how} (${found.cpuSeconds} s of CPU)`)
    if (files.record !== undefined) record(files.record, findings)
  }
  process.stdout.write(`${format(findingsTable(findings))}\n`)
  return findings.every(({ found }) => found)
}

async function huntNothing(names: readonly string[], limits: Limits): Promise<boolean> {
  const runs: SoundHunt[] = []
  for (const name of names) runs.push(await runSound(name, limits, note))
  process.stdout.write(`${format(soundTable(runs))}\n`)
  return runs.every(({ failing }) => failing.length === 0)
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      only: { type: 'string' },
      minutes: { type: 'string' },
      seeds: { type: 'string' },
      first: { type: 'string' },
      record: { type: 'string' },
      replay: { type: 'string' },
      sound: { type: 'boolean' },
      help: { type: 'boolean' },
    },
  })
  const only = values.only?.split(',')
  const wanted = (name: string): boolean => only === undefined || only.includes(name)
  const bugs = plantedBugs.filter(({ name }) => wanted(name))
  const huntNames = Object.keys(hunts).filter(wanted)
  const limits = {
    cpuMs: Number(values.minutes ?? 10) * 60_000,
    seeds: Number(values.seeds ?? 200),
    first: Number(values.first ?? 1),
  }
  const some = values.sound === true ? huntNames.length > 0 : bugs.length > 0
  if (values.help === true || !some || !Object.values(limits).every((value) => value > 0)) {
    process.stderr.write(usage)
    return 2
  }
  const { record: recordTo, replay } = values
  const files = {
    ...(recordTo === undefined ? {} : { record: recordTo }),
    ...(replay === undefined ? {} : { replay }),
  }
  const good = values.sound === true ? await huntNothing(huntNames, limits) : await hunt(bugs, limits, files)
  return good ? 0 : 1
}

process.exitCode = await main()
