/**
 * Critical sections under advisory locks: who holds the lock reads a number, thinks, and writes the next. However long it
 * sleeps in between, no increment that was acknowledged is overwritten by one that did not see it. Of two kinds:
 * - `section`: each step asks whether the lock is still held. Locks run out, and anybody breaks them.
 * - `fenced`: no step asks. Locks do not run out, and whoever breaks one has its holder fenced first.
 */
import { utf8Decode, utf8Encode } from '@shoal/base'
import type { ObjectOp } from '@shoal/wire'
import type { FinalReader, History, HistoryEvent, Violation, Workload, WorkloadContext } from '../history.ts'
import { inLanes, outcomeOf, perform, resultOf } from './record.ts'

const lockName = 'section'
const readMax = 64
/** Longer than any operation is sent again. */
const fenceSeconds = 120

const slots = 3
/** After this much virtual time each slot takes a new object. */
const periodMs = 60_000
const pauseMsMax = 150

export function locks(): Workload {
  return {
    name: 'locks',
    async run(context) {
      await inLanes(context, 2, pauseMsMax, async (lane) => {
        const place = `${context.random.below(slots)}.${Math.floor(context.nowMs() / periodMs)}`
        const guarded = context.random.below(2) === 0
        await visit(context, `${guarded ? 'section' : 'fenced'}-${place}`, `lane${lane}`, guarded)
      })
    },
    check: checkSections,
  }
}

async function visit(context: WorkloadContext, object: string, cookie: string, guarded: boolean): Promise<void> {
  const { random } = context
  const durationMs = guarded && random.below(3) > 0 ? 200 + random.below(5_000) : 0
  const mode = 'exclusive'
  const { outcome } = await perform(context, object, [
    { kind: 'lock', name: lockName, mode, cookie, tag: '', description: '', durationMs, renew: 'may' },
  ])
  if (outcome.kind === 'failed' && outcome.code === 'EBUSY') return takeOver(context, object, guarded)
  if (outcome.kind !== 'ok') return
  const guards: readonly ObjectOp[] = guarded ? [{ kind: 'assert-locked', name: lockName, mode, cookie, tag: '' }] : []
  const { answer } = await perform(context, object, [...guards, { kind: 'read', offset: 0, length: readMax }])
  const seen = resultOf(answer, 'data')?.data
  if (seen === undefined) return
  await context.sleep(random.fraction() ** 4 * 3_000)
  const value = Number(utf8Decode(seen)) + 1
  const write: ObjectOp = { kind: 'write-full', data: utf8Encode(String(value)) }
  const written = await perform(context, object, [...guards, write], { value })
  // What may still land must not land in somebody else's section.
  if (!guarded && written.outcome.kind === 'unknown') return
  if (random.below(8) > 0) await perform(context, object, [{ kind: 'unlock', name: lockName, cookie }])
}

/** Some wait, some break the lock of one that they take for dead: of one that does not ask again, not before it is fenced. */
async function takeOver(context: WorkloadContext, object: string, guarded: boolean): Promise<void> {
  const { random } = context
  if (random.below(guarded ? 6 : 20) > 0) return
  const { answer } = await perform(context, object, [{ kind: 'list-locks', name: lockName }])
  const holder = resultOf(answer, 'locks')?.locks[0]?.holders[0]
  if (holder === undefined || (!guarded && holder.client === context.client.session)) return
  if (!guarded && !(await fence(context, holder.client))) return
  await perform(context, object, [{ kind: 'break-lock', name: lockName, client: holder.client, cookie: holder.cookie }])
}

async function fence({ client }: WorkloadContext, session: number): Promise<boolean> {
  try {
    await client.fence(session, fenceSeconds)
    return true
  } catch (error) {
    outcomeOf(error)
    return false
  }
}

/** Each number was written once at most, and the last of the acknowledged ones was not taken back. */
async function checkSections(history: History, final: FinalReader): Promise<readonly Violation[]> {
  const violations: Violation[] = []
  for (const [object, events] of history.byObject()) {
    if (!object.startsWith('section-') && !object.startsWith('fenced-')) continue
    const report = (message: string, details: unknown): void => {
      violations.push({ checker: 'critical-section', object, message: `${object}: ${message}`, details })
    }
    const writes = events.filter((event) => event.invoke['value'] !== undefined && event.outcome?.kind === 'ok')
    const byValue = new Map<number, HistoryEvent>()
    for (const event of writes) {
      const value = event.invoke['value'] as number
      const other = byValue.get(value)
      if (other !== undefined)
        report(`${value} was written by client ${other.process} and by ${event.process}`, [other, event])
      byValue.set(value, event)
    }
    const found = await final.read(events[0]?.invoke['pool'] as string, object)
    const last = found === undefined ? 0 : Number(utf8Decode(found.data))
    const largest = Math.max(0, ...byValue.keys())
    if (last < largest) report(`is ${last} in the end, though ${largest} was acknowledged`, byValue.get(largest))
  }
  return violations
}
