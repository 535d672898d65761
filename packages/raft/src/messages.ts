/** What raft nodes say to each other, and its encoding. Names follow the paper; byte table: docs/formats/raft-log.md. */
import {
  array,
  boolean,
  bytes,
  ClusterError,
  type Codec,
  decode,
  encode,
  oneOf,
  struct,
  u8,
  u64,
  versioned,
} from '@shoal/base'
import { isMembership } from './membership.ts'

/** A node's id: drawn once for each store, never used again, at most 2^53 - 1. 0 is nobody. */
export type NodeId = number

export interface Membership {
  /** Sorted. */
  readonly voters: readonly NodeId[]
  /** Receive the log but do not vote: newcomers that catch up. Sorted. */
  readonly learners: readonly NodeId[]
}

/** `empty`: the entry a new leader commits first. `membership`: its data is an encoded {@link Membership}. */
export const entryKinds = ['empty', 'command', 'membership'] as const

export interface Entry {
  readonly index: number
  readonly term: number
  readonly kind: (typeof entryKinds)[number]
  readonly data: Uint8Array
}

export interface Snapshot {
  /** Of the last entry it covers. */
  readonly index: number
  readonly term: number
  readonly membership: Membership
  readonly data: Uint8Array
}

interface Addressed {
  readonly from: NodeId
  readonly to: NodeId
  readonly term: number
}

export type RaftMessage = Addressed &
  (
    | { readonly type: 'pre-vote'; readonly lastIndex: number; readonly lastTerm: number }
    | { readonly type: 'pre-vote-reply'; readonly granted: boolean }
    | { readonly type: 'vote'; readonly lastIndex: number; readonly lastTerm: number; readonly transfer: boolean }
    | { readonly type: 'vote-reply'; readonly granted: boolean }
    | {
        readonly type: 'append'
        readonly previousIndex: number
        readonly previousTerm: number
        readonly entries: readonly Entry[]
        readonly commit: number
      }
    /** `index`: on success the last entry that matches, on rejection where the leader should try next. */
    | { readonly type: 'append-reply'; readonly index: number; readonly rejected: boolean }
    | { readonly type: 'heartbeat'; readonly commit: number; readonly context: number }
    | { readonly type: 'heartbeat-reply'; readonly context: number }
    | { readonly type: 'snapshot'; readonly snapshot: Snapshot }
    | { readonly type: 'timeout-now' }
  )

/** A message without its envelope. */
export type MessageBody = RaftMessage extends infer T
  ? T extends RaftMessage
    ? Omit<T, keyof Addressed>
    : never
  : never

type MessageType = RaftMessage['type']

const idsCodec = array(u64())
export const membershipCodec: Codec<Membership> = struct<Membership>({ voters: idsCodec, learners: idsCodec })
export const entryCodec: Codec<Entry> = struct<Entry>({
  index: u64(),
  term: u64(),
  kind: oneOf(entryKinds),
  data: bytes(),
})
export const snapshotCodec: Codec<Snapshot> = struct<Snapshot>({
  index: u64(),
  term: u64(),
  membership: membershipCodec,
  data: bytes(),
})

type Body<T extends MessageType> = Omit<Extract<RaftMessage, { type: T }>, keyof Addressed | 'type'>

const bodies: { readonly [T in MessageType]: readonly [tag: number, codec: Codec<Body<T>>] } = {
  'pre-vote': [1, struct({ lastIndex: u64(), lastTerm: u64() })],
  'pre-vote-reply': [2, struct({ granted: boolean() })],
  vote: [3, struct({ lastIndex: u64(), lastTerm: u64(), transfer: boolean() })],
  'vote-reply': [4, struct({ granted: boolean() })],
  append: [5, struct({ previousIndex: u64(), previousTerm: u64(), entries: array(entryCodec), commit: u64() })],
  'append-reply': [6, struct({ index: u64(), rejected: boolean() })],
  heartbeat: [7, struct({ commit: u64(), context: u64() })],
  'heartbeat-reply': [8, struct({ context: u64() })],
  snapshot: [9, struct({ snapshot: snapshotCodec })],
  'timeout-now': [10, struct({})],
}

const typeByTag = new Map(Object.entries(bodies).map(([type, [tag]]) => [tag, type as MessageType]))
const addressedCodec: Codec<Addressed> = struct<Addressed>({ from: u64(), to: u64(), term: u64() })

const messageCodec: Codec<RaftMessage> = versioned<RaftMessage>(1, 1, 'raft message', {
  write(writer, message) {
    const [tag, body] = bodies[message.type]
    writer.u8(tag)
    addressedCodec.write(writer, message)
    ;(body as Codec<object>).write(writer, message)
  },
  read(reader) {
    const tag = u8().read(reader)
    const type = typeByTag.get(tag)
    if (type === undefined) throw new ClusterError('EBADMSG', `unknown raft message ${tag}`)
    const addressed = addressedCodec.read(reader)
    return { type, ...addressed, ...(bodies[type][1] as Codec<object>).read(reader) } as RaftMessage
  },
})

export function encodeRaftMessage(message: RaftMessage): Uint8Array {
  return encode(messageCodec, message)
}

/** Throws EBADMSG (EPROTO for a version too new), also for what no node would say: entries out of order, terms from the future, malformed memberships. */
export function decodeRaftMessage(encoded: Uint8Array): RaftMessage {
  const message = decode(messageCodec, encoded)
  const valid =
    message.from !== 0 &&
    message.from !== message.to &&
    (message.type !== 'append' || isPlausibleAppend(message)) &&
    (message.type !== 'snapshot' || isPlausibleSnapshot(message.snapshot, message.term))
  if (!valid) throw new ClusterError('EBADMSG', `raft message '${message.type}' contradicts itself`)
  return message
}

function isPlausibleAppend(message: RaftMessage & { readonly type: 'append' }): boolean {
  let { previousIndex: index, previousTerm: term } = message
  for (const entry of message.entries) {
    if (entry.index !== index + 1 || entry.term < term || entry.term > message.term) return false
    if (entry.kind === 'membership' && !isMembership(decode(membershipCodec, entry.data))) return false
    index = entry.index
    term = entry.term
  }
  return true
}

function isPlausibleSnapshot(snapshot: Snapshot, term: number): boolean {
  return snapshot.index > 0 && snapshot.term <= term && isMembership(snapshot.membership)
}

/** What must survive a crash besides the log: Figure 2's persistent state, and how far the log is known to be committed. */
export interface HardState {
  readonly term: number
  readonly votedFor: NodeId
  readonly commit: number
}

export const hardStateCodec: Codec<HardState> = struct<HardState>({ term: u64(), votedFor: u64(), commit: u64() })
