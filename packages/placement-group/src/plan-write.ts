/** What a write that was executed, or that failed, becomes: its log entry, and the steps of its transaction. */
import { type ErrorCode, errorTable } from '@shoal/base'
import { type ClientOp, type TransactionOp, type Version, zeroVersion } from '@shoal/wire'
import type { PgCore } from './core.ts'
import type { ObjectState } from './effects.ts'
import { encodeObjectAttribute, objectAttributeName, versionOf } from './object-attribute.ts'
import type { CachedObject, Execution } from './op-executor.ts'
import type { LogEntry } from './pg-log.ts'

export interface PlannedWrite {
  /** The last is the write's own. */
  readonly entries: readonly LogEntry[]
  readonly steps: readonly TransactionOp[]
  /** The object, once the write is applied. */
  readonly after: CachedObject
}

export function nextVersion(core: PgCore): Version {
  return { epoch: core.map.epoch, version: core.log.head.version + 1 }
}

export function planWrite(
  core: PgCore,
  op: ClientOp,
  before: ObjectState,
  execution: Extract<Execution, { kind: 'done' }>,
): PlannedWrite {
  const version = nextVersion(core)
  const { after } = execution
  const steps = [...execution.steps]
  const modifiedMs = core.clock.wallMs()
  let xattrs = after.xattrs
  if (after.exists) {
    const { request } = op
    const attribute = encodeObjectAttribute({ version, userVersion: version.version, modifiedMs, request })
    xattrs = new Map(xattrs).set(objectAttributeName, attribute)
    const attributes = new Map([[objectAttributeName, attribute]])
    steps.push({ kind: 'set-xattrs', collection: core.pgId, object: op.object, xattrs: attributes })
  }
  const entry: LogEntry = {
    kind: after.exists ? 'modify' : 'delete',
    version,
    priorVersion: before.exists ? versionOf(before.xattrs.get(objectAttributeName)) : zeroVersion,
    object: op.object,
    request: op.request,
    oldestTid: op.oldestTid,
    modifiedMs,
    errno: 0,
    // After a split of a copy that missed objects, these were not counted (docs/mechanisms/split.md).
    pgObjects: Math.max(0, core.objects + (after.exists ? 1 : 0) - (before.exists ? 1 : 0)),
    pgBytes: Math.max(0, core.bytes + after.sizeBytes - before.sizeBytes),
  }
  return { entries: [entry], steps, after: { exists: after.exists, sizeBytes: after.sizeBytes, xattrs } }
}

/**
 * A failure that depends on the object is ordered like a write, so that a resend fails again instead of succeeding after
 * its client has been told that it failed. (Ceph logs such errors, too.)
 */
export function planFailure(core: PgCore, op: ClientOp, code: ErrorCode): LogEntry {
  return {
    kind: 'error',
    version: nextVersion(core),
    priorVersion: zeroVersion,
    object: op.object,
    request: op.request,
    oldestTid: op.oldestTid,
    modifiedMs: core.clock.wallMs(),
    errno: errorTable[code].errno,
    pgObjects: core.objects,
    pgBytes: core.bytes,
  }
}
