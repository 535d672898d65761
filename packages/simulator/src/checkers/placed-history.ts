/** Events of one object with integers for times, sorted into those that must be placed and those that may be. */
import type { HistoryEvent, HistoryOutcome } from '../history.ts'
import type { SequentialModel } from './sequential-model.ts'

export interface PlacedEvent {
  readonly event: HistoryEvent
  /** Its number among the known or the unknown events. */
  readonly index: number
  /** Positions in the order of all starts and ends; an event comes before another if it ends before the other starts. */
  readonly start: number
  /** Infinite for unknown ones. */
  readonly end: number
  readonly observed: HistoryOutcome | undefined
  readonly readOnly: boolean
  readonly hint: number
}

export interface PlacedHistory {
  /** By start. */
  readonly known: readonly PlacedEvent[]
  /** By start. May take effect at any time after it, or never. */
  readonly unknown: readonly PlacedEvent[]
}

type Kind = 'known' | 'unknown' | 'left out'

export function placeEvents<S>(events: readonly HistoryEvent[], model: SequentialModel<S>): PlacedHistory {
  const positions = positionsOf(events)
  const kinds = new Map(events.map((event) => [event, kindOf(event, model)]))
  const place = (kind: Kind): PlacedEvent[] =>
    events
      .filter((event) => kinds.get(event) === kind)
      .sort((a, b) => positions.start(a) - positions.start(b))
      .map((event, index) => ({
        event,
        index,
        start: positions.start(event),
        end: kind === 'known' ? positions.end(event) : Number.POSITIVE_INFINITY,
        observed: kind === 'known' ? event.outcome : undefined,
        readOnly: model.readOnly?.(event.invoke) ?? false,
        hint: model.orderHint?.(event) ?? Number.POSITIVE_INFINITY,
      }))
  return { known: place('known'), unknown: place('unknown') }
}

function kindOf<S>(event: HistoryEvent, model: SequentialModel<S>): Kind {
  const { outcome } = event
  if (event.endMs === undefined || outcome === undefined || outcome.kind === 'unknown') {
    return model.readOnly?.(event.invoke) === true ? 'left out' : 'unknown'
  }
  if (outcome.kind === 'failed' && model.observes?.(outcome.code) !== true) return 'left out'
  return 'known'
}

interface Positions {
  start(event: HistoryEvent): number
  end(event: HistoryEvent): number
}

/**
 * Starts and ends in one order. At the same virtual time the order in which they were recorded decides; where that is
 * missing, starts come first, so that the two operations count as concurrent.
 */
function positionsOf(events: readonly HistoryEvent[]): Positions {
  const points: {
    readonly event: HistoryEvent
    readonly ms: number
    readonly order: number | undefined
    readonly isEnd: boolean
  }[] = []
  for (const event of events) {
    points.push({ event, ms: event.startMs, order: event.startOrder, isEnd: false })
    if (event.endMs !== undefined) points.push({ event, ms: event.endMs, order: event.endOrder, isEnd: true })
  }
  points.sort((a, b) => {
    if (a.ms !== b.ms) return a.ms < b.ms ? -1 : 1
    if (a.order !== undefined && b.order !== undefined) return a.order - b.order
    return Number(a.isEnd) - Number(b.isEnd)
  })
  const starts = new Map<HistoryEvent, number>()
  const ends = new Map<HistoryEvent, number>()
  for (const [at, { event, isEnd }] of points.entries()) (isEnd ? ends : starts).set(event, at)
  return {
    start: (event) => starts.get(event) as number,
    end: (event) => ends.get(event) ?? Number.POSITIVE_INFINITY,
  }
}
