/**
 * The way of a client operation to its placement group: wait for its turn at the disk and for the client's map, refuse what
 * is unsound, send away what is not ours to do.
 */
import { type Epoch, errorTable, type OsdId } from '@shoal/base'
import type { OsdMap } from '@shoal/cluster-map'
import { type ClientOp, type ClientOpReply, zeroVersion } from '@shoal/wire'
import { checkClientOp, type Refusal } from './op-check.ts'
import type { OpScheduler } from './op-scheduler.ts'
import type { PerfCounters } from './perf-counters.ts'
import { mappingIfPresent } from './pg-mapping.ts'
import type { PgTable } from './pg-table.ts'

export interface ClientDispatcherOptions {
  readonly whoami: OsdId
  readonly table: PgTable
  readonly counters: PerfCounters
  readonly scheduler: OpScheduler
  /** False: nobody waits here for its answer any more. */
  readonly isTracked: (session: number, op: ClientOp) => boolean
  readonly reply: (session: number, reply: ClientOpReply) => void
}

/** Whoever asks for all of an object, of whatever size, is not taken at his word. */
const bytesReadMax = 4 * 1024 * 1024

interface Waiting {
  readonly session: number
  readonly op: ClientOp
}

export class ClientDispatcher {
  private readonly options: ClientDispatcherOptions
  /** Operations of clients that have a newer map. As many as the throttle of clients lets in. */
  private waiting: Waiting[] = []

  constructor(options: ClientDispatcherOptions) {
    this.options = options
  }

  get waitingForMap(): number {
    return this.waiting.length
  }

  /** `payloadBytes`: that came with it. */
  onOp(session: number, op: ClientOp, payloadBytes: number): void {
    const { scheduler, isTracked } = this.options
    const bytes = payloadBytes + bytesRead(op)
    if (scheduler.admitsClient(bytes)) return this.onTurn(session, op)
    // A watch of a session that has ended meanwhile would stay; what was dropped with its interval is sent again.
    scheduler.hold(bytes, () => {
      if (isTracked(session, op)) this.onTurn(session, op)
    })
  }

  private onTurn(session: number, op: ClientOp): void {
    const map = this.options.table.placement?.map
    if (map === undefined || op.epoch > map.epoch) this.waiting.push({ session, op })
    else this.dispatch(session, op, map)
  }

  onMap(): void {
    if (this.waiting.length === 0) return
    const waiting = this.waiting
    this.waiting = []
    for (const { session, op } of waiting) this.onTurn(session, op)
  }

  onSessionClosed(session: number): void {
    if (this.waiting.length > 0) this.waiting = this.waiting.filter((waiting) => waiting.session !== session)
  }

  private dispatch(session: number, op: ClientOp, map: OsdMap): void {
    const { table, whoami, counters } = this.options
    const refusal = checkClientOp(op, map)
    if (refusal !== undefined) {
      counters.add('opsRefused')
      this.refuse(session, op, map.epoch, refusal)
      return
    }
    const placement = table.placement
    const mapping = placement === undefined ? undefined : mappingIfPresent(placement, op.pgId)
    const host = table.find(op.pgId)
    if (host === undefined || mapping?.actingPrimary !== whoami) {
      counters.add('opsMisdirected')
      const detail = `osd.${whoami} is not the primary of ${op.pgId} in epoch ${map.epoch}`
      this.refuse(session, op, map.epoch, { code: 'ESTALE', detail })
      return
    }
    host.feed({ kind: 'client-op', session, op })
  }

  private refuse(session: number, op: ClientOp, epoch: Epoch, { code, detail }: Refusal): void {
    const { request, pgId, attempt } = op
    const errno = errorTable[code].errno
    const reply = { request, pgId, epoch, errno, detail, results: [], version: zeroVersion, attempt }
    this.options.reply(session, { type: 'client-op-reply', ...reply })
  }
}

/** At most: an object may end before. */
function bytesRead({ ops }: ClientOp): number {
  let bytes = 0
  for (const step of ops) if (step.kind === 'read' || step.kind === 'sparse-read') bytes += step.length
  return Math.min(bytes, bytesReadMax)
}
