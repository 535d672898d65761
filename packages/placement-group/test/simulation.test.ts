/** Seeds that every run takes; SHOAL_PG_SEEDS=N takes N more. A failure prints its seed. */
import { describe, expect, test } from 'vitest'
import { SimulatedCluster } from './simulation/simulated-cluster.ts'

const more = Number(process.env['SHOAL_PG_SEEDS'] ?? 0)

describe('a placement group under faults', () => {
  for (let seed = 1; seed <= 40 + more; seed++) {
    test(`seed ${seed}`, () => {
      const result = new SimulatedCluster({ seed }).run()
      expect(result.problems).toEqual([])
      expect(result.operations).toBeGreaterThan(100)
    })
  }
})
