/**
 * Executes a compound operation that writes: given the object as it is, what it answers and what changes. Pure: the same
 * inputs give the same transaction on every run.
 *
 * All steps see the object as the steps before them left it; bytes and omap can be read and compared only before they are
 * written. The first step that fails ends the operation, and nothing of it is applied.
 */
import { compareBytes, type ErrorCode, emptyBytes, type PgId, utf8Encode } from '@shoal/base'
import {
  compareHolds,
  type ObjectId,
  type ObjectOp,
  type ObjectOpResult,
  opLimits,
  type TransactionOp,
} from '@shoal/wire'
import type { LoadRequest, ObjectState } from './effects.ts'
import {
  clientAttributes,
  decodeObjectAttribute,
  isReservedAttribute,
  objectAttributeName,
  staysWithHead,
} from './object-attribute.ts'
import { type Caller, changeLock, encodeLock, lockAttributeName, lockIn, locksIn, whyNotLocked } from './object-lock.ts'
import { changeWatchers, encodeWatchers, watchAttributeName, watchersIn } from './object-watch.ts'
import { snapsAttribute } from './snap-set.ts'

/** What the machine remembers of an object between operations. */
export interface CachedObject {
  readonly exists: boolean
  readonly sizeBytes: number
  readonly xattrs: ReadonlyMap<string, Uint8Array>
}

export type Execution =
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly detail: string }
  | {
      readonly kind: 'done'
      readonly results: readonly ObjectOpResult[]
      /** Without the machine's own attribute and log. Empty: the steps changed nothing. */
      readonly steps: readonly TransactionOp[]
      readonly after: CachedObject
      /** The clone that the object was made anew from. */
      readonly rolledBackTo?: number
    }

/** What an object was at the snapshot that it is rolled back to. */
export type RollbackTarget =
  | { readonly kind: 'head' }
  | { readonly kind: 'absent' }
  | { readonly kind: 'clone'; readonly object: ObjectId; readonly state: ObjectState }

/** What must be loaded first: undefined when the cached state is enough. */
export function loadRequestFor(object: ObjectId, ops: readonly ObjectOp[]): LoadRequest | undefined {
  const omapKeys: Uint8Array[] = []
  const extents: { offset: number; length: number }[] = []
  for (const op of ops) {
    if (op.kind === 'compare-omap') omapKeys.push(op.key)
    else if (op.kind === 'omap-get-keys') omapKeys.push(...op.keys)
    else if (op.kind === 'compare-extent') extents.push({ offset: op.offset, length: op.data.length })
    else if (op.kind === 'read')
      extents.push({ offset: op.offset, length: Math.min(op.length, opLimits.writeBytesMax) })
  }
  return omapKeys.length === 0 && extents.length === 0 ? undefined : { object, omapKeys, extents }
}

class Failure {
  readonly code: ErrorCode
  readonly detail: string

  constructor(code: ErrorCode, detail: string) {
    this.code = code
    this.detail = detail
  }
}

const none: ObjectOpResult = { kind: 'none' }

export function executeWrite(
  collection: PgId,
  object: ObjectId,
  ops: readonly ObjectOp[],
  state: ObjectState,
  caller: Caller,
  rollback?: RollbackTarget,
): Execution {
  const run = new Run(collection, object, state, caller, rollback)
  const results: ObjectOpResult[] = []
  for (const [at, op] of ops.entries()) {
    try {
      results.push(run.step(op))
    } catch (error) {
      if (!(error instanceof Failure)) throw error
      const where = ops.length > 1 ? `step ${at} (${op.kind}): ` : ''
      return { kind: 'failed', code: error.code, detail: `${where}${error.detail}` }
    }
  }
  const { steps } = run
  if (rollback?.kind !== 'clone') return { kind: 'done', results, steps, after: run.after() }
  return { kind: 'done', results, steps, after: run.after(), rolledBackTo: rollback.object.snap }
}

class Run {
  readonly steps: TransactionOp[] = []
  private readonly collection: PgId
  private readonly object: ObjectId
  private readonly before: ObjectState
  private readonly caller: Caller
  private readonly rollback: RollbackTarget | undefined
  private exists: boolean
  private sizeBytes: number
  /** Replaced, never changed: most operations leave them as they are. */
  private xattrs: ReadonlyMap<string, Uint8Array>
  private nextExtent = 0
  /** A step before this one has changed bytes or omap: what was loaded is stale. */
  private changedData = false
  private changedOmap = false

  constructor(
    collection: PgId,
    object: ObjectId,
    state: ObjectState,
    caller: Caller,
    rollback: RollbackTarget | undefined,
  ) {
    this.collection = collection
    this.object = object
    this.before = state
    this.caller = caller
    this.rollback = rollback
    this.exists = state.exists
    this.sizeBytes = state.sizeBytes
    this.xattrs = state.xattrs
  }

  after(): CachedObject {
    return { exists: this.exists, sizeBytes: this.sizeBytes, xattrs: this.xattrs }
  }

  step(op: ObjectOp): ObjectOpResult {
    switch (op.kind) {
      case 'read':
      case 'stat':
      case 'get-xattr':
      case 'get-xattrs':
      case 'omap-get-keys':
      case 'list-locks':
        return this.read(op)
      case 'assert-locked':
      case 'assert-version':
      case 'assert-exists':
      case 'compare-xattr':
      case 'compare-omap':
      case 'compare-extent':
        this.guard(op)
        return none
      case 'sparse-read':
      case 'map-extents':
      case 'omap-get-header':
      case 'omap-get-range':
      case 'list-objects':
      case 'list-watchers':
      case 'watch-ping':
      case 'notify':
      case 'notify-ack':
      case 'list-snaps':
        throw new Failure('EOPNOTSUPP', `${op.kind} cannot stand in an operation that writes`)
      default:
        this.write(op)
        return none
    }
  }

  private requireObject(): void {
    if (!this.exists) throw new Failure('ENOENT', 'no such object')
  }

  private userXattr(name: string): Uint8Array | undefined {
    return isReservedAttribute(name) ? undefined : this.xattrs.get(name)
  }

  private read(
    op: Extract<ObjectOp, { kind: 'read' | 'stat' | 'get-xattr' | 'get-xattrs' | 'omap-get-keys' | 'list-locks' }>,
  ): ObjectOpResult {
    this.requireObject()
    switch (op.kind) {
      case 'read':
        if (this.changedData) throw new Failure('EOPNOTSUPP', 'a read cannot follow a write of the same operation')
        return { kind: 'data', data: this.before.extents[this.nextExtent++] ?? emptyBytes }
      case 'stat': {
        const attribute = this.xattrs.get(objectAttributeName)
        const { userVersion, modifiedMs } =
          attribute === undefined ? { userVersion: 0, modifiedMs: 0 } : decodeObjectAttribute(attribute)
        return { kind: 'stat', sizeBytes: this.sizeBytes, modifiedMs, version: userVersion }
      }
      case 'get-xattr': {
        const value = this.userXattr(op.name)
        if (value === undefined) throw new Failure('ENODATA', `no attribute '${op.name}'`)
        return { kind: 'data', data: value }
      }
      case 'get-xattrs':
        return { kind: 'xattrs', xattrs: clientAttributes(this.xattrs) }
      case 'list-locks':
        return { kind: 'locks', locks: locksIn(this.xattrs, op.name, this.caller.nowMs) }
      case 'omap-get-keys': {
        if (this.changedOmap)
          throw new Failure('EOPNOTSUPP', 'an omap read cannot follow an omap write of the same operation')
        const entries = this.before.omap.filter((entry) => op.keys.some((key) => compareBytes(key, entry.key) === 0))
        return { kind: 'omap', entries, more: false }
      }
    }
  }

  private guard(
    op: Extract<
      ObjectOp,
      {
        kind: 'assert-version' | 'assert-exists' | 'assert-locked' | 'compare-xattr' | 'compare-omap' | 'compare-extent'
      }
    >,
  ): void {
    switch (op.kind) {
      case 'assert-locked': {
        const why = whyNotLocked(lockIn(this.xattrs, op.name, this.caller.nowMs), op, this.caller)
        if (why !== undefined) throw new Failure('EBUSY', why)
        return
      }
      case 'assert-exists':
        return this.requireObject()
      case 'assert-version': {
        this.requireObject()
        const attribute = this.xattrs.get(objectAttributeName)
        const version = attribute === undefined ? 0 : decodeObjectAttribute(attribute).userVersion
        if (version !== op.version) throw new Failure('ERANGE', `version is ${version}, not ${op.version}`)
        return
      }
      case 'compare-xattr':
        if (!compareHolds(this.userXattr(op.name) ?? emptyBytes, op.mode, op.value)) {
          throw new Failure('ECANCELED', `attribute '${op.name}' differs`)
        }
        return
      case 'compare-omap': {
        if (this.changedOmap) throw new Failure('EOPNOTSUPP', 'a key cannot be compared after omap was written')
        const stored = this.before.omap.find((entry) => compareBytes(entry.key, op.key) === 0)?.value ?? emptyBytes
        if (!compareHolds(stored, op.mode, op.value)) throw new Failure('ECANCELED', 'the value of the key differs')
        return
      }
      case 'compare-extent': {
        if (this.changedData) throw new Failure('EOPNOTSUPP', 'bytes cannot be compared after bytes were written')
        const padded = new Uint8Array(op.data.length)
        padded.set(this.before.extents[this.nextExtent++] ?? emptyBytes)
        if (compareBytes(padded, op.data) !== 0) throw new Failure('ECANCELED', `bytes at ${op.offset} differ`)
      }
    }
  }

  private write(op: ObjectOp): void {
    const at = { collection: this.collection, object: this.object }
    switch (op.kind) {
      case 'create':
        if (op.exclusive && this.exists) throw new Failure('EEXIST', 'the object exists')
        return this.touch()
      case 'write':
        return this.writeBytes(op.offset, op.data)
      case 'append':
        return this.writeBytes(this.sizeBytes, op.data)
      case 'write-full':
        if (this.sizeBytes > op.data.length || op.data.length === 0) this.truncate(op.data.length)
        return this.writeBytes(0, op.data)
      case 'truncate':
        checkSize(op.sizeBytes)
        return this.truncate(op.sizeBytes)
      case 'zero': {
        const length = Math.min(op.length, this.sizeBytes - op.offset)
        if (!this.exists || length <= 0) return
        this.changedData = true
        this.steps.push({ kind: 'zero', ...at, offset: op.offset, length })
        return
      }
      case 'remove':
        this.requireObject()
        this.exists = false
        this.sizeBytes = 0
        this.xattrs = new Map()
        this.changedData = true
        this.changedOmap = true
        this.steps.push({ kind: 'remove', ...at })
        return
      default:
        return this.writeAttributes(op)
    }
  }

  private writeAttributes(op: ObjectOp): void {
    const at = { collection: this.collection, object: this.object }
    switch (op.kind) {
      case 'set-xattr':
        checkXattr(op.name, op.value)
        this.touch()
        this.xattrs = new Map(this.xattrs).set(op.name, op.value)
        this.steps.push({ kind: 'set-xattrs', ...at, xattrs: new Map([[op.name, op.value]]) })
        return
      case 'remove-xattr':
        this.requireObject()
        if (this.userXattr(op.name) === undefined) throw new Failure('ENODATA', `no attribute '${op.name}'`)
        this.xattrs = without(this.xattrs, op.name)
        this.steps.push({ kind: 'remove-xattrs', ...at, names: [op.name] })
        return
      case 'omap-set':
        checkOmap(op.entries)
        this.touch()
        this.changedOmap = true
        this.steps.push({ kind: 'omap-set', ...at, entries: op.entries })
        return
      case 'omap-remove':
        this.requireObject()
        this.changedOmap = true
        this.steps.push({ kind: 'omap-remove', ...at, keys: op.keys })
        return
      case 'omap-clear':
        this.requireObject()
        this.changedOmap = true
        this.steps.push({ kind: 'omap-clear', ...at })
        return
      case 'omap-set-header':
        if (op.header.length > opLimits.omapValueBytesMax) throw new Failure('E2BIG', 'omap header too large')
        this.touch()
        this.steps.push({ kind: 'omap-set-header', ...at, header: op.header })
        return
      case 'lock':
      case 'unlock':
      case 'break-lock':
        return this.writeLock(op)
      case 'watch':
      case 'unwatch':
        return this.writeWatch(op)
      case 'rollback':
        return this.rollBack()
      default:
        throw new Failure('EOPNOTSUPP', `${op.kind} is not known here`)
    }
  }

  private writeLock(op: Extract<ObjectOp, { kind: 'lock' | 'unlock' | 'break-lock' }>): void {
    const outcome = changeLock(lockIn(this.xattrs, op.name, this.caller.nowMs), op, this.caller)
    if (outcome.kind === 'failed') throw new Failure(outcome.code, outcome.detail)
    const name = lockAttributeName(op.name)
    const at = { collection: this.collection, object: this.object }
    if (outcome.lock === undefined) {
      this.xattrs = without(this.xattrs, name)
      this.steps.push({ kind: 'remove-xattrs', ...at, names: [name] })
      return
    }
    this.touch()
    const value = encodeLock(outcome.lock)
    this.xattrs = new Map(this.xattrs).set(name, value)
    this.steps.push({ kind: 'set-xattrs', ...at, xattrs: new Map([[name, value]]) })
  }

  private writeWatch(op: Extract<ObjectOp, { kind: 'watch' | 'unwatch' }>): void {
    this.requireObject()
    const outcome = changeWatchers(watchersIn(this.xattrs), op, this.caller.client)
    if (outcome.kind === 'failed') throw new Failure(outcome.code, outcome.detail)
    const at = { collection: this.collection, object: this.object }
    if (outcome.watchers.length === 0) {
      this.xattrs = without(this.xattrs, watchAttributeName)
      this.steps.push({ kind: 'remove-xattrs', ...at, names: [watchAttributeName] })
      return
    }
    const value = encodeWatchers(outcome.watchers)
    this.xattrs = new Map(this.xattrs).set(watchAttributeName, value)
    this.steps.push({ kind: 'set-xattrs', ...at, xattrs: new Map([[watchAttributeName, value]]) })
  }

  /** Bytes, attributes and omap are those of the clone; locks and watchers stay with the head. */
  private rollBack(): void {
    const { rollback, collection, object } = this
    if (rollback === undefined) throw new Failure('EINVAL', 'the pool has no snapshots')
    if (rollback.kind === 'head') return
    // What it was is not known any more: that is no reason to remove what it is.
    if (rollback.kind === 'clone' && !rollback.state.exists)
      throw new Failure('ENOENT', 'what the object was at this snapshot was given up as lost')
    this.changedData = true
    this.changedOmap = true
    if (rollback.kind === 'absent') {
      if (this.exists) this.steps.push({ kind: 'remove', collection, object })
      this.exists = false
      this.sizeBytes = 0
      this.xattrs = new Map()
      return
    }
    const { sizeBytes, xattrs } = rollback.state
    const kept = new Map([...this.xattrs].filter(([name]) => staysWithHead(name)))
    this.steps.push({ kind: 'clone', collection, object: rollback.object, to: object })
    this.steps.push({ kind: 'remove-xattrs', collection, object, names: [snapsAttribute] })
    if (kept.size > 0) this.steps.push({ kind: 'set-xattrs', collection, object, xattrs: kept })
    this.exists = true
    this.sizeBytes = sizeBytes
    this.xattrs = new Map([...clientAttributes(xattrs), ...kept])
  }

  private touch(): void {
    if (this.exists) return
    this.exists = true
    this.steps.push({ kind: 'touch', collection: this.collection, object: this.object })
  }

  private writeBytes(offset: number, data: Uint8Array): void {
    checkSize(offset + data.length)
    this.touch()
    if (data.length === 0) return
    this.changedData = true
    this.sizeBytes = Math.max(this.sizeBytes, offset + data.length)
    this.steps.push({ kind: 'write', collection: this.collection, object: this.object, offset, data })
  }

  private truncate(sizeBytes: number): void {
    this.touch()
    if (this.sizeBytes === sizeBytes) return
    this.changedData = true
    this.sizeBytes = sizeBytes
    this.steps.push({ kind: 'truncate', collection: this.collection, object: this.object, sizeBytes })
  }
}

function without(xattrs: ReadonlyMap<string, Uint8Array>, name: string): ReadonlyMap<string, Uint8Array> {
  const others = new Map(xattrs)
  others.delete(name)
  return others
}

function checkSize(sizeBytes: number): void {
  if (sizeBytes > opLimits.objectBytesMax)
    throw new Failure('EFBIG', `an object has at most ${opLimits.objectBytesMax} bytes`)
}

function checkXattr(name: string, value: Uint8Array): void {
  const length = utf8Encode(name).length
  if (isReservedAttribute(name) || length === 0 || length > opLimits.xattrNameBytesMax) {
    throw new Failure('EINVAL', `'${name}' is not a name for an attribute`)
  }
  if (value.length > opLimits.xattrValueBytesMax)
    throw new Failure('E2BIG', `an attribute has at most ${opLimits.xattrValueBytesMax} bytes`)
}

function checkOmap(entries: readonly { readonly key: Uint8Array; readonly value: Uint8Array }[]): void {
  if (entries.length > opLimits.omapEntriesMax)
    throw new Failure('E2BIG', `at most ${opLimits.omapEntriesMax} keys at once`)
  for (const { key, value } of entries) {
    if (key.length === 0 || key.length > opLimits.omapKeyBytesMax)
      throw new Failure('EINVAL', `a key has 1 to ${opLimits.omapKeyBytesMax} bytes`)
    if (value.length > opLimits.omapValueBytesMax)
      throw new Failure('E2BIG', `a value has at most ${opLimits.omapValueBytesMax} bytes`)
  }
}
