/**
 * Runs the read steps of a client operation against the store. The machine has checked lease, order and that the object
 * is not missing; here are only the steps.
 *
 * Invariant 1: a step that fails ends the operation; nothing of the earlier steps is answered.
 * Invariant 2: an answer stays below {@link readBytesMax}: the sum of what the steps ask for is cut to the object's size
 *              first and refused (E2BIG) if it is still larger.
 * Invariant 3: attributes of the machine itself are never shown.
 */
import {
  compareBytes,
  type ErrorCode,
  emptyBytes,
  errorTable,
  isClusterError,
  type PgId,
  unreachable,
} from '@shoal/base'
import type { ObjectPage, ObjectStore } from '@shoal/object-store'
import {
  type Caller,
  clientAttributes,
  decodeObjectAttribute,
  isTemporary,
  lockIn,
  locksIn,
  objectAttributeName,
  watchersIn,
  whyNotLocked,
} from '@shoal/placement-group'
import { compareHolds, type ObjectId, type ObjectOp, type ObjectOpResult, opLimits } from '@shoal/wire'

export const readBytesMax: number = opLimits.writeBytesMax
const listObjectsMax = 1024
const omapPageBytesMax = 8 * 1024 * 1024

export interface ReadOutcome {
  readonly errno: number
  readonly detail: string
  readonly results: readonly ObjectOpResult[]
}

/** Thrown between steps; made without a stack, for failed guards are ordinary. */
class StepFailure {
  readonly code: ErrorCode
  readonly detail: string

  constructor(code: ErrorCode, detail: string) {
    this.code = code
    this.detail = detail
  }
}

const none: ObjectOpResult = { kind: 'none' }

export class ReadExecutor {
  private readonly store: ObjectStore
  private readonly collection: PgId

  constructor(store: ObjectStore, collection: PgId) {
    this.store = store
    this.collection = collection
  }

  /** Never rejects for what the world does: failures are in the outcome. */
  async execute(object: ObjectId, ops: readonly ObjectOp[], caller: Caller): Promise<ReadOutcome> {
    const results: ObjectOpResult[] = []
    const budget = { leftBytes: readBytesMax }
    let at = 0
    try {
      for (const op of ops) {
        results.push(await this.step(object, op, budget, caller))
        at++
      }
      return { errno: 0, detail: '', results }
    } catch (error) {
      return failure(error, ops.length > 1 ? `step ${at} (${ops[at]?.kind}): ` : '')
    }
  }

  private async step(
    object: ObjectId,
    op: ObjectOp,
    budget: { leftBytes: number },
    caller: Caller,
  ): Promise<ObjectOpResult> {
    switch (op.kind) {
      case 'read':
        return { kind: 'data', data: await this.read(object, op.offset, op.length, budget) }
      case 'sparse-read':
        return this.sparseRead(object, op.offset, op.length, budget)
      case 'map-extents':
        await this.requireObject(object)
        return {
          kind: 'extents',
          extents: await this.store.extents(this.collection, object, op.offset, op.length),
          data: emptyBytes,
        }
      case 'stat':
        return this.stat(object)
      case 'get-xattr': {
        const value = (await this.xattrs(object)).get(op.name)
        if (value === undefined) throw new StepFailure('ENODATA', `no attribute '${op.name}'`)
        return { kind: 'data', data: value }
      }
      case 'get-xattrs':
        return { kind: 'xattrs', xattrs: await this.xattrs(object) }
      case 'omap-get-header':
        await this.requireObject(object)
        return { kind: 'data', data: await this.store.omapHeader(this.collection, object) }
      case 'omap-get-keys':
        await this.requireObject(object)
        return { kind: 'omap', entries: await this.store.omapGet(this.collection, object, op.keys), more: false }
      case 'omap-get-range':
        return this.omapRange(object, op, budget)
      case 'list-objects':
        return { kind: 'objects', ...(await this.list(op.after, Math.min(op.limit, listObjectsMax))) }
      case 'list-locks':
        return { kind: 'locks', locks: locksIn(await this.allXattrs(object), op.name, caller.nowMs) }
      case 'list-watchers':
      case 'watch-ping':
      case 'notify':
        // What becomes of it, the placement group decides by who they are.
        return { kind: 'watchers', watchers: watchersIn(await this.allXattrs(object)) }
      default:
        return this.guard(object, op, caller)
    }
  }

  /** A page without any object that clients may see would look like the end. */
  private async list(after: ObjectId | undefined, limit: number): Promise<ObjectPage> {
    for (let from = after; ; ) {
      const page = await this.store.list(this.collection, from, limit)
      if (!page.more || page.objects.some((object) => !isTemporary(object))) return page
      from = page.objects.at(-1)
    }
  }

  private async guard(object: ObjectId, op: ObjectOp, caller: Caller): Promise<ObjectOpResult> {
    switch (op.kind) {
      case 'assert-locked': {
        const why = whyNotLocked(lockIn(await this.allXattrs(object), op.name, caller.nowMs), op, caller)
        if (why !== undefined) throw new StepFailure('EBUSY', why)
        return none
      }
      case 'assert-exists':
        await this.requireObject(object)
        return none
      case 'assert-version': {
        const { version } = await this.attribute(object)
        if (version !== op.version) throw new StepFailure('ERANGE', `version is ${version}, not ${op.version}`)
        return none
      }
      case 'compare-xattr': {
        const value = (await this.xattrs(object, true)).get(op.name) ?? emptyBytes
        if (!compareHolds(value, op.mode, op.value))
          throw new StepFailure('ECANCELED', `attribute '${op.name}' differs`)
        return none
      }
      case 'compare-omap': {
        const stored = await this.omapValue(object, op.key)
        if (!compareHolds(stored, op.mode, op.value)) throw new StepFailure('ECANCELED', 'the value of the key differs')
        return none
      }
      case 'compare-extent': {
        const present = await this.readOrNothing(object, op.offset, op.data.length)
        const padded = new Uint8Array(op.data.length)
        padded.set(present)
        if (compareBytes(padded, op.data) !== 0) throw new StepFailure('ECANCELED', `bytes at ${op.offset} differ`)
        return none
      }
      case 'create':
      case 'write':
      case 'write-full':
      case 'append':
      case 'truncate':
      case 'zero':
      case 'remove':
      case 'set-xattr':
      case 'remove-xattr':
      case 'omap-set':
      case 'omap-remove':
      case 'omap-clear':
      case 'omap-set-header':
      case 'lock':
      case 'unlock':
      case 'break-lock':
        throw new StepFailure('EINVAL', `${op.kind} is not a read`)
      case 'read':
      case 'sparse-read':
      case 'map-extents':
      case 'stat':
      case 'get-xattr':
      case 'get-xattrs':
      case 'omap-get-header':
      case 'omap-get-keys':
      case 'omap-get-range':
      case 'list-objects':
      case 'list-locks':
      case 'list-watchers':
      case 'watch-ping':
      case 'notify':
      case 'notify-ack':
      case 'watch':
      case 'unwatch':
        throw new StepFailure('EINVAL', `${op.kind} is not a guard`)
      default:
        return unreachable(op)
    }
  }

  private async read(
    object: ObjectId,
    offset: number,
    length: number,
    budget: { leftBytes: number },
  ): Promise<Uint8Array> {
    let wanted = length
    if (wanted > budget.leftBytes) {
      const { sizeBytes } = await this.requireObject(object)
      wanted = Math.max(0, Math.min(length, sizeBytes - offset))
      if (wanted > budget.leftBytes) throw new StepFailure('E2BIG', `more than ${readBytesMax} bytes in one operation`)
    }
    const data = await this.store.read(this.collection, object, offset, wanted)
    budget.leftBytes -= data.length
    return data
  }

  private async sparseRead(
    object: ObjectId,
    offset: number,
    length: number,
    budget: { leftBytes: number },
  ): Promise<ObjectOpResult> {
    await this.requireObject(object)
    const extents = await this.store.extents(this.collection, object, offset, length)
    const total = extents.reduce((sum, extent) => sum + extent.length, 0)
    if (total > budget.leftBytes) throw new StepFailure('E2BIG', `more than ${readBytesMax} bytes in one operation`)
    const data = new Uint8Array(total)
    const present: { offset: number; length: number }[] = []
    let at = 0
    for (const extent of extents) {
      const bytes = await this.store.read(this.collection, object, extent.offset, extent.length)
      data.set(bytes, at)
      at += bytes.length
      if (bytes.length > 0) present.push({ offset: extent.offset, length: bytes.length })
    }
    budget.leftBytes -= at
    return { kind: 'extents', extents: present, data: data.subarray(0, at) }
  }

  private async stat(object: ObjectId): Promise<ObjectOpResult> {
    const { sizeBytes } = await this.requireObject(object)
    const { version, modifiedMs } = await this.attribute(object)
    return { kind: 'stat', sizeBytes, modifiedMs, version }
  }

  private async omapRange(
    object: ObjectId,
    op: Extract<ObjectOp, { kind: 'omap-get-range' }>,
    budget: { leftBytes: number },
  ): Promise<ObjectOpResult> {
    await this.requireObject(object)
    const limit = Math.min(op.limit, opLimits.omapEntriesMax)
    const page = await this.store.omapEntries(this.collection, object, { after: op.after, prefix: op.prefix, limit })
    // Values may be large: a page also ends at a size, but always has one entry.
    const bytesMax = Math.min(budget.leftBytes, omapPageBytesMax)
    let total = 0
    let count = 0
    for (const entry of page.entries) {
      total += entry.key.length + entry.value.length
      if (total > bytesMax && count > 0) break
      count++
    }
    budget.leftBytes -= total
    return count === page.entries.length
      ? { kind: 'omap', entries: page.entries, more: page.more }
      : { kind: 'omap', entries: page.entries.slice(0, count), more: true }
  }

  private async omapValue(object: ObjectId, key: Uint8Array): Promise<Uint8Array> {
    if ((await this.store.stat(this.collection, object)) === undefined) return emptyBytes
    const [entry] = await this.store.omapGet(this.collection, object, [key])
    return entry?.value ?? emptyBytes
  }

  private async readOrNothing(object: ObjectId, offset: number, length: number): Promise<Uint8Array> {
    if ((await this.store.stat(this.collection, object)) === undefined) return emptyBytes
    return this.store.read(this.collection, object, offset, length)
  }

  /** The attributes that clients set. */
  private async xattrs(object: ObjectId, orNone = false): Promise<ReadonlyMap<string, Uint8Array>> {
    if ((await this.store.stat(this.collection, object)) === undefined) {
      if (orNone) return new Map()
      throw new StepFailure('ENOENT', 'no such object')
    }
    return clientAttributes(await this.store.xattrs(this.collection, object))
  }

  private async allXattrs(object: ObjectId): Promise<ReadonlyMap<string, Uint8Array>> {
    await this.requireObject(object)
    return this.store.xattrs(this.collection, object)
  }

  private async attribute(object: ObjectId): Promise<{ readonly version: number; readonly modifiedMs: number }> {
    await this.requireObject(object)
    const encoded = (await this.store.xattrs(this.collection, object)).get(objectAttributeName)
    if (encoded === undefined) return { version: 0, modifiedMs: 0 }
    const { userVersion, modifiedMs } = decodeObjectAttribute(encoded)
    return { version: userVersion, modifiedMs }
  }

  private async requireObject(object: ObjectId): Promise<{ readonly sizeBytes: number }> {
    const stat = await this.store.stat(this.collection, object)
    if (stat === undefined) throw new StepFailure('ENOENT', 'no such object')
    return stat
  }
}

/** The outcome of an error that the store or a step raised; anything else is a bug and is thrown on. */
function failure(error: unknown, where: string): ReadOutcome {
  if (error instanceof StepFailure) {
    return { errno: errorTable[error.code].errno, detail: `${where}${error.detail}`, results: [] }
  }
  if (isClusterError(error)) return { errno: error.errno, detail: `${where}${error.message}`, results: [] }
  throw error
}
