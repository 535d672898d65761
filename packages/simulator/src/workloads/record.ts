/** Runs operations and writes down what the client saw of them. */
import { emptyBytes, isClusterError } from '@shoal/base'
import type { OperationOutcome } from '@shoal/client'
import type { ObjectOp, ObjectOpResult } from '@shoal/wire'
import type { HistoryOutcome, WorkloadContext } from '../history.ts'

/** Virtual milliseconds: short enough that a long fault leaves operations without an answer. */
const timeoutsMs = [4_000, 20_000, 60_000] as const

export interface Performed {
  readonly outcome: HistoryOutcome
  readonly answer: OperationOutcome | undefined
}

/** One compound operation as an event of the history. */
export async function perform(
  context: WorkloadContext,
  object: string,
  ops: readonly ObjectOp[],
  label: Readonly<Record<string, unknown>> = {},
): Promise<Performed> {
  const { history, pool, random, nowMs, process } = context
  const timeoutMs = timeoutsMs[random.below(timeoutsMs.length)] as number
  const event = history.begin(process, object, { kind: 'execute', pool: pool.name, ops, ...label }, nowMs())
  let answer: OperationOutcome | undefined
  let outcome: HistoryOutcome
  try {
    answer = await pool.execute(object, ops, { timeoutMs })
    outcome = { kind: 'ok', value: answer }
  } catch (error) {
    outcome = outcomeOf(error)
  }
  history.end(event, outcome, nowMs())
  return { outcome, answer }
}

/** What an error tells of the operation; errors that are no answers are bugs, and thrown on. */
export function outcomeOf(error: unknown): HistoryOutcome {
  if (!isClusterError(error)) throw error
  return error.outcome === 'unknown' ? { kind: 'unknown' } : { kind: 'failed', code: error.code }
}

/** Everything there is to know of an object, in one operation. */
export function readAllOps(lengthMax: number): readonly ObjectOp[] {
  return [
    { kind: 'read', offset: 0, length: lengthMax },
    { kind: 'stat' },
    { kind: 'get-xattrs' },
    { kind: 'omap-get-header' },
    { kind: 'omap-get-range', after: undefined, prefix: emptyBytes, limit: 1024 },
  ]
}

export function resultOf<K extends ObjectOpResult['kind']>(
  answer: OperationOutcome | undefined,
  kind: K,
): Extract<ObjectOpResult, { kind: K }> | undefined {
  return answer?.results.find((result): result is Extract<ObjectOpResult, { kind: K }> => result.kind === kind)
}

/** A number that no other operation of this history has, nor the 63 after it; asked for right before the operation begins. */
export function nextToken({ history }: WorkloadContext): number {
  return (history.events.length + 1) * 64
}

/** Of a token that compresses: all but the first word of so many are those before them. */
const repeatWords = 128

/** Bytes that name the token as well as their length allows, and differ from those of any other token. */
export function tokenBytes(token: number, length: number): Uint8Array {
  const words = new Uint32Array(Math.ceil(length / 4))
  let state = (Math.imul(token, 0x9e3779b1) ^ 0x5bd1e995) >>> 0 || 1
  for (let i = 0; i < words.length; i++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    // No byte is zero, so that what was written differs from what was not. Every other token compresses well.
    const repeats = token % 2 === 0 && i % repeatWords !== 0 && i >= repeatWords
    words[i] = repeats ? (words[i - repeatWords] as number) : state | 0x01010101
  }
  const bytes = new Uint8Array(words.buffer, 0, length)
  const name = `<${token.toString(36)}>`
  for (let i = 0; i < name.length && i < length; i++) bytes[i] = name.charCodeAt(i)
  return bytes
}

/** Runs `once` again and again, several at a time, until the workload is to end. */
export async function inLanes(
  context: WorkloadContext,
  lanes: number,
  pauseMsMax: number,
  once: (lane: number) => Promise<void>,
): Promise<void> {
  const run = async (lane: number): Promise<void> => {
    while (!context.stopped()) {
      await once(lane)
      await context.sleep(context.random.fraction() * pauseMsMax)
    }
  }
  await Promise.all(Array.from({ length: lanes }, (_, lane) => run(lane)))
}

/** One of the choices, as often as its weight says. */
export function weighted<T>(random: WorkloadContext['random'], choices: readonly (readonly [number, T])[]): T {
  let at = random.below(choices.reduce((sum, [weight]) => sum + weight, 0))
  for (const [weight, choice] of choices) {
    if (at < weight) return choice
    at -= weight
  }
  return (choices.at(-1) as readonly [number, T])[1]
}
