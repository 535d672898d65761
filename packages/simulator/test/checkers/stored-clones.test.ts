/** What the checker of stored clones takes for broken. */
import { type Codec, encode, type PoolId, versioned } from '@shoal/base'
import { headSnap, type ObjectId, type SnapSet, snapDirSnap, snapIdsCodec, snapSetCodec } from '@shoal/wire'
import { expect, test } from 'vitest'
import { checkStoredClones } from '../../src/checkers/stored-clones.ts'
import type { ReplicaCopy, StoredCopy } from '../../src/index.ts'

const setCodec: Codec<SnapSet> = versioned<SnapSet>(1, 1, 'snapset', snapSetCodec)
const snapsCodec: Codec<readonly number[]> = versioned<readonly number[]>(1, 1, 'snaps of a clone', snapIdsCodec)

const id = (snap: number): string =>
  JSON.stringify({ pool: 1 as PoolId, hash: 7, namespace: '', name: 'a', snap } satisfies ObjectId)
const copy = (name: string, value: Uint8Array): StoredCopy => ({
  data: new Uint8Array(0),
  xattrs: new Map([[name, value]]),
  omapHeader: new Uint8Array(0),
  omap: [],
})
const clone = (...snaps: readonly number[]): StoredCopy => copy('_snaps', encode(snapsCodec, snaps).slice())
const keeper = (...clones: readonly (readonly number[])[]): StoredCopy => {
  const set = { seq: 9, clones: clones.map((snaps) => ({ id: snaps[0] as number, snaps, sizeBytes: 0, overlap: [] })) }
  return copy('_snapset', encode(setCodec, set).slice())
}

function violations(
  objects: readonly (readonly [number, StoredCopy])[],
  gone: readonly number[] = [],
  unreadable: readonly number[] = [],
): readonly string[] {
  const replica: ReplicaCopy = {
    pgId: '1.0',
    osd: 2,
    objects: new Map(objects.map(([snap, stored]) => [id(snap), stored])),
    unreadable: new Set(unreadable.map(id)),
  }
  return checkStoredClones(replica, new Set(gone)).map(({ message }) => message)
}

test('clones that a head, or what stands for it, names are as they should be', () => {
  expect(
    violations(
      [
        [4, clone(4, 3)],
        [headSnap, keeper([4, 3])],
      ],
      [2],
    ),
  ).toEqual([])
  expect(
    violations([
      [4, clone(4)],
      [snapDirSnap, keeper([4])],
    ]),
  ).toEqual([])
})

test('a clone for a removed snapshot, without a name, with other snapshots, or that is not there', () => {
  expect(
    violations(
      [
        [4, clone(4, 3)],
        [headSnap, keeper([4, 3])],
      ],
      [3],
    ),
  ).toEqual([expect.stringContaining('serves removed snapshots: 3')])
  expect(
    violations([
      [4, clone(4)],
      [headSnap, keeper()],
    ]),
  ).toEqual([expect.stringContaining('named by no snapset')])
  expect(violations([[4, clone(4)]])).toEqual([expect.stringContaining('named by no snapset')])
  expect(
    violations([
      [4, clone(4)],
      [headSnap, keeper([4, 3])],
    ]),
  ).toEqual([expect.stringContaining('says 4,3')])
  expect(violations([[headSnap, keeper([4])]])).toEqual([expect.stringContaining('clone 4, which is not there')])
})

test('what rots where it may is not held against anybody', () => {
  expect(violations([[headSnap, keeper([4])]], [], [4])).toEqual([])
  expect(violations([[4, clone(4)]], [], [headSnap])).toEqual([])
})
