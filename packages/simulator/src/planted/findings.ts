/** Looking for one planted bug, and what came of it. */
import type { HuntResult } from './hunt.ts'
import { Hunter } from './hunter.ts'
import type { PlantedBug } from './planted-bug.ts'

export interface Finding {
  readonly bug: string
  readonly mechanism: string
  readonly promise: string
  readonly scenario: string
  readonly found: boolean
  /** Seeds run until it was found, this one included. */
  readonly seeds: number
  readonly seed: number | undefined
  readonly virtualSeconds: number
  /** Of the runs with the bug. */
  readonly cpuSeconds: number
  readonly checker: string
  readonly message: string
  /** Seeds that fail without the bug as well, and prove nothing. */
  readonly failingAnyway: readonly number[]
}

export interface Limits {
  readonly cpuMs: number
  readonly seeds: number
  readonly first: number
}

interface Totals {
  seeds: number
  virtualMs: number
  cpuMs: number
}

function newTotals(): Totals {
  return { seeds: 0, virtualMs: 0, cpuMs: 0 }
}

/** Seed after seed within the limits, added up in `totals`; gives those that fail. */
async function* failuresOf(
  hunter: Hunter,
  limits: Limits,
  totals: Totals,
): AsyncGenerator<{ readonly seed: number; readonly result: HuntResult }> {
  for (let seed = limits.first; totals.seeds < limits.seeds && totals.cpuMs < limits.cpuMs; seed++) {
    const result = await hunter.run(seed)
    totals.seeds++
    totals.virtualMs += result.virtualMs
    totals.cpuMs += result.cpuMs
    if (result.verdict !== 'clean') yield { seed, result }
  }
}

/** Seed after seed until one fails that passes without the bug. */
export async function findBug(bug: PlantedBug, limits: Limits, note: (line: string) => void): Promise<Finding> {
  const planted = new Hunter(bug.scenario, [bug])
  const sound = new Hunter(bug.scenario, [])
  const totals = newTotals()
  const failingAnyway: number[] = []
  const finding = (found: HuntResult | undefined): Finding => ({
    bug: bug.name,
    mechanism: bug.mechanism,
    promise: bug.promise,
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
    for await (const { seed, result } of failuresOf(planted, limits, totals)) {
      const without = await sound.run(seed)
      if (without.verdict === 'clean') return finding(result)
      failingAnyway.push(seed)
      note(`  seed ${seed} of ${bug.scenario} fails without the bug, too: ${failureOf(without)}`)
    }
    return finding(undefined)
  } finally {
    planted.end()
    sound.end()
  }
}

export interface SoundHunt {
  readonly hunt: string
  readonly seeds: number
  readonly virtualSeconds: number
  readonly cpuSeconds: number
  /** Each is a bug of the program, or of the simulation. */
  readonly failing: readonly number[]
}

/** The same seeds with nothing planted. */
export async function runSound(hunt: string, limits: Limits, note: (line: string) => void): Promise<SoundHunt> {
  const hunter = new Hunter(hunt, [])
  const totals = newTotals()
  const failing: number[] = []
  try {
    for await (const { seed, result } of failuresOf(hunter, limits, totals)) {
      failing.push(seed)
      note(`  seed ${seed} of ${hunt} fails: ${failureOf(result)}`)
    }
  } finally {
    hunter.end()
  }
  const { seeds, virtualMs, cpuMs } = totals
  const [virtualSeconds, cpuSeconds] = [Math.round(virtualMs / 1000), Math.round(cpuMs / 1000)]
  return { hunt, seeds, virtualSeconds, cpuSeconds, failing }
}

function failureOf({ verdict, checker, message }: HuntResult): string {
  return `${verdict}, ${checker}: ${message.slice(0, 600)}`
}
