/** One test for each rule of reads and of what clients see: section 8 of the paper, section 6.4 of the dissertation. */
import { utf8Encode } from '@shoal/base'
import { describe, expect, it } from 'vitest'
import { electionTicks, LoneNode, settledLeader } from './support/lone-node.ts'

const beat = (context: number) => ({ type: 'heartbeat-reply', context }) as const

describe('6.4 linearizable reads', () => {
  it('none before the leader has committed an entry of its term: it may not know yet what is committed', () => {
    const leader = new LoneNode({ terms: [1, 1], term: 1, commit: 1 }).lead(2)
    expect(leader.node.readIndex()).toBeUndefined()
    leader.acknowledge(2, 3)
    expect(leader.node.readIndex()).toBeDefined()
  })

  it('a new leader begins its term with an entry of its own, so that this comes soon (section 8)', () => {
    const leader = new LoneNode({ terms: [1, 1], term: 1 }).lead(2)
    expect(leader.log).toBe('1/1 2/1 3/2')
  })

  it('a read remembers the commit index of when it was asked, not of when it is answered', () => {
    const leader = settledLeader()
    leader.node.readIndex()
    leader.settle()
    leader.node.propose(utf8Encode('x'))
    leader.settle()
    leader.acknowledge(2, 3)
    expect(leader.node.commit).toBe(3)
    leader.answer(2, 2, beat(1))
    expect(leader.reads).toEqual([2])
  })

  it('it waits until a majority answered a heartbeat that was sent after it was asked', () => {
    const leader = settledLeader()
    leader.tick(3).settle()
    const context = leader.node.readIndex() ?? 0
    expect(leader.settle()).toMatchObject([2, 3].map((to) => ({ type: 'heartbeat', to, context })))
    // The answer to the heartbeat from before proves nothing about now.
    leader.answer(2, 2, beat(0))
    expect(leader.reads).toEqual([])
    leader.answer(2, 2, beat(context))
    expect(leader.reads).toEqual([2])
  })

  it('neither learners nor a leader that is being removed confirm it', () => {
    const leader = settledLeader({ voters: [1, 2, 3, 4], learners: [5] })
    leader.node.proposeMembership({ voters: [2, 3, 4], learners: [5] })
    leader.settle()
    const context = leader.node.readIndex() ?? 0
    leader.settle()
    for (const from of [5, 2]) leader.answer(from, 2, beat(context))
    expect(leader.reads).toEqual([])
    leader.answer(3, 2, beat(context))
    expect(leader.reads).toEqual([2])
  })

  it('one confirmation releases all reads asked before it, in order', () => {
    const leader = settledLeader()
    for (let i = 0; i < 3; i++) leader.node.readIndex()
    leader.settle()
    leader.answer(3, 2, beat(2))
    expect(leader.reads).toEqual([2, 2])
    leader.answer(3, 2, beat(3))
    expect(leader.reads).toEqual([2, 2, 2])
  })

  it('a leader that lost its place releases none, not even when it leads again', () => {
    const leader = settledLeader()
    leader.node.readIndex()
    leader.settle()
    leader.hear(2, 3, { type: 'append', previousIndex: 2, previousTerm: 2, entries: [], commit: 2 }).settle()
    leader.answer(2, 2, beat(1))
    leader.tick(2 * electionTicks)
    leader.lead(2)
    leader.answer(2, leader.node.term, beat(1))
    expect(leader.reads).toEqual([])
  })

  it('a lone voter confirms itself at once', () => {
    const leader = settledLeader({ voters: [1] })
    leader.node.readIndex()
    leader.settle()
    expect(leader.reads).toEqual([2])
  })

  it('a follower refuses: it does not know what is committed now', () => {
    const lone = new LoneNode({ terms: [1], term: 1, commit: 1 })
    expect(lone.node.readIndex()).toBeUndefined()
  })
})

describe('8 proposals', () => {
  it('only a leader takes them; the others say who leads', () => {
    const lone = new LoneNode({ terms: [1], term: 1 })
    lone.append(3, 1, [1, 1], [])
    expect(lone.node.propose(utf8Encode('x'))).toBeUndefined()
    expect(lone.node.leader).toBe(3)
  })
})
