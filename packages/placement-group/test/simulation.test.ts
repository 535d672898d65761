/**
 * A placement group under faults, in simulation. Every run takes the seeds below; SHOAL_PG_SEEDS=N takes N more of each
 * kind. A failure names its seed, and the same seed always gives the same run.
 */
import { describe, expect, test } from 'vitest'
import { type Plant, SimulatedCluster, type SimulationOptions } from './simulation/simulated-cluster.ts'
import type { Fault } from './simulation/simulated-faults.ts'

const more = Number(process.env['SHOAL_PG_SEEDS'] ?? 0)
const seeds = (count: number): readonly number[] => Array.from({ length: count + more }, (_, at) => at + 1)

type Kind = Omit<SimulationOptions, 'seed'>

/** Requests outlive their log entries soon. */
const shortLog = { logEntriesMin: 6, logEntriesMax: 12 }

const kinds: readonly (readonly [name: string, count: number, options: Kind])[] = [
  ['every fault, four OSDs, three copies', 48, {}],
  ['every fault, five OSDs', 12, { osds: 5 }],
  ['crashes and power losses, as many OSDs as copies', 12, { osds: 3, faults: ['crash', 'power-loss'] }],
  ['two copies of which one may serve', 12, { osds: 2, size: 2, minSize: 1, faults: ['crash', 'isolate'] }],
  ['OSDs go out and come back in', 12, { osds: 5, faults: ['out', 'crash'] }],
  ['stores are lost', 8, { faults: ['wipe', 'false-report'] }],
  ['a log of a few entries, and copies of requests that come late', 24, { settings: shortLog }],
  ['the same without changes of the interval', 8, { settings: shortLog, faults: ['cut-off-monitors'] }],
  ['blocks go bad', 20, { faults: ['rot', 'rot', 'cut-off-monitors'] }],
]

describe.each(kinds)('%s', (_name, count, options) => {
  test.each(seeds(count))('seed %i', (seed) => {
    const result = new SimulatedCluster({ seed, ...options }).run()
    expect(result.problems).toEqual([])
    expect(result.operations).toBeGreaterThan(20)
  })
})

test('the same seed gives the same run', () => {
  const [first, second] = [1, 2].map(() => new SimulatedCluster({ seed: 7 }).run())
  expect(first?.traceHash).toBe(second?.traceHash)
  expect(first?.operations).toBe(second?.operations)
  expect(new SimulatedCluster({ seed: 8 }).run().traceHash).not.toBe(first?.traceHash)
})

test('without what is kept of trimmed entries, requests are done twice', () => {
  const settings = { ...shortLog, trimmedRequestsMax: 0 }
  const problems = seeds(8).flatMap(
    (seed) => new SimulatedCluster({ seed, settings, faults: ['cut-off-monitors'] }).run().problems,
  )
  expect(problems.filter((problem) => problem.includes('was applied twice'))).not.toEqual([])
})

/** A checker that never finds anything proves nothing: each of these bugs must show within a few seeds. */
const planted: readonly (readonly [Plant, number, Kind])[] = [
  ['lying-disk', 12, { faults: ['power-loss', 'crash'] satisfies Fault[] }],
  ['early-replicated', 40, {}],
  ['eternal-lease', 30, { faults: ['apart'] }],
  ['forged-up-thru', 30, { osds: 2, size: 2, minSize: 1, faults: ['crash'] }],
]

test.each(planted)('the planted bug "%s" is found', (plant, count, options) => {
  const found = seeds(count).some((seed) => new SimulatedCluster({ seed, plant, ...options }).run().problems.length > 0)
  expect(found).toBe(true)
})
