/**
 * What goes through consensus. The leader decides and stamps; every monitor applies the same bytes to the same state.
 *
 * A proposal names the epochs it was made for. One that was overtaken (another leader's came first) is skipped whole by
 * everybody, and its proposer decides again. So applying needs no rules of its own, and monitors of different versions
 * cannot disagree about them.
 */
import { array, bytes, type Codec, type Epoch, f64, oneOf, optional, string, struct, u32, versioned } from '@shoal/base'
import { type MonitorMap, monitorMapCodec, type OsdMapIncremental, osdMapIncrementalCodec } from '@shoal/cluster-map'
import type { ClusterLogEntry } from '@shoal/monitor-client'

/** The answer to a command, kept so that a retry is answered and not carried out again. */
export interface RecordedReply {
  readonly requestId: string
  readonly status: string
  /** Empty for none. */
  readonly dataJson: string
}

export interface Proposal {
  /** Applies to the OSD map of the epoch before its own only. */
  readonly osdMap: OsdMapIncremental | undefined
  /** Replaces the monitor map of the epoch before its own only. */
  readonly monitorMap: MonitorMap | undefined
  readonly log: readonly ClusterLogEntry[]
  readonly replies: readonly RecordedReply[]
  /** Forget OSD maps older than this; 0 for no change. */
  readonly trimOsdMapsBefore: Epoch
  /** How many log entries to keep. */
  readonly logMax: number
}

const logEntryCodec: Codec<ClusterLogEntry> = struct<ClusterLogEntry>({
  from: string(),
  wallMs: f64(),
  level: oneOf(['debug', 'info', 'warn', 'error']),
  message: string(),
})

const recordedReplyCodec: Codec<RecordedReply> = struct<RecordedReply>({
  requestId: string(),
  status: string(),
  dataJson: string(),
})

export const proposalCodec: Codec<Proposal> = versioned(
  1,
  1,
  'proposal',
  struct<Proposal>({
    osdMap: optional(osdMapIncrementalCodec),
    monitorMap: optional(monitorMapCodec),
    log: array(logEntryCodec),
    replies: array(recordedReplyCodec),
    trimOsdMapsBefore: u32<Epoch>(),
    logMax: u32(),
  }),
)

/** The whole replicated state as bytes. */
export interface StateSnapshot {
  readonly monitorMap: MonitorMap
  readonly firstOsdMap: Uint8Array
  readonly incrementals: readonly Uint8Array[]
  readonly log: readonly ClusterLogEntry[]
  readonly replies: readonly RecordedReply[]
}

export const stateSnapshotCodec: Codec<StateSnapshot> = versioned(
  1,
  1,
  'monitor state',
  struct<StateSnapshot>({
    monitorMap: monitorMapCodec,
    firstOsdMap: bytes(),
    incrementals: array(bytes()),
    log: array(logEntryCodec),
    replies: array(recordedReplyCodec),
  }),
)
