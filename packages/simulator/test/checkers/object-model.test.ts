import { Prng } from '@shoal/base'
import type { ObjectOp } from '@shoal/wire'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  checkLinearizability,
  type HistoryEvent,
  type HistoryOutcome,
  type ObjectAnswer,
  objectModel,
} from '../../src/index.ts'
import { PlainObject } from '../support/plain-object.ts'
import { linearizableHistory } from '../support/random-histories.ts'

const bytes = fc.uint8Array({ minLength: 0, maxLength: 6 })
const name = fc.constantFrom('a', 'b', 'ä')
const key = fc.constantFrom('k', 'kk', 'l', 'm').map((text) => new Uint8Array(Buffer.from(text)))
const offset = fc.integer({ min: 0, max: 8 })
const mode = fc.constantFrom('equal', 'not-equal', 'greater', 'less-or-equal') as fc.Arbitrary<'equal'>
const kind = <K extends string>(value: K): fc.Arbitrary<K> => fc.constant(value)

const mutation: fc.Arbitrary<ObjectOp> = fc.oneof(
  fc.record({ kind: kind('create'), exclusive: fc.boolean() }),
  fc.record({ kind: kind('write'), offset, data: bytes }),
  fc.record({ kind: kind('write-full'), data: bytes }),
  fc.record({ kind: kind('append'), data: bytes }),
  fc.record({ kind: kind('truncate'), sizeBytes: offset }),
  fc.record({ kind: kind('zero'), offset, length: offset }),
  fc.record({ kind: kind('remove') }),
  fc.record({ kind: kind('set-xattr'), name, value: bytes }),
  fc.record({ kind: kind('remove-xattr'), name }),
  fc.record({ kind: kind('omap-set'), entries: fc.array(fc.record({ key, value: bytes }), { maxLength: 3 }) }),
  fc.record({ kind: kind('omap-remove'), keys: fc.array(key, { maxLength: 2 }) }),
  fc.record({ kind: kind('omap-clear') }),
  fc.record({ kind: kind('omap-set-header'), header: bytes }),
)
const guard: fc.Arbitrary<ObjectOp> = fc.oneof(
  fc.record({ kind: kind('assert-exists') }),
  fc.record({ kind: kind('assert-version'), version: fc.integer({ min: 0, max: 8 }) }),
  fc.record({ kind: kind('compare-xattr'), name, mode, value: bytes }),
  fc.record({ kind: kind('compare-omap'), key, mode, value: bytes }),
  fc.record({ kind: kind('compare-extent'), offset, data: bytes }),
)
const look: fc.Arbitrary<ObjectOp> = fc.oneof(
  fc.record({ kind: kind('read'), offset, length: offset }),
  fc.record({ kind: kind('sparse-read'), offset, length: offset }),
  fc.record({ kind: kind('stat') }),
  fc.record({ kind: kind('get-xattr'), name }),
  fc.record({ kind: kind('get-xattrs') }),
  fc.record({ kind: kind('omap-get-header') }),
  fc.record({ kind: kind('omap-get-keys'), keys: fc.array(key, { maxLength: 3 }) }),
  fc.record({
    kind: kind('omap-get-range'),
    after: fc.option(key, { nil: undefined }),
    prefix: fc.constantFrom(new Uint8Array(0), new Uint8Array([107])),
    limit: fc.integer({ min: 1, max: 4 }),
  }),
)
/** Guards first, as in the cluster, where they see the object as it was before the operation. */
const operation: fc.Arbitrary<readonly ObjectOp[]> = fc.oneof(
  fc
    .tuple(fc.array(guard, { maxLength: 1 }), fc.array(mutation, { minLength: 1, maxLength: 3 }))
    .map((ops) => ops.flat()),
  fc.tuple(fc.array(guard, { maxLength: 1 }), fc.array(look, { minLength: 1, maxLength: 3 })).map((ops) => ops.flat()),
)

function eventOf(at: number, ops: readonly ObjectOp[], outcome: HistoryOutcome | undefined): HistoryEvent {
  const endMs = outcome === undefined ? undefined : at + 0.5
  return { process: 0, object: 'x', invoke: { kind: 'execute', ops }, startMs: at, endMs, outcome }
}

describe('the model of an object', () => {
  it('does what a plain object does, one operation after the other', () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 12 }), (operations) => {
        const object = new PlainObject()
        const events = operations.map((ops, at) => eventOf(at, ops, object.apply(ops)))
        expect(checkLinearizability(objectModel, events).kind).toBe('linearizable')
      }),
      { numRuns: 3000, seed: 3 },
    )
  })

  it('refuses any other answer', () => {
    let refused = 0
    fc.assert(
      fc.property(fc.array(operation, { minLength: 1, maxLength: 8 }), fc.nat(), (operations, salt) => {
        const object = new PlainObject()
        const events = operations.map((ops, at) => eventOf(at, ops, object.apply(ops)))
        const target = events[salt % events.length] as HistoryEvent
        const other = differently(target.outcome as HistoryOutcome)
        if (other === undefined) return
        refused++
        target.outcome = other
        expect(checkLinearizability(objectModel, events).kind).toBe('violation')
      }),
      { numRuns: 3000, seed: 4 },
    )
    expect(refused).toBeGreaterThan(1000)
  })

  it('explains concurrent histories, with operations that were never answered', () => {
    const sample = fc.sample(operation, { numRuns: 4000, seed: 5 })
    for (let seed = 0; seed < 60; seed++) {
      const random = new Prng(seed)
      const object = new PlainObject()
      const events = linearizableHistory(
        random,
        { processes: 4, operations: 60, unknownPercent: 8 },
        () => ({ kind: 'execute', ops: sample[random.below(sample.length)] }),
        (call) => object.apply(call['ops'] as readonly ObjectOp[]),
      )
      expect(checkLinearizability(objectModel, events).kind, `seed ${seed}`).toBe('linearizable')
    }
  })
})

/** The outcome with one answer changed; undefined when nothing in it tells of the object. */
function differently(outcome: HistoryOutcome): HistoryOutcome | undefined {
  if (outcome.kind !== 'ok')
    return { kind: 'failed', code: outcome.kind === 'failed' && outcome.code === 'ENOENT' ? 'EEXIST' : 'ENOENT' }
  const { results, version } = outcome.value as ObjectAnswer
  const at = results.findIndex(({ kind }) => kind === 'data' || kind === 'omap' || kind === 'xattrs' || kind === 'stat')
  const found = results[at]
  if (found === undefined) return undefined
  const changed =
    found.kind === 'data'
      ? { ...found, data: new Uint8Array([...found.data, 1]) }
      : found.kind === 'stat'
        ? { ...found, sizeBytes: found.sizeBytes + 1 }
        : found.kind === 'xattrs'
          ? { ...found, xattrs: new Map([...found.xattrs, ['z', new Uint8Array(1)] as const]) }
          : {
              ...found,
              entries: [
                ...(found as Extract<typeof found, { kind: 'omap' }>).entries,
                { key: new Uint8Array([255]), value: new Uint8Array(1) },
              ],
            }
  const value = { results: results.with(at, changed as (typeof results)[number]), version }
  return { kind: 'ok', value }
}
