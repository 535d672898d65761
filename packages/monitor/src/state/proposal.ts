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
import { type Operations, type OperationsChange, operationsChangeCodec, operationsCodec } from './operations.ts'
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
  /** Applies to the version before its own only. */
  readonly operations: OperationsChange | undefined
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

interface Parts<Extra, Value> {
  readonly operations: Extra | undefined
  readonly configKeys: ReadonlyMap<string, Value>
}

/**
 * Version 1 with neither the operators' part nor pieces, version 2 with the operators' part, version 3 with pieces behind
 * it; each for readers of that version only: a monitor of an earlier one must not skip what the others apply. Of a part
 * that is not used nothing is written.
 */
function withParts<Base extends object, Extra, Value extends string | undefined>(
  what: string,
  base: Codec<Base>,
  extra: Codec<Extra>,
  keys: Codec<ReadonlyMap<string, Value>>,
): Codec<Base & Parts<Extra, Value>> {
  type Whole = Base & Parts<Extra, Value>
  const optionalExtra = optional(extra)
  const readOperations = (reader: ByteReader, version: number): Extra | undefined => {
    if (version < 2) return undefined
    return version === 2 ? extra.read(reader) : optionalExtra.read(reader)
  }
  const read = (reader: ByteReader, version: number): Whole => {
    const value = base.read(reader)
    const operations = readOperations(reader, version)
    const piece = version < 3 ? undefined : readPieces(reader, [configKeysTag]).get(configKeysTag)
    return { ...value, operations, configKeys: piece === undefined ? new Map() : decode(keys, piece) }
  }
  const plain = versioned<Whole>(1, 1, what, { write: (writer, value) => base.write(writer, value), read })
  const operated = versioned<Whole>(2, 2, what, {
    write(writer, value) {
      base.write(writer, value)
      if (value.operations !== undefined) extra.write(writer, value.operations)
    },
    read,
  })
  const tagged = versioned<Whole>(3, 3, what, {
    write(writer, value) {
      base.write(writer, value)
      optionalExtra.write(writer, value.operations)
      writePiece(writer, configKeysTag, encode(keys, value.configKeys))
    },
    read,
  })
  const choose = (value: Whole): Codec<Whole> => {
    if (value.configKeys.size > 0) return tagged
    return value.operations === undefined ? plain : operated
  }
  return { write: (writer, value) => choose(value).write(writer, value), read: (reader) => tagged.read(reader) }
}

export const proposalCodec: Codec<Proposal> = withParts(
  'proposal',
  struct<Omit<Proposal, 'operations' | 'configKeys'>>({
    osdMap: optional(osdMapIncrementalCodec),
    monitorMap: optional(monitorMapCodec),
    log: array(logEntryCodec),
    replies: array(recordedReplyCodec),
    trimOsdMapsBefore: u32<Epoch>(),
    logMax: u32(),
  }),
  operationsChangeCodec,
  configKeyChangesCodec,
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
  readonly configKeys: ReadonlyMap<string, string>
}

export const stateSnapshotCodec: Codec<StateSnapshot> = withParts(
  'monitor state',
  struct<Omit<StateSnapshot, 'operations' | 'configKeys'>>({
    monitorMap: monitorMapCodec,
    firstOsdMap: bytes(),
    incrementals: array(bytes()),
    log: array(logEntryCodec),
    replies: array(recordedReplyCodec),
  }),
  operationsCodec,
  configKeysCodec,
)
