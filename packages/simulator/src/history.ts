/**
 * What clients did and saw, as the checkers read it; and what a workload is.
 *
 * An operation that was never answered has no end: it may take effect at any time after its start, or never. The same
 * holds for an outcome `unknown`, whenever it was told. `failed` is certain: nothing of it was applied.
 */
import type { Prng } from '@shoal/base'
import type { ClusterClient, PoolHandle } from '@shoal/client'
import type { CommandReply, MonitorCommand } from '@shoal/monitor-client'
import type { OmapEntry } from '@shoal/wire'

export interface HistoryCall {
  readonly kind: string
  readonly [field: string]: unknown
}

export type HistoryOutcome =
  | { readonly kind: 'ok'; readonly value: unknown }
  /** Surely not applied. */
  | { readonly kind: 'failed'; readonly code: string }
  | { readonly kind: 'unknown' }

/** One operation of a client as a checker sees it: virtual times in ms; `end` undefined = never answered. */
export interface HistoryEvent {
  readonly process: number
  readonly object: string
  readonly invoke: HistoryCall
  readonly startMs: number
  endMs: number | undefined
  outcome: HistoryOutcome | undefined
  /** Order of this start among all starts and ends: virtual time stands still while one client ends and begins. */
  readonly startOrder?: number
  endOrder?: number
}

export class History {
  readonly events: HistoryEvent[] = []
  private order = 0

  begin(process: number, object: string, invoke: HistoryCall, nowMs: number): HistoryEvent {
    const event: HistoryEvent = {
      process,
      object,
      invoke,
      startMs: nowMs,
      endMs: undefined,
      outcome: undefined,
      startOrder: this.order++,
    }
    this.events.push(event)
    return event
  }

  end(event: HistoryEvent, outcome: HistoryOutcome, nowMs: number): void {
    event.endMs = nowMs
    event.outcome = outcome
    event.endOrder = this.order++
  }

  /** In order of their starts. */
  byObject(): ReadonlyMap<string, readonly HistoryEvent[]> {
    const found = new Map<string, HistoryEvent[]>()
    for (const event of this.events) {
      const events = found.get(event.object)
      if (events === undefined) found.set(event.object, [event])
      else events.push(event)
    }
    return found
  }
}

/** What a workload gets: a connected client on a simulated machine of its own, randomness and time of the world, and where to write what it saw. */
export interface WorkloadContext {
  readonly client: ClusterClient
  readonly pool: PoolHandle
  readonly random: Prng
  readonly nowMs: () => number
  readonly sleep: (ms: number) => Promise<void>
  readonly stopped: () => boolean
  readonly process: number
  readonly history: History
  /** An operator's command to the monitors, done once this client knows the map it made. Workloads that need it do nothing without. */
  readonly command?: (command: MonitorCommand) => Promise<CommandReply>
}

export interface Workload {
  readonly name: string
  /** One client's life, until `stopped`. Several may run at once; a client that crashed may run again as the same process. */
  run(context: WorkloadContext): Promise<void>
  check(history: History, final: FinalReader): Promise<readonly Violation[]>
}

/** An object with everything that belongs to it, without what the cluster keeps for itself. */
export interface FinalObject {
  readonly data: Uint8Array
  readonly xattrs: ReadonlyMap<string, Uint8Array>
  readonly omapHeader: Uint8Array
  readonly omap: readonly OmapEntry[]
  /** As `stat` tells it. */
  readonly version: number
}

/** One OSD's copy of one placement group, read from its store. */
export interface ReplicaCopy {
  readonly pgId: string
  readonly osd: number
  /** In an erasure-coded pool. */
  readonly shard?: number
  /** By a key that is the same on every OSD; attributes of the cluster's own included. */
  readonly objects: ReadonlyMap<string, StoredCopy>
  /** Keys that are left out of all copies of the group, because one cannot be read and its disk is known to rot. */
  readonly unreadable?: ReadonlySet<string>
}

export interface StoredCopy {
  readonly data: Uint8Array
  readonly xattrs: ReadonlyMap<string, Uint8Array>
  readonly omapHeader: Uint8Array
  readonly omap: readonly OmapEntry[]
}

/** After all faults stopped and the cluster is clean: reads everything back. */
export interface FinalReader {
  /** Undefined when there is no such object, or was none at the snapshot. */
  read(pool: string, object: string, snap?: number): Promise<FinalObject | undefined>
  /** Names of all objects of the pool; undefined when there is no such pool. */
  list(pool: string): Promise<readonly string[] | undefined>
  /** Each OSD's stored copy of each placement group of the pool, for byte equality. */
  replicas(pool: string): Promise<readonly ReplicaCopy[]>
}

export interface Violation {
  readonly checker: string
  readonly object?: string
  readonly message: string
  readonly details?: unknown
  /** The checker gave up before it knew: neither a success nor a proof of a fault. */
  readonly undecided?: true
}
