/**
 * What goes through consensus. The leader decides and stamps; every monitor applies the same bytes to the same state.
 *
 * A proposal names the epochs it was made for. One that was overtaken (another leader's came first) is skipped whole by
 * everybody, and its proposer decides again. So applying needs no rules of its own, and monitors of different versions
 * cannot disagree about them.
 */
import {
  array,
  type ByteReader,
  type ByteWriter,
  bytes,
  type Codec,
  type Epoch,
  f64,
  oneOf,
  optional,
  string,
  struct,
  u32,
  versioned,
} from '@shoal/base'
import { type MonitorMap, monitorMapCodec, type OsdMapIncremental, osdMapIncrementalCodec } from '@shoal/cluster-map'
import type { ClusterLogEntry } from '@shoal/monitor-client'
import { type Operations, type OperationsChange, operationsChangeCodec, operationsCodec } from './operations.ts'

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
  /** Applies to the version before its own only. */
  readonly operations: OperationsChange | undefined
}

/**
 * Version 1 without the operators' part, version 2 with it and for readers of version 2 only: a monitor of an earlier
 * version must not skip what the others apply. Where the part is not used, nothing of it is written.
 */
function withOperations<Base extends object, Extra>(
  what: string,
  base: Codec<Base>,
  extra: Codec<Extra>,
): Codec<Base & { readonly operations: Extra | undefined }> {
  type Whole = Base & { readonly operations: Extra | undefined }
  const read = (reader: ByteReader, version: number): Whole => {
    const value = base.read(reader)
    return { ...value, operations: version < 2 ? undefined : extra.read(reader) }
  }
  const plain = versioned<Whole>(1, 1, what, { write: (writer, value) => base.write(writer, value), read })
  const extended = versioned<Whole>(2, 2, what, {
    write(writer: ByteWriter, value: Whole) {
      base.write(writer, value)
      if (value.operations !== undefined) extra.write(writer, value.operations)
    },
    read,
  })
  return {
    write: (writer, value) => (value.operations === undefined ? plain : extended).write(writer, value),
    read: (reader) => extended.read(reader),
  }
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

export const proposalCodec: Codec<Proposal> = withOperations(
  'proposal',
  struct<Omit<Proposal, 'operations'>>({
    osdMap: optional(osdMapIncrementalCodec),
    monitorMap: optional(monitorMapCodec),
    log: array(logEntryCodec),
    replies: array(recordedReplyCodec),
    trimOsdMapsBefore: u32<Epoch>(),
    logMax: u32(),
  }),
  operationsChangeCodec,
)

/** The whole replicated state as bytes. */
export interface StateSnapshot {
  readonly monitorMap: MonitorMap
  readonly firstOsdMap: Uint8Array
  readonly incrementals: readonly Uint8Array[]
  readonly log: readonly ClusterLogEntry[]
  readonly replies: readonly RecordedReply[]
  /** Undefined where nothing of it was ever used. */
  readonly operations: Operations | undefined
}

export const stateSnapshotCodec: Codec<StateSnapshot> = withOperations(
  'monitor state',
  struct<Omit<StateSnapshot, 'operations'>>({
    monitorMap: monitorMapCodec,
    firstOsdMap: bytes(),
    incrementals: array(bytes()),
    log: array(logEntryCodec),
    replies: array(recordedReplyCodec),
  }),
  operationsCodec,
)
