/**
 * One object of a pool as clients know it: bytes, attributes, an ordered omap, a version; compound operations apply as a
 * whole or not at all. Written from the promises in wire's client-op.ts, not from the code that keeps them.
 *
 * Versions are chosen by the cluster; all that is promised is that each write's is above that of the one before. So the
 * model takes the version from the answer, and refuses one that does not grow.
 */
import { emptyBytes } from '@shoal/base'
import { compareHolds, isWriteOp, type ObjectOp, type ObjectOpResult, type Version } from '@shoal/wire'
import type { HistoryCall, HistoryEvent, HistoryOutcome } from '../history.ts'
import { ObjectContent } from './object-content.ts'
import { resultMatches } from './object-results.ts'
import { type ModelObject, noObject, omapKey } from './object-state.ts'
import type { ModelStep, SequentialModel } from './sequential-model.ts'

/** What `execute` of a pool's handle answered. */
export interface ObjectAnswer {
  readonly results: readonly ObjectOpResult[]
  readonly version: Version
}

const observedCodes: ReadonlySet<string> = new Set(['ENOENT', 'EEXIST', 'ENODATA', 'ERANGE', 'ECANCELED'])

/** Calls: `{kind: 'execute', ops}`; values of outcomes are {@link ObjectAnswer}s. */
export const objectModel: SequentialModel<ModelObject> = {
  init: noObject,
  step: stepObject,
  hash: hashObject,
  equal: (a, b) => a === b || (hashObject(a) === hashObject(b) && a.content.equals(b.content)),
  /** `step` has compared already: it offers only what was seen. */
  matches: (result, observed) =>
    result.kind === observed.kind && (result.kind !== 'failed' || result.code === (observed as typeof result).code),
  observes: (code) => observedCodes.has(code),
  readOnly: (call) => !opsOf(call).some(isWriteOp),
  orderHint: versionSeen,
}

export function opsOf(call: HistoryCall): readonly ObjectOp[] {
  return call['ops'] as readonly ObjectOp[]
}

export function answerOf(outcome: HistoryOutcome | undefined): ObjectAnswer | undefined {
  return outcome?.kind === 'ok' ? (outcome.value as ObjectAnswer) : undefined
}

function versionSeen(event: HistoryEvent): number | undefined {
  const answer = answerOf(event.outcome)
  if (answer === undefined) return undefined
  if (answer.version.version > 0) return answer.version.version
  for (const result of answer.results) if (result.kind === 'stat') return result.version
  return undefined
}

class Refused {
  readonly code: string

  constructor(code: string) {
    this.code = code
  }
}

function stepObject(
  state: ModelObject,
  call: HistoryCall,
  observed: HistoryOutcome | undefined,
): readonly ModelStep<ModelObject>[] {
  const ops = opsOf(call)
  const answer = answerOf(observed)
  const seen = observed?.kind === 'failed' ? { failed: observed.code } : { results: answer?.results }
  let after: ModelObject
  try {
    after = runOps(state, ops, seen)
  } catch (error) {
    if (error instanceof Refused) return [{ state, result: { kind: 'failed', code: error.code } }]
    if (error === mismatch) return []
    throw error
  }
  if (!ops.some(isWriteOp)) return [{ state: after, result: { kind: 'ok', value: undefined } }]
  const told = answer?.version.version
  const next = withVersion(state, after, told)
  return next === undefined ? [] : [{ state: next, result: { kind: 'ok', value: undefined } }]
}

/** Undefined when the version that was told cannot be. */
function withVersion(before: ModelObject, after: ModelObject, told: number | undefined): ModelObject | undefined {
  // What changes nothing of what is not there needs no version.
  if (!after.exists && !before.exists && (told === undefined || told === 0)) return before
  if (told === undefined) return { ...after, version: undefined, versionMin: before.versionMin + 1 }
  return told > before.versionMin ? { ...after, version: told, versionMin: told } : undefined
}

interface Seen {
  readonly results?: readonly ObjectOpResult[] | undefined
  readonly failed?: string
}

/** Thrown when a step cannot answer what was seen. */
const mismatch = Symbol('mismatch')

/** Throws {@link Refused} with the code of the step that fails. */
function runOps(before: ModelObject, ops: readonly ObjectOp[], seen: Seen): ModelObject {
  const writes = ops.some(isWriteOp)
  let state = before
  for (const [at, op] of ops.entries()) {
    if (isWriteOp(op)) {
      state = applyWrite(state, op)
      continue
    }
    state = guard(state, op, seen)
    if (!state.exists && answers(op)) throw new Refused('ENOENT')
    if (op.kind === 'get-xattr' && !state.xattrs.has(op.name)) throw new Refused('ENODATA')
    const result = seen.results?.[at]
    // A write that was sent again is answered from the log, which does not keep what its reads gave.
    if (result === undefined || (writes && result.kind === 'none')) continue
    const checked = resultMatches(state, op, result)
    if (checked === undefined) throw mismatch
    state = checked
  }
  return state
}

function answers(op: ObjectOp): boolean {
  return op.kind !== 'compare-xattr' && op.kind !== 'compare-omap' && op.kind !== 'compare-extent'
}

/** The state, perhaps with a version that has become known. */
function guard(state: ModelObject, op: ObjectOp, seen: Seen): ModelObject {
  switch (op.kind) {
    case 'assert-version':
      if (!state.exists) throw new Refused('ENOENT')
      if (state.version !== undefined) {
        if (state.version !== op.version) throw new Refused('ERANGE')
        return state
      }
      // Nobody was told the version: the answer decides which it was.
      if (seen.failed === 'ERANGE') throw new Refused('ERANGE')
      if (op.version < state.versionMin) throw new Refused('ERANGE')
      return { ...state, version: op.version, versionMin: op.version }
    case 'compare-xattr':
      if (!compareHolds(state.xattrs.get(op.name) ?? emptyBytes, op.mode, op.value)) throw new Refused('ECANCELED')
      return state
    case 'compare-omap':
      if (!compareHolds(state.omap.get(omapKey(op.key)) ?? emptyBytes, op.mode, op.value))
        throw new Refused('ECANCELED')
      return state
    case 'compare-extent':
      if (!state.content.holds(op.offset, op.data)) throw new Refused('ECANCELED')
      return state
    default:
      return state
  }
}

function applyWrite(state: ModelObject, op: ObjectOp): ModelObject {
  switch (op.kind) {
    case 'create':
      if (op.exclusive && state.exists) throw new Refused('EEXIST')
      return { ...state, exists: true }
    case 'write':
      return { ...state, exists: true, content: state.content.write(op.offset, op.data) }
    case 'append':
      return { ...state, exists: true, content: state.content.write(state.content.sizeBytes, op.data) }
    case 'write-full':
      return { ...state, exists: true, content: ObjectContent.empty.write(0, op.data) }
    case 'truncate':
      return { ...state, exists: true, content: state.content.truncate(op.sizeBytes) }
    case 'zero':
      return state.exists ? { ...state, content: state.content.zero(op.offset, op.length) } : state
    case 'remove':
      if (!state.exists) throw new Refused('ENOENT')
      return { ...noObject, version: state.version, versionMin: state.versionMin }
    default:
      return applyAttributeWrite(state, op)
  }
}

function applyAttributeWrite(state: ModelObject, op: ObjectOp): ModelObject {
  switch (op.kind) {
    case 'set-xattr':
      return { ...state, exists: true, xattrs: new Map(state.xattrs).set(op.name, op.value) }
    case 'remove-xattr': {
      if (!state.exists) throw new Refused('ENOENT')
      const xattrs = new Map(state.xattrs)
      if (!xattrs.delete(op.name)) throw new Refused('ENODATA')
      return { ...state, xattrs }
    }
    case 'omap-set': {
      const entries = new Map(state.omap)
      for (const { key, value } of op.entries) entries.set(omapKey(key), value)
      return { ...state, exists: true, omap: sorted(entries) }
    }
    case 'omap-remove': {
      if (!state.exists) throw new Refused('ENOENT')
      const omap = new Map(state.omap)
      for (const key of op.keys) omap.delete(omapKey(key))
      return { ...state, omap }
    }
    case 'omap-clear':
      if (!state.exists) throw new Refused('ENOENT')
      // The header goes with the entries, as in Ceph.
      return { ...state, omap: new Map(), omapHeader: emptyBytes }
    case 'omap-set-header':
      return { ...state, exists: true, omapHeader: op.header }
    default:
      throw new Error(`the model does not know ${op.kind}`)
  }
}

function sorted(entries: ReadonlyMap<string, Uint8Array>): ReadonlyMap<string, Uint8Array> {
  return new Map([...entries].sort(([a], [b]) => (a < b ? -1 : 1)))
}

const hashes = new WeakMap<ModelObject, string>()

function hashObject(state: ModelObject): string {
  let hash = hashes.get(state)
  if (hash === undefined) {
    const { exists, content, xattrs, omap, omapHeader, version, versionMin } = state
    hash = `${exists}|${content.hash}|${hashMap(xattrs)}|${hashMap(omap)}|${hex(omapHeader)}|${version}|${versionMin}`
    hashes.set(state, hash)
  }
  return hash
}

const mapHashes = new WeakMap<ReadonlyMap<string, Uint8Array>, string>()

/** Exact, whatever the order of insertion. */
function hashMap(map: ReadonlyMap<string, Uint8Array>): string {
  if (map.size === 0) return ''
  let hash = mapHashes.get(map)
  if (hash === undefined) {
    hash = [...sorted(map)].map(([key, value]) => `${JSON.stringify(key)}=${hex(value)}`).join(',')
    mapHashes.set(map, hash)
  }
  return hash
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex')
}
