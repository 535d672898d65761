/**
 * Client operations in flight and the latest slow ones, with the time of each stage.
 *
 * Invariant 1: memory is bounded: in flight by the throttle of client messages, history by its size, stages by a cap.
 */
import { spaceBytesOf } from '@shoal/placement-group'
import { type ClientOp, formatObjectId, isWriteOp } from '@shoal/wire'
import type { OsdSettings } from './settings.ts'

const stagesMax = 32

export class TrackedOp {
  readonly op: ClientOp
  readonly session: number
  readonly isWrite: boolean
  readonly costBytes: number
  /** What it may take of each disk. */
  readonly spaceBytes: number
  readonly startMs: number
  private readonly stages: (string | number)[] = []

  constructor(op: ClientOp, session: number, costBytes: number, startMs: number) {
    this.op = op
    this.session = session
    this.isWrite = op.ops.some(isWriteOp)
    this.costBytes = costBytes
    this.spaceBytes = spaceBytesOf(op.ops)
    this.startMs = startMs
  }

  mark(stage: string, nowMs: number): void {
    if (this.stages.length < stagesMax * 2) this.stages.push(stage, nowMs)
  }

  describe(nowMs: number): TrackedOpSummary {
    const events: { stage: string; atMs: number }[] = [{ stage: 'received', atMs: 0 }]
    for (let i = 0; i < this.stages.length; i += 2) {
      events.push({ stage: this.stages[i] as string, atMs: rounded((this.stages[i + 1] as number) - this.startMs) })
    }
    return {
      client: this.op.request.client,
      tid: this.op.request.tid,
      pgId: this.op.pgId,
      object: formatObjectId(this.op.object),
      steps: this.op.ops.map((step) => step.kind),
      ageMs: rounded(nowMs - this.startMs),
      events,
    }
  }
}

export interface TrackedOpSummary {
  readonly client: number
  readonly tid: number
  readonly pgId: string
  readonly object: string
  readonly steps: readonly string[]
  /** Since arrival; of a finished operation, until its reply. */
  readonly ageMs: number
  /** Times since arrival. */
  readonly events: readonly { readonly stage: string; readonly atMs: number }[]
}

function rounded(ms: number): number {
  return Math.round(ms * 1000) / 1000
}

/** Above which time an operation is slow, and how many slow ones are kept. Read at use. */
export type OpTrackerSettings = Pick<OsdSettings, 'osd_op_complaint_time' | 'osd_op_history_size'>

export class OpTracker {
  private readonly inFlight = new Set<TrackedOp>()
  private readonly slow: TrackedOpSummary[] = []
  private readonly settings: OpTrackerSettings
  /** Finished operations that were slow, since the start. */
  slowOps = 0

  constructor(settings: OpTrackerSettings) {
    this.settings = settings
  }

  private get complaintMs(): number {
    return this.settings.osd_op_complaint_time * 1000
  }

  get size(): number {
    return this.inFlight.size
  }

  begin(op: TrackedOp): void {
    this.inFlight.add(op)
  }

  finish(op: TrackedOp, nowMs: number): void {
    this.inFlight.delete(op)
    if (nowMs - op.startMs < this.complaintMs) return
    this.slowOps++
    op.mark('replied', nowMs)
    this.slow.push(op.describe(nowMs))
    while (this.slow.length > this.settings.osd_op_history_size) this.slow.shift()
  }

  /** Dropped without a reply: its client is gone. */
  drop(op: TrackedOp): void {
    this.inFlight.delete(op)
  }

  /** In flight for longer than the complaint time, for health. */
  slowInFlight(nowMs: number): number {
    let count = 0
    const { complaintMs } = this
    for (const op of this.inFlight) if (nowMs - op.startMs >= complaintMs) count++
    return count
  }

  /** Oldest first. */
  summary(nowMs: number): {
    readonly inFlight: readonly TrackedOpSummary[]
    readonly slow: readonly TrackedOpSummary[]
  } {
    return { inFlight: [...this.inFlight].map((op) => op.describe(nowMs)), slow: [...this.slow] }
  }
}
