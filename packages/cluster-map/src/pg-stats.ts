/** What primaries and OSDs report about themselves; the monitors keep the latest in memory and never in consensus. */
import type { Epoch, OsdId, PgId, PoolId } from '@shoal/base'
import type { SnapIntervals } from './snap-intervals.ts'

/** Ceph's words for the states of a placement group; a PG shows several at once, joined by `+`. */
export const pgStates = [
  'creating',
  'active',
  'clean',
  'down',
  'peering',
  'peered',
  'incomplete',
  'recovering',
  'recovery_wait',
  'backfilling',
  'backfill_wait',
  'backfill_toofull',
  'degraded',
  'undersized',
  'remapped',
  'stale',
  'laggy',
  'wait',
  'unknown',
  'recovery_toofull',
  'forced_recovery',
  'forced_backfill',
  'snaptrim',
  'snaptrim_wait',
  'scrubbing',
  'deep',
  'inconsistent',
  'repair',
  'premerge',
] as const
export type PgState = (typeof pgStates)[number]

export interface PgStats {
  readonly pgId: PgId
  readonly states: readonly PgState[]
  readonly reportedEpoch: Epoch
  /** Grows with each report of one primary in one epoch, so that a late report does not replace a newer one. */
  readonly reportedSequence: number
  readonly version: string
  readonly up: readonly OsdId[]
  readonly acting: readonly OsdId[]
  readonly actingPrimary: OsdId
  readonly objects: number
  readonly bytes: number
  readonly logEntries: number
  /** Copies that exist fewer times than they should: sum over objects. */
  readonly degradedCopies: number
  readonly misplacedCopies: number
  readonly unfoundObjects: number
  readonly lastEpochClean: Epoch
  readonly readOps: number
  readonly writeOps: number
  readonly readBytes: number
  readonly writeBytes: number
  readonly recoveredObjects: number
  readonly recoveredBytes: number
  /** Removed snapshots of which the placement group has nothing left, and whose removal the map shows still. */
  readonly purgedSnaps?: SnapIntervals | undefined
  /** Milliseconds of the wall clock; 0 until the PG was clean once. */
  readonly lastScrubMs: number
  readonly lastDeepScrubMs: number
  /** Of all shards that scrub found inconsistent. */
  readonly scrubErrors: number
}

export interface OsdStats {
  readonly osd: OsdId
  readonly totalBytes: number
  readonly usedBytes: number
  readonly metadataBytes: number
  readonly pgs: number
  readonly commitLatencyMs: number
  readonly applyLatencyMs: number
  readonly slowOps: number
  /** Peers whose last heartbeat reply is overdue. */
  readonly silentPeers: readonly OsdId[]
  /** Checksum failures found and mended since the daemon started. */
  readonly checksumErrors: number
  readonly repairedBlocks: number
  /** Of the pools that have something compressed here. */
  readonly compression?: readonly PoolCompressionStats[]
}

export interface PoolCompressionStats {
  readonly pool: PoolId
  /** Before, after, and what the store took for it. */
  readonly originalBytes: number
  readonly compressedBytes: number
  readonly allocatedBytes: number
  /** Blobs made since the daemon started. */
  readonly operations: number
}
