/** Consensus follows the monitor map without giving away more of its quorum than it must. */
import type { MonitorMap } from '@shoal/cluster-map'
import { expect, test } from 'vitest'
import { planMembershipStep } from '../src/services/monitor-membership.ts'

const [a, b, c, d] = [1, 2, 3, 4] as const

function mapOf(...ids: readonly number[]): MonitorMap {
  const monitors = ids.map((id) => ({ id, name: `m${id}`, address: `127.0.0.1:${6789 + id}` }))
  return { monitors } as unknown as MonitorMap
}

function steps(
  map: MonitorMap,
  voters: readonly number[],
  quorum: readonly number[],
): readonly (readonly number[] | undefined)[] {
  const seen: (readonly number[])[] = []
  let membership = { voters, learners: [] as readonly number[] }
  for (;;) {
    const step = planMembershipStep(map, membership, a, quorum, () => 0)
    if (step?.kind !== 'change') return seen
    membership = { ...step.membership }
    seen.push(membership.voters)
  }
}

test('the successor of a monitor that lost its disk votes only after that one has left', () => {
  expect(steps(mapOf(a, c, d), [a, b, c], [a, c])).toEqual([
    [a, c],
    [a, c],
    [a, c, d],
  ])
})

test('a monitor that is replaced while it lives votes until its successor does', () => {
  expect(steps(mapOf(a, c, d), [a, b, c], [a, b, c])).toEqual([
    [a, b, c],
    [a, b, c, d],
    [a, c, d],
  ])
})

test('a leader that is to go hands over first', () => {
  expect(planMembershipStep(mapOf(b, c), { voters: [a, b, c], learners: [] }, a, [a, b, c], () => 0)).toEqual({
    kind: 'hand-over',
    to: b,
  })
})
