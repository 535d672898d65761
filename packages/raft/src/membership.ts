/** Arithmetic of memberships. */
import type { Membership, NodeId } from './messages.ts'

export function majority(count: number): number {
  return Math.floor(count / 2) + 1
}

/** The highest index that a majority has reached. */
export function majorityMatch(matches: readonly number[]): number {
  return [...matches].sort((a, b) => b - a)[majority(matches.length) - 1] ?? 0
}

/** `votes` holds the answers so far; who is no voter does not count. */
export function tally(voters: readonly NodeId[], votes: ReadonlyMap<NodeId, boolean>): 'won' | 'lost' | 'open' {
  const needed = majority(voters.length)
  if (voters.filter((id) => votes.get(id) === true).length >= needed) return 'won'
  return voters.filter((id) => votes.get(id) === false).length >= needed ? 'lost' : 'open'
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
