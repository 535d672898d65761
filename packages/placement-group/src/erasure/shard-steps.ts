/**
 * What a write does to each shard: the stripes that it touches are changed in memory, their parity is made anew, and every
 * shard gets the bytes of its units, the attributes, and a stash of its old state (rollback-log.ts).
 */
import { assert, type PgId } from '@shoal/base'
import { type ErasureCode, nextChunkOffset, type StripeLayout, splitStripes, stripeWidth } from '@shoal/erasure'
import type { ObjectId, ObjectOp, TransactionOp, Version } from '@shoal/wire'
import type { ObjectState } from '../effects.ts'
import type { CachedObject } from '../op-executor.ts'
import { stashName } from './rollback-log.ts'
import { encodeShardAttribute, shardAttributeName } from './shard-attribute.ts'

/** Steps of one write by shard. */
export class ShardSteps {
  readonly byShard: readonly (readonly TransactionOp[])[]

  constructor(byShard: readonly (readonly TransactionOp[])[]) {
    this.byShard = byShard
  }
}

export interface ShardWrite {
  readonly layout: StripeLayout
  readonly code: ErasureCode
  readonly collections: readonly PgId[]
  readonly object: ObjectId
  readonly version: Version
  readonly steps: readonly TransactionOp[]
  /** With the stripes that {@link stripesToLoad} named. */
  readonly before: ObjectState
  readonly after: CachedObject
}

/** The stripes whose old bytes a write needs, in order. */
export function stripesToLoad(layout: StripeLayout, ops: readonly ObjectOp[], sizeBytes: number): readonly number[] {
  const width = stripeWidth(layout)
  const wanted = new Set<number>()
  const oldStripes = Math.ceil(sizeBytes / width)
  let size = sizeBytes
  const want = (stripe: number): void => {
    if (stripe < oldStripes) wanted.add(stripe)
  }
  const touch = (offset: number, length: number): void => {
    if (length <= 0) return
    const end = offset + length
    if (offset % width !== 0) want(Math.floor(offset / width))
    if (end % width !== 0) want(Math.floor(end / width))
    size = Math.max(size, end)
  }
  for (const op of ops) {
    if (op.kind === 'write') touch(op.offset, op.data.length)
    else if (op.kind === 'append') touch(size, op.data.length)
    else if (op.kind === 'zero') touch(op.offset, Math.min(op.length, size - op.offset))
    else if (op.kind === 'truncate') {
      if (op.sizeBytes < size && op.sizeBytes % width !== 0) want(Math.floor(op.sizeBytes / width))
      size = op.sizeBytes
    } else if (op.kind === 'write-full') size = op.data.length
    else if (op.kind === 'remove') size = 0
  }
  return [...wanted].sort((a, b) => a - b)
}

interface Stripe {
  readonly bytes: Uint8Array
  /** The data units that changed. */
  readonly dirty: Set<number>
  /** Old bytes that were not loaded, from here to `unknownTo`: what follows must write them. */
  unknownTo: number
}

/** The object's bytes while the steps are applied. */
class Working {
  readonly stripes = new Map<number, Stripe>()
  /** Bytes beyond were cut off at some time: what was there before is gone. */
  low: number
  size: number
  private readonly layout: StripeLayout
  private readonly width: number
  private readonly loaded: ReadonlyMap<number, Uint8Array>
  private readonly oldSize: number

  constructor(layout: StripeLayout, before: ObjectState) {
    this.layout = layout
    this.width = stripeWidth(layout)
    this.loaded = before.stripes ?? new Map()
    this.oldSize = before.sizeBytes
    this.low = before.sizeBytes
    this.size = before.sizeBytes
  }

  write(offset: number, data: Uint8Array | undefined, length: number): void {
    const { width, layout } = this
    for (let at = offset; at < offset + length; ) {
      const index = Math.floor(at / width)
      const from = at - index * width
      const end = Math.min(width, offset + length - index * width)
      const stripe = this.stripe(index, from === 0 ? end : 0)
      if (data === undefined) stripe.bytes.fill(0, from, end)
      else stripe.bytes.set(data.subarray(at - offset, at - offset + end - from), from)
      for (let unit = Math.floor(from / layout.chunkBytes); unit * layout.chunkBytes < end; unit++)
        stripe.dirty.add(unit)
      at += end - from
    }
    if (offset === 0 && length >= this.low) this.low = 0
    this.size = Math.max(this.size, offset + length)
  }

  truncate(sizeBytes: number): void {
    const { width, layout } = this
    if (sizeBytes < this.size) {
      for (const index of this.stripes.keys()) if (index * width >= sizeBytes) this.stripes.delete(index)
      const index = Math.floor(sizeBytes / width)
      const from = sizeBytes - index * width
      if (from > 0) {
        const stripe = this.stripe(index, 0)
        stripe.bytes.fill(0, from)
        for (let unit = Math.floor(from / layout.chunkBytes); unit < layout.k; unit++) stripe.dirty.add(unit)
        stripe.unknownTo = Math.min(stripe.unknownTo, from)
      }
      this.low = Math.min(this.low, sizeBytes)
    }
    this.size = sizeBytes
  }

  /** `known`: so many of its first bytes are about to be written. */
  private stripe(index: number, known: number): Stripe {
    const present = this.stripes.get(index)
    if (present !== undefined) {
      if (known >= present.unknownTo) present.unknownTo = 0
      return present
    }
    const old = index * this.width < Math.min(this.low, this.oldSize) ? this.loaded.get(index) : undefined
    const bytes = new Uint8Array(this.width)
    if (old !== undefined) bytes.set(old)
    const oldEnd = Math.min(this.width, Math.max(0, Math.min(this.low, this.oldSize) - index * this.width))
    const unknownTo = old === undefined && known < oldEnd ? oldEnd : 0
    const stripe = { bytes, dirty: new Set<number>(), unknownTo }
    this.stripes.set(index, stripe)
    return stripe
  }
}

export function shardSteps(write: ShardWrite): ShardSteps {
  const { layout, object, version, steps, before, after, collections } = write
  const working = new Working(layout, before)
  let attributesOnly = true
  for (const step of steps) {
    if (step.kind === 'write') working.write(step.offset, step.data, step.data.length)
    else if (step.kind === 'zero') working.write(step.offset, undefined, step.length)
    else if (step.kind === 'truncate') working.truncate(step.sizeBytes)
    else if (step.kind === 'remove') working.truncate(0)
    else continue
    attributesOnly = false
  }
  const data = encodeStripes(write, working)
  const stash = stashName(object, version)
  const replaced = before.exists && working.low === 0 && !attributesOnly
  const shardBytes = nextChunkOffset(layout, working.size)
  return new ShardSteps(
    collections.map((collection, shard) => {
      const at = { collection, object }
      const out: TransactionOp[] = []
      if (before.exists) {
        const kind = replaced || !after.exists ? 'rename' : 'clone'
        out.push({ kind, ...at, to: stash })
      }
      if (!after.exists) return out
      const isNew = replaced || !before.exists
      if (isNew) out.push({ kind: 'touch', ...at })
      let length = isNew ? 0 : nextChunkOffset(layout, before.sizeBytes)
      const kept = nextChunkOffset(layout, working.low)
      if (kept < length) {
        out.push({ kind: 'truncate', ...at, sizeBytes: kept })
        length = kept
      }
      for (const { offset, bytes } of data[shard] ?? []) {
        out.push({ kind: 'write', ...at, offset, data: bytes })
        length = Math.max(length, offset + bytes.length)
      }
      if (length !== shardBytes) out.push({ kind: 'truncate', ...at, sizeBytes: shardBytes })
      pushAttributes(out, write, collection, isNew, working.size)
      return out
    }),
  )
}

function pushAttributes(
  out: TransactionOp[],
  { steps, before, after, object }: ShardWrite,
  collection: PgId,
  isNew: boolean,
  sizeBytes: number,
): void {
  const at = { collection, object }
  const size = encodeShardAttribute({ sizeBytes })
  if (isNew) {
    out.push({ kind: 'set-xattrs', ...at, xattrs: new Map(after.xattrs).set(shardAttributeName, size) })
    return
  }
  for (const step of steps) {
    if (step.kind === 'set-xattrs') out.push({ kind: 'set-xattrs', ...at, xattrs: step.xattrs })
    else if (step.kind === 'remove-xattrs') out.push({ kind: 'remove-xattrs', ...at, names: step.names })
  }
  if (sizeBytes !== before.sizeBytes) {
    out.push({ kind: 'set-xattrs', ...at, xattrs: new Map([[shardAttributeName, size]]) })
  }
}

interface ShardBytes {
  readonly offset: number
  readonly bytes: Uint8Array
}

/** Per shard what is written where: runs of stripes at once, data only where a unit of it changed. */
function encodeStripes({ layout, code }: ShardWrite, working: Working): readonly (readonly ShardBytes[])[] {
  const out: ShardBytes[][] = Array.from({ length: code.k + code.m }, () => [])
  const { chunkBytes } = layout
  for (const run of runsOf(working.stripes)) {
    const first = run[0] as number
    const whole = new Uint8Array(run.length * stripeWidth(layout))
    const dirty = new Set<number>()
    for (const [i, index] of run.entries()) {
      const stripe = working.stripes.get(index) as Stripe
      assert(stripe.unknownTo === 0, 'the old bytes of a stripe that changes in part were loaded')
      whole.set(stripe.bytes, i * stripeWidth(layout))
      for (const unit of stripe.dirty) dirty.add(unit)
    }
    const data = splitStripes(layout, whole)
    const parity = code.encode(data)
    const offset = first * chunkBytes
    for (const [shard, bytes] of [...data, ...parity].entries()) {
      if (shard >= code.k || dirty.has(shard)) out[shard]?.push({ offset, bytes })
    }
  }
  return out
}

/** Stripes that follow each other. */
function runsOf(stripes: ReadonlyMap<number, Stripe>): readonly (readonly number[])[] {
  const runs: number[][] = []
  for (const index of [...stripes.keys()].sort((a, b) => a - b)) {
    const last = runs.at(-1)
    if (last !== undefined && last.at(-1) === index - 1) last.push(index)
    else runs.push([index])
  }
  return runs
}
