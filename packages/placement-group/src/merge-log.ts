/**
 * Makes one copy's log the authoritative one, and says what that means for its objects. Primary and replica run this same
 * function on the same inputs, so that the primary knows what each replica misses without asking twice.
 *
 * An entry that only the copy has is *divergent*: it was ordered by a primary that could not finish it, so nobody was
 * told that it happened. Where its effect on the object cannot be undone, the object is fetched in the version before, or
 * removed if there was none. A shard is brought back from what it keeps for that (erasure/rollback-log.ts).
 */
import { assert } from '@shoal/base'
import { compareVersions, type ObjectId, objectKey, type Version } from '@shoal/wire'
import type { MissingSet } from './missing-set.ts'
import { type BackfillCursor, isFilled } from './pg-info.ts'
import type { LogEntry, LogSegment } from './pg-log.ts'

export interface MergeResult {
  readonly divergent: readonly LogEntry[]
  /** Entries of the segment that the copy's log does not hold; those it has trimmed included. */
  readonly added: readonly LogEntry[]
  /** Objects whose local copy must go: removed since, or written only by divergent entries. */
  readonly removed: readonly ObjectId[]
  /** Keys of objects whose divergent changes are undone from what the copy keeps. */
  readonly undone: ReadonlySet<string>
}

/** Whether a log that ends at `head` and holds `entries` can be brought up to date by the segment. */
export function isContiguous(head: Version, segment: LogSegment): boolean {
  return compareVersions(head, segment.tail) >= 0
}

/**
 * `local` is the copy's log, `missing` its missing set, which is brought up to date. Entries about objects that the
 * backfill cursor has not reached change the log only. `canUndo`: whether the copy can take a change back by itself.
 */
export function mergeLog(
  local: {
    readonly tail: Version
    readonly head: Version
    readonly entries: readonly LogEntry[]
    readonly cursor: BackfillCursor
  },
  missing: MissingSet,
  segment: LogSegment,
  canUndo?: (entry: LogEntry) => boolean,
): MergeResult {
  assert(isContiguous(local.head, segment), 'logs overlap')
  const theirs = new Set(segment.entries.map((entry) => `${entry.version.epoch}'${entry.version.version}`))
  const above = local.entries.filter((entry) => compareVersions(entry.version, segment.tail) > 0)
  const divergent = above.filter((entry) => !theirs.has(`${entry.version.epoch}'${entry.version.version}`))
  const ours = new Set(above.map((entry) => `${entry.version.epoch}'${entry.version.version}`))
  const added = segment.entries.filter((entry) => !ours.has(`${entry.version.epoch}'${entry.version.version}`))
  const removed = new Map<string, ObjectId>()
  const stuck = new Set(canUndo === undefined ? [] : divergent.filter((one) => !canUndo(one)).map(keyOfEntry))
  const undone = new Set<string>()
  for (const [object, prior] of rewind(divergent)) {
    if (!isFilled(local.cursor, object)) continue
    const key = objectKey(object)
    if (canUndo !== undefined && prior.version !== 0 && !stuck.has(key) && !missing.has(object)) {
      undone.add(key)
    } else if (prior.version === 0) {
      missing.delete(object)
      removed.set(objectKey(object), object)
    } else {
      missing.set({ object, need: prior })
    }
  }
  for (const entry of added) {
    if (entry.kind === 'error') continue
    // What this copy has trimmed it has applied.
    if (compareVersions(entry.version, local.tail) <= 0 || !isFilled(local.cursor, entry.object)) continue
    if (entry.kind === 'delete') {
      missing.delete(entry.object)
      removed.set(objectKey(entry.object), entry.object)
    } else {
      missing.set({ object: entry.object, need: entry.version })
      // A removal before it was of the version before: what there is will be replaced as a whole.
      removed.delete(objectKey(entry.object))
    }
  }
  return { divergent, added, removed: [...removed.values()], undone }
}

function keyOfEntry({ object }: LogEntry): string {
  return objectKey(object)
}

/** Each object of the divergent entries with its version before the first of them. */
function rewind(divergent: readonly LogEntry[]): readonly (readonly [ObjectId, Version])[] {
  const prior = new Map<string, readonly [ObjectId, Version]>()
  for (const entry of divergent) {
    if (entry.kind === 'error') continue
    const key = objectKey(entry.object)
    if (!prior.has(key)) prior.set(key, [entry.object, entry.priorVersion])
  }
  return [...prior.values()]
}
