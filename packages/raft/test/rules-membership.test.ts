/** One test for each rule of changing members and handing over: sections of the dissertation. */
import { utf8Encode } from '@shoal/base'
import { describe, expect, it } from 'vitest'
import { electionTicks, entry, LoneNode, membershipEntry, settledLeader } from './support/lone-node.ts'

const four = { voters: [1, 2, 3, 4], learners: [] }

describe('4.1 one voter at a time', () => {
  it('two voters at once are a programming error', () => {
    const leader = settledLeader()
    expect(() => leader.node.proposeMembership({ voters: [1, 2, 3, 4, 5], learners: [] })).toThrow('one voter')
    expect(() => leader.node.proposeMembership({ voters: [1, 2, 4], learners: [] })).toThrow('one voter')
    expect(() => leader.node.proposeMembership({ voters: [], learners: [] })).toThrow('one voter')
  })

  it('a change holds from when it is in the log, on the leader and on followers, committed or not', () => {
    const leader = settledLeader()
    leader.node.proposeMembership(four)
    expect(leader.node.membership).toEqual(four)
    const follower = new LoneNode({ terms: [1], term: 1 })
    follower.append(2, 1, [1, 1], [membershipEntry(2, 1, four)])
    expect(follower.node).toMatchObject({ membership: four, commit: 0 })
  })

  it('it needs a majority of the new members', () => {
    const leader = settledLeader()
    leader.node.proposeMembership(four)
    leader.settle()
    leader.acknowledge(2, 3)
    expect(leader.node.commit).toBe(2)
    leader.acknowledge(4, 3)
    expect(leader.node.commit).toBe(3)
  })

  it('a second change waits until the first is committed', () => {
    const leader = settledLeader()
    leader.node.proposeMembership(four)
    leader.settle()
    expect(leader.node.proposeMembership({ voters: [1, 2, 3], learners: [] })).toBeUndefined()
    for (const from of [2, 3]) leader.acknowledge(from, 3)
    expect(leader.node.proposeMembership({ voters: [1, 2, 3], learners: [] })).toBe(4)
  })

  it('none before the leader has committed an entry of its term', () => {
    const leader = new LoneNode({ terms: [1], term: 1, commit: 1 }).lead(2)
    expect(leader.node.proposeMembership(four)).toBeUndefined()
    leader.acknowledge(2, 2)
    expect(leader.node.proposeMembership(four)).toBe(3)
  })

  it('a change that is truncated is taken back', () => {
    const follower = new LoneNode({ terms: [1], term: 1 })
    follower.append(2, 1, [1, 1], [membershipEntry(2, 1, four)])
    follower.append(3, 2, [1, 1], [entry(2, 2)])
    expect(follower.node.membership).toEqual({ voters: [1, 2, 3], learners: [] })
  })

  it('a change is remembered over a restart from the log', () => {
    const follower = new LoneNode({ terms: [1], term: 1 })
    follower.append(2, 1, [1, 1], [membershipEntry(2, 1, four), entry(3, 1)])
    expect(follower.node.membership).toEqual(four)
    expect(follower.node.hasPendingMembership()).toBe(true)
    follower.append(2, 1, [3, 1], [], 3)
    expect(follower.node.hasPendingMembership()).toBe(false)
  })
})

describe('4.2.1 newcomers catch up before they vote', () => {
  it('a learner receives the log, counts for nothing and does not campaign', () => {
    const leader = settledLeader({ learners: [4] })
    leader.node.propose(utf8Encode('x'))
    expect(leader.settle().some(({ to }) => to === 4)).toBe(true)
    leader.acknowledge(4, 3)
    expect(leader.node.commit).toBe(2)
    const learner = new LoneNode({ id: 4, learners: [4], terms: [1], term: 1 })
    learner.tick(10 * electionTicks)
    expect(learner.settle()).toEqual([])
    expect(learner.node).toMatchObject({ role: 'follower', term: 1 })
  })

  it('who is not in the membership it knows still votes: it may know less than the candidate', () => {
    const newcomer = new LoneNode({ id: 4, terms: [1], term: 1 })
    expect(newcomer.answer(2, 2, { type: 'vote', lastIndex: 2, lastTerm: 1, transfer: false })).toMatchObject([
      { granted: true },
    ])
  })
})

describe('4.2.2 a leader that is removed', () => {
  const without = { voters: [2, 3, 4], learners: [] }

  it('leads until its removal is committed, without counting itself, then steps down', () => {
    const leader = settledLeader({ voters: [1, 2, 3, 4] })
    leader.node.proposeMembership(without)
    leader.settle()
    leader.acknowledge(2, 3)
    expect(leader.node).toMatchObject({ role: 'leader', commit: 2 })
    const said = leader.acknowledge(3, 3)
    expect(leader.node).toMatchObject({ role: 'follower', commit: 3 })
    // The others hear that it is committed, and one is told to go ahead.
    expect(said.filter(({ type }) => type === 'append').map(({ to }) => to)).toEqual([2, 3, 4])
    expect(said.filter(({ type }) => type === 'timeout-now')).toHaveLength(1)
    leader.tick(10 * electionTicks)
    expect(leader.settle()).toEqual([])
  })
})

describe('3.10 handing leadership over', () => {
  it('proposals stop, the target is brought up to date, then told to campaign at once', () => {
    const leader = settledLeader()
    leader.node.propose(utf8Encode('x'))
    leader.settle()
    leader.node.transferLeadership(3)
    expect(leader.node.propose(utf8Encode('y'))).toBeUndefined()
    expect(leader.settle().some(({ type }) => type === 'timeout-now')).toBe(false)
    expect(leader.acknowledge(3, 3).find(({ type }) => type === 'timeout-now')).toMatchObject({ to: 3 })
  })

  it('the target campaigns without pre-vote, in the name of the leader', () => {
    const target = new LoneNode({ id: 3, terms: [1], term: 1 })
    target.append(1, 1, [1, 1], [])
    const said = target.answer(1, 1, { type: 'timeout-now' })
    expect(said).toMatchObject([1, 2].map((to) => ({ type: 'vote', to, term: 2, transfer: true })))
  })

  it('it is given up after an election timeout, and the leader goes on', () => {
    const leader = settledLeader()
    leader.node.transferLeadership(3)
    leader.answer(2, 2, { type: 'heartbeat-reply', context: 0 })
    leader.tick(electionTicks)
    expect(leader.node.role).toBe('leader')
    expect(leader.node.propose(utf8Encode('y'))).toBeDefined()
  })

  it.each([
    ['itself', 1],
    ['a learner', 4],
    ['a stranger', 9],
  ])('%s is no target', (_, to) => {
    const leader = settledLeader({ learners: [4] })
    leader.node.transferLeadership(to)
    expect(leader.settle()).toEqual([])
    expect(leader.node.propose(utf8Encode('y'))).toBeDefined()
  })

  it('who is no voter does not campaign when told to', () => {
    const learner = new LoneNode({ id: 4, learners: [4], terms: [1], term: 1 })
    expect(learner.answer(1, 1, { type: 'timeout-now' })).toEqual([])
  })
})
