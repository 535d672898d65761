/**
 * Clones as they lie on a disk once nothing happens any more: one for each that a snapset names, none besides, and none that
 * serves a snapshot which was removed. Attributes as in docs/formats/placement-group.md.
 */
import { type Codec, decode, emptyBytes, versioned } from '@shoal/base'
import {
  headOf,
  isClone,
  type ObjectId,
  objectKey,
  type SnapClone,
  type SnapSet,
  snapDirOf,
  snapIdsCodec,
  snapSetCodec,
} from '@shoal/wire'
import type { ReplicaCopy, StoredCopy, Violation } from '../history.ts'

const setCodec: Codec<SnapSet> = versioned<SnapSet>(1, 1, 'snapset', snapSetCodec)
const snapsCodec: Codec<readonly number[]> = versioned<readonly number[]>(1, 1, 'snaps of a clone', snapIdsCodec)

function clonesIn(copy: StoredCopy | undefined): readonly SnapClone[] {
  const encoded = copy?.xattrs.get('_snapset')
  return encoded === undefined ? [] : decode(setCodec, encoded).clones
}

/** `gone`: snapshots that were surely removed. */
export function checkStoredClones(replica: ReplicaCopy, gone: ReadonlySet<number>): readonly Violation[] {
  const { pgId, osd, objects } = replica
  const found: Violation[] = []
  const report = (object: ObjectId, message: string): void => {
    const where = `osd.${osd} ${pgId}: ${object.name}@${object.snap}`
    found.push({ checker: 'stored-clones', object: object.name, message: `${where} ${message}` })
  }
  const stored = [...objects].map(([key, copy]) => ({ object: JSON.parse(key) as ObjectId, copy }))
  const unread = new Set([...(replica.unreadable ?? [])].map((key) => objectKey(JSON.parse(key) as ObjectId)))
  const byKey = new Map(stored.map(({ object, copy }) => [objectKey(object), copy]))
  for (const { object, copy } of stored) {
    if (!isClone(object)) {
      for (const { id } of clonesIn(copy)) {
        const key = objectKey({ ...object, snap: id })
        if (!byKey.has(key) && !unread.has(key)) report(object, `names clone ${id}, which is not there`)
      }
      continue
    }
    const snaps = decode(snapsCodec, copy.xattrs.get('_snaps') ?? emptyBytes)
    const left = snaps.filter((snap) => gone.has(snap))
    if (left.length > 0) report(object, `serves removed snapshots: ${left.join(', ')}`)
    if (unread.has(objectKey(headOf(object))) || unread.has(objectKey(snapDirOf(object)))) continue
    const keeper = byKey.get(objectKey(headOf(object))) ?? byKey.get(objectKey(snapDirOf(object)))
    const named = clonesIn(keeper).find(({ id }) => id === object.snap)
    if (named === undefined) report(object, 'is named by no snapset')
    else if (named.snaps.join() !== snaps.join()) report(object, `serves ${snaps}, its snapset says ${named.snaps}`)
  }
  return found
}
