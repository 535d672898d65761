/**
 * Brings each member its share of a write, and tells them which entries are on all of them, so that nobody keeps longer
 * than needed what it takes to undo one.
 */
import { assert, type OsdId } from '@shoal/base'
import { compareVersions, type ObjectId, objectKey, type TransactionOp, type Version } from '@shoal/wire'
import type { WriteSteps } from '../backend.ts'
import type { PgCore } from '../core.ts'
import { shardOf } from '../member.ts'
import type { LogEntry } from '../pg-log.ts'
import { removeMissing, setMissing } from '../pg-store.ts'
import { WriteReplicator } from '../write-replicator.ts'
import { type RollbackLog, stashName } from './rollback-log.ts'
import { sourceOf, stashesIn } from './shard-family.ts'
import { ShardSteps } from './shard-steps.ts'

/** The version below which every entry is on every member, when these are under way, oldest first. */
export function settledBelow(core: PgCore, oldest: Version | undefined): Version {
  const { head } = core.log
  return oldest ?? { epoch: head.epoch, version: head.version + 1 }
}

export interface StoredSubWrite {
  /** For the member's own store: what it was sent, its log, and the stashes that the write makes and ends. */
  readonly steps: readonly TransactionOp[]
  /** What `spoiledBy` tells; they are missing from now on. */
  readonly spoiled: readonly ObjectId[]
}

export function storeSubWrite(
  core: PgCore,
  entries: readonly LogEntry[],
  ops: readonly TransactionOp[],
  trimTo: Version,
  below: Version,
): StoredSubWrite {
  const steps: TransactionOp[] = [...ops]
  if (entries.length > 0) steps.push(core.appendLog(entries))
  const { rollback } = core
  assert(rollback !== undefined, 'a shard keeps what it takes to undo a write')
  const spoiled = spoiledBy(core, entries, ops)
  if (ops.length > 0) {
    const stashes = stashesIn(ops)
    for (const { object, version } of entries) if (spoiled.includes(object)) core.missing.set({ object, need: version })
    for (const entry of entries) {
      const makesStash = stashes.has(objectKey(stashName(entry.object, entry.version)))
      steps.push(...applied(core, rollback, entry, makesStash))
    }
  }
  steps.push(...rollback.rollForward(below), ...core.trimLog(trimTo))
  return { steps, spoiled }
}

/**
 * Objects that the steps make here from a shard that is missing, though it was not when they were ordered: it turned out to
 * be bad meanwhile, and so is what is made of it.
 */
export function spoiledBy(
  { missing }: PgCore,
  entries: readonly LogEntry[],
  ops: readonly TransactionOp[],
): readonly ObjectId[] {
  if (missing.size === 0) return []
  return entries
    .map(({ object }) => object)
    .filter((object) => {
      const source = missing.has(object) ? undefined : sourceOf(ops, object)
      return source !== undefined && missing.has(source)
    })
}

function applied(core: PgCore, rollback: RollbackLog, entry: LogEntry, makesStash: boolean): readonly TransactionOp[] {
  const { object, version } = entry
  if (entry.kind === 'error') return []
  const steps: TransactionOp[] = makesStash ? [rollback.add(entry)] : []
  if (!core.missing.has(object)) return steps
  // It turned out to be bad while the write was on its way: it is missing still, but in the new version.
  if (entry.kind === 'delete') {
    core.missing.delete(object)
    return [...steps, removeMissing(core.pgId, [object])]
  }
  core.missing.set({ object, need: version })
  return [...steps, setMissing(core.pgId, [{ object, need: version }])]
}

export class ShardReplicator<Q> extends WriteReplicator<Q> {
  onIdle: (() => void) | undefined

  protected override distribute(
    tid: number,
    members: ReadonlySet<OsdId>,
    entries: readonly LogEntry[],
    steps: WriteSteps,
    _memberSteps: WriteSteps,
    onCommit: () => void,
  ): void {
    const { core, targets } = this
    const { object } = entries[entries.length - 1] as LogEntry
    const byShard = steps instanceof ShardSteps ? steps.byShard : []
    const below = settledBelow(core, this.oldestInFlight)
    const applies = (member: OsdId): boolean =>
      core.mapping.acting.includes(member) || targets.isWrittenTo(member, object)
    const opsOf = (member: OsdId): readonly TransactionOp[] => (applies(member) ? (byShard[shardOf(member)] ?? []) : [])
    const own = opsOf(core.whoami)
    const trim = this.trimPoint()
    // What may yet have to be undone stays in the log.
    const trimTo = compareVersions(trim, below) < 0 ? trim : core.log.tail
    for (const member of members) {
      if (member === core.whoami) continue
      const transaction = { ops: opsOf(member) }
      core.send(member, { kind: 'sub-write', tid, entries, trimTo, settledBelow: below, transaction })
    }
    core.transact(storeSubWrite(core, entries, own, trimTo, below).steps, onCommit)
  }

  protected override onAllDone(): void {
    this.onIdle?.()
  }
}
