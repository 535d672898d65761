/** One raft node whose peers the test plays: its state is given, its messages are read, theirs are spoken by hand. */
import { encode, Prng, utf8Encode } from '@shoal/base'
import {
  type Entry,
  type Membership,
  type MessageBody,
  membershipCodec,
  type NodeId,
  type RaftMessage,
  RaftNode,
  type Ready,
  type Snapshot,
} from '../../src/index.ts'

export const electionTicks = 10
const heartbeatTicks = 3

export interface Given {
  readonly id?: NodeId
  readonly term?: number
  readonly votedFor?: NodeId
  readonly commit?: number
  /** Of the entries behind the snapshot, or from index 1 on. */
  readonly terms?: readonly number[]
  readonly voters?: readonly NodeId[]
  readonly learners?: readonly NodeId[]
  readonly snapshot?: { readonly index: number; readonly term: number }
  readonly seed?: number
}

export function entry(index: number, term: number, text = `${index}/${term}`): Entry {
  return { index, term, kind: 'command', data: utf8Encode(text) }
}

export function membershipEntry(index: number, term: number, membership: Membership): Entry {
  return { index, term, kind: 'membership', data: encode(membershipCodec, membership) }
}

export class LoneNode {
  readonly node: RaftNode
  /** Everything it made durable. */
  readonly stored: Entry[]
  readonly applied: string[] = []
  readonly reads: number[] = []

  constructor(given: Given = {}) {
    const { id = 1, terms = [], voters = [1, 2, 3], learners = [] } = given
    const membership = { voters, learners }
    const snapshot: Snapshot | undefined =
      given.snapshot === undefined ? undefined : { ...given.snapshot, membership, data: utf8Encode('state') }
    const first = (snapshot?.index ?? 0) + 1
    const entries = terms.map((term, i) => entry(first + i, term))
    this.stored = [...entries]
    this.node = new RaftNode({
      id,
      random: new Prng(given.seed ?? 1),
      electionTicks,
      heartbeatTicks,
      hardState: {
        term: given.term ?? terms.at(-1) ?? snapshot?.term ?? 0,
        votedFor: given.votedFor ?? 0,
        commit: given.commit ?? snapshot?.index ?? 0,
      },
      snapshot,
      entries,
      initialMembership: membership,
    })
  }

  /** Index and term of each stored entry. */
  get log(): string {
    return this.stored.map(({ index, term }) => `${index}/${term}`).join(' ')
  }

  tick(times: number): this {
    for (let i = 0; i < times; i++) this.node.tick()
    return this
  }

  hear(from: NodeId, term: number, body: MessageBody): this {
    this.node.step({ from, to: this.node.id, term, ...body })
    return this
  }

  /** Persists, sends and applies until nothing is left; returns what was sent. */
  settle(): readonly RaftMessage[] {
    const sent: RaftMessage[] = []
    while (this.node.hasReady()) sent.push(...this.take().messages)
    return sent
  }

  take(): Ready {
    const ready = this.node.ready()
    this.finish(ready)
    return ready
  }

  finish(ready: Ready): void {
    if (ready.snapshot !== undefined) this.stored.length = 0
    const first = ready.entries[0]?.index
    if (first !== undefined) {
      this.stored.splice(0, this.stored.length, ...this.stored.filter((one) => one.index < first), ...ready.entries)
    }
    for (const { index, term } of ready.committed) this.applied.push(`${index}/${term}`)
    for (const { index } of ready.reads) this.reads.push(index)
    this.node.advance()
  }

  /** What it says in return. */
  answer(from: NodeId, term: number, body: MessageBody): readonly RaftMessage[] {
    return this.hear(from, term, body).settle()
  }

  append(
    from: NodeId,
    term: number,
    after: readonly [index: number, term: number],
    entries: readonly Entry[],
    commit = 0,
  ): readonly RaftMessage[] {
    const [previousIndex, previousTerm] = after
    return this.answer(from, term, { type: 'append', previousIndex, previousTerm, entries, commit })
  }

  /** Waits out its patience; true once it asks for votes of either kind. */
  campaign(): this {
    for (let i = 0; i < 2 * electionTicks && this.node.role === 'follower'; i++) this.node.tick()
    return this
  }

  /** Elected by the given peers. The entry that begins its term is stored here and sent, not acknowledged. */
  lead(...electors: readonly NodeId[]): this {
    this.campaign().settle()
    for (const from of electors) {
      this.answer(from, this.node.term + 1, { type: 'pre-vote-reply', granted: true })
      if (this.node.role === 'candidate') break
    }
    for (const from of electors) this.answer(from, this.node.term, { type: 'vote-reply', granted: true })
    if (this.node.role !== 'leader') throw new Error(`${this.node.id} was not elected`)
    return this
  }

  /** A follower stored everything up to `index`. */
  acknowledge(from: NodeId, index: number): readonly RaftMessage[] {
    return this.answer(from, this.node.term, { type: 'append-reply', index, rejected: false })
  }
}

/** A leader of {1, 2, 3} whose term's first entry is committed everywhere. */
export function settledLeader(given: Given = {}): LoneNode {
  const lone = new LoneNode({ terms: [1], commit: 1, ...given })
  const peers = [...(given.voters ?? [1, 2, 3]), ...(given.learners ?? [])].filter((id) => id !== lone.node.id)
  lone.lead(...peers)
  for (const id of peers) lone.acknowledge(id, lone.node.lastIndex)
  return lone
}
