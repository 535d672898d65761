import { expect, test } from 'vitest'
import { ReadGate } from '../src/read-gate.ts'

test('stays open while reads are quick', () => {
  const gate = new ReadGate()
  for (let now = 0; now < 1000; now++) {
    expect(gate.isOpen(now)).toBe(true)
    gate.took(0.01, now)
  }
})

test('a slow disk is asked on the loop ever less often, down to once in ten seconds', () => {
  const gate = new ReadGate()
  const tries: number[] = []
  for (let now = 0; now < 100_000; now += 10) {
    if (!gate.isOpen(now)) continue
    tries.push(now)
    gate.took(8, now)
  }
  const pauses = tries.slice(1).map((at, i) => at - (tries[i] as number))
  expect(pauses.slice(0, 3)).toEqual([50, 100, 200])
  expect(pauses.at(-1)).toBe(10_000)
})

test('one slow read among many quick ones costs a short pause each time', () => {
  const gate = new ReadGate()
  for (let round = 0; round < 20; round++) {
    const now = round * 1000
    gate.took(5, now)
    expect(gate.isOpen(now + 49)).toBe(false)
    expect(gate.isOpen(now + 50)).toBe(true)
    for (let i = 0; i < 300; i++) gate.took(0.01, now + 60)
  }
})
