/**
 * Objects that come and go, and listings of the pool: an object that was there all the while is named, one that was not
 * there at all the while is not. Each object belongs to one client, which has one operation on it at a time.
 */
import type { FinalReader, History, HistoryEvent, Violation, Workload, WorkloadContext } from '../history.ts'
import { inLanes, nextToken, outcomeOf, perform, tokenBytes } from './record.ts'

export interface ListingOptions {
  /** Of each client. */
  readonly objects?: number
  readonly pauseMsMax?: number
}

const prefix = 'listed-'

export function listing(options: ListingOptions = {}): Workload {
  const { objects = 40, pauseMsMax = 150 } = options
  return {
    name: 'listing',
    async run(context) {
      await inLanes(context, 3, pauseMsMax, async (lane) => {
        if (lane === 2) {
          await context.sleep(500 * context.random.fraction())
          return list(context)
        }
        // One lane has the even objects, the other the odd ones.
        const object = `${prefix}${context.process}-${context.random.below(objects) * 2 + lane}`
        const remove = context.random.below(3) === 0
        await perform(
          context,
          object,
          remove
            ? [{ kind: 'remove' }]
            : [{ kind: 'write-full', data: tokenBytes(nextToken(context), 1 + context.random.below(2000)) }],
        )
      })
    },
    check: checkListing,
  }
}

async function list(context: WorkloadContext): Promise<void> {
  const { history, pool, nowMs, process } = context
  const event = history.begin(process, `list of ${pool.name}`, { kind: 'list', pool: pool.name }, nowMs())
  try {
    const names: string[] = []
    for await (const name of pool.list()) if (name.startsWith(prefix)) names.push(name)
    history.end(event, { kind: 'ok', value: names }, nowMs())
  } catch (error) {
    history.end(event, outcomeOf(error), nowMs())
  }
}

async function checkListing(history: History, final: FinalReader): Promise<readonly Violation[]> {
  const violations: Violation[] = []
  const lists = history.events.filter(({ invoke, outcome }) => invoke.kind === 'list' && outcome?.kind === 'ok')
  const pools = new Set(history.events.map((event) => event.invoke['pool'] as string))
  const named = new Map<string, ReadonlySet<string> | undefined>()
  for (const pool of pools) {
    const names = await final.list(pool)
    named.set(pool, names && new Set(names))
  }
  for (const [object, events] of history.byObject()) {
    if (!object.startsWith(prefix)) continue
    for (const one of lists) {
      const names = (one.outcome as { readonly value: readonly string[] }).value
      const message = checkNamed(object, events, one.startMs, one.endMs as number, names.includes(object))
      if (message !== undefined) violations.push({ checker: 'listing', object, message, details: one })
    }
    const names = named.get(events[0]?.invoke['pool'] as string)
    const end = Number.MAX_SAFE_INTEGER
    const message = names && checkNamed(object, events, end, end, names.has(object))
    if (message !== undefined) violations.push({ checker: 'listing', object, message: `in the end: ${message}` })
  }
  return violations
}

/** What a listing over this time says of an object, held against the object's own history. Exported for its test. */
function checkNamed(
  object: string,
  events: readonly HistoryEvent[],
  startMs: number,
  endMs: number,
  isNamed: boolean,
): string | undefined {
  let there = false
  // An operation without an answer may come at any time after its start, even after operations that were answered.
  let mayAppear = false
  let mayVanish = false
  for (const event of events) {
    if (event.startMs > endMs) break
    const removes = (event.invoke['ops'] as readonly { readonly kind: string }[]).some(({ kind }) => kind === 'remove')
    const { outcome } = event
    const over = event.endMs !== undefined && event.endMs < startMs
    if (over && outcome?.kind === 'ok') there = !removes
    else if (over && outcome?.kind === 'failed') there = outcome.code === 'ENOENT' ? false : there
    else if (outcome?.kind === 'failed') continue
    else if (removes) mayVanish = true
    else mayAppear = true
  }
  if (there === isNamed || (isNamed ? mayAppear : mayVanish)) return undefined
  return there ? `${object} is there and was not listed` : `${object} is not there and was listed`
}
