/**
 * One simulation as plain data: who is there, how everything is set, who does what, and what goes wrong when. A scenario
 * that fails is shrunk by leaving parts of it out; the rest stays as it was drawn.
 */
import type { MonitorSettings } from '@shoal/monitor'
import type { MountOptions } from '@shoal/object-store'
import type { OsdSettings } from '@shoal/osd'

export interface Range {
  readonly min: number
  readonly max: number
}

export interface OsdPlace {
  readonly id: number
  readonly host: string
  readonly rack: string
  /** Its store is encrypted. Left out: it is not. */
  readonly encrypted?: boolean
}

export interface PoolPlan {
  readonly name: string
  readonly pgNum: number
  readonly size: number
  readonly minSize: number
  /** Pool settings `compression_*`. Left out: none. */
  readonly compression?: Readonly<Record<string, string>>
  /** Left out: replicated. */
  readonly erasure?: { readonly k: number; readonly m: number; readonly stripeUnit: string }
}

export interface WorkloadPlan {
  readonly workload: string
  readonly pool: string
  readonly clients: number
}

export interface FaultEvent {
  readonly atMs: number
  readonly kind: string
  /** Undone after this; without it, when the faults end. */
  readonly durationMs?: number
  readonly params: Readonly<Record<string, unknown>>
}

type FaultMode = 'within' | 'beyond'

export interface Scenario {
  readonly version: 1
  readonly seed: number
  readonly name: string
  /** Whether the faults stay within what the cluster promises to survive. */
  readonly mode: FaultMode
  /** For how long faults and load go on, once the cluster is up. */
  readonly durationMs: number
  readonly monitors: number
  readonly osds: readonly OsdPlace[]
  readonly failureDomain: 'osd' | 'host' | 'rack'
  readonly pools: readonly PoolPlan[]
  readonly workloads: readonly WorkloadPlan[]
  /** Clients pause so many times as long as their workload would. */
  readonly pauseFactor: number
  /** Clients begin operations only in the first `busyMs` of every `everyMs`. Left out: always. */
  readonly rest?: { readonly everyMs: number; readonly busyMs: number }
  readonly network: { readonly delayMs: Range; readonly chunkBytesMax: number }
  readonly ioDelayMs: Range
  readonly store: { readonly sizeBytes: number; readonly journalBytes: number; readonly mount: MountOptions }
  readonly osdSettings: Partial<OsdSettings>
  readonly monitorSettings: Partial<MonitorSettings>
  readonly faults: readonly FaultEvent[]
}

/** How many parts of the cluster may each hold one copy. */
export function domainsOf({ osds, failureDomain }: Pick<Scenario, 'osds' | 'failureDomain'>): number {
  return new Set(osds.map((osd) => (failureDomain === 'osd' ? osd.id : osd[failureDomain]))).size
}
