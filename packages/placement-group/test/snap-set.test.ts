/** Which clone serves which snapshot, and what clones have in common: by rules, and against a model of bytes. */
import { hexEncode } from '@shoal/base'
import type { SnapSet, TransactionOp } from '@shoal/wire'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { MissingSet } from '../src/missing-set.ts'
import {
  afterRollback,
  afterSteps,
  cloneBytes,
  encodeSnapSet,
  encodeSnaps,
  noSnapSet,
  resolveSnap,
  snapSetAttribute,
  snapSetIn,
  snapsAttribute,
  snapsIn,
  snapsSince,
  withClone,
  withoutClone,
} from '../src/snap-set.ts'
import { simulatedPg } from './simulation/map-authority.ts'
import { object, version } from './support.ts'

const head = object('thing')
const found = (set: SnapSet | undefined, headExists: boolean, snap: number): string => {
  const target = resolveSnap(set, headExists, snap)
  return target.kind === 'clone' ? String(target.clone.id) : target.kind
}

describe('reading at a snapshot', () => {
  // Made after snapshot 2, cloned for 4 and 5 together, then for 8; written last in a context of 9.
  const set: SnapSet = {
    seq: 9,
    clones: [
      { id: 5, snaps: [5, 4], sizeBytes: 10, overlap: [] },
      { id: 8, snaps: [8], sizeBytes: 10, overlap: [] },
    ],
  }

  test('finds the oldest clone that is not older than the snapshot', () => {
    expect([4, 5, 8].map((snap) => found(set, true, snap))).toEqual(['5', '5', '8'])
  })

  test('finds the head where nobody has written since', () => {
    expect(found(set, true, 10)).toBe('head')
    expect(found(set, false, 10)).toBe('absent')
    expect(found(undefined, true, 1)).toBe('head')
  })

  test('finds nothing before the object came to be, between its lives, and after it was removed', () => {
    expect([1, 2, 3, 6, 7, 9].map((snap) => found(set, true, snap))).toEqual(Array(6).fill('absent'))
  })
})

test('a write needs a clone for the snapshots of its context that are newer than the last one', () => {
  expect(snapsSince({ seq: 4, clones: [] }, { seq: 7, snaps: [7, 6, 4, 2] })).toEqual([7, 6])
  expect(snapsSince({ seq: 7, clones: [] }, { seq: 7, snaps: [7, 6] })).toEqual([])
  // Its newest snapshot is removed: nothing to keep.
  expect(snapsSince({ seq: 4, clones: [] }, { seq: 7, snaps: [3] })).toEqual([])
})

describe('what clones have in common', () => {
  const at = { collection: simulatedPg, object: head }
  const size = 24
  const steps = fc.array(
    fc.oneof(
      fc.record({ kind: fc.constant('write' as const), offset: fc.nat(size), length: fc.integer({ min: 1, max: 8 }) }),
      fc.record({ kind: fc.constant('zero' as const), offset: fc.nat(size), length: fc.integer({ min: 1, max: 8 }) }),
      fc.record({ kind: fc.constant('truncate' as const), offset: fc.nat(size), length: fc.constant(0) }),
      fc.record({ kind: fc.constant('clone' as const), offset: fc.constant(0), length: fc.constant(0) }),
      fc.record({ kind: fc.constant('rollback' as const), offset: fc.nat(5), length: fc.constant(0) }),
      fc.record({ kind: fc.constant('trim' as const), offset: fc.nat(5), length: fc.constant(0) }),
    ),
    { maxLength: 25 },
  )

  /** Bytes as the numbers of the writes that wrote them: two that are equal here were never written apart. */
  class Model {
    set: SnapSet = noSnapSet
    bytes: number[] = Array(size).fill(0)
    readonly clones = new Map<number, number[]>()
    private stamp = 1

    apply({ kind, offset, length }: { readonly kind: string; readonly offset: number; readonly length: number }): void {
      if (kind === 'clone') {
        const id = this.set.seq + 1
        this.set = { ...withClone(this.set, [id], this.bytes.length), seq: id }
        this.clones.set(id, [...this.bytes])
      } else if (kind === 'rollback' || kind === 'trim') {
        const chosen = this.set.clones[offset % Math.max(1, this.set.clones.length)]
        if (chosen === undefined) return
        if (kind === 'trim') {
          this.set = withoutClone(this.set, chosen.id)
          this.clones.delete(chosen.id)
        } else {
          this.set = afterRollback(this.set, chosen.id)
          this.bytes = [...(this.clones.get(chosen.id) ?? [])]
        }
      } else {
        const stamp = this.stamp++
        const end = kind === 'zero' ? Math.min(offset + length, this.bytes.length) : offset + length
        if (kind === 'truncate') {
          while (this.bytes.length < offset) this.bytes.push(stamp)
          this.bytes.length = offset
        }
        const from = kind === 'write' ? Math.min(offset, this.bytes.length) : offset
        for (let i = from; i < (kind === 'truncate' ? from : end); i++) this.bytes[i] = stamp
        const step: TransactionOp =
          kind === 'write'
            ? { kind, ...at, offset, data: new Uint8Array(length) }
            : kind === 'zero'
              ? { kind, ...at, offset, length }
              : { kind: 'truncate', ...at, sizeBytes: offset }
        this.set = afterSteps(this.set, [step], head)
      }
    }
  }

  test('is what nobody has written since, whatever was done', () => {
    fc.assert(
      fc.property(steps, (all) => {
        const model = new Model()
        for (const step of all) {
          model.apply(step)
          const { clones } = model.set
          clones.forEach(({ id, overlap }, index) => {
            const mine = model.clones.get(id) ?? []
            const newer = clones[index + 1]
            const next = newer === undefined ? model.bytes : (model.clones.get(newer.id) ?? [])
            const shared = new Set(
              overlap.flatMap(({ offset, length }) => Array.from({ length }, (_, i) => offset + i)),
            )
            for (const i of shared) expect(mine[i]).toBe(next[i])
          })
          expect(cloneBytes(model.set)).toBeGreaterThanOrEqual(0)
        }
      }),
      { numRuns: 400 },
    )
  })

  test('is all of it where nothing happened, and none of what was written', () => {
    const model = new Model()
    model.apply({ kind: 'clone', offset: 0, length: 0 })
    expect(cloneBytes(model.set)).toBe(0)
    model.apply({ kind: 'write', offset: 4, length: 8 })
    expect(model.set.clones[0]?.overlap).toEqual([
      { offset: 0, length: 4 },
      { offset: 12, length: 12 },
    ])
    expect(cloneBytes(model.set)).toBe(8)
  })

  test('is forgotten in part when it is in too many pieces', () => {
    let set = withClone(noSnapSet, [1], 1_000_000)
    for (let i = 0; i < 400; i++) {
      const data = new Uint8Array(1)
      set = afterSteps(set, [{ kind: 'write', ...at, offset: i * 2_000, data }], head)
    }
    expect(set.clones[0]?.overlap.length).toBe(128)
    // The last and longest piece among them.
    expect(set.clones[0]?.overlap.at(-1)).toEqual({ offset: 798_001, length: 201_999 })
  })
})

test('what is kept of an object with very many clones stays small: the oldest give way', () => {
  let set: SnapSet = noSnapSet
  for (let id = 1; id <= 60; id++) {
    set = withClone(set, [id], 1_000_000)
    for (let i = 0; i < 40; i++) {
      const step = {
        kind: 'write',
        collection: simulatedPg,
        object: head,
        offset: i * 20_000 + 10,
        data: new Uint8Array(9),
      }
      set = afterSteps(set, [step as TransactionOp], head)
    }
  }
  expect(set.clones.length).toBe(60)
  expect(set.clones.at(-1)?.overlap.length).toBe(41)
  expect(set.clones[0]?.overlap).toEqual([])
  expect(encodeSnapSet(set).length).toBeLessThan(16_000)
})

test('the bytes of the attributes', () => {
  const set: SnapSet = {
    seq: 9,
    clones: [{ id: 5, snaps: [5, 4], sizeBytes: 10, overlap: [{ offset: 2, length: 3 }] }],
  }
  expect(hexEncode(encodeSnapSet(set))).toBe(
    '0101380000000900000000000000010000000500000000000000020000000500000000000000' +
      '04000000000000000a000000010000000200000003000000',
  )
  expect(snapSetIn(new Map([[snapSetAttribute, encodeSnapSet(set).slice()]]))).toEqual(set)
  expect(hexEncode(encodeSnaps([5, 4]))).toBe('0101140000000200000005000000000000000400000000000000')
  expect(snapsIn(new Map([[snapsAttribute, encodeSnaps([5, 4])]]))).toEqual([5, 4])
})

test('a missing set tells which clones of an object it has, the oldest first', () => {
  const need = version("3'4")
  const missing = new MissingSet([
    { object: { ...head, snap: 7 }, need },
    { object: { ...head, snap: 4 }, need },
    { object: head, need },
    { object: { ...object('other'), snap: 2 }, need },
  ])
  expect(missing.cloneOf(head)?.snap).toBe(4)
  missing.delete({ ...head, snap: 4 })
  expect(missing.cloneOf(head)?.snap).toBe(7)
  expect(missing.clone().cloneOf(head)?.snap).toBe(7)
  missing.delete({ ...head, snap: 7 })
  expect(missing.cloneOf(head)).toBeUndefined()
  expect(missing.size).toBe(2)
})
