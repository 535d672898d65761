/**
 * Workloads of compound operations on single objects, all checked in the same way: each object's history, together with
 * what is there in the end, must be linearizable. Objects are given up after a while and new ones begun, so that histories
 * stay short enough to search, and cold objects remain to be read in the end.
 */
import { type ObjectOp, zeroVersion } from '@shoal/wire'
import { linearizabilityViolation } from '../checkers/explain-violation.ts'
import type { LinearizabilityLimits } from '../checkers/linearizability.ts'
import { type ObjectAnswer, objectModel } from '../checkers/object-model.ts'
import type {
  FinalObject,
  FinalReader,
  History,
  HistoryEvent,
  Violation,
  Workload,
  WorkloadContext,
} from '../history.ts'
import { inLanes, perform, readAllOps, resultOf } from './record.ts'

/** What one client saw last of an object: it makes its comparisons hold now and then. */
export interface Seen {
  data: Uint8Array
  sizeBytes: number
  version: number
  xattrs: ReadonlyMap<string, Uint8Array>
  omap: ReadonlyMap<string, Uint8Array>
}

export interface ObjectWorkloadPlan {
  readonly name: string
  /** Objects in use at a time, shared by all clients. */
  readonly slots: number
  /** Operations that one client has under way. */
  readonly lanes: number
  readonly pauseMsMax: number
  /** After this much virtual time each slot takes a new object. */
  readonly periodMs: number
  /** Objects are never longer. */
  readonly lengthMax: number
  choose(context: WorkloadContext, seen: Seen | undefined, object: string): readonly ObjectOp[]
  /** The slot for the next operation; without it all alike. */
  chooseSlot?(context: WorkloadContext): number
  readonly limits?: LinearizabilityLimits
}

export function objectWorkload(plan: ObjectWorkloadPlan): Workload {
  return {
    name: plan.name,
    async run(context) {
      const seen = new Map<string, Seen>()
      await inLanes(context, plan.lanes, plan.pauseMsMax, async () => {
        const slot = plan.chooseSlot?.(context) ?? context.random.below(plan.slots)
        const object = `${plan.name}-${slot}.${Math.floor(context.nowMs() / plan.periodMs)}`
        const ops = plan.choose(context, seen.get(object), object)
        const { answer } = await perform(context, object, ops)
        if (answer !== undefined) remember(seen, object, answer)
      })
    },
    check: (history, final) => checkObjects(plan, history, final),
  }
}

/** One broken promise shows in many objects; a few tell enough. */
const violationsMax = 3

/** Every object's history with what is there in the end. */
async function checkObjects(
  plan: ObjectWorkloadPlan,
  history: History,
  final: FinalReader,
): Promise<readonly Violation[]> {
  const violations: Violation[] = []
  for (const [object, events] of history.byObject()) {
    if (!object.startsWith(`${plan.name}-`)) continue
    const all = await withFinalRead(object, events, final)
    const violation = linearizabilityViolation(objectModel, object, all, plan.limits)
    if (violation !== undefined) violations.push(violation)
    if (violations.filter(({ undecided }) => undecided !== true).length >= violationsMax) break
  }
  return violations
}

/** The history of an object with one more read, after everything else. */
export async function withFinalRead(
  object: string,
  events: readonly HistoryEvent[],
  final: FinalReader,
): Promise<readonly HistoryEvent[]> {
  const pool = events[0]?.invoke['pool'] as string | undefined
  if (pool === undefined) return events
  return [...events, finalEvent(object, pool, await final.read(pool, object), events)]
}

function finalEvent(
  object: string,
  pool: string,
  found: FinalObject | undefined,
  events: readonly HistoryEvent[],
): HistoryEvent {
  const startMs = Math.max(...events.map((event) => Math.max(event.startMs, event.endMs ?? 0))) + 1
  const ops = readAllOps(found?.data.length ?? 1)
  const answer: ObjectAnswer | undefined = found && {
    results: [
      { kind: 'data', data: found.data },
      { kind: 'stat', sizeBytes: found.data.length, modifiedMs: 0, version: found.version },
      { kind: 'xattrs', xattrs: found.xattrs },
      { kind: 'data', data: found.omapHeader },
      { kind: 'omap', entries: found.omap, more: false },
    ],
    version: zeroVersion,
  }
  return {
    process: -1,
    object,
    invoke: { kind: 'execute', pool, ops: unlimited(ops), final: true },
    startMs,
    endMs: startMs + 1,
    outcome: answer === undefined ? { kind: 'failed', code: 'ENOENT' } : { kind: 'ok', value: answer },
  }
}

/** The final omap was read page by page. */
function unlimited(ops: readonly ObjectOp[]): readonly ObjectOp[] {
  return ops.map((op) => (op.kind === 'omap-get-range' ? { ...op, limit: Number.MAX_SAFE_INTEGER } : op))
}

function remember(seen: Map<string, Seen>, object: string, answer: ObjectAnswer): void {
  const read = resultOf(answer, 'data')
  const stat = resultOf(answer, 'stat')
  if (read === undefined || stat === undefined) return
  const entries = resultOf(answer, 'omap')?.entries ?? []
  seen.set(object, {
    data: read.data,
    sizeBytes: stat.sizeBytes,
    version: stat.version,
    xattrs: resultOf(answer, 'xattrs')?.xattrs ?? new Map(),
    omap: new Map(entries.map(({ key, value }) => [Buffer.from(key).toString('latin1'), value])),
  })
}
