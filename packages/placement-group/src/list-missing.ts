/**
 * Lists of objects name those, too, that this copy has yet to get: the store, which is asked, does not know them.
 * (Counter-example: a primary that was down while objects were made, and lists before it has recovered them.)
 */
import { compareObjectIds, headSnap, type ObjectId, type ObjectOp, type ObjectOpResult, objectKey } from '@shoal/wire'
import type { MissingSet } from './missing-set.ts'

/** A page is not made smaller than this for the sake of what is missing. */
const pageMin = 256

/** What was missing when the store was asked, for each step that lists; undefined when nothing is to be added. */
export function missingForLists(ops: readonly ObjectOp[], missing: MissingSet): readonly ObjectId[] | undefined {
  if (missing.size === 0 || !ops.some((op) => op.kind === 'list-objects')) return undefined
  const objects = [...missing.values()].map(({ object }) => object)
  return objects.filter(({ snap }) => snap === headSnap).sort(compareObjectIds)
}

export function withMissing(
  op: ObjectOp | undefined,
  result: ObjectOpResult,
  missing: readonly ObjectId[],
): ObjectOpResult {
  if (op?.kind !== 'list-objects' || result.kind !== 'objects') return result
  const { after, limit } = op
  const last = result.more ? result.objects.at(-1) : undefined
  const named = new Set(result.objects.map(objectKey))
  const inPage = missing.filter(
    (object) =>
      !named.has(objectKey(object)) &&
      (after === undefined || compareObjectIds(object, after) > 0) &&
      (last === undefined || compareObjectIds(object, last) <= 0),
  )
  if (inPage.length === 0) return result
  const objects = [...result.objects, ...inPage].sort(compareObjectIds)
  const most = Math.min(limit, Math.max(result.objects.length, pageMin))
  return { ...result, objects: objects.slice(0, most), more: result.more || objects.length > most }
}
