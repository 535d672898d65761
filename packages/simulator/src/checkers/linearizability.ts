/**
 * Whether a history of one object is linearizable: whether its operations can be put into an order that respects real
 * time and in which a sequential object answers as the clients were answered.
 *
 * The search is that of Wing and Gong ("Testing and verifying concurrent objects", 1993) with Lowe's memory of visited
 * configurations ("Testing for linearizability", 2017); objects are checked one by one, which is enough since
 * linearizability is local (Herlihy and Wing, 1990, theorem 1). Beyond these:
 *
 * 1. An operation without a known outcome may stand anywhere after its start or nowhere. A configuration is hopeless if
 *    one with the same state and the same answered operations placed, that has used fewer of the unknown ones, was: what
 *    the one can still do, the other can, too.
 * 2. Few unknown operations are used between two answered ones, at first; the bound is lifted before anything is called
 *    a violation. It finds orders early and proves nothing.
 * 3. An operation that changes nothing and may stand next is placed at once: earlier is never worse for it.
 * 4. Steps and memory are bounded. Beyond the bound the answer is `undecided`, which is no success.
 */
import { isDeepStrictEqual } from 'node:util'
import type { HistoryEvent, HistoryOutcome } from '../history.ts'
import { type PlacedEvent, type PlacedHistory, placeEvents } from './placed-history.ts'
import type { ModelStep, SequentialModel } from './sequential-model.ts'

export interface LinearizabilityLimits {
  /** Calls of the model's `step`. */
  readonly stepsMax?: number
  /** Configurations that are remembered. */
  readonly configurationsMax?: number
}

export type LinearizabilityVerdict =
  | { readonly kind: 'linearizable'; readonly steps: number; readonly order: readonly HistoryEvent[] }
  | { readonly kind: 'violation'; readonly steps: number }
  | { readonly kind: 'undecided'; readonly steps: number; readonly reason: string }

const stepsMaxDefault = 500_000
const configurationsMaxDefault = 250_000
/** Unknown operations tried between two answered ones, until everything is tried. */
const unknownRuns = [1, Number.POSITIVE_INFINITY] as const

export function checkLinearizability<S>(
  model: SequentialModel<S>,
  events: readonly HistoryEvent[],
  limits: LinearizabilityLimits = {},
): LinearizabilityVerdict {
  const history = placeEvents(events, model)
  let steps = 0
  for (const unknownRunMax of unknownRuns) {
    const search = new Search(model, history, unknownRunMax, {
      stepsMax: (limits.stepsMax ?? stepsMaxDefault) - steps,
      configurationsMax: limits.configurationsMax ?? configurationsMaxDefault,
    })
    const outcome = search.run()
    steps += search.steps
    if (outcome === 'found') return { kind: 'linearizable', steps, order: search.order() }
    if (outcome !== 'exhausted') return { kind: 'undecided', steps, reason: outcome }
    if (!search.heldBack) return { kind: 'violation', steps }
  }
  return { kind: 'violation', steps }
}

interface Choice<S> {
  readonly event: PlacedEvent
  readonly known: boolean
  readonly state: S
}

/** Answered operations [0, first) and `beyond` are placed, and of the unknown ones `used`; both sorted. */
interface Configuration<S> {
  readonly first: number
  readonly beyond: readonly number[]
  readonly used: readonly number[]
  /** Unknown operations placed since the last answered one. */
  readonly unknownRun: number
  readonly state: S
}

interface Frame<S> {
  readonly at: Configuration<S>
  readonly event: HistoryEvent | undefined
  readonly choices: Iterator<Choice<S>>
}

interface Remembered<S> {
  readonly state: S
  /** None contains another. */
  used: (readonly number[])[]
}

class Search<S> {
  steps = 0
  /** Some choice was not tried because of the bound on unknown operations. */
  heldBack = false
  private readonly model: SequentialModel<S>
  private readonly history: PlacedHistory
  private readonly unknownRunMax: number
  private readonly limits: Required<LinearizabilityLimits>
  private readonly visited = new Map<string, Remembered<S>[]>()
  private readonly path: Frame<S>[] = []
  private configurations = 0

  constructor(
    model: SequentialModel<S>,
    history: PlacedHistory,
    unknownRunMax: number,
    limits: Required<LinearizabilityLimits>,
  ) {
    this.model = model
    this.history = history
    this.unknownRunMax = unknownRunMax
    this.limits = limits
  }

  run(): 'found' | 'exhausted' | 'too many steps' | 'too many configurations' {
    const { history, path } = this
    this.enter({ first: 0, beyond: [], used: [], unknownRun: 0, state: this.model.init }, undefined)
    for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
      if (top.at.first === history.known.length) return 'found'
      if (this.steps > this.limits.stepsMax) return 'too many steps'
      if (this.configurations > this.limits.configurationsMax) return 'too many configurations'
      const next = top.choices.next()
      if (next.done === true) path.pop()
      else this.enter(this.after(top.at, next.value), next.value.event.event)
    }
    return 'exhausted'
  }

  order(): readonly HistoryEvent[] {
    return this.path.flatMap((frame) => frame.event ?? [])
  }

  private enter(at: Configuration<S>, event: HistoryEvent | undefined): void {
    if (this.isHopeless(at)) return
    this.path.push({ at, event, choices: this.choices(at) })
  }

  private after(at: Configuration<S>, { event, known, state }: Choice<S>): Configuration<S> {
    if (!known) return { ...at, used: inserted(at.used, event.index), unknownRun: at.unknownRun + 1, state }
    if (event.index !== at.first) return { ...at, beyond: inserted(at.beyond, event.index), unknownRun: 0, state }
    let first = at.first + 1
    let passed = 0
    while (at.beyond[passed] === first) {
      first++
      passed++
    }
    return { first, beyond: passed === 0 ? at.beyond : at.beyond.slice(passed), used: at.used, unknownRun: 0, state }
  }

  /** Remembers the configuration, and tells whether one that can do no less was here before (1). */
  private isHopeless(at: Configuration<S>): boolean {
    // The first on the path, and those with choices of their own held back, differ by the run, too.
    const run = this.unknownRunMax === Number.POSITIVE_INFINITY ? 0 : at.unknownRun
    const key = `${at.first}:${at.beyond.join(',')}:${run}|${this.model.hash(at.state)}`
    const bucket = this.visited.get(key) ?? []
    if (bucket.length === 0) this.visited.set(key, bucket)
    const same = bucket.find((one) => this.model.equal(one.state, at.state))
    if (same === undefined) {
      bucket.push({ state: at.state, used: [at.used] })
      this.configurations++
      return false
    }
    if (same.used.some((used) => isSubset(used, at.used))) return true
    const kept = same.used.filter((used) => !isSubset(at.used, used))
    this.configurations += kept.length + 1 - same.used.length
    same.used = [...kept, at.used]
    return false
  }

  /** What may stand next: what began before the first end among the answered operations that are not placed yet. */
  private *choices(at: Configuration<S>): Generator<Choice<S>> {
    const { known, unknown } = this.history
    const candidates: PlacedEvent[] = []
    let firstEnd = Number.POSITIVE_INFINITY
    let passed = 0
    for (let index = at.first; index < known.length; index++) {
      const event = known[index] as PlacedEvent
      if (event.start > firstEnd) break
      if (at.beyond[passed] === index) {
        passed++
        continue
      }
      candidates.push(event)
      firstEnd = Math.min(firstEnd, event.end)
    }
    const open = candidates.filter((event) => event.start < firstEnd)
    for (const event of open) {
      if (!event.readOnly) continue
      const [only, ...others] = this.step(at.state, event)
      if (only?.state === at.state && others.length === 0) return yield { event, known: true, state: at.state } // (3)
    }
    open.sort((a, b) => a.hint - b.hint || a.end - b.end)
    for (const event of open) {
      for (const { state } of this.step(at.state, event)) yield { event, known: true, state }
    }
    yield* this.unknownChoices(at, unknown, firstEnd)
  }

  private *unknownChoices(
    at: Configuration<S>,
    unknown: readonly PlacedEvent[],
    firstEnd: number,
  ): Generator<Choice<S>> {
    for (const event of unknown) {
      if (event.start > firstEnd) return
      if (at.used.includes(event.index)) continue
      if (at.unknownRun >= this.unknownRunMax) {
        this.heldBack = true
        return
      }
      for (const { state } of this.step(at.state, event)) {
        if (state !== at.state) yield { event, known: false, state }
      }
    }
  }

  private step(state: S, { event, observed }: PlacedEvent): readonly ModelStep<S>[] {
    this.steps++
    const steps = this.model.step(state, event.invoke, observed)
    if (observed === undefined) return steps
    return steps.filter(({ result }) => this.matches(result, observed))
  }

  private matches(result: HistoryOutcome, observed: HistoryOutcome): boolean {
    return this.model.matches?.(result, observed) ?? isDeepStrictEqual(result, observed)
  }
}

function inserted(sorted: readonly number[], value: number): readonly number[] {
  let at = sorted.length
  while (at > 0 && (sorted[at - 1] as number) > value) at--
  return [...sorted.slice(0, at), value, ...sorted.slice(at)]
}

/** Both sorted. */
function isSubset(small: readonly number[], large: readonly number[]): boolean {
  if (small.length > large.length) return false
  let at = 0
  for (const value of small) {
    while (at < large.length && (large[at] as number) < value) at++
    if (large[at] !== value) return false
    at++
  }
  return true
}
