/** What primaries and OSDs report about themselves; the monitors keep the latest in memory and never in consensus. */
import type { Epoch, OsdId, PgId } from '@shoal/base'

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
}
