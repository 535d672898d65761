/** Sets of snapshot ids, and the entry of a pool that has snapshots. */
import { decode, type Epoch, encode, hexEncode, poolId } from '@shoal/base'
import {
  countSnaps,
  emptySnapshots,
  hasSnap,
  intersectSnaps,
  type Pool,
  poolCodec,
  type SnapIntervals,
  snapshotExists,
  snapsToTrim,
  subtractSnaps,
  uniteSnaps,
  withoutSnapshot,
  withSnap,
} from '@shoal/cluster-map'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

const ids = fc.uniqueArray(fc.integer({ min: 1, max: 30 }))
const setOf = (snaps: readonly number[]): SnapIntervals => snaps.reduce<SnapIntervals>(withSnap, [])
const listOf = (set: SnapIntervals): readonly number[] =>
  set.flatMap(({ first, last }) => Array.from({ length: last - first + 1 }, (_, at) => first + at))
const sorted = (snaps: Iterable<number>): readonly number[] => [...snaps].sort((a, b) => a - b)

describe('sets of snapshots', () => {
  test('hold what they are given, in as few spans as can be', () => {
    expect(setOf([5, 1, 2, 4])).toEqual([
      { first: 1, last: 2 },
      { first: 4, last: 5 },
    ])
    expect(setOf([5, 1, 2, 4, 3])).toEqual([{ first: 1, last: 5 }])
  })

  test('are united, cut and compared as sets are', () => {
    fc.assert(
      fc.property(ids, ids, (a, b) => {
        const [one, other] = [setOf(a), setOf(b)]
        expect(listOf(uniteSnaps(one, other))).toEqual(sorted(new Set([...a, ...b])))
        expect(listOf(intersectSnaps(one, other))).toEqual(sorted(a.filter((snap) => b.includes(snap))))
        expect(listOf(subtractSnaps(one, other))).toEqual(sorted(a.filter((snap) => !b.includes(snap))))
        expect(countSnaps(one)).toBe(a.length)
        for (let snap = 0; snap < 32; snap++) expect(hasSnap(one, snap)).toBe(a.includes(snap))
      }),
    )
  })
})

const plain: Pool = {
  id: poolId(2),
  name: 'p',
  type: 'replicated',
  size: 3,
  minSize: 2,
  pgNum: 32,
  pgpNum: 32,
  crushRule: 0,
  hashPool: true,
  created: 7 as Epoch,
  lastChange: 8 as Epoch,
  applications: [],
  options: new Map(),
}

describe('a pool with snapshots', () => {
  const snapshots = {
    mode: 'pool' as const,
    seq: 3,
    snaps: [{ id: 3, name: 's', createdMs: 1.5 }],
    removed: [{ first: 1, last: 2 }],
    purged: [{ first: 1, last: 1 }],
  }

  test('is written in a version that who does not know of snapshots refuses; without them nothing is different', () => {
    const bytes = hexEncode(encode(poolCodec, { ...plain, snapshots }))
    expect(bytes.slice(0, 4)).toBe('0202')
    expect(bytes.slice(hexEncode(encode(poolCodec, plain)).length)).toBe(
      '0003000000000000000100000003000000000000000100000073000000000000f83f' +
        '0100000001000000000000000200000000000000' +
        '0100000001000000000000000100000000000000',
    )
    expect(decode(poolCodec, encode(poolCodec, { ...plain, snapshots }))).toEqual({ ...plain, snapshots })
    expect(hexEncode(encode(poolCodec, plain)).slice(0, 4)).toBe('0101')
  })

  test('has those that were made and not removed', () => {
    expect([0, 1, 2, 3, 4].filter((snap) => snapshotExists(snapshots, snap))).toEqual([3])
    const managed = withoutSnapshot({ ...emptySnapshots('selfmanaged'), seq: 3 }, 2)
    expect([0, 1, 2, 3, 4].filter((snap) => snapshotExists(managed, snap))).toEqual([1, 3])
    expect(snapshotExists(undefined, 1)).toBe(false)
  })

  test('owes the removal of what is not purged', () => {
    expect(listOf(snapsToTrim(snapshots))).toEqual([2])
    expect(withoutSnapshot(snapshots, 3)).toMatchObject({ snaps: [], removed: [{ first: 1, last: 3 }] })
  })
})
