import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { guarded, installGuards } from '../src/guards.ts'

it('inside a simulation ambient time, randomness and files throw and name the caller; outside they work', () => {
  installGuards()
  const reaches: readonly (() => unknown)[] = [
    () => Date.now(),
    () => new Date(),
    () => performance.now(),
    () => process.hrtime.bigint(),
    () => Math.random(),
    () => crypto.randomUUID(),
    () => setTimeout(() => undefined, 1),
    () => readFileSync(import.meta.filename),
  ]
  for (const reach of reaches) {
    expect(() => guarded(reach), String(reach)).toThrow(/inside a simulation, .*guards\.test/)
    expect(reach).not.toThrow()
  }
  expect(guarded(() => new Date(5).getTime())).toBe(5)
})
