/**
 * What goes through consensus. The leader decides and stamps; every monitor applies the same bytes to the same state.
 *
 * A proposal names the epochs it was made for. One that was overtaken (another leader's came first) is skipped whole by
 * everybody, and its proposer decides again. So applying needs no rules of its own, and monitors of different versions
 * cannot disagree about them.
 */
import {
  array,
  bytes,
  type Codec,
  decode,
  type Epoch,
  encode,
  f64,
  map,
  oneOf,
  optional,
  string,
  struct,
  u32,
  versioned,
} from '@shoal/base'
import { type MonitorMap, monitorMapCodec, type OsdMapIncremental, osdMapIncrementalCodec } from '@shoal/cluster-map'
import type { ClusterLogEntry } from '@shoal/monitor-client'
import { readPieces, writePiece } from './tagged-tail.ts'

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
  /** New values of config keys; undefined takes one away. */
  readonly configKeys: ReadonlyMap<string, string | undefined>
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

const configKeysTag = 0x6b
const configKeyChangesCodec = map(string(), optional(string()))
const configKeysCodec = map(string(), string())

/**
 * A record whose pieces are written only when there is something in them. Version 1 has none; a monitor that knows only
 * that must not skip them, so that version 2 needs a reader of version 2.
 */
function withConfigKeys<T extends { readonly configKeys: ReadonlyMap<string, string | undefined> }, V>(
  what: string,
  fixed: Codec<Omit<T, 'configKeys'>>,
  keysCodec: Codec<ReadonlyMap<string, V>>,
): Codec<T> {
  const plain = versioned<T>(1, 1, what, fixed as Codec<T>)
  const tagged = versioned<T>(2, 2, what, {
    write(writer, value) {
      fixed.write(writer, value)
      writePiece(writer, configKeysTag, encode(keysCodec, value.configKeys as ReadonlyMap<string, V>))
    },
    read(reader, version) {
      const value = fixed.read(reader)
      const piece = version < 2 ? undefined : readPieces(reader, [configKeysTag]).get(configKeysTag)
      return { ...value, configKeys: piece === undefined ? new Map() : decode(keysCodec, piece) } as unknown as T
    },
  })
  return {
    write: (writer, value) => (value.configKeys.size === 0 ? plain : tagged).write(writer, value),
    read: (reader) => tagged.read(reader),
  }
}

export const proposalCodec: Codec<Proposal> = withConfigKeys<Proposal, string | undefined>(
  'proposal',
  struct<Omit<Proposal, 'configKeys'>>({
    osdMap: optional(osdMapIncrementalCodec),
    monitorMap: optional(monitorMapCodec),
    log: array(logEntryCodec),
    replies: array(recordedReplyCodec),
    trimOsdMapsBefore: u32<Epoch>(),
    logMax: u32(),
  }),
  configKeyChangesCodec,
)

/** The whole replicated state as bytes. */
export interface StateSnapshot {
  readonly monitorMap: MonitorMap
  readonly firstOsdMap: Uint8Array
  readonly incrementals: readonly Uint8Array[]
  readonly log: readonly ClusterLogEntry[]
  readonly replies: readonly RecordedReply[]
  readonly configKeys: ReadonlyMap<string, string>
}

export const stateSnapshotCodec: Codec<StateSnapshot> = withConfigKeys<StateSnapshot, string>(
  'monitor state',
  struct<Omit<StateSnapshot, 'configKeys'>>({
    monitorMap: monitorMapCodec,
    firstOsdMap: bytes(),
    incrementals: array(bytes()),
    log: array(logEntryCodec),
    replies: array(recordedReplyCodec),
  }),
  configKeysCodec,
)
