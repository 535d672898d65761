/** Byte ranges at any alignment, from one byte to a megabyte: written, appended, cut, zeroed and read. */
import type { Prng } from '@shoal/base'
import type { ObjectOp } from '@shoal/wire'
import type { Workload, WorkloadContext } from '../history.ts'
import { objectWorkload } from './object-workload.ts'
import { nextToken, readAllOps, tokenBytes, weighted } from './record.ts'

export interface ExtentsOptions {
  readonly slots?: number
  readonly lengthMax?: number
  readonly periodMs?: number
  readonly pauseMsMax?: number
  /** Of all operations of a run: then only small ones follow, so that a history's bytes stay in memory. */
  readonly largeBytesMax?: number
}

const smallMax = 4096
/** The store's unit, and the neighbours of its borders. */
const unit = 4096

export function extents(options: ExtentsOptions = {}): Workload {
  const lengthMax = options.lengthMax ?? 1024 * 1024 + 50_000
  let largeBytesLeft = options.largeBytesMax ?? 48 * 1024 * 1024
  return objectWorkload({
    name: 'extent',
    slots: options.slots ?? 3,
    lanes: 2,
    pauseMsMax: options.pauseMsMax ?? 200,
    periodMs: options.periodMs ?? 60_000,
    lengthMax,
    choose: (context) => {
      const sizeMax = largeBytesLeft > 0 ? Math.min(lengthMax, 1024 * 1024) : smallMax
      const ops = chooseExtentOps(context, lengthMax, sizeMax)
      for (const op of ops) {
        const bytes = 'data' in op ? op.data.length : op.kind === 'read' ? op.length : 0
        if (bytes > smallMax) largeBytesLeft -= bytes
      }
      return ops
    },
  })
}

function chooseExtentOps(context: WorkloadContext, lengthMax: number, sizeMax: number): readonly ObjectOp[] {
  const { random } = context
  const length = anyLength(random, sizeMax)
  const offset = anyOffset(random, lengthMax - length)
  const data = (): Uint8Array => tokenBytes(nextToken(context), length)
  return weighted<() => readonly ObjectOp[]>(random, [
    [30, () => [{ kind: 'write', offset, data: data() }]],
    [8, () => [{ kind: 'append', data: data() }]],
    [4, () => [{ kind: 'write-full', data: data() }]],
    [6, () => [{ kind: 'truncate', sizeBytes: anyOffset(random, lengthMax) }]],
    [8, () => [{ kind: 'zero', offset, length }]],
    [2, () => [{ kind: 'remove' }]],
    [5, () => writeTwice(context, offset, data(), lengthMax)],
    [25, () => [{ kind: 'read', offset, length }, { kind: 'stat' }]],
    [6, () => [{ kind: 'sparse-read', offset, length }, { kind: 'stat' }]],
    [4, () => readAllOps(sizeMax)],
  ])()
}

/** Two ranges in one operation: both or none. */
function writeTwice(
  context: WorkloadContext,
  offset: number,
  data: Uint8Array,
  lengthMax: number,
): readonly ObjectOp[] {
  const other = anyOffset(context.random, lengthMax - 512)
  return [
    { kind: 'write', offset, data },
    { kind: 'write', offset: other, data: tokenBytes(nextToken(context) + 1, 1 + context.random.below(512)) },
  ]
}

/** Small ones mostly; every order of magnitude is met. */
function anyLength(random: Prng, max: number): number {
  const cap = random.below(8) === 0 ? max : Math.min(max, 16 * 1024)
  return Math.max(1, Math.floor(cap ** random.fraction()))
}

/** Near the borders of units often. */
function anyOffset(random: Prng, max: number): number {
  const limit = Math.max(1, max)
  const any = Math.floor(limit * random.fraction() ** 2)
  if (random.below(3) === 0) return any
  const border = Math.floor(any / unit) * unit
  return Math.max(0, Math.min(limit - 1, border + random.below(5) - 2))
}
