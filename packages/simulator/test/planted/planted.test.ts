/** Planted bugs stay alive: each finds its place in the compiled packages, once. Running them is `npm run sim:planted`. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { findFault } from '../../src/faults/fault-table.ts'
import { plantedBugs } from '../../src/planted/all-bugs.ts'
import { huntScenario, hunts } from '../../src/planted/hunts.ts'
import { applyEdit, type Edit } from '../../src/planted/planted-bug.ts'
import { workloadNames } from '../../src/workload-table.ts'

const packages = join(import.meta.dirname, '..', '..', '..')

function plant(edit: Edit): void {
  const path = join(packages, edit.file)
  expect(existsSync(path), `${edit.file} is built`).toBe(true)
  const source = readFileSync(path, 'utf8')
  expect(applyEdit(source, edit) === source, 'the edit changes something').toBe(false)
}

describe('planted bugs', () => {
  it.each(plantedBugs.map((bug) => [bug.name, bug] as const))('%s has its place', (_name, bug) => {
    plant(bug)
  })

  it('are many, with names of their own, each with a hunt', () => {
    expect(plantedBugs.length).toBeGreaterThanOrEqual(20)
    expect(new Set(plantedBugs.map(({ name }) => name)).size).toBe(plantedBugs.length)
    for (const { scenario } of plantedBugs) expect(Object.keys(hunts)).toContain(scenario)
    for (const hunt of Object.keys(hunts)) expect(plantedBugs.map(({ scenario }) => scenario)).toContain(hunt)
  })

  it('are refused when the place is gone, or is two places', () => {
    const edit = { file: 'x', find: 'b', replace: 'c' }
    expect(applyEdit('abd', edit)).toBe('acd')
    expect(() => applyEdit('ad', edit)).toThrow('0 places')
    expect(() => applyEdit('abb', edit)).toThrow('2 places')
  })
})

describe.each(Object.entries(hunts))('the hunt %s', (name, hunt) => {
  it('names workloads and faults that exist, and tunings that have their place', () => {
    for (const workload of hunt.workloads) expect(workloadNames).toContain(workload)
    for (const kind of hunt.faults ?? []) expect(findFault(kind), kind).toBeDefined()
    for (const edit of hunt.tuning ?? []) plant(edit)
  })

  it('draws the same from a seed again', () => {
    expect(huntScenario(7, name)).toEqual(huntScenario(7, name))
    expect(huntScenario(7, name)).not.toEqual(huntScenario(8, name))
  })
})
