/**
 * What the monitors answer to commands, held against a set: the applications of a pool, enabled, disabled and read. A
 * change that was acknowledged is there for everybody who asks after it, whoever leads.
 */
import { linearizabilityViolation } from '../checkers/explain-violation.ts'
import type { SequentialModel } from '../checkers/sequential-model.ts'
import type { HistoryCall, HistoryOutcome, Workload, WorkloadContext } from '../history.ts'
import { inLanes, nextToken, outcomeOf, weighted } from './record.ts'

export interface MonitorSetOptions {
  readonly pauseMsMax?: number
}

const prefix = 'set of '

export function monitorSet(options: MonitorSetOptions = {}): Workload {
  return {
    name: 'monitor-set',
    async run(context) {
      if (context.command === undefined) return
      let seen: readonly string[] = []
      await inLanes(context, 1, options.pauseMsMax ?? 400, async () => {
        const call = weighted<() => HistoryCall>(context.random, [
          [5, () => ({ kind: 'read' })],
          [3, () => ({ kind: 'add', item: `t${nextToken(context).toString(36)}` })],
          [3, () => (seen[0] === undefined ? { kind: 'read' } : { kind: 'remove', item: seen[0] })],
        ])()
        const outcome = await ask(context, call)
        if (call.kind === 'read' && outcome.kind === 'ok') seen = outcome.value as readonly string[]
      })
    },
    async check(history) {
      const violations = []
      for (const [object, events] of history.byObject()) {
        if (!object.startsWith(prefix)) continue
        const violation = linearizabilityViolation(setModel, object, events)
        if (violation !== undefined) violations.push(violation)
      }
      return violations
    },
  }
}

async function ask(context: WorkloadContext, call: HistoryCall): Promise<HistoryOutcome> {
  const { history, pool, nowMs, process } = context
  const event = history.begin(process, `${prefix}${pool.name}`, { ...call, pool: pool.name }, nowMs())
  let outcome: HistoryOutcome
  try {
    const reply = await context.command?.(commandOf(call, pool.name))
    // What a monitor says without a quorum, and says so, promises nothing.
    outcome = reply?.stale === true ? { kind: 'unknown' } : { kind: 'ok', value: valueOf(call, reply?.data) }
  } catch (error) {
    outcome = outcomeOf(error)
  }
  history.end(event, outcome, nowMs())
  return outcome
}

function commandOf(call: HistoryCall, pool: string): { readonly prefix: string; readonly [argument: string]: unknown } {
  if (call.kind === 'read') return { prefix: 'osd pool get', pool, var: 'application' }
  const verb = call.kind === 'add' ? 'enable' : 'disable'
  return { prefix: `osd pool application ${verb}`, pool, app: call['item'] }
}

function valueOf(call: HistoryCall, data: unknown): readonly string[] | undefined {
  if (call.kind !== 'read') return undefined
  const { application } = data as { readonly application: string }
  return application === '' ? [] : application.split(',').toSorted()
}

/** States are sorted. */
const setModel: SequentialModel<readonly string[]> = {
  init: [],
  step(state, call) {
    const item = call['item'] as string
    if (call.kind === 'read') return [{ state, result: { kind: 'ok', value: state } }]
    const without = state.filter((one) => one !== item)
    const next = call.kind === 'add' ? [...without, item].toSorted() : without
    return [{ state: next, result: { kind: 'ok', value: undefined } }]
  },
  hash: (state) => state.join(','),
  equal: (a, b) => a === b || a.join(',') === b.join(','),
  readOnly: (call) => call.kind === 'read',
}
