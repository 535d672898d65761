/** Whether an answer to a reading step is what the modelled object answers. */
import { equalBytes } from '@shoal/base'
import type { ObjectOp, ObjectOpResult, OmapEntry } from '@shoal/wire'
import { type ModelObject, omapKey } from './object-state.ts'

type ResultOf<K extends ObjectOpResult['kind']> = Extract<ObjectOpResult, { kind: K }>

/** Undefined when it is not; otherwise the state, whose version may have become known by it. */
export function resultMatches(state: ModelObject, op: ObjectOp, result: ObjectOpResult): ModelObject | undefined {
  switch (result.kind) {
    case 'none':
      // Guards answer nothing; reads always something.
      return op.kind.startsWith('assert-') || op.kind.startsWith('compare-') ? state : undefined
    case 'data':
      return dataMatches(state, op, result.data) ? state : undefined
    case 'extents':
      return extentsMatch(state, op, result) ? state : undefined
    case 'stat':
      return statMatches(state, result)
    case 'xattrs':
      return op.kind === 'get-xattrs' && equalMaps(result.xattrs, state.xattrs) ? state : undefined
    case 'omap':
      return omapMatches(state, op, result) ? state : undefined
    case 'objects':
      return undefined
  }
}

function dataMatches(state: ModelObject, op: ObjectOp, data: Uint8Array): boolean {
  switch (op.kind) {
    case 'read':
      return state.content.reads(op.offset, op.length, data)
    case 'get-xattr':
      return equalBytes(data, state.xattrs.get(op.name) ?? new Uint8Array(1))
    case 'omap-get-header':
      return equalBytes(data, state.omapHeader)
    default:
      return false
  }
}

/** What is allocated is the store's own business; but what it leaves out must be zero. */
function extentsMatch(state: ModelObject, op: ObjectOp, { extents, data }: ResultOf<'extents'>): boolean {
  if (op.kind !== 'sparse-read' && op.kind !== 'map-extents') return false
  const expected = state.content.read(op.offset, op.length)
  const withData = op.kind === 'sparse-read'
  let at = 0
  for (const { offset, length } of extents) {
    const from = offset - op.offset
    if (from < 0 || (withData && from + length > expected.length)) return false
    if (withData && !equalBytes(data.subarray(at, at + length), expected.subarray(from, from + length))) return false
    at += length
    expected.fill(0, from, from + length)
  }
  return (!withData || at === data.length) && expected.every((byte) => byte === 0)
}

function statMatches(state: ModelObject, { sizeBytes, version }: ResultOf<'stat'>): ModelObject | undefined {
  if (sizeBytes !== state.content.sizeBytes) return undefined
  if (state.version !== undefined) return state.version === version ? state : undefined
  return version < state.versionMin ? undefined : { ...state, version, versionMin: version }
}

function equalMaps(a: ReadonlyMap<string, Uint8Array>, b: ReadonlyMap<string, Uint8Array>): boolean {
  if (a.size !== b.size) return false
  for (const [key, value] of a) {
    const other = b.get(key)
    if (other === undefined || !equalBytes(value, other)) return false
  }
  return true
}

function omapMatches(state: ModelObject, op: ObjectOp, { entries, more }: ResultOf<'omap'>): boolean {
  if (op.kind === 'omap-get-keys') {
    const wanted = new Set(op.keys.map(omapKey))
    const expected = [...state.omap].filter(([key]) => wanted.has(key))
    return !more && equalMaps(new Map(entries.map(({ key, value }) => [omapKey(key), value])), new Map(expected))
  }
  if (op.kind !== 'omap-get-range') return false
  const after = op.after === undefined ? undefined : omapKey(op.after)
  const prefix = omapKey(op.prefix)
  const rest = [...state.omap].filter(([key]) => key.startsWith(prefix) && (after === undefined || key > after))
  // A page may end early, by its size in bytes; it says so, and is never empty while something follows.
  if (entries.length > op.limit || more !== entries.length < rest.length) return false
  if (!more && entries.length !== rest.length) return false
  if (more && entries.length === 0 && op.limit > 0) return false
  return entries.every((entry, at) => sameEntry(entry, rest[at]))
}

function sameEntry({ key, value }: OmapEntry, expected: readonly [string, Uint8Array] | undefined): boolean {
  return expected !== undefined && omapKey(key) === expected[0] && equalBytes(value, expected[1])
}
