/**
 * What a write of an object and of its clones becomes on each shard: every object that has a log entry is changed by its own
 * steps, behind a stash of its old state. The bytes of the head alone go through the code; clones, and what stands for a
 * removed head, are made and renamed where they are: a clone of an object is a clone of each of its shards.
 *
 * Invariants
 * 1. An object that was there before has a stash under its own entry's version; one that the write makes has none: what
 *    undoes its entry removes it.
 * 2. Objects change in the order of their entries, clones first: they are made of the head as it was.
 * 3. Which clones serve a snapshot stays listed until nothing is left of the snapshot. Otherwise the clone that undoing a trim
 *    brings back would be listed nowhere, and stay for ever.
 */
import type { PgId } from '@shoal/base'
import type { ErasureCode, StripeLayout } from '@shoal/erasure'
import { compareVersions, type ObjectId, objectKey, sameObjectIds, type TransactionOp, zeroVersion } from '@shoal/wire'
import type { HeadStates } from '../backend.ts'
import type { LogEntry } from '../pg-log.ts'
import { stashName, stashNamespace } from './rollback-log.ts'
import { ShardSteps, shardSteps } from './shard-steps.ts'

export interface FamilyWrite {
  readonly layout: StripeLayout
  readonly code: ErasureCode
  /** By shard. */
  readonly collections: readonly PgId[]
  /** One of each object that changes; that of the head, if it changes, is the last. */
  readonly entries: readonly LogEntry[]
  /** Of the objects as a whole. */
  readonly steps: readonly TransactionOp[]
  /** With the stripes that `stripesToLoad` named. Left out: no bytes change, attributes only. */
  readonly head?: HeadStates | undefined
}

export function familySteps(write: FamilyWrite): ShardSteps {
  const { collections, entries, steps, head } = write
  const byShard: TransactionOp[][] = collections.map(() => [])
  for (const [at, entry] of entries.entries()) {
    const own = steps.filter((step) => isAbout(step, entry.object))
    const changesBytes = head !== undefined && at === entries.length - 1 && !own.some(({ kind }) => kind === 'clone')
    const made = changesBytes ? bytesChanged(write, entry, own, head) : renamed(write, entry, own)
    for (const [shard, more] of made.entries()) byShard[shard]?.push(...more)
  }
  for (const step of steps) {
    if (step.kind !== 'meta-set') continue
    for (const [shard, collection] of collections.entries()) byShard[shard]?.push({ ...step, collection })
  }
  return new ShardSteps(byShard)
}

/** A clone is about what it makes. */
function isAbout(step: TransactionOp, object: ObjectId): boolean {
  if (step.kind === 'clone') return sameObjectIds(step.to, object)
  return 'object' in step && sameObjectIds(step.object, object)
}

function bytesChanged(
  { layout, code, collections }: FamilyWrite,
  { object, version }: LogEntry,
  steps: readonly TransactionOp[],
  { before, after }: HeadStates,
): ShardSteps['byShard'] {
  return shardSteps({ layout, code, collections, object, version, steps, before, after }).byShard
}

function renamed(
  { collections }: FamilyWrite,
  { object, version, priorVersion }: LogEntry,
  steps: readonly TransactionOp[],
): ShardSteps['byShard'] {
  const existed = compareVersions(priorVersion, zeroVersion) > 0
  const isReplaced = steps.some(({ kind }) => kind === 'remove' || kind === 'clone')
  const left = steps.filter(({ kind }) => kind !== 'remove')
  return collections.map((collection) => {
    const stash: TransactionOp = {
      kind: isReplaced ? 'rename' : 'clone',
      collection,
      object,
      to: stashName(object, version),
    }
    const moved = left.map((step): TransactionOp => ({ ...step, collection }))
    return existed ? [stash, ...moved] : moved
  })
}

/** Keys of the stashes that the steps of one shard make. */
export function stashesIn(ops: readonly TransactionOp[]): ReadonlySet<string> {
  const keys = new Set<string>()
  for (const op of ops) {
    if ((op.kind === 'clone' || op.kind === 'rename') && op.to.namespace === stashNamespace) keys.add(objectKey(op.to))
  }
  return keys
}

/** Where an object of one shard is made from another one. */
export function sourceOf(ops: readonly TransactionOp[], object: ObjectId): ObjectId | undefined {
  for (const op of ops) if (op.kind === 'clone' && sameObjectIds(op.to, object)) return op.object
  return undefined
}
