/** One test for each rule of snapshots: section 7 of the paper and its Figure 13. */
import { utf8Encode } from '@shoal/base'
import { describe, expect, it } from 'vitest'
import { inflightMax } from '../src/progress.ts'
import { entry, LoneNode, settledLeader } from './support/lone-node.ts'

const membership = { voters: [1, 2, 3], learners: [] }
const snapshot = (index: number, term: number) =>
  ({ type: 'snapshot', snapshot: { index, term, membership, data: utf8Encode(`state-${index}`) } }) as const

describe('7 a follower that is sent a snapshot', () => {
  it('drops its whole log when the snapshot is ahead of it, and goes on from there', () => {
    const lone = new LoneNode({ terms: [1, 1], term: 3 })
    const ready = lone.hear(2, 3, snapshot(9, 2)).take()
    expect(ready).toMatchObject({ snapshot: { index: 9 }, mustSync: true, committed: [] })
    expect(ready.messages).toMatchObject([{ type: 'append-reply', index: 9, rejected: false }])
    expect(lone.node).toMatchObject({ lastIndex: 9, commit: 9, snapshotIndex: 9 })
    expect(lone.append(2, 3, [9, 2], [entry(10, 3)], 10)).toMatchObject([{ index: 10, rejected: false }])
    expect(lone.applied).toEqual(['10/3'])
  })

  it('drops a log that conflicts at the index of the snapshot', () => {
    const lone = new LoneNode({ terms: [1, 1, 1, 1], term: 3 })
    lone.answer(2, 3, snapshot(3, 2))
    expect(lone.node).toMatchObject({ lastIndex: 3, commit: 3 })
  })

  it('keeps what follows an entry that agrees with the snapshot: it may have been acknowledged', () => {
    const lone = new LoneNode({ terms: [1, 1, 2, 2], term: 3 })
    const ready = lone.hear(2, 3, snapshot(3, 2)).take()
    expect(ready.snapshot).toBeUndefined()
    expect(lone.node).toMatchObject({ lastIndex: 4, commit: 3 })
    expect(lone.log).toBe('1/1 2/1 3/2 4/2')
  })

  it('ignores one from before what it has committed', () => {
    const lone = new LoneNode({ snapshot: { index: 9, term: 2 }, terms: [2, 2], term: 3, commit: 11 })
    expect(lone.answer(2, 3, snapshot(5, 1))).toMatchObject([{ type: 'append-reply', index: 11, rejected: false }])
    expect(lone.node).toMatchObject({ lastIndex: 11, commit: 11 })
  })

  it('takes the membership from it', () => {
    const lone = new LoneNode({ voters: [2, 3], terms: [1], term: 1 })
    lone.answer(2, 1, snapshot(9, 1))
    expect(lone.node.membership).toEqual(membership)
  })
})

describe('7 a leader', () => {
  it('keeps the term and the membership of the last entry that a snapshot covers', () => {
    const leader = settledLeader({ terms: [1, 1], commit: 2 })
    expect(leader.node.compact(2)).toEqual({ term: 1, membership })
    expect(leader.node.snapshotIndex).toBe(2)
    // The next append still finds its previous entry.
    leader.node.propose(utf8Encode('x'))
    expect(leader.settle().filter(({ to }) => to === 2)).toMatchObject([{ previousIndex: 3 }])
  })

  it('compacts only what is applied', () => {
    const leader = settledLeader({ terms: [1, 1], commit: 2 })
    leader.node.propose(utf8Encode('x'))
    leader.settle()
    expect(() => leader.node.compact(4)).toThrow('only what is applied')
  })

  it('sends its snapshot, once, to who needs entries that are gone, then the log behind it', () => {
    const leader = settledLeader({ terms: [1, 1], commit: 2 })
    const index = leader.node.appliedIndex
    const compacted = leader.node.compact(index)
    leader.node.snapshotSource = () => ({ index, ...compacted, data: utf8Encode('state') })
    leader.node.proposeMembership({ voters: [1, 2, 3], learners: [4] })
    leader.settle()
    leader.acknowledge(2, leader.node.lastIndex)
    const said = leader.answer(4, 2, { type: 'append-reply', index: 0, rejected: true })
    expect(said).toMatchObject([{ type: 'snapshot', to: 4, snapshot: { index } }])
    for (let i = 0; i < inflightMax; i++) leader.node.propose(utf8Encode('x'))
    expect(leader.settle().filter(({ to }) => to === 4)).toEqual([])
    const rest = leader.acknowledge(4, index)
    expect(rest).toMatchObject([{ type: 'append', to: 4, previousIndex: index }])
  })
})
