/**
 * Histories of a simulated object that is linearizable: each operation takes effect at one moment between its start and
 * its end. And ways to spoil it.
 */
import type { Prng } from '@shoal/base'
import type { HistoryCall, HistoryEvent, HistoryOutcome } from '../../src/index.ts'

export interface Applied {
  readonly event: HistoryEvent
  readonly effectMs: number
}

export interface HistoryPlan {
  readonly processes: number
  readonly operations: number
  /** In percent: never answered, though perhaps applied. */
  readonly unknownPercent: number
  readonly object?: string
}

/** `apply` runs in the order in which the operations take effect; `choose` sees nothing of the object. */
export function linearizableHistory(
  random: Prng,
  plan: HistoryPlan,
  choose: (process: number) => HistoryCall,
  apply: (call: HistoryCall, at: Applied) => HistoryOutcome,
): HistoryEvent[] {
  const clocks = Array.from({ length: plan.processes }, () => random.fraction() * 5)
  const planned: Applied[] = []
  for (let i = 0; i < plan.operations; i++) {
    const process = random.below(plan.processes)
    const startMs = (clocks[process] ?? 0) + random.fraction() * 3
    const effectMs = startMs + random.fraction() * 8
    const endMs = effectMs + random.fraction() * 8
    clocks[process] = endMs
    const unknown = random.below(100) < plan.unknownPercent
    const event: HistoryEvent = {
      process,
      object: plan.object ?? 'x',
      invoke: choose(process),
      startMs,
      endMs: unknown ? undefined : endMs,
      outcome: undefined,
    }
    // An operation without an answer may come much later, or not at all.
    const lateMs = unknown ? effectMs + random.fraction() * 60 : effectMs
    planned.push({ event, effectMs: unknown && random.below(3) === 0 ? Number.POSITIVE_INFINITY : lateMs })
  }
  for (const one of planned.toSorted((a, b) => a.effectMs - b.effectMs)) {
    if (one.effectMs === Number.POSITIVE_INFINITY) break
    const outcome = apply(one.event.invoke, one)
    if (one.event.endMs !== undefined) one.event.outcome = outcome
  }
  return planned.map(({ event }) => event)
}
