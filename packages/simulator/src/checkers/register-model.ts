/** A single value: written, read, compared and set. */
import { isDeepStrictEqual } from 'node:util'
import type { HistoryCall, HistoryOutcome } from '../history.ts'
import type { ModelStep, SequentialModel } from './sequential-model.ts'

/** Calls: `{kind: 'read'}`, `{kind: 'write', value}`, `{kind: 'compare-and-set', expected, value}` (fails with ECANCELED). */
export function registerModel<V>(init: V): SequentialModel<V> {
  return {
    init,
    step: (state, call) => [stepRegister(state, call)],
    hash: (state) => (typeof state === 'object' ? JSON.stringify(state) : String(state)),
    equal: (a, b) => a === b || isDeepStrictEqual(a, b),
    observes: (code) => code === 'ECANCELED',
    readOnly: (call) => call.kind === 'read',
  }
}

function stepRegister<V>(state: V, call: HistoryCall): ModelStep<V> {
  switch (call.kind) {
    case 'read':
      return { state, result: ok(state) }
    case 'write':
      return { state: call['value'] as V, result: ok(undefined) }
    case 'compare-and-set':
      return isDeepStrictEqual(state, call['expected'])
        ? { state: call['value'] as V, result: ok(undefined) }
        : { state, result: { kind: 'failed', code: 'ECANCELED' } }
    default:
      throw new Error(`a register does not ${call.kind}`)
  }
}

function ok(value: unknown): HistoryOutcome {
  return { kind: 'ok', value }
}
