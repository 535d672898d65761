/** What goes into a raft node when it is made, and what it wants done. */
import type { Random } from '@shoal/base'
import type { Entry, HardState, Membership, NodeId, RaftMessage, Snapshot } from './messages.ts'
import type { ReadState } from './read-queue.ts'

export type Role = 'follower' | 'pre-candidate' | 'candidate' | 'leader'

export interface RaftOptions {
  readonly id: NodeId
  readonly random: Random
  /** Ticks without a leader before an election: drawn between this and twice this. */
  readonly electionTicks: number
  readonly heartbeatTicks: number
  readonly hardState: HardState
  readonly snapshot: Snapshot | undefined
  readonly entries: readonly Entry[]
  /** Of a new cluster, before any membership entry; of a joining node, empty. */
  readonly initialMembership: Membership
  readonly appendBytesMax?: number
  readonly uncommittedEntriesMax?: number
  readonly uncommittedBytesMax?: number
}

/** Everything the driver must do, in this order: persist, send, apply. */
export interface Ready {
  readonly hardState: HardState | undefined
  /** Replaces what is stored. */
  readonly snapshot: Snapshot | undefined
  /** To store; those with the same or a higher index that were stored before are void. */
  readonly entries: readonly Entry[]
  readonly messages: readonly RaftMessage[]
  readonly committed: readonly Entry[]
  /** Contexts of `readIndex` whose reads are linearizable once `index` is applied. */
  readonly reads: readonly ReadState[]
  /** False when all there is to store is a commit index: it may be lost, so it needs no flush. */
  readonly mustSync: boolean
}

export function sameHardState(a: HardState, b: HardState): boolean {
  return a.term === b.term && a.votedFor === b.votedFor && a.commit === b.commit
}
