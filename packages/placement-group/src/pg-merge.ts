/**
 * Two placement groups become one, in the epoch in which their pool's pg_num shrinks (Ceph: PG::merge_from). Each OSD merges
 * what it has by itself. docs/mechanisms/merge.md
 *
 * Nothing was written to either since both said how far they had been written (`DoneMerge`). A copy of both that was written
 * up to there, and is filled, is *exact*: with others like it it is the merged placement group. All else is filled anew.
 *
 * Invariant 1: exact copies are equal in what peering compares: their log is empty, and begins and ends at a version that
 *              follows from the two and the epoch, above all that either ever had.
 * Invariant 2: of a copy that is not exact nobody believes anything: its cursor is at the start.
 * Invariant 3: a request that was done in either is known in the merged one, and none counts as over that a client may
 *              still wait for: what its client said of one of the two says nothing of the other.
 */
import type { Epoch, PgId } from '@shoal/base'
import type { DoneMerge } from '@shoal/cluster-map'
import { formatVersion, type TransactionOp, type Version } from '@shoal/wire'
import { MissingSet } from './missing-set.ts'
import { backfillComplete, backfillStart, type PgInfo } from './pg-info.ts'
import { PgLog } from './pg-log.ts'
import {
  clearLog,
  clearMergeMark,
  clearMissing,
  type StoredPg,
  setMissing,
  setRecord,
  setTrimmedRequests,
} from './pg-store.ts'
import { mergeRequests } from './request-table.ts'
import { clearScrubRecord } from './scrub-record.ts'

export interface MergedPg {
  readonly stored: StoredPg
  /**
   * What makes the store hold `stored`, of a collection that has the objects of both and the mark of `markMerge`. One
   * transaction, with the removal of the source's collection.
   */
  readonly steps: readonly TransactionOp[]
}

/** Where the log of the merged placement group begins. */
function mergedVersion(epoch: Epoch, source: Version, target: Version): Version {
  return { epoch, version: Math.max(source.version, target.version) + 1 }
}

/** Whether the target's copy is of after the merge: a crash came between it and the next record. */
export function isMergedAlready({ log }: StoredPg, { epoch }: DoneMerge): boolean {
  return log.head.epoch >= epoch
}

/** `source`: undefined where this OSD has no copy of it. `done`: undefined where maps are gone that would tell. */
export function mergeCopies(
  target: StoredPg,
  source: StoredPg | undefined,
  collection: PgId,
  done: DoneMerge | undefined,
): MergedPg {
  const exact = source !== undefined && done !== undefined && isExact(target, source, done)
  return exact ? exactCopy(target, source, collection, done.epoch) : doubtfulCopy(target, source, collection)
}

function isExact(target: StoredPg, source: StoredPg, { sourceVersion, targetVersion }: DoneMerge): boolean {
  const upTo = ({ log, record }: StoredPg, version: string): boolean =>
    formatVersion(log.head) === version && record.info.lastBackfill.kind === 'complete'
  return upTo(target, targetVersion) && upTo(source, sourceVersion)
}

function exactCopy(target: StoredPg, source: StoredPg, collection: PgId, epoch: Epoch): MergedPg {
  const head = mergedVersion(epoch, source.log.head, target.log.head)
  const log = new PgLog(head, [], mergeRequests(target.log.openRequests(), source.log.openRequests()))
  const missing = new MissingSet([...target.missing.values(), ...source.missing.values()])
  const [a, b] = [target.record.info, source.record.info]
  const info: PgInfo = {
    lastUpdate: head,
    logTail: head,
    lastBackfill: backfillComplete,
    lastEpochStarted: later(a.lastEpochStarted, b.lastEpochStarted),
    history: {
      epochCreated: a.history.epochCreated,
      lastEpochStarted: later(a.history.lastEpochStarted, b.history.lastEpochStarted),
      lastEpochClean: later(a.history.lastEpochClean, b.history.lastEpochClean),
    },
    missingCount: missing.size,
    objects: a.objects + b.objects,
    bytes: a.bytes + b.bytes,
  }
  const stored = { record: { ...target.record, info }, log, missing, scrub: undefined, temporaries: [], stashes: [] }
  return { stored, steps: storeSteps(collection, stored) }
}

/** What was missing is backfilled with the rest: what lies there in its place goes, as in `distrustCopy`. */
function doubtfulCopy(target: StoredPg, source: StoredPg | undefined, collection: PgId): MergedPg {
  const log = new PgLog(target.log.head, [], target.log.openRequests().requests)
  const { info } = target.record
  const doubtful: PgInfo = { ...info, logTail: log.head, lastBackfill: backfillStart, missingCount: 0 }
  const record = { ...target.record, info: doubtful }
  const stored = { record, log, missing: new MissingSet(), scrub: undefined, temporaries: [], stashes: [] }
  const gone = [...target.missing.values(), ...(source?.missing.values() ?? [])]
  return {
    stored,
    steps: [
      ...gone.map(({ object }): TransactionOp => ({ kind: 'remove', collection, object })),
      ...storeSteps(collection, stored),
    ],
  }
}

function storeSteps(collection: PgId, { record, log, missing }: StoredPg): readonly TransactionOp[] {
  return [
    clearLog(collection),
    clearMissing(collection),
    setMissing(collection, missing.values()),
    setTrimmedRequests(collection, log.trimmedRequests),
    clearScrubRecord(collection),
    setRecord(collection, record),
    clearMergeMark(collection),
  ]
}

function later(a: Epoch, b: Epoch): Epoch {
  return a > b ? a : b
}
