/**
 * Watchers that come and go, and notifies that carry a number. A watcher answers each with the number and its own name, at
 * once, late or never. What must hold:
 * - a notify that ended names every watcher that watched from before it began until after it ended, as one that acknowledged or
 *   as one whose time was over, once;
 * - whoever is named as having acknowledged was told this number, and said what it is quoted with;
 * - no two notifies of an object have the same id.
 */
import { utf8Decode, utf8Encode } from '@shoal/base'
import type { NotifyOutcome } from '@shoal/wire'
import type { History, HistoryEvent, Violation, Workload, WorkloadContext } from '../history.ts'
import { inLanes, nextToken, outcomeOf, perform } from './record.ts'

const slots = 2
/** After this much virtual time each slot takes a new object. */
const periodMs = 40_000
const pauseMsMax = 400
const looksMs = 200

interface WatchRecord {
  readonly client: number
  cookie: number
  /** When the watch was known to stand; undefined while it does not. */
  sinceMs: number | undefined
  /** Last time that its client could still rely on it. */
  aliveMs: number
  /** What it answered, by number. */
  readonly answers: Map<string, string>
}

export function watches(): Workload {
  return {
    name: 'watches',
    async run(context) {
      await inLanes(context, 2, pauseMsMax, async (lane) => {
        const object = `watched-${context.random.below(slots)}.${Math.floor(context.nowMs() / periodMs)}`
        if (lane === 0) await watch(context, object)
        else await notify(context, object)
      })
    },
    check: async (history) => checkNotifies(history),
  }
}

async function watch(context: WorkloadContext, object: string): Promise<void> {
  const { pool, random, nowMs, sleep, history, process, client } = context
  const { outcome } = await perform(context, object, [{ kind: 'create', exclusive: false }])
  if (outcome.kind !== 'ok') return
  const record: WatchRecord = { client: client.session, cookie: 0, sinceMs: undefined, aliveMs: 0, answers: new Map() }
  const event = history.begin(process, object, { kind: 'watch', pool: pool.name, record }, nowMs())
  const slowness = random.below(4)
  const onNotify = async ({ data }: { readonly data: Uint8Array }): Promise<Uint8Array> => {
    await sleep(slowness === 0 ? random.fraction() * 6_000 : random.fraction() * 50)
    const number = utf8Decode(data)
    const said = `${number} of ${record.client}`
    record.answers.set(number, said)
    return utf8Encode(said)
  }
  try {
    const held = await pool.watch(
      object,
      { onNotify, onError: () => undefined },
      { timeoutMs: 2_000 + random.below(8_000) },
    )
    record.cookie = held.cookie
    record.sinceMs = nowMs()
    record.aliveMs = record.sinceMs
    history.end(event, { kind: 'ok', value: { cookie: held.cookie } }, nowMs())
    const untilMs = nowMs() + random.fraction() * 20_000
    while (held.isWatching && nowMs() < untilMs && !context.stopped()) {
      record.aliveMs = nowMs()
      await sleep(looksMs)
    }
    await held.close()
  } catch (error) {
    const outcomeThen = outcomeOf(error)
    if (event.outcome === undefined) history.end(event, outcomeThen, nowMs())
  }
}

async function notify(context: WorkloadContext, object: string): Promise<void> {
  const { pool, random, nowMs, history, process } = context
  const number = String(nextToken(context))
  const event = history.begin(process, object, { kind: 'notify', pool: pool.name, number }, nowMs())
  try {
    const value = await pool.notify(object, utf8Encode(number), 500 + random.below(6_000))
    history.end(event, { kind: 'ok', value }, nowMs())
  } catch (error) {
    history.end(event, outcomeOf(error), nowMs())
  }
}

function checkNotifies(history: History): readonly Violation[] {
  const violations: Violation[] = []
  for (const [object, events] of history.byObject()) {
    if (!object.startsWith('watched-')) continue
    const records = events.filter(({ invoke }) => invoke.kind === 'watch')
    const ids = new Set<number>()
    for (const event of events) {
      if (event.invoke.kind !== 'notify' || event.outcome?.kind !== 'ok') continue
      const outcome = event.outcome.value as NotifyOutcome
      const report = (message: string, details: unknown): void => {
        const number = String(event.invoke['number'])
        violations.push({ checker: 'watches', object, message: `${object}: notify ${number} ${message}`, details })
      }
      if (ids.has(outcome.notifyId)) report(`has the id of another one, ${outcome.notifyId}`, event)
      ids.add(outcome.notifyId)
      checkNotify(event, outcome, records, report)
    }
  }
  return violations
}

function checkNotify(
  event: HistoryEvent,
  outcome: NotifyOutcome,
  records: readonly HistoryEvent[],
  report: (message: string, details: unknown) => void,
): void {
  const number = String(event.invoke['number'])
  const named = new Set<string>()
  for (const { client, cookie } of [...outcome.acks, ...outcome.timedOut]) {
    const key = `client.${client} ${cookie}`
    if (named.has(key)) report(`names ${key} twice`, outcome)
    named.add(key)
  }
  for (const { client, cookie, data } of outcome.acks) {
    // The answer may be under way before the watcher is told its cookie.
    const said = records.some(({ invoke }) => {
      const record = invoke['record'] as WatchRecord
      const same = record.client === client && (record.cookie === cookie || record.cookie === 0)
      return same && record.answers.get(number) === utf8Decode(data)
    })
    if (!said) report(`quotes client.${client} ${cookie}, which did not say '${utf8Decode(data)}'`, outcome)
  }
  for (const { invoke } of records) {
    const { client, cookie, sinceMs, aliveMs } = invoke['record'] as WatchRecord
    if (sinceMs === undefined || sinceMs >= event.startMs || aliveMs <= (event.endMs ?? 0)) continue
    if (!named.has(`client.${client} ${cookie}`)) {
      report(`ended without client.${client} ${cookie}, which watched all the time`, { outcome, sinceMs, aliveMs })
    }
  }
}
