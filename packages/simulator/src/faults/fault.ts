/** One way in which the world goes wrong. A file in this folder holds a few of one family; `fault-table.ts` lists all. */
import type { Prng } from '@shoal/base'
import type { SimCluster } from '../cluster/sim-cluster.ts'
import type { Scenario } from '../scenario/scenario.ts'
import type { FaultBudget } from './fault-budget.ts'

type FaultParams = Readonly<Record<string, unknown>>

/** What a fault gets to work with when it strikes. */
export interface FaultContext {
  readonly cluster: SimCluster
  readonly budget: FaultBudget
  /** An operator's work that takes time; healing waits for it. */
  readonly background: (what: string, work: () => Promise<void>) => void
}

export interface Fault {
  readonly kind: string
  /** Which switch turns it on: `network`, `process`, `power`, `disk`, `clock`, `operator`, `monitors`. */
  readonly family: FaultFamily
  /** How often it is drawn, compared with the others of its family. */
  readonly weight: number
  /** Undone after a time drawn from this; left out: it needs no undoing. */
  readonly durationMs?: { readonly min: number; readonly max: number }
  /** What exactly, as plain data; undefined when the scenario has no place for it. */
  draw(random: Prng, scenario: Omit<Scenario, 'faults'>): FaultParams | undefined
  /** Strikes. Gives how to undo it, which may come twice; undefined when it may not strike now. */
  strike(context: FaultContext, params: FaultParams): (() => void) | undefined
}

export type FaultFamily = 'network' | 'process' | 'power' | 'disk' | 'clock' | 'operator' | 'monitors'

export const nothing = (): void => undefined

export function pick<T>(random: Prng, from: readonly T[]): T {
  return from[random.below(from.length)] as T
}

export function between(random: Prng, min: number, max: number): number {
  return Math.round(min + (max - min) * random.fraction())
}

export function monitorNames(scenario: Omit<Scenario, 'faults'>): readonly string[] {
  return Array.from({ length: scenario.monitors }, (_, i) => `mon.${String.fromCharCode(97 + i)}`)
}

export function osdNames(scenario: Omit<Scenario, 'faults'>): readonly string[] {
  return scenario.osds.map((osd) => `osd.${osd.id}`)
}

export function drawDaemon(random: Prng, scenario: Omit<Scenario, 'faults'>): string {
  return random.below(4) === 0 ? pick(random, monitorNames(scenario)) : pick(random, osdNames(scenario))
}
