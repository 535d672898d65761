/**
 * Clients that fill what may be filled, a pool with a quota or small disks, remove some of it when they are refused, and go
 * on; in the end everything is removed, and writing must go on by itself.
 *
 * - `quotas`: never more is acknowledged than the quota; the newest object may be refused, nothing older goes.
 * - `full-disks`: the ratios are low, so that disks are full before the stores are.
 * For both: what was acknowledged is there, byte for byte; removals are never refused for want of space.
 */
import { equalBytes } from '@shoal/base'
import type { MonitorCommand } from '@shoal/monitor-client'
import type { ObjectOp } from '@shoal/wire'
import type {
  FinalReader,
  History,
  HistoryEvent,
  HistoryOutcome,
  Violation,
  Workload,
  WorkloadContext,
} from '../history.ts'
import { inLanes, nextToken, outcomeOf, perform, resultOf, tokenBytes, weighted } from './record.ts'

const kibibyte = 1024

interface Filling {
  readonly name: 'quotas' | 'full-disks'
  readonly bytesMin: number
  readonly bytesMax: number
  readonly pauseMsMax: number
  readonly setUp: (pool: string) => readonly MonitorCommand[]
  /** 0: none. */
  readonly quota: { readonly bytes: number; readonly objects: number }
}

const quota = { bytes: 2048 * kibibyte, objects: 96 }
/** Refusals that a client sees after the last removal are over by then. */
const resumesWithinMs = 60_000
const slowerAtLimit = 10
const refusals: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT'])
/** A removal that could not be sent for as long as it had time is none that was refused. */
const removalsMayAnswer: ReadonlySet<string> = new Set(['ENOENT', 'ETIMEDOUT'])

export function quotas(): Workload {
  return filling({
    name: 'quotas',
    bytesMin: 1,
    bytesMax: 48 * kibibyte,
    pauseMsMax: 120,
    quota,
    setUp: (pool) => [
      { prefix: 'osd pool set-quota', pool, field: 'max_bytes', val: quota.bytes },
      { prefix: 'osd pool set-quota', pool, field: 'max_objects', val: quota.objects },
    ],
  })
}

export function fullDisks(): Workload {
  return filling({
    name: 'full-disks',
    bytesMin: 256 * kibibyte,
    bytesMax: 1024 * kibibyte,
    pauseMsMax: 60,
    quota: { bytes: 0, objects: 0 },
    setUp: () => [
      { prefix: 'osd set-nearfull-ratio', ratio: 0.3 },
      { prefix: 'osd set-backfillfull-ratio', ratio: 0.4 },
      { prefix: 'osd set-full-ratio', ratio: 0.45 },
    ],
  })
}

/** An object of one lane of one life of a client; written by nobody else. */
interface Own {
  readonly name: string
  data: Uint8Array
}

function filling(plan: Filling): Workload {
  return {
    name: plan.name,
    async run(context) {
      if (!(await setUp(context, plan))) return
      const owned = [new Map<string, Own>(), new Map<string, Own>()]
      let filled = false
      await inLanes(context, 2, plan.pauseMsMax, async (lane) => {
        if (await useSpace(context, plan, lane, owned[lane] as Map<string, Own>)) filled = true
        // What there is to see is seen at the limit; how often it is reached costs real time, and tells nothing more.
        if (filled) await context.sleep(context.random.fraction() * plan.pauseMsMax * slowerAtLimit)
      })
      await empty(context)
      await writeAgain(context, plan)
    },
    check: (history, final) => check(history, final, plan),
  }
}

/** False when it was stopped before the monitors took it. */
async function setUp(context: WorkloadContext, plan: Filling): Promise<boolean> {
  for (const command of plan.setUp(context.pool.name)) {
    while (!(await taken(context, command))) {
      if (context.stopped()) return false
      await context.sleep(500)
    }
  }
  return true
}

async function taken(context: WorkloadContext, command: MonitorCommand): Promise<boolean> {
  try {
    await context.command?.(command)
    return context.command !== undefined
  } catch (error) {
    outcomeOf(error)
    return false
  }
}

/** Whether it was refused for want of space. */
async function useSpace(
  context: WorkloadContext,
  plan: Filling,
  lane: number,
  own: Map<string, Own>,
): Promise<boolean> {
  const { random } = context
  const some = [...own.values()][random.below(Math.max(1, own.size))]
  const what = weighted(random, [
    [10, 'create' as const],
    [plan.name === 'quotas' ? 4 : 0, 'rewrite' as const],
    [6, 'read' as const],
    [1, 'remove' as const],
  ])
  if (some === undefined || what === 'create') {
    const name = `fill-${context.process}.${lane}.${nextToken(context)}`
    const code = await write(context, plan, own, { name, data: new Uint8Array(0) })
    if (code !== undefined && refusals.has(code)) {
      await makeRoom(context, own)
      return true
    }
  } else if (what === 'rewrite') await write(context, plan, own, some)
  else if (what === 'remove') await remove(context, own, some)
  else await read(context, some)
  return false
}

/** The code of a failure. What has no outcome is left alone from then on: it may change at any time. */
async function write(
  context: WorkloadContext,
  plan: Filling,
  own: Map<string, Own>,
  object: Own,
): Promise<string | undefined> {
  const { random } = context
  const length = plan.bytesMin + random.below(plan.bytesMax - plan.bytesMin)
  const data = tokenBytes(nextToken(context), length)
  const { outcome } = await perform(context, object.name, [{ kind: 'write-full', data }], { bytes: length })
  if (outcome.kind === 'ok') own.set(object.name, { name: object.name, data })
  else if (outcome.kind === 'unknown') own.delete(object.name)
  return outcome.kind === 'failed' ? outcome.code : undefined
}

async function remove(context: WorkloadContext, own: Map<string, Own>, { name }: Own): Promise<void> {
  own.delete(name)
  await perform(context, name, [{ kind: 'remove' }], { bytes: 0 })
}

async function read(context: WorkloadContext, { name, data }: Own): Promise<void> {
  const ops: readonly ObjectOp[] = [{ kind: 'read', offset: 0, length: data.length + 1 }]
  const { answer, outcome } = await perform(context, name, ops, { look: true })
  if (isNoAnswer(outcome)) return
  const found = resultOf(answer, 'data')?.data
  const event = context.history.begin(context.process, name, { kind: 'compare' }, context.nowMs())
  const same = found !== undefined && equalBytes(found, data)
  context.history.end(
    event,
    same ? { kind: 'ok', value: undefined } : { kind: 'failed', code: 'differs' },
    context.nowMs(),
  )
}

/** Nobody said what there is: it was not sent within its time, or its answer did not come. */
function isNoAnswer(outcome: HistoryOutcome): boolean {
  return outcome.kind === 'unknown' || (outcome.kind === 'failed' && outcome.code === 'ETIMEDOUT')
}

/** Now and then a little, now and then nothing: then others are refused for long. */
async function makeRoom(context: WorkloadContext, own: Map<string, Own>): Promise<void> {
  const { random } = context
  await context.sleep(random.fraction() * 2_000)
  const count = random.below(2) === 0 ? 0 : Math.ceil((own.size * (1 + random.below(3))) / 4)
  for (const one of [...own.values()].slice(0, count)) await remove(context, own, one)
}

/** Everybody's objects. */
async function empty(context: WorkloadContext): Promise<void> {
  for (;;) {
    try {
      for await (const name of context.pool.list()) {
        if (name.startsWith('fill-')) await perform(context, name, [{ kind: 'remove' }], { bytes: 0 })
      }
      return
    } catch (error) {
      outcomeOf(error)
      await context.sleep(1_000)
    }
  }
}

async function writeAgain(context: WorkloadContext, plan: Filling): Promise<void> {
  const untilMs = context.nowMs() + resumesWithinMs
  const data = tokenBytes(nextToken(context), plan.bytesMin)
  const name = `resumes-${context.process}`
  for (;;) {
    const { outcome } = await perform(context, name, [{ kind: 'write-full', data }], { last: true })
    if (outcome.kind === 'ok' || context.nowMs() > untilMs) return
    await context.sleep(500)
  }
}

async function check(history: History, _final: FinalReader, plan: Filling): Promise<readonly Violation[]> {
  const violations: Violation[] = []
  const report = (object: string, message: string, details: HistoryEvent): void => {
    violations.push({ checker: plan.name, object, message: `${object}: ${message}`, details })
  }
  const last = new Map<string, HistoryEvent>()
  for (const event of history.events) {
    const { invoke, outcome, object } = event
    const code = outcome?.kind === 'failed' ? outcome.code : undefined
    if (invoke.kind === 'compare' && code !== undefined) report(object, 'is not what was acknowledged', event)
    if (invoke['bytes'] === 0 && code !== undefined && !removalsMayAnswer.has(code))
      report(object, `a removal failed: ${code}`, event)
    if (code === 'ENOSPC' && plan.name === 'quotas') continue
    if (code === 'EDQUOT' && plan.name !== 'quotas') report(object, 'there is no quota here', event)
    if (invoke['last'] === true) last.set(object, event)
  }
  for (const [object, event] of last) {
    const { outcome } = event
    if (outcome?.kind === 'failed' && refusals.has(outcome.code))
      report(object, `still refused (${outcome.code}) when everything was removed`, event)
  }
  return [...violations, ...overQuota(history, plan)]
}

interface Bounds {
  /** At least so many bytes, and whether it surely exists. */
  bytes: number
  exists: boolean
}

/** Walks through all starts and ends, and adds up what surely is there: acknowledged, and not being changed. */
export function overQuota(
  history: History,
  { quota: limit, name }: Pick<Filling, 'quota' | 'name'>,
): readonly Violation[] {
  if (limit.bytes === 0) return []
  const turns: { readonly order: number; readonly event: HistoryEvent; readonly end: boolean }[] = []
  for (const event of history.events) {
    if (event.invoke['bytes'] === undefined) continue
    turns.push({ order: event.startOrder ?? 0, event, end: false })
    if (event.endOrder !== undefined) turns.push({ order: event.endOrder, event, end: true })
  }
  turns.sort((a, b) => a.order - b.order)
  const sure = new Map<string, Bounds>()
  const before = new Map<HistoryEvent, Bounds>()
  /** May change at any time. */
  const unsure = new Set<string>()
  const sum = { bytes: 0, objects: 0 }
  const set = (object: string, next: Bounds): void => {
    const old = sure.get(object)
    sum.bytes += next.bytes - (old?.bytes ?? 0)
    sum.objects += Number(next.exists) - Number(old?.exists ?? false)
    sure.set(object, next)
  }
  for (const { event, end } of turns) {
    const { object, outcome, invoke } = event
    const bytes = invoke['bytes'] as number
    const now = sure.get(object) ?? { bytes: 0, exists: false }
    if (!end) {
      before.set(event, now)
      set(object, { bytes: Math.min(now.bytes, bytes), exists: now.exists && bytes > 0 })
    } else if (outcome?.kind === 'unknown') unsure.add(object)
    else if (outcome?.kind === 'failed' && !unsure.has(object)) set(object, before.get(event) ?? now)
    else if (outcome?.kind === 'ok' && !unsure.has(object)) set(object, { bytes, exists: bytes > 0 })
    if (sum.bytes <= limit.bytes && sum.objects <= limit.objects) continue
    const message = `${sum.bytes} bytes in ${sum.objects} objects are acknowledged, more than ${limit.bytes} in ${limit.objects}`
    return [{ checker: name, object, message, details: event }]
  }
  return []
}
