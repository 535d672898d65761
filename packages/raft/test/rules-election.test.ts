/** One test for each rule of elections: sections of the paper ("5.2"), of the dissertation where it says so ("d9.6"). */
import { describe, expect, it } from 'vitest'
import { electionTicks, entry, LoneNode, settledLeader } from './support/lone-node.ts'

const empty = { type: 'append', previousIndex: 0, previousTerm: 0, entries: [], commit: 0 } as const

describe('5.1 terms', () => {
  it.each(['follower', 'pre-candidate', 'candidate', 'leader'] as const)(
    'a %s that hears of a higher term takes it over, forgets its vote and follows',
    (role) => {
      const lone = new LoneNode({ terms: [1], term: 1, votedFor: role === 'follower' ? 3 : 0 })
      if (role !== 'follower') lone.campaign().settle()
      if (role === 'candidate') lone.answer(2, 2, { type: 'pre-vote-reply', granted: true })
      if (role === 'leader') lone.tick(0)
      if (role === 'leader') {
        lone.answer(2, 2, { type: 'pre-vote-reply', granted: true })
        lone.answer(2, 2, { type: 'vote-reply', granted: true })
      }
      expect(lone.node.role).toBe(role)
      const ready = lone.hear(2, 9, { type: 'append-reply', index: 0, rejected: true }).take()
      expect(lone.node).toMatchObject({ role: 'follower', term: 9 })
      expect(ready.hardState).toMatchObject({ term: 9, votedFor: 0 })
    },
  )

  it.each([
    ['append', empty, { type: 'append-reply', rejected: true }],
    ['heartbeat', { type: 'heartbeat', commit: 0, context: 0 }, { type: 'append-reply', rejected: true }],
    [
      'snapshot',
      {
        type: 'snapshot',
        snapshot: { index: 9, term: 3, membership: { voters: [1], learners: [] }, data: new Uint8Array() },
      },
      { type: 'append-reply', rejected: true },
    ],
    ['vote', { type: 'vote', lastIndex: 99, lastTerm: 4, transfer: false }, { type: 'vote-reply', granted: false }],
    ['pre-vote', { type: 'pre-vote', lastIndex: 99, lastTerm: 4 }, { type: 'pre-vote-reply', granted: false }],
  ] as const)(
    'a request of a past term changes nothing and is refused in the present one: %s',
    (_, request, refusal) => {
      const lone = new LoneNode({ terms: [1, 1], term: 5, commit: 1 })
      expect(lone.answer(2, 4, request)).toEqual([expect.objectContaining({ ...refusal, to: 2, term: 5 })])
      expect(lone.node).toMatchObject({ term: 5, leader: 0, lastIndex: 2, commit: 1 })
    },
  )

  it.each([
    ['vote-reply', { type: 'vote-reply', granted: true }],
    ['append-reply', { type: 'append-reply', index: 2, rejected: false }],
    ['heartbeat-reply', { type: 'heartbeat-reply', context: 1 }],
    ['timeout-now', { type: 'timeout-now' }],
  ] as const)('an answer of a past term is ignored: %s', (_, body) => {
    const lone = new LoneNode({ terms: [1], term: 4 }).lead(2)
    expect(lone.node.term).toBe(5)
    expect(lone.answer(2, 4, body)).toEqual([])
    expect(lone.node).toMatchObject({ role: 'leader', term: 5, commit: 0 })
  })
})

describe('5.2 elections', () => {
  it('a follower waits between one and two election timeouts, drawn anew each time and different on each node', () => {
    const drawn = new Set<number>()
    for (let seed = 1; seed <= 40; seed++) {
      const lone = new LoneNode({ seed })
      let ticks = 0
      while (lone.node.role === 'follower') {
        lone.node.tick()
        ticks++
      }
      expect(ticks).toBeGreaterThanOrEqual(electionTicks)
      expect(ticks).toBeLessThan(2 * electionTicks)
      drawn.add(ticks)
    }
    expect(drawn.size).toBeGreaterThan(electionTicks / 2)
  })

  it('what a leader says and a vote that is given begin the wait again; a vote that is refused does not', () => {
    const lone = new LoneNode({ terms: [1, 2], term: 2, seed: 3 })
    for (let i = 0; i < 5; i++) {
      lone.tick(electionTicks - 1).hear(2, 2, { type: 'heartbeat', commit: 0, context: 0 })
      expect(lone.node.role).toBe('follower')
    }
    const voter = new LoneNode({ terms: [1], term: 1 })
    voter.tick(electionTicks - 1).hear(2, 2, { type: 'vote', lastIndex: 1, lastTerm: 1, transfer: false })
    voter.tick(electionTicks - 1)
    expect(voter.node.role).toBe('follower')
    const refuser = new LoneNode({ terms: [1, 2], term: 2, seed: 3 })
    refuser.tick(electionTicks - 1).hear(2, 2, { type: 'vote', lastIndex: 1, lastTerm: 1, transfer: false })
    refuser.tick(electionTicks)
    expect(refuser.node.role).toBe('pre-candidate')
  })

  it('a candidate raises the term, votes for itself, and asks every other voter', () => {
    const lone = new LoneNode({ terms: [1], term: 1, voters: [1, 2, 3, 4, 5] }).campaign()
    lone.settle()
    lone.answer(2, 2, { type: 'pre-vote-reply', granted: true })
    const ready = lone.hear(3, 2, { type: 'pre-vote-reply', granted: true }).take()
    expect(ready.hardState).toMatchObject({ term: 2, votedFor: 1 })
    expect(ready.messages.map(({ type, to, term }) => ({ type, to, term }))).toEqual(
      [2, 3, 4, 5].map((to) => ({ type: 'vote', to, term: 2 })),
    )
  })

  it('a majority elects, one voter counts once, learners and strangers not at all', () => {
    const lone = new LoneNode({ voters: [1, 2, 3, 4, 5], learners: [6] }).campaign()
    lone.settle()
    for (const from of [2, 3]) lone.answer(from, 1, { type: 'pre-vote-reply', granted: true })
    for (const from of [2, 2, 6, 7]) lone.answer(from, 1, { type: 'vote-reply', granted: true })
    expect(lone.node.role).toBe('candidate')
    lone.answer(3, 1, { type: 'vote-reply', granted: true })
    expect(lone.node.role).toBe('leader')
  })

  it('a candidate that finds a leader of its term follows it', () => {
    const lone = new LoneNode().campaign()
    lone.settle()
    lone.answer(2, 1, { type: 'pre-vote-reply', granted: true })
    expect(lone.node).toMatchObject({ role: 'candidate', term: 1 })
    lone.answer(3, 1, empty)
    expect(lone.node).toMatchObject({ role: 'follower', term: 1, leader: 3 })
  })

  it('a candidate that neither wins nor loses tries again after another draw', () => {
    const lone = new LoneNode({ seed: 5 }).campaign()
    lone.settle()
    lone.answer(2, 1, { type: 'pre-vote-reply', granted: true })
    expect(lone.node).toMatchObject({ role: 'candidate', term: 1 })
    lone.tick(2 * electionTicks)
    expect(lone.settle().some(({ type, term }) => type === 'pre-vote' && term === 2)).toBe(true)
  })

  it('a new leader sends at once, and again after every heartbeat interval, so that no other election begins', () => {
    const lone = new LoneNode().campaign()
    lone.settle()
    lone.answer(2, 1, { type: 'pre-vote-reply', granted: true })
    const said = lone.answer(2, 1, { type: 'vote-reply', granted: true })
    expect(said.map(({ type, to }) => ({ type, to }))).toEqual([2, 3].map((to) => ({ type: 'append', to })))
    expect(
      lone
        .tick(3)
        .settle()
        .map(({ type, to }) => ({ type, to })),
    ).toEqual([2, 3].map((to) => ({ type: 'heartbeat', to })))
  })

  it('a lone voter elects itself', () => {
    const lone = new LoneNode({ voters: [1] }).campaign()
    lone.settle()
    expect(lone.node).toMatchObject({ role: 'leader', commit: 1 })
  })
})

describe('5.2 election safety: one vote for each term', () => {
  const request = { type: 'vote', lastIndex: 1, lastTerm: 1, transfer: false } as const

  it('goes to who asks first, again to the same one, and to nobody else', () => {
    const lone = new LoneNode({ terms: [1], term: 1 })
    expect(lone.answer(2, 2, request)).toMatchObject([{ type: 'vote-reply', to: 2, granted: true }])
    expect(lone.answer(3, 2, request)).toMatchObject([{ type: 'vote-reply', to: 3, granted: false }])
    expect(lone.answer(2, 2, request)).toMatchObject([{ type: 'vote-reply', to: 2, granted: true }])
    expect(lone.answer(3, 3, request)).toMatchObject([{ type: 'vote-reply', to: 3, granted: true }])
  })

  it('is remembered over a restart', () => {
    const lone = new LoneNode({ terms: [1], term: 2, votedFor: 2 })
    expect(lone.answer(3, 2, request)).toMatchObject([{ granted: false }])
    expect(lone.answer(2, 2, request)).toMatchObject([{ granted: true }])
  })

  it('is not given to another by a candidate, nor by who already follows a leader of the term', () => {
    const candidate = new LoneNode({ terms: [1], term: 1 }).campaign()
    candidate.settle()
    candidate.answer(2, 2, { type: 'pre-vote-reply', granted: true })
    expect(candidate.node.role).toBe('candidate')
    expect(candidate.answer(3, 2, request)).toMatchObject([{ granted: false }])
    const follower = new LoneNode({ terms: [1], term: 1 })
    follower.answer(2, 2, empty)
    expect(follower.answer(3, 2, request)).toMatchObject([{ granted: false }])
  })

  it('a second leader of a term is impossible, and ends the process rather than being believed', () => {
    const lone = new LoneNode().lead(2)
    expect(() => lone.hear(3, 1, empty)).toThrow('invariant 1')
  })
})

describe('5.4.1 leader completeness: votes go only to logs that are at least as up to date', () => {
  it.each([
    ['a later last term wins over a longer log', [1, 1, 1], [2, 2], true],
    ['an earlier last term loses, however long the log', [1, 2], [9, 1], false],
    ['of the same last term, the longer log', [1, 1], [3, 1], true],
    ['of the same last term, an equal log', [1, 1], [2, 1], true],
    ['of the same last term, not the shorter log', [1, 1], [1, 1], false],
    ['an empty log is behind every other', [1], [0, 0], false],
  ] as const)('%s', (_, terms, [lastIndex, lastTerm], granted) => {
    const voter = new LoneNode({ terms, term: 4 })
    expect(voter.answer(2, 5, { type: 'pre-vote', lastIndex, lastTerm })).toMatchObject([{ granted }])
    expect(voter.answer(2, 5, { type: 'vote', lastIndex, lastTerm, transfer: false })).toMatchObject([{ granted }])
    expect(voter.node.term).toBe(5)
  })

  it('a log that begins with a snapshot is compared by the snapshot', () => {
    const voter = new LoneNode({ snapshot: { index: 7, term: 3 }, term: 3 })
    const ask = (lastIndex: number, lastTerm: number) =>
      voter.answer(2, 4, { type: 'vote', lastIndex, lastTerm, transfer: false })
    expect(ask(6, 3)).toMatchObject([{ granted: false }])
    expect(ask(7, 3)).toMatchObject([{ granted: true }])
  })
})

describe('5.1 what is answered is durable first', () => {
  it('a vote and a term leave in the same Ready that stores them, and it must be synced', () => {
    const lone = new LoneNode({ terms: [1], term: 1 })
    const ready = lone.hear(2, 2, { type: 'vote', lastIndex: 1, lastTerm: 1, transfer: false }).take()
    expect(ready).toMatchObject({ hardState: { term: 2, votedFor: 2 }, mustSync: true })
    expect(ready.messages).toMatchObject([{ type: 'vote-reply', granted: true }])
  })

  it("a candidate's own vote is durable before it asks", () => {
    const lone = new LoneNode({ terms: [1], term: 1 }).campaign()
    lone.settle()
    const ready = lone.hear(2, 2, { type: 'pre-vote-reply', granted: true }).take()
    expect(ready).toMatchObject({ hardState: { term: 2, votedFor: 1 }, mustSync: true })
    expect(ready.messages.map(({ type }) => type)).toEqual(['vote', 'vote'])
  })

  it('entries leave with the answer that acknowledges them', () => {
    const lone = new LoneNode({ terms: [1], term: 1 })
    const body = { type: 'append', previousIndex: 1, previousTerm: 1, entries: [entry(2, 1)], commit: 1 } as const
    const ready = lone.hear(2, 1, body).take()
    expect(ready).toMatchObject({ entries: [{ index: 2 }], mustSync: true })
    expect(ready.messages).toMatchObject([{ type: 'append-reply', index: 2, rejected: false }])
  })

  it('a commit index alone may be lost: it needs no sync', () => {
    const lone = new LoneNode({ terms: [1, 1], term: 1 })
    lone.answer(2, 1, { type: 'heartbeat', commit: 1, context: 0 })
    const ready = lone.hear(2, 1, { type: 'heartbeat', commit: 2, context: 0 }).take()
    expect(ready).toMatchObject({ hardState: { term: 1, commit: 2 }, mustSync: false })
  })

  it('nothing that was not stored yet is applied', () => {
    const lone = new LoneNode({ terms: [1], term: 1, commit: 1 })
    const body = { type: 'append', previousIndex: 1, previousTerm: 1, entries: [entry(2, 1)], commit: 2 } as const
    expect(
      lone
        .hear(2, 1, body)
        .take()
        .committed.map(({ index }) => index),
    ).toEqual([1])
    lone.settle()
    expect(lone.applied).toEqual(['1/1', '2/1'])
  })
})

describe('d9.6 pre-vote', () => {
  it('asking and granting change neither term nor vote, and do not begin the wait again', () => {
    const lone = new LoneNode({ terms: [1], term: 1 }).campaign()
    const { messages, hardState } = lone.take()
    expect(messages.map(({ type, term }) => ({ type, term }))).toEqual(
      [2, 3].map(() => ({ type: 'pre-vote', term: 2 })),
    )
    expect(hardState).toBeUndefined()
    const voter = new LoneNode({ terms: [1], term: 1 })
    const ready = voter.hear(2, 2, { type: 'pre-vote', lastIndex: 1, lastTerm: 1 }).take()
    expect(ready.messages).toMatchObject([{ type: 'pre-vote-reply', term: 2, granted: true }])
    expect(ready.hardState).toBeUndefined()
    // Several may be encouraged.
    expect(voter.answer(3, 2, { type: 'pre-vote', lastIndex: 1, lastTerm: 1 })).toMatchObject([{ granted: true }])
    expect(voter.node).toMatchObject({ term: 1, role: 'follower' })
  })

  it('without a majority of it, the term stays', () => {
    const lone = new LoneNode({ terms: [1], term: 1 }).campaign()
    for (let i = 0; i < 10; i++) lone.tick(2 * electionTicks).settle()
    expect(lone.node).toMatchObject({ role: 'pre-candidate', term: 1 })
  })

  it('a majority of refusals sends the node back', () => {
    const lone = new LoneNode({ terms: [1], term: 1 }).campaign()
    lone.settle()
    for (const from of [2, 3]) lone.answer(from, 1, { type: 'pre-vote-reply', granted: false })
    expect(lone.node).toMatchObject({ role: 'follower', term: 1 })
  })
})

describe('d4.2.3 disruptive nodes: who hears a leader neither votes for another nor takes over its term', () => {
  it.each(['pre-vote', 'vote'] as const)('%s within an election timeout of the leader is ignored', (type) => {
    const lone = new LoneNode({ terms: [1], term: 1 })
    lone.answer(2, 1, empty)
    const request = { type, lastIndex: 9, lastTerm: 1, transfer: false } as const
    expect(lone.tick(electionTicks - 1).answer(3, 7, request)).toEqual([])
    expect(lone.node).toMatchObject({ term: 1, leader: 2 })
  })

  it('after an election timeout of silence it is answered', () => {
    const lone = new LoneNode({ terms: [1], term: 1, voters: [2, 3, 4] })
    lone.answer(2, 1, empty)
    const said = lone.tick(2 * electionTicks).answer(3, 7, { type: 'vote', lastIndex: 9, lastTerm: 1, transfer: false })
    expect(said).toMatchObject([{ type: 'vote-reply', term: 7, granted: true }])
  })

  it('a leader ignores it too', () => {
    const leader = settledLeader()
    expect(leader.answer(3, 7, { type: 'vote', lastIndex: 9, lastTerm: 6, transfer: false })).toEqual([])
    expect(leader.node).toMatchObject({ role: 'leader', term: 2 })
  })

  it('but a vote that the leader itself arranged is given', () => {
    const leader = settledLeader()
    const said = leader.answer(3, 3, { type: 'vote', lastIndex: 2, lastTerm: 2, transfer: true })
    expect(said).toMatchObject([{ type: 'vote-reply', term: 3, granted: true }])
  })
})

describe('d6.2 check-quorum', () => {
  it('a leader that hears no majority for an election timeout steps down in the same term', () => {
    const leader = settledLeader()
    leader.tick(2 * electionTicks)
    expect(leader.node).toMatchObject({ role: 'follower', leader: 0, term: 2 })
  })

  it('a majority that answers keeps it; a learner does not count', () => {
    const leader = settledLeader({ learners: [4] })
    const hear = (from: number) => leader.answer(from, 2, { type: 'heartbeat-reply', context: 0 })
    for (let i = 0; i < 5; i++) {
      hear(3)
      leader.tick(electionTicks)
    }
    expect(leader.node.role).toBe('leader')
    hear(4)
    leader.tick(electionTicks)
    hear(4)
    leader.tick(electionTicks)
    expect(leader.node.role).toBe('follower')
  })

  it('a leader that stepped down refuses proposals and reads', () => {
    const leader = settledLeader()
    leader.tick(2 * electionTicks)
    expect(leader.node.propose(new Uint8Array([1]))).toBeUndefined()
    expect(leader.node.readIndex()).toBeUndefined()
  })
})
