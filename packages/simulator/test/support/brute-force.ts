/** Tries every order of every choice of unknown operations: slow, and too simple to be wrong. */
import { isDeepStrictEqual } from 'node:util'
import type { HistoryEvent, SequentialModel } from '../../src/index.ts'

export function bruteForceLinearizable<S>(model: SequentialModel<S>, events: readonly HistoryEvent[]): boolean {
  const isKnown = ({ endMs, outcome }: HistoryEvent): boolean =>
    endMs !== undefined && outcome !== undefined && outcome.kind !== 'unknown'
  const relevant = events.filter(
    (event) => event.outcome?.kind !== 'failed' || model.observes?.(event.outcome.code) === true,
  )
  const place = (state: S, left: readonly HistoryEvent[]): boolean => {
    if (!left.some(isKnown)) return true
    return left.some((event) => {
      // Nothing that is left ended before it began.
      if (left.some((other) => isKnown(other) && (other.endMs as number) < event.startMs)) return false
      const rest = left.filter((other) => other !== event)
      return model
        .step(state, event.invoke, event.outcome)
        .filter(
          ({ result }) =>
            !isKnown(event) ||
            (model.matches?.(result, event.outcome as never) ?? isDeepStrictEqual(result, event.outcome)),
        )
        .some((step) => place(step.state, rest))
    })
  }
  return place(model.init, relevant)
}
