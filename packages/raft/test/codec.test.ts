import { emptyBytes, encode, isClusterError, Prng } from '@shoal/base'
import { describe, expect, it } from 'vitest'
import { decodeRaftMessage, encodeRaftMessage, isOneStep, membershipCodec, type RaftMessage } from '../src/index.ts'
import { RaftLog } from '../src/raft-log.ts'

const addressed = { from: 1, to: 2, term: 7 }
const membership = { voters: [1, 2, 3], learners: [9] }
const messages: readonly RaftMessage[] = [
  { type: 'pre-vote', ...addressed, lastIndex: 5, lastTerm: 6 },
  { type: 'pre-vote-reply', ...addressed, granted: true },
  { type: 'vote', ...addressed, lastIndex: 5, lastTerm: 6, transfer: true },
  { type: 'vote-reply', ...addressed, granted: false },
  {
    type: 'append',
    ...addressed,
    previousIndex: 4,
    previousTerm: 6,
    commit: 3,
    entries: [
      { index: 5, term: 6, kind: 'command', data: new Uint8Array([1, 2, 3]) },
      { index: 6, term: 7, kind: 'empty', data: emptyBytes },
      { index: 7, term: 7, kind: 'membership', data: encode(membershipCodec, membership) },
    ],
  },
  { type: 'append-reply', ...addressed, index: 7, rejected: true },
  { type: 'heartbeat', ...addressed, commit: 3, context: 8 },
  { type: 'heartbeat-reply', ...addressed, context: 8 },
  { type: 'snapshot', ...addressed, snapshot: { index: 5, term: 6, membership, data: new Uint8Array([4]) } },
  { type: 'timeout-now', ...addressed },
]

describe('raft messages', () => {
  it.each(messages.map((message) => [message.type, message] as const))('%s survives its encoding', (_, message) => {
    expect(decodeRaftMessage(encodeRaftMessage(message))).toEqual(message)
  })

  it('answers every flipped byte and every cut with a message or an operating error', () => {
    const random = new Prng(1)
    for (const message of messages) {
      const good = encodeRaftMessage(message)
      for (let round = 0; round < 300; round++) {
        const bad = good.slice(0, round % 3 === 0 ? random.below(good.length) : good.length)
        if (bad.length > 0) bad[random.below(bad.length)] = random.below(256)
        try {
          decodeRaftMessage(bad)
        } catch (error) {
          expect(isClusterError(error, 'EBADMSG', 'EPROTO')).toBe(true)
        }
      }
    }
  })

  it.each<[string, Partial<RaftMessage>]>([
    ['a gap between entries', { entries: [{ index: 6, term: 7, kind: 'empty', data: emptyBytes }] }],
    ['a term of the future', { entries: [{ index: 5, term: 8, kind: 'empty', data: emptyBytes }] }],
    ['a term that falls', { entries: [{ index: 5, term: 5, kind: 'empty', data: emptyBytes }] }],
    ['a membership that is none', { entries: [{ index: 5, term: 7, kind: 'membership', data: new Uint8Array([1]) }] }],
    ['itself as the sender', { from: 2 }],
    ['nobody as the sender', { from: 0 }],
  ])('refuses an append with %s', (_, part) => {
    const bad = { ...messages[4], ...part } as RaftMessage
    expect(() => decodeRaftMessage(encodeRaftMessage(bad))).toThrow()
  })
})

describe('raft log', () => {
  it('skips all entries of a conflicting term at once, but nothing committed', () => {
    const terms = [1, 2, 2, 2, 2]
    const entries = terms.map((term, i) => ({ index: i + 1, term, kind: 'empty' as const, data: emptyBytes }))
    const log = new RaftLog(undefined, entries)
    expect(log.lastBeforeConflict(5, 0)).toBe(1)
    expect(log.lastBeforeConflict(5, 3)).toBe(3)
    expect(log.lastBeforeConflict(9, 0)).toBe(5)
  })
})

describe('memberships', () => {
  it('change by one voter at most', () => {
    expect(isOneStep(membership, { voters: [1, 2, 3, 9], learners: [] })).toBe(true)
    expect(isOneStep(membership, { voters: [1, 2], learners: [] })).toBe(true)
    expect(isOneStep(membership, { voters: [1, 2, 4], learners: [] })).toBe(false)
    expect(isOneStep({ voters: [1], learners: [] }, { voters: [], learners: [] })).toBe(false)
    expect(isOneStep(membership, { voters: [1, 2, 3], learners: [3] })).toBe(false)
  })
})
