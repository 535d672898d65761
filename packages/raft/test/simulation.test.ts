import { describe, expect, it } from 'vitest'
import { type Bug, Simulation } from './support/simulation.ts'

describe('raft under seeded faults', () => {
  it('keeps every property of Figure 3 and recovers once the faults end', () => {
    const sums = { committed: 0, elections: 0, reads: 0, snapshots: 0, memberships: 0, restarts: 0 }
    for (let seed = 1; seed <= 40; seed++) {
      try {
        const simulation = new Simulation(seed, seed % 3 === 0 ? 5 : 3)
        for (let round = 0; round < 4; round++) {
          const result = simulation.run(700)
          simulation.checkLogs()
          if (round < 3) continue
          for (const key of Object.keys(sums) as (keyof typeof sums)[]) sums[key] += result[key]
        }
        simulation.heal(600)
      } catch (cause) {
        throw new Error(`seed ${seed}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
      }
    }
    // The adversary did all it is there for.
    expect(sums.committed).toBeGreaterThan(3_000)
    expect(sums.elections).toBeGreaterThan(200)
    expect(sums.reads).toBeGreaterThan(600)
    expect(sums.snapshots).toBeGreaterThan(100)
    expect(sums.memberships).toBeGreaterThan(100)
    expect(sums.restarts).toBeGreaterThan(300)
  })

  it.each<[Bug, RegExp]>([
    ['forget-vote', /election safety|invariant|safety/],
    ['acknowledge-unsynced', /safety|completeness|invariant|out of order/],
    ['forget-entries', /safety|completeness|invariant|out of order/],
    ['stale-read', /linearizable reads/],
  ])('finds the planted bug: %s', (bug, expected) => {
    let found: string | undefined
    for (let seed = 1; seed <= 300 && found === undefined; seed++) {
      try {
        new Simulation(seed, 3, bug).run(2_000)
      } catch (error) {
        found = error instanceof Error ? error.message : String(error)
      }
    }
    expect(found).toMatch(expected)
  })
})
