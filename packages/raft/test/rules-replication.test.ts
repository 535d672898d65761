/** One test for each rule of replication and commitment: sections of the paper. */
import { utf8Encode } from '@shoal/base'
import { describe, expect, it } from 'vitest'
import { inflightMax } from '../src/progress.ts'
import { electionTicks, entry, LoneNode, settledLeader } from './support/lone-node.ts'

describe('5.3 a follower takes what fits its log', () => {
  it('refuses an append whose previous entry it does not have', () => {
    const lone = new LoneNode({ terms: [1, 1] })
    expect(lone.append(2, 1, [5, 1], [entry(6, 1)])).toMatchObject([{ type: 'append-reply', rejected: true, index: 2 }])
    expect(lone.log).toBe('1/1 2/1')
  })

  it('refuses an append whose previous entry is of another term, and keeps its own until something conflicts', () => {
    const lone = new LoneNode({ terms: [1, 2, 2], term: 3 })
    expect(lone.append(2, 3, [3, 3], [entry(4, 3)])).toMatchObject([{ type: 'append-reply', rejected: true }])
    expect(lone.log).toBe('1/1 2/2 3/2')
  })

  it('drops an entry that conflicts with a new one, and all that follow it', () => {
    const lone = new LoneNode({ terms: [1, 2, 2, 2], term: 3 })
    expect(lone.append(2, 3, [1, 1], [entry(2, 3)])).toMatchObject([{ rejected: false, index: 2 }])
    expect(lone.log).toBe('1/1 2/3')
    expect(lone.node.lastIndex).toBe(2)
  })

  it('a late append that holds only a prefix of the log drops nothing', () => {
    const lone = new LoneNode({ terms: [1, 1, 1, 1], term: 1 })
    expect(lone.append(2, 1, [1, 1], [entry(2, 1)])).toMatchObject([{ rejected: false, index: 2 }])
    expect(lone.append(2, 1, [2, 1], [])).toMatchObject([{ rejected: false, index: 2 }])
    expect(lone.log).toBe('1/1 2/1 3/1 4/1')
    expect(lone.node.lastIndex).toBe(4)
  })

  it('an append that overlaps adds only what is new', () => {
    const lone = new LoneNode({ terms: [1, 1], term: 1 })
    const { entries } = lone
      .hear(2, 1, {
        type: 'append',
        previousIndex: 0,
        previousTerm: 0,
        entries: [entry(1, 1), entry(2, 1), entry(3, 1)],
        commit: 0,
      })
      .take()
    expect(entries.map(({ index }) => index)).toEqual([3])
  })

  it('the same append twice is acknowledged twice and stored once', () => {
    const lone = new LoneNode({ terms: [1], term: 1 })
    for (let i = 0; i < 2; i++)
      expect(lone.append(2, 1, [1, 1], [entry(2, 1)])).toMatchObject([{ rejected: false, index: 2 }])
    expect(lone.log).toBe('1/1 2/1')
  })

  it('an append from before what is committed is answered with the commit index and touches nothing', () => {
    const lone = new LoneNode({ terms: [1, 1, 1], term: 1, commit: 3 })
    expect(lone.append(2, 1, [0, 0], [entry(1, 1)])).toMatchObject([{ rejected: false, index: 3 }])
    expect(lone.log).toBe('1/1 2/1 3/1')
  })
})

// The six followers of Figure 7, and what the leader of term 8 makes of them.
const leaderTerms = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6]
const figure7 = [
  ['a: misses the last entry', [1, 1, 1, 4, 4, 5, 5, 6, 6]],
  ['b: misses many', [1, 1, 1, 4]],
  ['c: has one too many of the last term', [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6]],
  ['d: has two of a term the leader never saw', [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7]],
  ['e: misses some and has some too many', [1, 1, 1, 4, 4, 4, 4]],
  ['f: has two terms that nobody else has', [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3]],
] as const

describe('5.3 log matching', () => {
  it.each(figure7)("a leader makes the follower's log its own, Figure 7 %s", (_, terms) => {
    const leader = new LoneNode({ id: 1, terms: leaderTerms, term: 7 }).lead(3)
    const follower = new LoneNode({ id: 2, terms, term: 7 })
    const before = leader.log
    let toFollower = leader
      .tick(electionTicks / 2)
      .settle()
      .filter(({ to }) => to === 2)
    for (let round = 0; round < 30 && follower.log !== leader.log; round++) {
      const toLeader = toFollower.flatMap((message) => follower.hear(1, message.term, message).settle())
      toFollower = toLeader
        .flatMap((message) => leader.hear(2, message.term, message).settle())
        .filter(({ to }) => to === 2)
    }
    expect(follower.log).toBe(leader.log)
    // 5.3, leader append-only: nothing of its own log has changed meanwhile.
    expect(leader.log).toBe(before)
  })

  it('one refusal skips a whole conflicting term, and never goes below what is committed', () => {
    const lone = new LoneNode({ terms: [1, 2, 2, 2, 2], term: 4, commit: 1 })
    expect(lone.append(2, 4, [5, 4], [])).toMatchObject([{ rejected: true, index: 1 }])
    const committed = new LoneNode({ terms: [1, 2, 2, 2, 2], term: 4, commit: 3 })
    expect(committed.append(2, 4, [5, 4], [])).toMatchObject([{ rejected: true, index: 3 }])
  })

  it('a leader backs off after a refusal and sends from the entry where the logs may meet', () => {
    const leader = settledLeader({ terms: [1, 1, 1], commit: 3 })
    leader.node.propose(utf8Encode('x'))
    leader.settle()
    const said = leader.answer(2, 2, { type: 'append-reply', index: 1, rejected: true })
    expect(said).toMatchObject([{ type: 'append', to: 2, previousIndex: 4 }])
    const again = leader.answer(2, 2, { type: 'append-reply', index: 4, rejected: false })
    expect(again).toMatchObject([{ type: 'append', to: 2, previousIndex: 4, entries: [{ index: 5 }] }])
  })

  it('a refusal that comes late does not undo what was acknowledged since', () => {
    const leader = settledLeader()
    leader.answer(2, 2, { type: 'append-reply', index: 0, rejected: true })
    expect(leader.node.followerProgress(2)?.match).toBe(2)
  })
})

describe('5.3 leader append-only', () => {
  it('a leader adds behind its last entry and keeps what earlier terms left', () => {
    const leader = new LoneNode({ terms: [1, 2, 3], term: 5 }).lead(2)
    expect(leader.log).toBe('1/1 2/2 3/3 4/6')
    leader.node.propose(utf8Encode('x'))
    leader.settle()
    expect(leader.log).toBe('1/1 2/2 3/3 4/6 5/6')
  })

  it('a follower keeps no more than a window of appends on the way', () => {
    const leader = settledLeader()
    let sent = 0
    for (let i = 0; i < 2 * inflightMax; i++) {
      leader.node.propose(utf8Encode('x'))
      sent += leader.settle().filter(({ type, to }) => type === 'append' && to === 2).length
    }
    expect(sent).toBe(inflightMax)
    const last = 2 + inflightMax
    // The window opens again, and the rest comes in one append.
    expect(leader.acknowledge(2, last).find(({ to }) => to === 2)).toMatchObject({ previousIndex: last })
  })

  it('lost appends are sent again once a heartbeat is answered', () => {
    const leader = settledLeader()
    leader.node.propose(utf8Encode('x'))
    leader.settle()
    const said = leader.answer(3, 2, { type: 'heartbeat-reply', context: 0 })
    expect(said).toMatchObject([{ type: 'append', to: 3, previousIndex: 2, entries: [{ index: 3 }] }])
  })
})

describe('5.3 commitment', () => {
  it('a leader commits what a majority stored, its own copy included once that is durable', () => {
    const leader = settledLeader({ voters: [1, 2, 3, 4, 5] })
    leader.node.propose(utf8Encode('x'))
    leader.settle()
    leader.acknowledge(2, 3)
    expect(leader.node.commit).toBe(2)
    leader.acknowledge(3, 3)
    expect(leader.node.commit).toBe(3)
  })

  it('its own copy does not count before it is stored', () => {
    const leader = settledLeader()
    leader.node.propose(utf8Encode('x'))
    const ready = leader.node.ready()
    leader.hear(2, 2, { type: 'append-reply', index: 3, rejected: false })
    expect(leader.node.commit).toBe(2)
    leader.finish(ready)
    expect(leader.node.commit).toBe(3)
  })

  it('learners do not count', () => {
    const leader = settledLeader({ learners: [4, 5] })
    leader.node.propose(utf8Encode('x'))
    leader.settle()
    leader.acknowledge(4, 3)
    leader.acknowledge(5, 3)
    expect(leader.node.commit).toBe(2)
  })

  it('committing an entry commits all before it', () => {
    const leader = new LoneNode({ terms: [1, 1, 2], term: 3, commit: 1 }).lead(2)
    leader.acknowledge(2, 4)
    leader.settle()
    expect(leader.applied).toEqual(['1/1', '2/1', '3/2', '4/4'])
  })

  it.each([
    ['of the commit index of the leader', 3, [2, 1], [entry(3, 1), entry(4, 1)], 3],
    ['and the last new entry', 9, [2, 1], [entry(3, 1)], 3],
    ['which for an empty append is the previous entry, not the end of the log', 9, [2, 1], [], 2],
  ] as const)('a follower commits the lesser %s', (_, commit, after, entries, expected) => {
    const lone = new LoneNode({ terms: [1, 1, ...(entries.length === 0 ? [1, 1] : [])], term: 1, commit: 1 })
    lone.append(2, 1, after, entries, commit)
    expect(lone.node.commit).toBe(expected)
  })

  it('the commit index never goes back', () => {
    const lone = new LoneNode({ terms: [1, 1, 1], term: 1, commit: 3 })
    lone.append(2, 1, [3, 1], [entry(4, 1)], 1)
    lone.answer(2, 1, { type: 'heartbeat', commit: 2, context: 0 })
    expect(lone.node.commit).toBe(3)
  })

  it('a heartbeat carries only what the follower is known to have', () => {
    const leader = settledLeader()
    leader.node.propose(utf8Encode('x'))
    leader.settle()
    leader.acknowledge(2, 3)
    const beats = leader
      .tick(3)
      .settle()
      .filter(({ type }) => type === 'heartbeat')
    expect(beats).toMatchObject([
      { to: 2, commit: 3 },
      { to: 3, commit: 2 },
    ])
  })

  it('committed entries are applied once, in order', () => {
    const lone = new LoneNode({ terms: [1], term: 1 })
    lone.append(2, 1, [1, 1], [entry(2, 1)], 2)
    lone.append(2, 1, [2, 1], [entry(3, 1)], 3)
    lone.append(2, 1, [1, 1], [entry(2, 1)], 3)
    expect(lone.applied).toEqual(['1/1', '2/1', '3/1'])
  })

  it('a committed entry is never replaced, whatever a later leader claims', () => {
    const lone = new LoneNode({ terms: [1, 1], term: 1, commit: 2 })
    lone.append(2, 3, [1, 1], [entry(2, 3)])
    expect(lone.log).toBe('1/1 2/1')
  })
})

describe('5.4.2 entries of earlier terms are never committed by counting (Figure 8)', () => {
  it('an old entry on a majority waits for one of the present term', () => {
    // Figure 8 c: S1 leads term 4 and has brought entry 2 of term 2 to a majority.
    const leader = new LoneNode({ terms: [1, 2], term: 3, commit: 1, voters: [1, 2, 3, 4, 5] }).lead(2, 3)
    expect(leader.node.term).toBe(4)
    leader.acknowledge(2, 2)
    leader.acknowledge(3, 2)
    expect(leader.node.commit).toBe(1)
    // Figure 8 e: entry 3 of term 4 on a majority commits both.
    leader.acknowledge(2, 3)
    leader.acknowledge(3, 3)
    expect(leader.node.commit).toBe(3)
  })

  it('so it may still be overwritten by one who never saw it (Figure 8 d)', () => {
    const follower = new LoneNode({ id: 2, terms: [1, 2], term: 4, commit: 1, voters: [1, 2, 3, 4, 5] })
    expect(follower.answer(5, 5, { type: 'vote', lastIndex: 2, lastTerm: 3, transfer: false })).toMatchObject([
      { granted: true },
    ])
    follower.append(5, 5, [1, 1], [entry(2, 3), entry(3, 5)], 3)
    expect(follower.log).toBe('1/1 2/3 3/5')
    expect(follower.applied).toEqual(['1/1', '2/3', '3/5'])
  })

  it('a candidate without an entry that was committed is refused by one of the majority (Figure 8 e)', () => {
    const voter = new LoneNode({ id: 2, terms: [1, 2, 4], term: 4, voters: [1, 2, 3, 4, 5] })
    expect(voter.answer(5, 5, { type: 'vote', lastIndex: 2, lastTerm: 3, transfer: false })).toMatchObject([
      { granted: false },
    ])
  })
})

describe('5.3 backpressure', () => {
  it('too many undecided entries, or bytes of them, refuse the next proposal', () => {
    const leader = settledLeader()
    let accepted = 0
    while (leader.node.propose(new Uint8Array(1024 * 1024)) !== undefined) accepted++
    expect(accepted).toBe(64)
    leader.settle()
    leader.acknowledge(2, leader.node.lastIndex)
    expect(leader.node.propose(new Uint8Array(1))).toBeDefined()
  })
})
