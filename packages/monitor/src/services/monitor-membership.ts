/**
 * The monitor map says who should vote; consensus follows it one step at a time. Each step is planned from what is, so
 * that a new leader goes on where the last one stopped.
 *
 * Invariant 1: a new monitor learns first and votes only once its log has caught up, so that adding one never costs the
 *              quorum. (Counter-example: a third voter with an empty disk added to two, one of which dies at once.)
 * Invariant 2: a removal leaves a majority of voters that are in quorum now.
 * Invariant 3: a voter that is to go and is not heard leaves before anybody new votes. (Counter-example: of three one
 *              has lost its disk, was removed, and its successor votes beside it. That is three of four; if one of the
 *              other two dies now, two of the three monitors of the map live, and nobody leads.)
 */
import { ClusterError } from '@shoal/base'
import type { MonitorInfo, MonitorMap } from '@shoal/cluster-map'
import type { Membership } from '@shoal/raft'

/** How far, in log entries, a learner may be behind when it becomes a voter. */
const promotionLagMax = 16

export type MembershipStep =
  | { readonly kind: 'change'; readonly membership: Membership; readonly why: string }
  /** The leader itself is to go: somebody else must lead first. */
  | { readonly kind: 'hand-over'; readonly to: number }

/** `heard`: voters that live. The next step towards the map; undefined when consensus agrees with it, or nothing can be done yet. */
export function planMembershipStep(
  map: MonitorMap,
  membership: Membership,
  self: number,
  heard: readonly number[],
  lagOf: (id: number) => number | undefined,
): MembershipStep | undefined {
  const wanted = new Map(map.monitors.map((monitor) => [monitor.id, monitor]))
  const { voters, learners } = membership
  const leaving = voters.filter((id) => !wanted.has(id))
  const without = (id: number): MembershipStep => {
    return {
      kind: 'change',
      membership: { voters: voters.filter((voter) => voter !== id), learners },
      why: `voter ${id} leaves`,
    }
  }
  const gone = leaving.find((id) => id !== self && !heard.includes(id))
  if (gone !== undefined) return without(gone)
  for (const [id, monitor] of wanted) {
    if (voters.includes(id) || learners.includes(id)) continue
    return {
      kind: 'change',
      membership: { voters, learners: sorted([...learners, id]) },
      why: `mon.${monitor.name} learns`,
    }
  }
  for (const id of learners) {
    const monitor = wanted.get(id)
    const others = learners.filter((other) => other !== id)
    if (monitor === undefined) {
      return { kind: 'change', membership: { voters, learners: others }, why: `learner ${id} leaves` }
    }
    const lag = lagOf(id)
    if (lag === undefined || lag > promotionLagMax) continue
    const membershipWithIt = { voters: sorted([...voters, id]), learners: others }
    return { kind: 'change', membership: membershipWithIt, why: `mon.${monitor.name} votes` }
  }
  const next = leaving[0]
  if (next === undefined || voters.length === 1) return undefined
  if (next !== self) return without(next)
  const to = heard.find((other) => other !== self && wanted.has(other))
  return to === undefined ? undefined : { kind: 'hand-over', to }
}

function sorted(ids: readonly number[]): readonly number[] {
  return [...ids].sort((a, b) => a - b)
}

/** Who is left without the monitor. Throws ENOENT, or EBUSY when the others could not decide anything without it. */
export function planMonitorRemoval(map: MonitorMap, name: string, quorum: readonly number[]): readonly MonitorInfo[] {
  const leaving = map.monitors.find((monitor) => monitor.name === name)
  if (leaving === undefined) {
    throw new ClusterError('ENOENT', `there is no mon.${name}`, { hint: 'shoal mon stat' })
  }
  const left = map.monitors.filter((monitor) => monitor !== leaving)
  if (left.length === 0) {
    throw new ClusterError('EBUSY', `mon.${name} is the only monitor`, { hint: 'add another one first: shoal mon add' })
  }
  const alive = left.filter((monitor) => quorum.includes(monitor.id))
  const needed = Math.floor(left.length / 2) + 1
  if (alive.length < needed) {
    const down = left.filter((monitor) => !quorum.includes(monitor.id)).map((monitor) => `mon.${monitor.name}`)
    throw new ClusterError(
      'EBUSY',
      `without mon.${name} only ${alive.length} of ${left.length} monitors would be in quorum`,
      {
        hint: `start ${down.join(', ')} first, or remove one of those`,
      },
    )
  }
  return left
}
