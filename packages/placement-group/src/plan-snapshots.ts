/**
 * What a write becomes on an object that has clones, or gets one: the head is cloned first, in the same transaction, and
 * each object that changes has a log entry of its own. The write's own entry is the last: it carries the request. Pure.
 *
 * Durable before what: a clone, its record of snapshots and the head that follows it are one transaction; so are a trimmed
 * clone and the snapset without it. Nothing in between can be seen, by whatever crash.
 */
import { hasSnap } from '@shoal/cluster-map'
import {
  type ClientOp,
  cloneOf,
  type ObjectId,
  type SnapContext,
  type SnapSet,
  snapDirOf,
  type TransactionOp,
  type Version,
  zeroVersion,
} from '@shoal/wire'
import type { PgCore } from './core.ts'
import type { ObjectState } from './effects.ts'
import {
  decodeObjectAttribute,
  encodeObjectAttribute,
  type ObjectAttribute,
  objectAttributeName,
  staysWithHead,
  versionOf,
} from './object-attribute.ts'
import type { CachedObject, Execution } from './op-executor.ts'
import type { LogEntry } from './pg-log.ts'
import { removeSnapRecords, setSnapRecords } from './pg-store.ts'
import { nextVersion, type PlannedWrite } from './plan-write.ts'
import {
  afterRollback,
  afterSteps,
  cloneBytes,
  encodeSnapSet,
  encodeSnaps,
  noSnapSet,
  snapSetAttribute,
  snapsAttribute,
  snapsSince,
  withClone,
  withoutClone,
  withSnapsOf,
} from './snap-set.ts'

/** What is known of an object besides itself. */
export interface Family {
  /** Undefined: it was never written in the context of a snapshot. */
  readonly set: SnapSet | undefined
  /** What stands for a head that is removed; loaded only where there is no head. */
  readonly dir: ObjectState | undefined
}

export interface PlannedSnapWrite extends PlannedWrite {
  /** The snapdir afterwards, if it is another. */
  readonly dirAfter: CachedObject | undefined
  readonly cloned: boolean
}

/** Of entries that no client asked for. */
const noRequest = { client: 0, tid: 0 }

const missing: CachedObject = { exists: false, sizeBytes: 0, xattrs: new Map() }

/** Steps and entries of one transaction in the making. */
class Draft {
  readonly steps: TransactionOp[] = []
  private readonly core: PgCore
  private readonly drafts: Omit<LogEntry, 'pgObjects' | 'pgBytes'>[] = []
  private readonly modifiedMs: number

  constructor(core: PgCore) {
    this.core = core
    this.modifiedMs = core.clock.wallMs()
  }

  get version(): Version {
    const { epoch, version } = nextVersion(this.core)
    return { epoch, version: version + this.drafts.length }
  }

  get nowMs(): number {
    return this.modifiedMs
  }

  setXattrs(object: ObjectId, xattrs: ReadonlyMap<string, Uint8Array>): void {
    this.steps.push({ kind: 'set-xattrs', collection: this.core.pgId, object, xattrs })
  }

  log(
    kind: 'modify' | 'delete',
    object: ObjectId,
    priorVersion: Version,
    request: LogEntry['request'] = noRequest,
    oldestTid = 0,
  ): void {
    const { modifiedMs, version } = this
    this.drafts.push({ kind, version, priorVersion, object, request, oldestTid, modifiedMs, errno: 0 })
  }

  entries(objects: number, bytes: number): readonly LogEntry[] {
    const pgObjects = Math.max(0, this.core.objects + objects)
    const pgBytes = Math.max(0, this.core.bytes + bytes)
    return this.drafts.map((draft) => ({ ...draft, pgObjects, pgBytes }))
  }
}

const bytesOf = (set: SnapSet | undefined): number => (set === undefined ? 0 : cloneBytes(set))
const clonesOf = (set: SnapSet | undefined): number => set?.clones.length ?? 0

function storedVersion(state: ObjectState | undefined): Version {
  return state?.exists === true ? versionOf(state.xattrs.get(objectAttributeName)) : zeroVersion
}

/** The same object in a newer version: what clients see of it stays as it was. */
function renewed(state: ObjectState, version: Version): Uint8Array {
  return encodeObjectAttribute({ ...attributeOf(state), version })
}

function attributeOf(state: ObjectState): ObjectAttribute {
  const encoded = state.xattrs.get(objectAttributeName)
  if (encoded !== undefined) return decodeObjectAttribute(encoded)
  return { version: zeroVersion, userVersion: 0, modifiedMs: 0, request: noRequest }
}

export function planSnapWrite(
  core: PgCore,
  op: ClientOp,
  before: ObjectState,
  family: Family,
  context: SnapContext | undefined,
  execution: Extract<Execution, { kind: 'done' }>,
): PlannedSnapWrite {
  const draft = new Draft(core)
  const head = op.object
  let set = family.set ?? noSnapSet
  const snaps = context === undefined || !before.exists ? [] : snapsSince(set, context)
  if (snaps.length > 0) {
    addClone(core, draft, head, before, snaps)
    set = withClone(set, snaps, before.sizeBytes)
  }
  set =
    execution.rolledBackTo === undefined
      ? afterSteps(set, execution.steps, head)
      : afterRollback(set, execution.rolledBackTo)
  if (context !== undefined && context.seq > set.seq) set = { ...set, seq: context.seq }
  draft.steps.push(...execution.steps)
  const { after } = execution
  const dirAfter = changeDir(core, draft, head, family.dir, after.exists ? undefined : set)
  let { xattrs } = after
  if (after.exists) {
    const version = draft.version
    const own = new Map([
      [
        objectAttributeName,
        encodeObjectAttribute({ version, userVersion: version.version, modifiedMs: draft.nowMs, request: op.request }),
      ],
    ])
    if ((set !== family.set || !xattrs.has(snapSetAttribute)) && (set.seq > 0 || set.clones.length > 0))
      own.set(snapSetAttribute, encodeSnapSet(set))
    draft.setXattrs(head, own)
    xattrs = new Map([...xattrs, ...own])
  }
  const prior = before.exists ? storedVersion(before) : zeroVersion
  draft.log(after.exists ? 'modify' : 'delete', head, prior, op.request, op.oldestTid)
  const kept = after.exists || dirAfter?.exists === true ? set : undefined
  const objects = (after.exists ? 1 : 0) - (before.exists ? 1 : 0) + clonesOf(kept) - clonesOf(family.set)
  const bytes = after.sizeBytes - before.sizeBytes + bytesOf(kept) - bytesOf(family.set)
  return {
    entries: draft.entries(objects, bytes),
    steps: draft.steps,
    after: { exists: after.exists, sizeBytes: after.sizeBytes, xattrs },
    dirAfter,
    cloned: snaps.length > 0,
  }
}

/** The head as it is, under the id of the newest of the snapshots. Locks hold for the head alone. */
function addClone(core: PgCore, draft: Draft, head: ObjectId, before: ObjectState, snaps: readonly number[]): void {
  const collection = core.pgId
  const clone = cloneOf(head, snaps[0] as number)
  const { version } = draft
  const names = [...before.xattrs.keys()].filter((name) => name === snapSetAttribute || staysWithHead(name))
  draft.steps.push({ kind: 'clone', collection, object: head, to: clone })
  if (names.length > 0) draft.steps.push({ kind: 'remove-xattrs', collection, object: clone, names })
  draft.setXattrs(
    clone,
    new Map([
      [objectAttributeName, renewed(before, version)],
      [snapsAttribute, encodeSnaps(snaps)],
    ]),
  )
  draft.steps.push(setSnapRecords(collection, clone, snaps))
  draft.log('modify', clone, zeroVersion)
}

/** `set`: what it has to keep; undefined where the head keeps it. Returns it as it is afterwards, undefined if it stays. */
function changeDir(
  core: PgCore,
  draft: Draft,
  head: ObjectId,
  dir: ObjectState | undefined,
  set: SnapSet | undefined,
): CachedObject | undefined {
  const collection = core.pgId
  const object = snapDirOf(head)
  if (set === undefined || set.clones.length === 0) {
    if (dir?.exists !== true) return undefined
    draft.steps.push({ kind: 'remove', collection, object })
    draft.log('delete', object, storedVersion(dir))
    return missing
  }
  const { version } = draft
  const xattrs = new Map([
    [
      objectAttributeName,
      encodeObjectAttribute({ version, userVersion: 0, modifiedMs: draft.nowMs, request: noRequest }),
    ],
    [snapSetAttribute, encodeSnapSet(set)],
  ])
  if (dir?.exists !== true) draft.steps.push({ kind: 'touch', collection, object })
  draft.setXattrs(object, xattrs)
  draft.log('modify', object, storedVersion(dir))
  return { exists: true, sizeBytes: 0, xattrs }
}

export interface PlannedTrim {
  readonly entries: readonly LogEntry[]
  readonly steps: readonly TransactionOp[]
  /** Head and snapdir afterwards, the one that keeps the snapset. */
  readonly head: CachedObject | undefined
  readonly dir: CachedObject | undefined
}

/** Takes all removed snapshots from a clone, and the clone with the last; undefined when there is nothing to take. */
export function planTrim(
  core: PgCore,
  clone: ObjectId,
  cloneState: ObjectState,
  head: { readonly object: ObjectId; readonly state: ObjectState },
  family: Family,
): PlannedTrim | undefined {
  const known = family.set?.clones.find(({ id }) => id === clone.snap)
  const removed = core.pool?.snapshots?.removed
  if (family.set === undefined || known === undefined || removed === undefined) return undefined
  const gone = known.snaps.filter((snap) => hasSnap(removed, snap))
  if (gone.length === 0) return undefined
  const left = known.snaps.filter((snap) => !gone.includes(snap))
  const draft = new Draft(core)
  draft.steps.push(removeSnapRecords(core.pgId, clone, gone))
  const set = left.length === 0 ? withoutClone(family.set, clone.snap) : withSnapsOf(family.set, clone.snap, left)
  if (left.length === 0) {
    draft.steps.push({ kind: 'remove', collection: core.pgId, object: clone })
    draft.log('delete', clone, storedVersion(cloneState))
  } else {
    const { version } = draft
    draft.setXattrs(
      clone,
      new Map([
        [objectAttributeName, renewed(cloneState, version)],
        [snapsAttribute, encodeSnaps(left)],
      ]),
    )
    draft.log('modify', clone, storedVersion(cloneState))
  }
  let dir: CachedObject | undefined
  let headAfter: CachedObject | undefined
  if (head.state.exists) {
    const own = new Map([
      [objectAttributeName, renewed(head.state, draft.version)],
      [snapSetAttribute, encodeSnapSet(set)],
    ])
    draft.setXattrs(head.object, own)
    draft.log('modify', head.object, storedVersion(head.state))
    headAfter = { exists: true, sizeBytes: head.state.sizeBytes, xattrs: new Map([...head.state.xattrs, ...own]) }
  } else {
    dir = changeDir(core, draft, head.object, family.dir, set)
  }
  const objects = left.length === 0 ? -1 : 0
  return {
    entries: draft.entries(objects, cloneBytes(set) - cloneBytes(family.set)),
    steps: draft.steps,
    head: headAfter,
    dir,
  }
}
