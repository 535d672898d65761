/** A slice of seeds, the same every time; and that a seed decides everything. */
import { describe, expect, it } from 'vitest'
import { drawScenario, type RunResult, runScenario, scenarioNames } from '../src/index.ts'

const seedMsMax = 150_000
const virtualSeconds = 20

async function run(name: string, seed: number): Promise<RunResult> {
  return runScenario(drawScenario(seed, { name, virtualSeconds }))
}

function failures({ crashes, violations, liveness, lastLines }: RunResult): unknown {
  const found = [...crashes, ...violations.filter((violation) => violation.undecided !== true)]
  return liveness === undefined && found.length === 0 ? [] : [...found, liveness, ...lastLines]
}

describe('a cluster under faults keeps its promises', () => {
  it.each(scenarioNames.filter((name) => name !== 'calm'))(
    'in the scenario %s',
    async (name) => {
      const result = await run(name, 1)
      expect(failures(result)).toEqual([])
      expect(result.operations).toBeGreaterThan(0)
    },
    seedMsMax,
  )
})

it(
  'the same seed gives the same trace, whatever ran before',
  async () => {
    const first = await run('default', 4)
    const second = await run('default', 4)
    expect(second.hash).toBe(first.hash)
    expect(second.events).toBe(first.events)
    expect((await run('default', 5)).hash).not.toBe(first.hash)
  },
  3 * seedMsMax,
)
