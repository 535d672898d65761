/**
 * What an object does when one operation comes after the other: the specification that histories of concurrent clients
 * are held against.
 */
import type { HistoryCall, HistoryEvent, HistoryOutcome } from '../history.ts'

/** One way in which a call can take effect. */
export interface ModelStep<S> {
  readonly state: S
  readonly result: HistoryOutcome
}

/** States are immutable: a step makes a new one, or returns the very state it was given when it changes nothing. */
export interface SequentialModel<S> {
  readonly init: S
  /**
   * Every way in which the call can take effect on this state. The outcome that the client saw is given (undefined when
   * the client saw none), so that a model with free choices, such as the version a write gets, need not try them all.
   */
  step(state: S, call: HistoryCall, observed: HistoryOutcome | undefined): readonly ModelStep<S>[]
  /** Equal states have equal hashes. */
  hash(state: S): string
  equal(a: S, b: S): boolean
  /** Whether the result is what the client saw; without it, structural equality. */
  matches?(result: HistoryOutcome, observed: HistoryOutcome): boolean
  /**
   * Whether a failure with this code tells something of the object, as a failed comparison does, and must therefore have
   * its place in the order. Without it none does: failed operations are left out.
   */
  observes?(code: string): boolean
  /** Whether the call can never change the object. Sound to leave out, costly: it lets reads be placed without search. */
  readOnly?(call: HistoryCall): boolean
  /** A guess of where the event stands in the order; lower ones are tried first. Never decides. */
  orderHint?(event: HistoryEvent): number | undefined
}
