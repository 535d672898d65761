import { Prng } from '@shoal/base'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  checkLinearizability,
  explainViolation,
  type HistoryCall,
  type HistoryEvent,
  type HistoryOutcome,
  linearizabilityViolation,
  registerModel,
} from '../../src/index.ts'
import { bruteForceLinearizable } from '../support/brute-force.ts'
import { linearizableHistory } from '../support/random-histories.ts'

const model = registerModel<number>(0)
const ok = (value?: unknown): HistoryOutcome => ({ kind: 'ok', value })
const canceled: HistoryOutcome = { kind: 'failed', code: 'ECANCELED' }
const unknown: HistoryOutcome = { kind: 'unknown' }
const read: HistoryCall = { kind: 'read' }
const write = (value: number): HistoryCall => ({ kind: 'write', value })
const compareAndSet = (expected: number, value: number): HistoryCall => ({ kind: 'compare-and-set', expected, value })

function event(
  startMs: number,
  endMs: number | undefined,
  invoke: HistoryCall,
  outcome?: HistoryOutcome,
): HistoryEvent {
  return { process: 0, object: 'x', invoke, startMs, endMs, outcome }
}

function kindOf(events: readonly HistoryEvent[]): string {
  return checkLinearizability(model, events).kind
}

describe('histories whose verdict is known', () => {
  const linearizable: Record<string, HistoryEvent[]> = {
    'nothing at all': [],
    'one after the other': [event(0, 1, write(1), ok()), event(2, 3, read, ok(1))],
    'a read beside a write sees the old value': [event(0, 10, write(1), ok()), event(2, 3, read, ok(0))],
    'a read beside a write sees the new value': [event(0, 10, write(1), ok()), event(2, 3, read, ok(1))],
    'reads see the values in the order of the writes': [
      event(0, 10, write(1), ok()),
      event(1, 12, write(2), ok()),
      event(2, 3, read, ok(2)),
      event(4, 5, read, ok(1)),
    ],
    'a write without answer shows at last': [
      event(0, undefined, write(7)),
      event(1, 2, read, ok(0)),
      event(30, 31, read, ok(7)),
    ],
    'a write of unknown outcome never shows': [event(0, 5, write(7), unknown), event(6, 7, read, ok(0))],
    'a write of unknown outcome shows after its client was told': [
      event(0, 5, write(7), unknown),
      event(6, 7, read, ok(0)),
      event(8, 9, read, ok(7)),
    ],
    'a failed write is none': [event(0, 1, write(1), { kind: 'failed', code: 'ENOSPC' }), event(2, 3, read, ok(0))],
    'two compare-and-sets, one wins': [
      event(0, 5, compareAndSet(0, 1), ok()),
      event(0, 5, compareAndSet(0, 2), canceled),
      event(6, 7, read, ok(1)),
    ],
    'what one client ended the next may begin at the same time': [
      event(0, 1, write(1), ok()),
      event(1, 2, read, ok(0)),
    ],
  }
  const violating: Record<string, HistoryEvent[]> = {
    'a stale read': [event(0, 1, write(1), ok()), event(2, 3, read, ok(0))],
    'a value that nobody wrote': [event(0, 1, read, ok(5))],
    'a value seen and then unseen': [event(0, 100, write(1), ok()), event(1, 2, read, ok(1)), event(3, 4, read, ok(0))],
    'a write of unknown outcome seen and then unseen': [
      event(0, undefined, write(1)),
      event(1, 2, read, ok(1)),
      event(3, 4, read, ok(0)),
    ],
    'a failed write that shows': [event(0, 1, write(1), { kind: 'failed', code: 'ENOSPC' }), event(2, 3, read, ok(1))],
    'a write that shows before it began': [event(0, 1, read, ok(1)), event(2, 3, write(1), ok())],
    'two compare-and-sets, both win': [event(0, 5, compareAndSet(0, 1), ok()), event(0, 5, compareAndSet(0, 2), ok())],
    'a comparison that fails although it must hold': [event(0, 5, compareAndSet(0, 1), canceled)],
    'an overwritten value comes back': [
      event(0, 1, write(1), ok()),
      event(2, 3, write(2), ok()),
      event(4, 5, read, ok(1)),
    ],
    'two readers disagree about the order': [
      event(0, 100, write(1), ok()),
      event(0, 100, write(2), ok()),
      event(1, 2, read, ok(1)),
      event(3, 4, read, ok(2)),
      event(5, 6, read, ok(1)),
    ],
    'what one client saw end, in the order of record': [
      { ...event(0, 1, write(1), ok()), startOrder: 0, endOrder: 1 },
      { ...event(1, 2, read, ok(0)), startOrder: 2, endOrder: 3 },
    ],
  }

  it.each(Object.entries(linearizable))('%s', (_name, events) => {
    expect(kindOf(events)).toBe('linearizable')
    expect(bruteForceLinearizable(model, events)).toBe(true)
  })

  it.each(Object.entries(violating))('not: %s', (name, events) => {
    expect(kindOf(events)).toBe('violation')
    // The brute force knows nothing of the order of record.
    if (!name.includes('record')) expect(bruteForceLinearizable(model, events)).toBe(false)
  })
})

describe('against the brute force', () => {
  const call = fc.oneof(
    fc.constant(read),
    fc.integer({ min: 0, max: 2 }).map(write),
    fc.tuple(fc.integer({ min: 0, max: 2 }), fc.integer({ min: 0, max: 2 })).map(([a, b]) => compareAndSet(a, b)),
  )
  const anyEvent = fc
    .record({
      invoke: call,
      startMs: fc.integer({ min: 0, max: 12 }),
      lengthMs: fc.integer({ min: 1, max: 6 }),
      fate: fc.constantFrom('ok', 'ok', 'ok', 'ok', 'unknown', 'never', 'ENOSPC'),
      seen: fc.integer({ min: 0, max: 2 }),
      holds: fc.boolean(),
    })
    .map(({ invoke, startMs, lengthMs, fate, seen, holds }): HistoryEvent => {
      const endMs = fate === 'never' ? undefined : startMs + lengthMs - 0.5
      if (fate === 'unknown') return event(startMs, endMs, invoke, unknown)
      if (fate === 'ENOSPC') return event(startMs, endMs, invoke, { kind: 'failed', code: fate })
      if (fate === 'never') return event(startMs, undefined, invoke)
      if (invoke.kind === 'read') return event(startMs, endMs, invoke, ok(seen))
      return event(startMs, endMs, invoke, invoke.kind === 'compare-and-set' && !holds ? canceled : ok())
    })

  it('agrees on small histories of any kind', () => {
    const verdicts = { true: 0, false: 0 }
    fc.assert(
      fc.property(fc.array(anyEvent, { maxLength: 7 }), (events) => {
        const expected = bruteForceLinearizable(model, events)
        verdicts[`${expected}`]++
        expect(kindOf(events)).toBe(expected ? 'linearizable' : 'violation')
      }),
      { numRuns: 4000, seed: 7 },
    )
    expect(Math.min(verdicts.true, verdicts.false)).toBeGreaterThan(300)
  })

  it('finds a prefix that is a violation, whose part before the last answer is none', () => {
    fc.assert(
      fc.property(fc.array(anyEvent, { maxLength: 7 }), (events) => {
        if (kindOf(events) !== 'violation') return
        const found = explainViolation(model, events)
        expect(found).toBeDefined()
        if (found === undefined) return
        expect(bruteForceLinearizable(model, found.prefix)).toBe(false)
        const before = found.prefix.map((one) =>
          one === found.culprit || one.endMs === found.culprit.endMs
            ? { ...one, endMs: undefined, outcome: undefined }
            : one,
        )
        expect(bruteForceLinearizable(model, before)).toBe(true)
        expect(found.around).toContain(found.culprit)
      }),
      { numRuns: 1500, seed: 8 },
    )
  })
})

function randomRegister(seed: number, operations: number, unknownPercent = 8): HistoryEvent[] {
  const random = new Prng(seed)
  let value = 0
  let next = 1
  return linearizableHistory(
    random,
    { processes: 5, operations, unknownPercent },
    () => {
      const choice = random.below(10)
      if (choice < 5) return read
      return choice < 8 ? write(next++) : compareAndSet(random.below(next), next++)
    },
    (call) => {
      if (call.kind === 'read') return ok(value)
      if (call.kind === 'compare-and-set' && call['expected'] !== value) return canceled
      value = call['value'] as number
      return ok()
    },
  )
}

describe('long histories of a register', () => {
  it.each(Array.from({ length: 20 }, (_, seed) => seed))('is linearizable if the register is (seed %i)', (seed) => {
    const verdict = checkLinearizability(model, randomRegister(seed, 600))
    expect(verdict.kind).toBe('linearizable')
    expect(verdict.steps).toBeLessThan(600_000)
  })

  it('gives an order that explains the history', () => {
    const events = randomRegister(3, 300)
    const verdict = checkLinearizability(model, events)
    expect(verdict.kind).toBe('linearizable')
    if (verdict.kind !== 'linearizable') return
    let state = 0
    for (const one of verdict.order) {
      const [step] = model.step(state, one.invoke, one.outcome)
      state = step?.state ?? Number.NaN
      if (one.endMs !== undefined) expect(step?.result).toEqual(one.outcome)
    }
  })

  it('finds a stale read in each', () => {
    let spoiled = 0
    for (let seed = 0; seed < 15; seed++) {
      const events = randomRegister(seed, 150)
      const random = new Prng(seed + 1000)
      // A read that answers with a value that two acknowledged writes, one after the other, had replaced before it began.
      const reads = events.filter(({ invoke, outcome }) => invoke.kind === 'read' && outcome !== undefined)
      const target = reads[reads.length - 1 - random.below(20)] as HistoryEvent
      const writes = events.filter(({ invoke, outcome }) => invoke.kind === 'write' && outcome?.kind === 'ok')
      const over = (one: HistoryEvent, other: HistoryEvent): boolean => (one.endMs as number) < other.startMs
      const old = writes.find((one) => writes.some((later) => over(one, later) && over(later, target)))
      if (old === undefined) continue
      target.outcome = ok(old.invoke['value'])
      spoiled++
      const violation = linearizabilityViolation(model, 'x', events)
      expect(violation?.undecided, `seed ${seed}: ${violation?.message}`).toBeUndefined()
      expect(violation?.message).toContain('=>')
    }
    expect(spoiled).toBeGreaterThan(10)
  })

  it('says undecided beyond its bounds, never more', () => {
    const events = randomRegister(5, 600)
    expect(checkLinearizability(model, events, { stepsMax: 50 }).kind).toBe('undecided')
    expect(checkLinearizability(model, events, { configurationsMax: 10 }).kind).toBe('undecided')
    const violation = linearizabilityViolation(model, 'x', events, { stepsMax: 50 })
    expect(violation?.undecided).toBe(true)
  })

  it('bears many operations without an answer', () => {
    for (let seed = 0; seed < 10; seed++) {
      const verdict = checkLinearizability(model, randomRegister(seed + 50, 400, 30))
      expect(verdict.kind, `seed ${seed}`).toBe('linearizable')
    }
  })
})
