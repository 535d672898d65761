/** What writes become on shards, against an object kept whole: bytes, parity, attributes, and the way back. */
import { equalBytes, Prng, shardPgId } from '@shoal/base'
import { createErasureCode, joinStripes, nextChunkOffset, stripeWidth } from '@shoal/erasure'
import { type ObjectOp, objectKey } from '@shoal/wire'
import { describe, expect, it } from 'vitest'
import type { ObjectState } from '../src/effects.ts'
import { RollbackLog, readStash, stashTag } from '../src/erasure/rollback-log.ts'
import { decodeShardAttribute, shardAttributeName } from '../src/erasure/shard-attribute.ts'
import { shardSteps, stripesToLoad } from '../src/erasure/shard-steps.ts'
import { executeWrite } from '../src/op-executor.ts'
import { simulatedPg } from './simulation/map-authority.ts'
import { MemoryStore, type StoredObject } from './simulation/memory-store.ts'
import { entry, object, version } from './support.ts'

const id = object('thing')
const unit = 8
const lengthMax = 200

interface Whole {
  exists: boolean
  data: Uint8Array
  xattrs: ReadonlyMap<string, Uint8Array>
}

/** A store for each shard, and the object as it should be. */
class Bench {
  readonly code
  readonly layout
  readonly stores: readonly MemoryStore[]
  readonly logs: readonly RollbackLog[]
  whole: Whole = { exists: false, data: new Uint8Array(0), xattrs: new Map() }
  next = 1
  prior = "0'0"

  constructor(k: number, m: number) {
    this.code = createErasureCode({ k, m })
    this.layout = { k, chunkBytes: unit }
    const shards = Array.from({ length: k + m }, (_, shard) => shard)
    this.stores = shards.map(() => new MemoryStore())
    this.logs = shards.map((shard) => new RollbackLog(shardPgId(simulatedPg, shard), []))
    for (const [shard, store] of this.stores.entries()) {
      store.submit({ ops: [{ kind: 'create-collection', collection: shardPgId(simulatedPg, shard) }] })
    }
  }

  state(ops: readonly ObjectOp[]): ObjectState {
    const { exists, data, xattrs } = this.whole
    const width = stripeWidth(this.layout)
    const stripes = new Map<number, Uint8Array>()
    for (const stripe of stripesToLoad(this.layout, ops, data.length)) {
      const bytes = new Uint8Array(width)
      bytes.set(data.subarray(stripe * width, (stripe + 1) * width))
      stripes.set(stripe, bytes)
    }
    return { exists, sizeBytes: data.length, xattrs, omap: [], extents: [], stripes }
  }

  /** Returns the entry, or undefined when the operation fails or changes nothing. */
  write(ops: readonly ObjectOp[]) {
    const before = this.state(ops)
    const execution = executeWrite(simulatedPg, id, ops, before, { client: 1, nowMs: 0 })
    if (execution.kind === 'failed' || (execution.steps.length === 0 && !execution.after.exists)) return undefined
    const { after, steps } = execution
    const at = `1'${this.next++}`
    const logged = entry(`${after.exists ? 'modify' : 'delete'} ${at} thing ${this.prior}`)
    const { code, layout } = this
    const collections = this.stores.map((_, shard) => shardPgId(simulatedPg, shard))
    const { byShard } = shardSteps({
      layout,
      code,
      collections,
      object: id,
      version: version(at),
      steps,
      before,
      after,
    })
    for (const [shard, store] of this.stores.entries()) {
      store.submit({ ops: byShard[shard] ?? [] })
      const log = this.logs[shard] as RollbackLog
      if (logged.priorVersion.version > 0) store.submit({ ops: [log.add(logged)] })
    }
    this.whole = { exists: after.exists, data: applied(this.whole.data, ops), xattrs: after.xattrs }
    this.prior = after.exists ? at : "0'0"
    return logged
  }

  check(): void {
    const { code, layout, whole } = this
    const shards = this.stores.map((store) => store.find(id))
    if (!whole.exists) return expect(shards.every((shard) => shard === undefined)).toBe(true)
    const bytes = shards.map((shard) => (shard as StoredObject).data)
    for (const one of bytes) expect(one.length).toBe(nextChunkOffset(layout, whole.data.length))
    expect(equalBytes(joinStripes(layout, bytes.slice(0, code.k), whole.data.length), whole.data)).toBe(true)
    const padding = joinStripes(layout, bytes.slice(0, code.k), (bytes[0] as Uint8Array).length * code.k)
    expect(padding.subarray(whole.data.length).every((byte) => byte === 0)).toBe(true)
    for (const [at, parity] of code.encode(bytes.slice(0, code.k)).entries()) {
      expect(equalBytes(parity, bytes[code.k + at] as Uint8Array)).toBe(true)
    }
    for (const shard of shards) {
      const xattrs = new Map((shard as StoredObject).xattrs)
      expect(decodeShardAttribute(xattrs.get(shardAttributeName) as Uint8Array).sizeBytes).toBe(whole.data.length)
      xattrs.delete(shardAttributeName)
      expect(xattrs).toEqual(whole.xattrs)
    }
  }
}

function applied(data: Uint8Array, ops: readonly ObjectOp[]): Uint8Array {
  let now = data
  const resize = (size: number): void => {
    const next = new Uint8Array(size)
    next.set(now.subarray(0, size))
    now = next
  }
  const put = (offset: number, bytes: Uint8Array): void => {
    if (bytes.length === 0) return
    if (offset + bytes.length > now.length) resize(offset + bytes.length)
    else now = now.slice()
    now.set(bytes, offset)
  }
  for (const op of ops) {
    if (op.kind === 'write') put(op.offset, op.data)
    else if (op.kind === 'append') put(now.length, op.data)
    else if (op.kind === 'write-full') now = op.data.slice()
    else if (op.kind === 'truncate') resize(op.sizeBytes)
    else if (op.kind === 'zero')
      put(op.offset, new Uint8Array(Math.max(0, Math.min(op.length, now.length - op.offset))))
    else if (op.kind === 'remove') now = new Uint8Array(0)
  }
  return now
}

function anyOp(random: Prng): ObjectOp {
  const offset = random.below(lengthMax)
  const data = random.bytes(1 + random.below(60))
  switch (random.below(10)) {
    case 0:
      return { kind: 'append', data }
    case 1:
      return { kind: 'write-full', data: random.bytes(random.below(lengthMax)) }
    case 2:
      return { kind: 'truncate', sizeBytes: random.below(lengthMax) }
    case 3:
      return { kind: 'zero', offset, length: 1 + random.below(60) }
    case 4:
      return { kind: 'remove' }
    case 5:
      return { kind: 'set-xattr', name: `x${random.below(3)}`, value: data }
    case 6:
      return { kind: 'remove-xattr', name: `x${random.below(3)}` }
    default:
      return { kind: 'write', offset, data }
  }
}

function snapshot(store: MemoryStore): unknown {
  const found = store.find(id)
  return found === undefined ? undefined : { data: found.data.slice(), xattrs: new Map(found.xattrs) }
}

describe('shards of an object', () => {
  it.each([
    [2, 1],
    [3, 2],
    [4, 2],
  ])('decode to the object after any operations, k=%i m=%i', (k, m) => {
    for (let seed = 1; seed <= 12; seed++) {
      const random = new Prng(seed)
      const bench = new Bench(k, m)
      for (let at = 0; at < 25; at++) {
        bench.write(Array.from({ length: 1 + random.below(3) }, () => anyOp(random)))
        bench.check()
      }
    }
  })

  it('are what they were before, once their newest writes are undone', () => {
    for (let seed = 1; seed <= 60; seed++) {
      const random = new Prng(seed)
      const bench = new Bench(2, 1)
      for (let at = random.below(6); at >= 0; at--) bench.write([anyOp(random)])
      const kept = bench.stores.map(snapshot)
      const { prior } = bench
      const entries = Array.from({ length: 1 + random.below(4) }, () => bench.write([anyOp(random)]))
      const divergent = entries.filter((one) => one !== undefined)
      for (const [shard, store] of bench.stores.entries()) {
        const log = bench.logs[shard] as RollbackLog
        expect(divergent.every((one) => log.canUndo(one))).toBe(true)
        store.submit({ ops: log.undo(divergent, new Set([objectKey(id)])) })
        // Of an object that did not exist, the log of the copy says so, and it goes.
        if (prior === "0'0")
          store.submit({ ops: [{ kind: 'remove', collection: shardPgId(simulatedPg, shard), object: id }] })
        expect(snapshot(store)).toEqual(kept[shard])
      }
    }
  })

  it('reads back of a stripe only what a write changes in part', () => {
    const layout = { k: 2, chunkBytes: unit }
    const whole = (offset: number, length: number): ObjectOp => ({
      kind: 'write',
      offset,
      data: new Uint8Array(length),
    })
    expect(stripesToLoad(layout, [whole(0, 32)], 64)).toEqual([])
    expect(stripesToLoad(layout, [whole(3, 32)], 64)).toEqual([0, 2])
    expect(stripesToLoad(layout, [whole(3, 32)], 20)).toEqual([0])
    expect(stripesToLoad(layout, [{ kind: 'write-full', data: new Uint8Array(5) }], 64)).toEqual([])
    expect(stripesToLoad(layout, [{ kind: 'append', data: new Uint8Array(5) }], 60)).toEqual([3])
    expect(stripesToLoad(layout, [{ kind: 'truncate', sizeBytes: 17 }], 64)).toEqual([1])
  })
})

describe('what is kept to undo writes', () => {
  it('is found again by its records, and goes when its entries are settled', () => {
    const collection = shardPgId(simulatedPg, 0)
    const log = new RollbackLog(collection, [])
    const steps = ["1'2", "1'3", "2'4"].map((at) => log.add(entry(`modify ${at} a 1'1`)))
    const stored = steps.flatMap((step) => (step.kind === 'meta-set' ? step.entries : []))
    expect(stored.every(({ key }) => key[0] === stashTag)).toBe(true)
    const again = new RollbackLog(collection, stored.map(({ key, value }) => readStash(key, value)).toReversed())
    expect(again.size).toBe(3)
    expect(again.rollForward(version("1'2"))).toEqual([])
    const gone = again.rollForward(version("2'4"))
    expect(gone.filter(({ kind }) => kind === 'remove')).toHaveLength(2)
    expect(gone.at(-1)).toMatchObject({ kind: 'meta-remove' })
    expect(again.size).toBe(1)
    expect(again.canUndo(entry("modify 1'3 a 1'1"))).toBe(false)
    expect(again.canUndo(entry("modify 2'4 a 1'3"))).toBe(true)
    expect(again.canUndo(entry("modify 2'9 b"))).toBe(true)
  })
})
