/**
 * Advisory locks on one object: who may hold what. They live in attributes of the object that clients can neither set nor
 * see, so that taking one is a write like any other: ordered, replicated, done once however often it is sent.
 *
 * Invariants
 * 1. An exclusive lock has at most one holder; all holders of a lock share its mode and its tag.
 * 2. A holder whose time is over, by the clock of the primary that executes the step, holds nothing.
 */
import { type Codec, decode, type ErrorCode, encode, versioned } from '@shoal/base'
import {
  type LockHolder,
  type LockOp,
  lockNameBytesMax,
  lockTextBytesMax,
  type ObjectLock,
  objectLockCodec,
} from '@shoal/wire'

/** Whose operation it is, and when it is executed. */
export interface Caller {
  /** Session of the client; see `RequestId`. */
  readonly client: number
  /** Wall clock of the primary. */
  readonly nowMs: number
}

export type LockOutcome =
  /** Undefined: nobody holds it any more. */
  | { readonly kind: 'changed'; readonly lock: ObjectLock | undefined }
  | { readonly kind: 'failed'; readonly code: ErrorCode; readonly detail: string }

type ChangingOp = Extract<LockOp, { kind: 'lock' | 'unlock' | 'break-lock' }>

/** A lock is one attribute, read and written as a whole. */
const holdersMax = 256

const attributePrefix = '_lock.'

export function lockAttributeName(name: string): string {
  return `${attributePrefix}${name}`
}

export function isLockAttribute(attribute: string): boolean {
  return attribute.startsWith(attributePrefix)
}

const storedLockCodec: Codec<ObjectLock> = versioned<ObjectLock>(1, 1, 'object lock', objectLockCodec)

export function encodeLock(lock: ObjectLock): Uint8Array {
  return encode(storedLockCodec, lock).slice()
}

/** The lock as it holds now; undefined when there is none, or nobody holds it any more. */
export function lockIn(xattrs: ReadonlyMap<string, Uint8Array>, name: string, nowMs: number): ObjectLock | undefined {
  const encoded = xattrs.get(lockAttributeName(name))
  return encoded === undefined ? undefined : livePart(decode(storedLockCodec, encoded), nowMs)
}

/** One lock, or all for the empty name, in order of their names. */
export function locksIn(xattrs: ReadonlyMap<string, Uint8Array>, name: string, nowMs: number): readonly ObjectLock[] {
  const names =
    name === ''
      ? [...xattrs.keys()].filter(isLockAttribute).map((attribute) => attribute.slice(attributePrefix.length))
      : [name]
  const locks: ObjectLock[] = []
  for (const one of names.sort()) {
    const lock = lockIn(xattrs, one, nowMs)
    if (lock !== undefined) locks.push(lock)
  }
  return locks
}

function livePart(lock: ObjectLock, nowMs: number): ObjectLock | undefined {
  const holders = lock.holders.filter(({ expiresMs }) => expiresMs === 0 || expiresMs > nowMs)
  return holders.length === 0 ? undefined : { ...lock, holders }
}

const failed = (code: ErrorCode, detail: string): LockOutcome => ({ kind: 'failed', code, detail })

function describeHolder(holder: LockHolder): string {
  const cookie = holder.cookie === '' ? '' : ` (cookie '${holder.cookie}')`
  return `client.${holder.client}${cookie}`
}

function heldBy(lock: ObjectLock): string {
  return `lock '${lock.name}' is held, ${lock.mode}, by ${lock.holders.map(describeHolder).join(', ')}`
}

/** `lock` as `lockIn` gives it. */
export function changeLock(lock: ObjectLock | undefined, op: ChangingOp, caller: Caller): LockOutcome {
  if (op.kind === 'lock') return takeLock(lock, op, caller)
  const client = op.kind === 'unlock' ? caller.client : op.client
  const rest = lock?.holders.filter((holder) => holder.client !== client || holder.cookie !== op.cookie) ?? []
  if (lock === undefined || rest.length === lock.holders.length) {
    const who = describeHolder({ client, cookie: op.cookie, description: '', expiresMs: 0 })
    return failed('ENOENT', `lock '${op.name}' is not held by ${who}`)
  }
  return { kind: 'changed', lock: rest.length === 0 ? undefined : { ...lock, holders: rest } }
}

function takeLock(
  lock: ObjectLock | undefined,
  op: Extract<LockOp, { kind: 'lock' }>,
  { client, nowMs }: Caller,
): LockOutcome {
  const { name, mode, tag, cookie, description, durationMs, renew } = op
  const mine = lock?.holders.find((holder) => holder.client === client && holder.cookie === cookie)
  const others = lock?.holders.filter((holder) => holder !== mine) ?? []
  if (mine !== undefined && renew === 'no') return failed('EEXIST', `lock '${name}' is held by this client already`)
  if (mine === undefined && renew === 'must') return failed('ENOENT', `lock '${name}' is not held by this client`)
  if (lock !== undefined && others.length > 0) {
    // Invariant 1.
    if (mode === 'exclusive' || lock.mode === 'exclusive') return failed('EBUSY', heldBy(lock))
    if (lock.tag !== tag) return failed('EBUSY', `${heldBy(lock)}, with tag '${lock.tag}'`)
  }
  if (others.length >= holdersMax)
    return failed('EBUSY', `lock '${name}' has ${holdersMax} holders, the most it may have`)
  const holder: LockHolder = { client, cookie, description, expiresMs: durationMs === 0 ? 0 : nowMs + durationMs }
  return { kind: 'changed', lock: { name, mode, tag, holders: [...others, holder] } }
}

/** Undefined when the caller holds the lock as it says. */
export function whyNotLocked(
  lock: ObjectLock | undefined,
  op: Extract<LockOp, { kind: 'assert-locked' }>,
  { client }: Caller,
): string | undefined {
  if (lock === undefined) return `lock '${op.name}' is held by nobody`
  const holds = lock.holders.some((holder) => holder.client === client && holder.cookie === op.cookie)
  return holds && lock.mode === op.mode && lock.tag === op.tag ? undefined : heldBy(lock)
}

/** Undefined when the step is sound, whatever the object is. */
export function checkLockOp(op: LockOp): string | undefined {
  if (op.name === '' && op.kind !== 'list-locks') return 'a lock has a name'
  if (op.name.length > lockNameBytesMax) return `the name of a lock has at most ${lockNameBytesMax} characters`
  for (const field of ['cookie', 'tag', 'description'] as const) {
    const text = (op as { readonly [field]?: string })[field] ?? ''
    if (text.length > lockTextBytesMax) return `the ${field} of a lock has at most ${lockTextBytesMax} characters`
  }
  if (op.kind === 'lock' && !(op.durationMs >= 0 && Number.isFinite(op.durationMs))) {
    return 'a lock is held for a number of milliseconds, or 0 for ever'
  }
  return undefined
}
