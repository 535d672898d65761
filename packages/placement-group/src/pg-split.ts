/**
 * A placement group becomes several, in the epoch in which its pool's pg_num grows (Ceph: PG::split_into). Every copy is
 * split by itself, from what it has: the members agree because they all divide by the hash of names. docs/mechanisms/split.md
 *
 *     log entries, missing objects   to the part of their object
 *     head and tail of the log       to all
 *     requests without an entry      to all: a resend may reach any of them
 *     history, past intervals        to all: who may have written is the same question for each
 *     backfill cursor                to all: it is a place in the order of objects, not an object
 *     snapshots that are purged      to all: of none of the whole's clones is anything left
 *     records of snapshots           to the part of their clone, page by page, by `divideSnapRecords`
 *     what scrub found               to none: each part is scrubbed anew
 *
 * Invariant 1: two copies of a part are as far apart as the copies of the whole were. Counter-example where a part's head
 *              is its own last entry: two equal copies of a part without entries have their tails as heads, one of them
 *              was trimmed further than the other, and looks newer than its equal.
 * Invariant 2: the newest entry of a part counts the objects and bytes of the part.
 */
import { type PgId, pgSeed } from '@shoal/base'
import type { ObjectId, TransactionOp } from '@shoal/wire'
import { MissingSet } from './missing-set.ts'
import { type LogEntry, PgLog } from './pg-log.ts'
import {
  clearSplitMark,
  cloneOfSnapRecord,
  removeLogEntries,
  removeMissing,
  type StoredPg,
  setLogEntries,
  setMissing,
  setRecord,
  setTrimmedRequests,
} from './pg-store.ts'
import { clearScrubRecord } from './scrub-record.ts'

export interface PgPart {
  readonly pgId: PgId
  readonly objects: number
  readonly bytes: number
}

export interface SplitPart {
  readonly stored: StoredPg
  /** What makes the store hold `stored`, of a collection that has the part's objects already. One transaction. */
  readonly steps: readonly TransactionOp[]
}

/** The seed that an object with this hash has from now on. */
export type SeedOf = (hash: number) => number

/** The part that keeps the id. `whole`: as it was when it stopped. */
export function splitRemainder(whole: StoredPg, part: PgPart, seedOf: SeedOf): SplitPart {
  const stored = partOf(whole, part, seedOf)
  const isGone = ({ object }: { readonly object: ObjectId }) => !belongs(part, object, seedOf)
  const missing = [...whole.missing.values()].filter(isGone).map(({ object }) => object)
  const last = stored.log.all().at(-1)
  return {
    stored,
    steps: [
      removeLogEntries(part.pgId, whole.log.all().filter(isGone)),
      removeMissing(part.pgId, missing),
      ...(last === undefined ? [] : [setLogEntries(part.pgId, [last])]),
      clearScrubRecord(part.pgId),
      setRecord(part.pgId, stored.record),
    ],
  }
}

/** A part that is new, in a collection that was marked with `markSplit`. */
export function splitChild(whole: StoredPg, part: PgPart, seedOf: SeedOf): SplitPart {
  const stored = partOf(whole, part, seedOf)
  const { log, missing, record } = stored
  return {
    stored,
    steps: [
      setLogEntries(part.pgId, log.all()),
      setMissing(part.pgId, missing.values()),
      setTrimmedRequests(part.pgId, log.trimmedRequests),
      setRecord(part.pgId, record),
      clearSplitMark(part.pgId),
    ],
  }
}

/**
 * Records of snapshots by the seed of the part that they belong to; `keys` are those of one page of the whole's, between
 * the bounds of `allSnapRecords`.
 */
export function divideSnapRecords(
  keys: readonly Uint8Array[],
  seedOf: SeedOf,
): ReadonlyMap<number, readonly Uint8Array[]> {
  const bySeed = new Map<number, Uint8Array[]>()
  for (const key of keys) {
    const seed = seedOf(cloneOfSnapRecord(key).hash)
    const ofPart = bySeed.get(seed)
    if (ofPart === undefined) bySeed.set(seed, [key])
    else ofPart.push(key)
  }
  return bySeed
}

function belongs({ pgId }: PgPart, object: ObjectId, seedOf: SeedOf): boolean {
  return seedOf(object.hash) === pgSeed(pgId)
}

function partOf(whole: StoredPg, part: PgPart, seedOf: SeedOf): StoredPg {
  const { info, pastIntervals, interval } = whole.record
  const { objects, bytes } = part
  const missing = new MissingSet([...whole.missing.values()].filter(({ object }) => belongs(part, object, seedOf)))
  const entries: LogEntry[] = whole.log.all().filter(({ object }) => belongs(part, object, seedOf))
  const last = entries.pop()
  if (last !== undefined) entries.push({ ...last, pgObjects: objects, pgBytes: bytes })
  const { head, tail, trimmedRequests } = whole.log
  const log = new PgLog(tail, entries, trimmedRequests, head)
  const ofPart = { ...info, lastUpdate: head, logTail: tail, missingCount: missing.size, objects, bytes }
  return {
    record: { info: ofPart, pastIntervals, interval },
    log,
    missing,
    scrub: undefined,
    temporaries: [],
    stashes: [],
  }
}
