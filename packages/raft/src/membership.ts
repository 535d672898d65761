/** Arithmetic of memberships. */
import type { Membership, NodeId } from './messages.ts'

export function majority(count: number): number {
  return Math.floor(count / 2) + 1
}

/** One voter more or one less (learners change freely): then any two majorities, old and new, share a node. */
export function isOneStep(from: Membership, to: Membership): boolean {
  const added = to.voters.filter((id) => !from.voters.includes(id)).length
  const removed = from.voters.filter((id) => !to.voters.includes(id)).length
  return added + removed <= 1 && isMembership(to)
}

/** At least one voter, ids sorted and distinct, nobody both voter and learner. */
export function isMembership(membership: Membership): boolean {
  const { voters, learners } = membership
  return (
    voters.length > 0 && isSortedIds(voters) && isSortedIds(learners) && !learners.some((id) => voters.includes(id))
  )
}

function isSortedIds(ids: readonly NodeId[]): boolean {
  return ids.every((id, i) => id > (i === 0 ? 0 : (ids[i - 1] as NodeId)))
}
