/**
 * Makes a violation readable: the shortest prefix of the history that no order explains, the operation whose answer broke
 * it, and what was going on around it.
 *
 * Histories are prefix-closed: if a history is linearizable, so is it up to any moment, with the operations under way at
 * that moment counted as unknown. So the first moment from which it is not is found by halving.
 */
import type { HistoryEvent, Violation } from '../history.ts'
import { checkLinearizability, type LinearizabilityLimits } from './linearizability.ts'
import type { SequentialModel } from './sequential-model.ts'

const aroundMax = 24
/** Of each of the checks that look for the shortest prefix. */
const stepsMaxEach = 50_000

export interface Explanation {
  /** Operations of the shortest prefix that cannot be put into an order; those under way at its end are without outcome. */
  readonly prefix: readonly HistoryEvent[]
  /** The operation whose answer ends the prefix. */
  readonly culprit: HistoryEvent
  /** Those that overlap it or came shortly before, by start. */
  readonly around: readonly HistoryEvent[]
}

/** Of a history that is known to be a violation. */
export function explainViolation<S>(
  model: SequentialModel<S>,
  events: readonly HistoryEvent[],
  limits: LinearizabilityLimits = {},
): Explanation | undefined {
  const ends = events
    .filter((event) => event.endMs !== undefined && event.outcome !== undefined && event.outcome.kind !== 'unknown')
    .sort((a, b) => compareEnds(a, b))
  let low = 0
  let high = ends.length - 1
  while (low < high) {
    const middle = (low + high) >> 1
    const prefix = prefixUntil(events, ends[middle] as HistoryEvent)
    // An undecided prefix is passed over: a longer one is shown then.
    const bounded = { ...limits, stepsMax: Math.min(stepsMaxEach, limits.stepsMax ?? stepsMaxEach) }
    if (checkLinearizability(model, prefix, bounded).kind === 'violation') high = middle
    else low = middle + 1
  }
  const culprit = ends[low]
  if (culprit === undefined) return undefined
  return { prefix: prefixUntil(events, culprit), culprit, around: around(events, culprit) }
}

/** Undefined if the history is linearizable. */
export function linearizabilityViolation<S>(
  model: SequentialModel<S>,
  object: string,
  events: readonly HistoryEvent[],
  limits: LinearizabilityLimits = {},
): Violation | undefined {
  const verdict = checkLinearizability(model, events, limits)
  if (verdict.kind === 'linearizable') return undefined
  if (verdict.kind === 'undecided') {
    const message = `${object}: undecided after ${verdict.steps} steps: ${verdict.reason}`
    return { checker: 'linearizability', object, message, undecided: true }
  }
  const explanation = explainViolation(model, events, limits)
  const lines = (explanation?.around ?? []).map(
    (event) => `${event === explanation?.culprit ? '=>' : '  '} ${describeEvent(event)}`,
  )
  const prefix = explanation === undefined ? '' : ` (${explanation.prefix.length} of ${events.length} operations)`
  return {
    checker: 'linearizability',
    object,
    message: `${object}: no order explains what clients saw${prefix}:\n${lines.join('\n')}`,
    details: explanation,
  }
}

function prefixUntil(events: readonly HistoryEvent[], last: HistoryEvent): readonly HistoryEvent[] {
  return events
    .filter((event) => compareStartToEnd(event, last) <= 0)
    .map((event) =>
      event.endMs === undefined || compareEnds(event, last) <= 0
        ? event
        : { ...event, endMs: undefined, outcome: undefined },
    )
}

function compareEnds(a: HistoryEvent, b: HistoryEvent): number {
  return compareMoments(
    a.endMs ?? Number.POSITIVE_INFINITY,
    a.endOrder,
    b.endMs ?? Number.POSITIVE_INFINITY,
    b.endOrder,
  )
}

function compareStartToEnd(a: HistoryEvent, b: HistoryEvent): number {
  return compareMoments(a.startMs, a.startOrder, b.endMs ?? Number.POSITIVE_INFINITY, b.endOrder)
}

function compareMoments(
  ms: number,
  order: number | undefined,
  otherMs: number,
  otherOrder: number | undefined,
): number {
  if (ms !== otherMs) return ms < otherMs ? -1 : 1
  return order === undefined || otherOrder === undefined ? 0 : order - otherOrder
}

function around(events: readonly HistoryEvent[], culprit: HistoryEvent): readonly HistoryEvent[] {
  const before = events.filter((event) => compareStartToEnd(event, culprit) <= 0)
  const overlaps = before.filter((event) => event.endMs === undefined || event.endMs >= culprit.startMs)
  const earlier = before
    .filter((event) => !overlaps.includes(event))
    .sort((a, b) => compareEnds(a, b))
    .slice(-Math.floor(aroundMax / 2))
  const nearest = overlaps.sort((a, b) => a.startMs - b.startMs).slice(-aroundMax)
  if (!nearest.includes(culprit)) nearest.push(culprit)
  return [...earlier, ...nearest].sort((a, b) => a.startMs - b.startMs)
}

/** One line for people; bytes as their length and beginning. */
export function describeEvent({ process, object, invoke, startMs, endMs, outcome }: HistoryEvent): string {
  const { kind, ...fields } = invoke
  const end = endMs === undefined ? 'never' : endMs.toFixed(2)
  const seen =
    outcome === undefined || outcome.kind === 'unknown'
      ? 'unknown'
      : outcome.kind === 'ok'
        ? `ok ${brief(outcome.value)}`
        : outcome.code
  return `[${startMs.toFixed(2)}, ${end}] client ${process} ${object} ${kind} ${brief(fields)} -> ${seen}`
}

const briefMax = 400

function brief(value: unknown): string {
  const text = JSON.stringify(value, (_key, field: unknown) => {
    if (field instanceof Uint8Array) return briefBytes(field)
    if (field instanceof Map) return Object.fromEntries(field)
    return field
  })
  if (text === undefined) return ''
  return text.length > briefMax ? `${text.slice(0, briefMax)}…` : text
}

function briefBytes(bytes: Uint8Array): string {
  const shown = bytes.subarray(0, 12)
  const printable = shown.every((byte) => byte >= 32 && byte < 127)
  const text = printable ? `'${String.fromCharCode(...shown)}'` : Buffer.from(shown).toString('hex')
  return bytes.length > shown.length ? `${bytes.length}:${text}…` : text
}
