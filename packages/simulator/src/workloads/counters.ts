/**
 * Effects that show how often they happened: tokens appended to a log, and numbers counted up by compare-and-set. An
 * acknowledged one is there exactly once, one without an answer at most once, a failed one never.
 */
import { utf8Decode, utf8Encode } from '@shoal/base'
import type { ObjectOp } from '@shoal/wire'
import { linearizabilityViolation } from '../checkers/explain-violation.ts'
import { answerOf, objectModel } from '../checkers/object-model.ts'
import type { FinalReader, History, HistoryEvent, Violation, Workload, WorkloadContext } from '../history.ts'
import { withFinalRead } from './object-workload.ts'
import { inLanes, nextToken, perform, readAllOps, resultOf } from './record.ts'

const tokenBytesEach = 12
const readMax = 1024 * 1024
const countName = 'count'

export interface CountersOptions {
  readonly slots?: number
  readonly periodMs?: number
  readonly pauseMsMax?: number
}

export function counters(options: CountersOptions = {}): Workload {
  const { slots = 3, periodMs = 60_000, pauseMsMax = 150 } = options
  return {
    name: 'counters',
    async run(context) {
      await inLanes(context, 2, pauseMsMax, async (lane) => {
        const place = `${context.random.below(slots)}.${Math.floor(context.nowMs() / periodMs)}`
        if (lane === 0) await useLog(context, `log-${place}`)
        else await useCounter(context, `count-${place}`)
      })
    },
    check: checkCounters,
  }
}

async function useLog(context: WorkloadContext, object: string): Promise<void> {
  if (context.random.below(4) === 0) {
    await perform(context, object, readAllOps(readMax))
    return
  }
  // Without waiting for each other: one client's writes of one object take effect in the order of its calls.
  const life = context.history.events.length
  const burst = context.random.below(3) === 0 ? 2 + context.random.below(4) : 1
  await Promise.all(
    Array.from({ length: burst }, () => {
      const token = nextToken(context).toString(36).padStart(tokenBytesEach, '.')
      return perform(context, object, [{ kind: 'append', data: utf8Encode(token) }], { token, burst: life })
    }),
  )
}

async function useCounter(context: WorkloadContext, object: string): Promise<void> {
  const { answer } = await perform(context, object, readAllOps(1))
  const stored = resultOf(answer, 'xattrs')?.xattrs.get(countName)
  const value = stored ?? new Uint8Array(0)
  const next = utf8Encode(String(countOf(stored) + 1))
  const guard: ObjectOp = { kind: 'compare-xattr', name: countName, mode: 'equal', value }
  await perform(context, object, [guard, { kind: 'set-xattr', name: countName, value: next }], { increment: true })
}

function countOf(stored: Uint8Array | undefined): number {
  return stored === undefined ? 0 : Number(utf8Decode(stored))
}

/** One broken promise shows in many objects; a few tell enough. */
const violationsMax = 3

async function checkCounters(history: History, final: FinalReader): Promise<readonly Violation[]> {
  const violations: Violation[] = []
  for (const [object, events] of history.byObject()) {
    const isLog = object.startsWith('log-')
    if (!isLog && !object.startsWith('count-')) continue
    const found = await final.read(poolOf(events), object)
    violations.push(
      ...(isLog
        ? checkLog(object, events, found?.data)
        : checkCount(object, events, countOf(found?.xattrs.get(countName)))),
    )
    if (violations.length >= violationsMax) return violations
    const explained = isLog ? withoutLost(events, found?.data) : events
    const all = await withFinalRead(object, explained, final)
    const violation = linearizabilityViolation(objectModel, object, all)
    if (violation !== undefined) violations.push(violation)
  }
  return violations
}

function poolOf(events: readonly HistoryEvent[]): string {
  return events[0]?.invoke['pool'] as string
}

/** Appends whose token is not there in the end never happened: nothing is ever taken from a log. */
function withoutLost(events: readonly HistoryEvent[], data: Uint8Array | undefined): readonly HistoryEvent[] {
  const tokens = new Set(tokensOf(data))
  return events.filter((event) => {
    const token = event.invoke['token'] as string | undefined
    return token === undefined || event.outcome?.kind === 'ok' || tokens.has(token)
  })
}

function tokensOf(data: Uint8Array | undefined): readonly string[] {
  const text = Buffer.from(data ?? []).toString('latin1')
  return Array.from({ length: Math.ceil(text.length / tokenBytesEach) }, (_, i) =>
    text.slice(i * tokenBytesEach, (i + 1) * tokenBytesEach),
  )
}

function checkLog(object: string, events: readonly HistoryEvent[], data: Uint8Array | undefined): readonly Violation[] {
  const violations: Violation[] = []
  const report = (message: string, event?: HistoryEvent): void => {
    violations.push({ checker: 'exactly-once', object, message: `${object}: ${message}`, details: event })
  }
  const times = new Map<string, number>()
  for (const token of tokensOf(data)) times.set(token, (times.get(token) ?? 0) + 1)
  const asked = new Set<string>()
  const whole = Buffer.from(data ?? [])
  for (const event of events) {
    const { outcome } = event
    const token = event.invoke['token'] as string | undefined
    if (token === undefined) {
      const seen = resultOf(answerOf(outcome), 'data')?.data
      if (seen !== undefined && Buffer.compare(seen, whole.subarray(0, seen.length)) !== 0)
        report(`a read of ${seen.length} bytes saw what is not there in the end`, event)
      continue
    }
    asked.add(token)
    const count = times.get(token) ?? 0
    if (count > 1) report(`${token} was appended ${count} times`, event)
    if (outcome?.kind === 'ok' && count === 0) report(`the acknowledged ${token} is lost`, event)
    if (outcome?.kind === 'failed' && count > 0) report(`${token} failed with ${outcome.code}, and was appended`, event)
  }
  checkBursts(events, tokensOf(data), report)
  for (const token of times.keys()) if (!asked.has(token)) report(`'${token}' was never appended by anybody`)
  return violations
}

/** Acknowledged appends of one burst stand in the log in the order in which they were called. */
function checkBursts(
  events: readonly HistoryEvent[],
  tokens: readonly string[],
  report: (message: string, event: HistoryEvent) => void,
): void {
  const places = new Map(tokens.map((token, at) => [token, at]))
  const last = new Map<unknown, number>()
  for (const event of events) {
    const { token, burst } = event.invoke
    if (burst === undefined || event.outcome?.kind !== 'ok') continue
    const place = places.get(token as string)
    if (place === undefined) continue
    if (place < (last.get(burst) ?? -1))
      report(`${token as string} stands before what its client appended earlier`, event)
    last.set(burst, Math.max(place, last.get(burst) ?? -1))
  }
}

function checkCount(object: string, events: readonly HistoryEvent[], final: number): readonly Violation[] {
  const increments = events.filter((event) => event.invoke['increment'] === true)
  const count = (matches: (event: HistoryEvent) => boolean): number => increments.filter(matches).length
  const acknowledged = count((event) => event.outcome?.kind === 'ok')
  const unknown = count((event) => event.outcome === undefined || event.outcome.kind === 'unknown')
  if (final >= acknowledged && final <= acknowledged + unknown) return []
  const message = `${object}: counts ${final} after ${acknowledged} acknowledged increments and ${unknown} unknown ones`
  return [{ checker: 'exactly-once', object, message }]
}
