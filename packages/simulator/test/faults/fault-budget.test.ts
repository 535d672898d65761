/** How much may go wrong at once. */
import { describe, expect, it } from 'vitest'
import { FaultBudget } from '../../src/faults/fault-budget.ts'
import type { Scenario } from '../../src/scenario/scenario.ts'

const budgetOf = (minSize: number, mode = 'within'): FaultBudget =>
  new FaultBudget({ mode, pools: [{ minSize: 3 }, { minSize }] } as unknown as Scenario)

describe('the budget of faults', () => {
  it('lets one store less than min_size fail, and another once the first is filled again', () => {
    const budget = budgetOf(2)
    expect([budget.lose('osd.0'), budget.lose('osd.0'), budget.lose('osd.1'), budget.rot('osd.2')]).toEqual([
      true,
      false,
      false,
      false,
    ])
    budget.restored('osd.0')
    expect([budget.isSpoiled('osd.0'), budget.lose('osd.1')]).toEqual([false, true])
  })

  it('counts a store that rots for good, also when its disk was lost before', () => {
    const budget = budgetOf(2)
    expect([budget.lose('osd.0'), budget.rot('osd.0')]).toEqual([true, true])
    budget.restored('osd.0')
    expect([budget.isSpoiled('osd.0'), budget.rot('osd.0'), budget.lose('osd.1'), budget.rot('osd.1')]).toEqual([
      true,
      true,
      false,
      false,
    ])
  })

  it('knows no limit beyond what is promised', () => {
    const budget = budgetOf(1, 'beyond')
    expect([budget.lose('osd.0'), budget.rot('osd.1'), budget.lose('osd.2'), budget.rot('osd.3')]).not.toContain(false)
  })
})
