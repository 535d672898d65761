/** Attributes and omap: set, compared, removed, listed in pages, cleared; and compound operations over everything. */
import { emptyBytes, utf8Encode } from '@shoal/base'
import { compareModes, type ObjectOp } from '@shoal/wire'
import type { Workload, WorkloadContext } from '../history.ts'
import { objectWorkload, type Seen } from './object-workload.ts'
import { nextToken, readAllOps, tokenBytes, weighted } from './record.ts'

export interface AttributesOptions {
  readonly slots?: number
  readonly periodMs?: number
  readonly pauseMsMax?: number
}

const names = ['colour', 'owner', 'état', 'x'] as const
const keys = Array.from({ length: 24 }, (_, i) => utf8Encode(`${'abc'[i % 3]}/${i}`))
const lengthMax = 8192

export function attributes(options: AttributesOptions = {}): Workload {
  return objectWorkload({
    name: 'attributes',
    slots: options.slots ?? 6,
    lanes: 2,
    pauseMsMax: options.pauseMsMax ?? 150,
    periodMs: options.periodMs ?? 60_000,
    lengthMax,
    choose: chooseAttributeOps,
  })
}

/** Bytes, attributes and omap changed together, often behind a guard: readers must see all of it or nothing. */
export function compounds(options: AttributesOptions = {}): Workload {
  return objectWorkload({
    name: 'compound',
    slots: options.slots ?? 6,
    lanes: 2,
    pauseMsMax: options.pauseMsMax ?? 150,
    periodMs: options.periodMs ?? 60_000,
    lengthMax,
    choose: chooseCompoundOps,
  })
}

function one<T>({ random }: WorkloadContext, of: readonly T[]): T {
  return of[random.below(of.length)] as T
}

function value(context: WorkloadContext, salt = 0): Uint8Array {
  return tokenBytes(nextToken(context) + salt, 1 + context.random.below(64))
}

function someEntries(context: WorkloadContext): Extract<ObjectOp, { kind: 'omap-set' }>['entries'] {
  const first = context.random.below(keys.length)
  const count = 1 + context.random.below(6)
  return keys.slice(first, first + count).map((key, i) => ({ key, value: value(context, i + 1) }))
}

function omapRange(context: WorkloadContext): ObjectOp {
  const { random } = context
  return {
    kind: 'omap-get-range',
    after: random.below(2) === 0 ? undefined : one(context, keys),
    prefix: random.below(2) === 0 ? emptyBytes : utf8Encode(`${one(context, ['a', 'b', 'c'])}/`),
    limit: 1 + random.below(10),
  }
}

function chooseAttributeOps(context: WorkloadContext, seen: Seen | undefined): readonly ObjectOp[] {
  const name = one(context, names)
  const key = one(context, keys)
  return weighted<() => readonly ObjectOp[]>(context.random, [
    [14, () => [{ kind: 'set-xattr', name, value: value(context) }]],
    [4, () => [{ kind: 'remove-xattr', name }]],
    [8, () => [{ kind: 'get-xattr', name }]],
    [8, () => [xattrGuard(context, seen), { kind: 'set-xattr', name, value: value(context) }]],
    [14, () => [{ kind: 'omap-set', entries: someEntries(context) }]],
    [6, () => [{ kind: 'omap-remove', keys: [key, one(context, keys)] }]],
    [2, () => [{ kind: 'omap-clear' }]],
    [3, () => [{ kind: 'omap-set-header', header: value(context) }]],
    [8, () => [{ kind: 'omap-get-keys', keys: [key] }]],
    [10, () => [omapRange(context), { kind: 'stat' }]],
    [8, () => [omapGuard(context, seen), { kind: 'omap-set', entries: someEntries(context) }]],
    [3, () => [omapGuard(context, seen)]],
    [1, () => [{ kind: 'remove' }]],
    [12, () => readAllOps(lengthMax)],
  ])()
}

/** Against what was seen last, mostly, so that it holds now and then. */
function xattrGuard(context: WorkloadContext, seen: Seen | undefined): ObjectOp {
  const name = one(context, names)
  const given = seen?.xattrs.get(name) ?? emptyBytes
  const mode = context.random.below(3) === 0 ? one(context, compareModes) : 'equal'
  return { kind: 'compare-xattr', name, mode, value: given }
}

function omapGuard(context: WorkloadContext, seen: Seen | undefined): ObjectOp {
  const key = one(context, keys)
  const given = seen?.omap.get(Buffer.from(key).toString('latin1')) ?? emptyBytes
  const mode = context.random.below(3) === 0 ? one(context, compareModes) : 'equal'
  return { kind: 'compare-omap', key, mode, value: given }
}

function chooseCompoundOps(context: WorkloadContext, seen: Seen | undefined): readonly ObjectOp[] {
  const { random } = context
  if (random.below(10) < 4) return readAllOps(lengthMax)
  const token = nextToken(context)
  const stamp = tokenBytes(token, 24)
  const guard = weighted<() => readonly ObjectOp[]>(random, [
    [5, () => []],
    [2, () => [xattrGuard(context, seen)]],
    [2, () => [omapGuard(context, seen)]],
    [1, () => [{ kind: 'assert-exists' }]],
    [1, () => [{ kind: 'create', exclusive: true }]],
    [1, () => [{ kind: 'get-xattrs' }, { kind: 'stat' }]],
  ])()
  const bytes = weighted<() => readonly ObjectOp[]>(random, [
    [4, () => [{ kind: 'write-full', data: tokenBytes(token, 1 + random.below(lengthMax)) }]],
    [3, () => [{ kind: 'write', offset: random.below(lengthMax / 2), data: stamp }]],
    [2, () => (seen === undefined || seen.sizeBytes < lengthMax - 64 ? [{ kind: 'append', data: stamp }] : [])],
    [1, () => [{ kind: 'remove' }, { kind: 'create', exclusive: true }]],
  ])()
  const rest: ObjectOp[] = [
    { kind: 'set-xattr', name: 'x', value: stamp },
    { kind: 'omap-set', entries: [{ key: one(context, keys), value: stamp }] },
    { kind: 'omap-set-header', header: stamp },
    // Fails at the end, after everything else has been done, when there is no such attribute.
    ...(random.below(8) === 0 ? [{ kind: 'remove-xattr', name: 'owner' } as const] : []),
  ]
  return [...guard, ...bytes, ...rest]
}
