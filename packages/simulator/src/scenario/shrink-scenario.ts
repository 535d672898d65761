/**
 * Makes a failing scenario smaller: leaves out faults, load and time while it goes on failing in the same way. What is
 * drawn inside a run changes with every part that goes, so that a smaller scenario is tried under a few seeds.
 */
import { runScenario, type Verdict } from '../run-scenario.ts'
import type { FaultEvent, Scenario } from './scenario.ts'

const seedsPerStep = 3
const afterLastFaultMs = 5_000

async function fails(scenario: Scenario, verdict: Verdict): Promise<Scenario | undefined> {
  for (let i = 0; i < seedsPerStep; i++) {
    const candidate = { ...scenario, seed: scenario.seed + i * 1_000_003 }
    if ((await runScenario(candidate)).verdict === verdict) return candidate
  }
  return undefined
}

/** Leaves out ever smaller pieces of the list of faults (ddmin). */
async function shrinkFaults(scenario: Scenario, verdict: Verdict, tell: (line: string) => void): Promise<Scenario> {
  let best = scenario
  for (let pieces = 2; best.faults.length > 0; ) {
    const size = Math.ceil(best.faults.length / pieces)
    let smaller: Scenario | undefined
    for (let from = 0; from < best.faults.length && smaller === undefined; from += size) {
      const faults: readonly FaultEvent[] = [...best.faults.slice(0, from), ...best.faults.slice(from + size)]
      smaller = await fails({ ...best, faults }, verdict)
    }
    if (smaller !== undefined) {
      best = smaller
      tell(`${best.faults.length} faults suffice`)
      pieces = Math.max(2, pieces - 1)
    } else if (size === 1) {
      return best
    } else {
      pieces = Math.min(best.faults.length, pieces * 2)
    }
  }
  return best
}

function smallerLoads({ workloads }: Scenario): readonly Scenario['workloads'][] {
  return [
    ...workloads.flatMap((_, i) => (workloads.length > 1 ? [workloads.filter((_plan, at) => at !== i)] : [])),
    ...workloads.flatMap((plan, i) =>
      plan.clients > 1 ? [workloads.map((one, at) => (at === i ? { ...one, clients: 1 } : one))] : [],
    ),
  ]
}

export async function shrinkScenario(
  scenario: Scenario,
  verdict: Verdict,
  tell: (line: string) => void,
): Promise<Scenario> {
  let best = await shrinkFaults(scenario, verdict, tell)
  const lastMs = Math.max(0, ...best.faults.map((event) => event.atMs + (event.durationMs ?? 0)))
  const shorter = Math.min(best.durationMs, lastMs + afterLastFaultMs)
  if (shorter < best.durationMs) best = (await fails({ ...best, durationMs: shorter }, verdict)) ?? best
  for (let again = true; again; ) {
    again = false
    for (const workloads of smallerLoads(best)) {
      const smaller = await fails({ ...best, workloads }, verdict)
      if (smaller === undefined) continue
      best = smaller
      tell(`${workloads.map((plan) => `${plan.clients} x ${plan.workload}`).join(', ')} suffice`)
      again = true
      break
    }
  }
  return best
}
