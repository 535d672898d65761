/** What a client operation must satisfy before a placement group sees it: input from the network may be anything. */
import { type ErrorCode, type PgId, pgPool, pgSeed } from '@shoal/base'
import {
  hashObjectName,
  isFenced,
  type OsdMap,
  type Pool,
  seedOfHash,
  snapshotExists,
  snapshotsMax,
} from '@shoal/cluster-map'
import { checkLockOp, checkWatchOp, isReservedAttribute, isShardOp } from '@shoal/placement-group'
import {
  type ClientOp,
  checkSnapContext,
  headSnap,
  isWriteOp,
  type ObjectOp,
  objectNameBytesMax,
  objectNamespaceBytesMax,
  opLimits,
} from '@shoal/wire'

export interface Refusal {
  readonly code: ErrorCode
  readonly detail: string
}

/** Undefined when the operation is sound under this map. */
export function checkClientOp(op: ClientOp, map: OsdMap): Refusal | undefined {
  const { object } = op
  const pool = map.pools.get(pgPool(op.pgId))
  if (pool === undefined) return { code: 'ENOENT', detail: `pool ${pgPool(op.pgId)} does not exist` }
  if (!(pgSeed(op.pgId) < pool.pgNum)) {
    // Merged since: the client finds what it went into by the map that it lacks.
    const code = op.epoch < map.epoch ? 'ESTALE' : 'ENOENT'
    return { code, detail: `placement group ${op.pgId} does not exist` }
  }
  if (isFenced(map, op.request.client)) {
    return { code: 'ESHUTDOWN', detail: 'this client session is fenced' }
  }
  if (op.ops.length === 0 || op.ops.length > opLimits.stepsMax) {
    return { code: 'E2BIG', detail: `${op.ops.length} steps; an operation has 1 to ${opLimits.stepsMax}` }
  }
  if (object.pool !== pool.id) return { code: 'EINVAL', detail: 'no such kind of object' }
  if (object.name.length > objectNameBytesMax || object.namespace.length > objectNamespaceBytesMax) {
    return { code: 'E2BIG', detail: `a name has at most ${objectNameBytesMax} bytes` }
  }
  if (!isListing(op) && !belongsHere(op, seedOfHash(pool, object.hash), op.pgId)) {
    // The PG was split since: the client finds the part by the map that it lacks.
    if (op.epoch < map.epoch) return { code: 'ESTALE', detail: `${op.pgId} may have been split since ${op.epoch}` }
    return { code: 'EINVAL', detail: `the object does not belong to placement group ${op.pgId}` }
  }
  const refused = pool.type === 'erasure' ? checkShardSteps(op) : undefined
  return refused ?? checkSnapshots(op, pool) ?? checkSteps(op.ops)
}

/** The map that the client has is known here: what it does not show does not exist. */
function checkSnapshots({ object, ops, snapContext }: ClientOp, pool: Pool): Refusal | undefined {
  const { snapshots } = pool
  const rollback = ops.find((step) => step.kind === 'rollback')
  if (object.snap === headSnap && rollback === undefined && snapContext === undefined) return undefined
  const writes = ops.some(isWriteOp)
  if (object.snap !== headSnap) {
    if (writes) return { code: 'EROFS', detail: 'nothing is written at a snapshot' }
    if (!snapshotExists(snapshots, object.snap)) return noSnapshot(pool, object.snap)
  }
  if (rollback !== undefined) {
    if (!snapshotExists(snapshots, rollback.snap)) return noSnapshot(pool, rollback.snap)
    if (ops.some((step) => step !== rollback && isWriteOp(step)))
      return { code: 'EINVAL', detail: 'a rollback stands alone, or behind guards' }
  }
  if (snapContext === undefined) return undefined
  if (snapshots?.mode !== 'selfmanaged' || snapContext.seq > snapshots.seq) {
    return { code: 'EINVAL', detail: `pool '${pool.name}' has given no snapshot ${snapContext.seq} to its clients` }
  }
  const detail = checkSnapContext(snapContext, snapshotsMax)
  return detail === undefined ? undefined : { code: 'EINVAL', detail }
}

function noSnapshot(pool: Pool, snap: number): Refusal {
  return { code: 'ENOENT', detail: `pool '${pool.name}' has no snapshot ${snap}` }
}

/** What shards cannot do; checked first, for it has nothing to do with what the pool holds. */
function checkShardSteps({ ops }: ClientOp): Refusal | undefined {
  const step = ops.find((one) => !isShardOp(one))
  if (step === undefined) return undefined
  const detail = `${step.kind}: objects of an erasure-coded pool have no omap: use a replicated pool for it`
  return { code: 'EOPNOTSUPP', detail }
}

function isListing(op: ClientOp): boolean {
  return op.ops.every((step) => step.kind === 'list-objects')
}

function belongsHere(op: ClientOp, seed: number, pgId: PgId): boolean {
  return seed === pgSeed(pgId) && hashObjectName(op.object.namespace, op.object.name) === op.object.hash
}

function checkSteps(ops: readonly ObjectOp[]): Refusal | undefined {
  let writeBytes = 0
  let writes = false
  for (const step of ops) {
    writes ||= isWriteOp(step)
    const refusal = checkStep(step, ops.length)
    if (refusal !== undefined) return refusal
    if ('data' in step) writeBytes += step.data.length
    if (writeBytes > opLimits.writeBytesMax) {
      return { code: 'E2BIG', detail: `an operation writes at most ${opLimits.writeBytesMax} bytes` }
    }
  }
  if (writes && ops.some((step) => step.kind === 'list-objects')) {
    return { code: 'EINVAL', detail: 'a listing cannot be part of a write' }
  }
  return undefined
}

function checkStep(step: ObjectOp, steps: number): Refusal | undefined {
  switch (step.kind) {
    case 'write':
    case 'compare-extent':
      return checkEnd(step.offset + step.data.length)
    case 'write-full':
    case 'append':
      return checkEnd(step.data.length)
    case 'truncate':
      return checkEnd(step.sizeBytes)
    case 'set-xattr':
      return step.value.length > opLimits.xattrValueBytesMax
        ? { code: 'E2BIG', detail: `the value of an attribute has at most ${opLimits.xattrValueBytesMax} bytes` }
        : checkXattrName(step.name)
    case 'remove-xattr':
    case 'get-xattr':
    case 'compare-xattr':
      return checkXattrName(step.name)
    case 'omap-set':
      return step.entries.reduce<Refusal | undefined>(
        (refusal, entry) => refusal ?? checkOmap(entry.key, entry.value),
        checkCount(step.entries.length),
      )
    case 'omap-remove':
    case 'omap-get-keys':
      return step.keys.reduce<Refusal | undefined>(
        (refusal, key) => refusal ?? checkOmap(key, undefined),
        checkCount(step.keys.length),
      )
    case 'omap-set-header':
      return checkOmap(undefined, step.header)
    case 'lock':
    case 'unlock':
    case 'break-lock':
    case 'assert-locked':
    case 'list-locks': {
      const detail = checkLockOp(step)
      return detail === undefined ? undefined : { code: 'EINVAL', detail }
    }
    case 'list-watchers':
    case 'watch-ping':
    case 'notify':
    case 'notify-ack':
    case 'watch':
    case 'unwatch': {
      const detail = checkWatchOp(step, steps)
      return detail === undefined ? undefined : { code: 'EINVAL', detail }
    }
    default:
      return undefined
  }
}

function checkEnd(end: number): Refusal | undefined {
  if (end <= opLimits.objectBytesMax) return undefined
  return { code: 'EFBIG', detail: `an object has at most ${opLimits.objectBytesMax} bytes` }
}

function checkXattrName(name: string): Refusal | undefined {
  if (isReservedAttribute(name) || name === '') return { code: 'EINVAL', detail: `'${name}' names no attribute` }
  if (name.length <= opLimits.xattrNameBytesMax) return undefined
  return { code: 'E2BIG', detail: `the name of an attribute has at most ${opLimits.xattrNameBytesMax} bytes` }
}

function checkCount(count: number): Refusal | undefined {
  if (count <= opLimits.omapEntriesMax) return undefined
  return { code: 'E2BIG', detail: `a step names at most ${opLimits.omapEntriesMax} keys` }
}

function checkOmap(key: Uint8Array | undefined, value: Uint8Array | undefined): Refusal | undefined {
  if (key !== undefined && key.length > opLimits.omapKeyBytesMax) {
    return { code: 'E2BIG', detail: `a key has at most ${opLimits.omapKeyBytesMax} bytes` }
  }
  if (value !== undefined && value.length > opLimits.omapValueBytesMax) {
    return { code: 'E2BIG', detail: `a value has at most ${opLimits.omapValueBytesMax} bytes` }
  }
  return undefined
}
