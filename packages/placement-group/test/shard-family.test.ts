/** Writes of an object and of its clones on shards: what they become, and the way back on every shard. */
import { type PgId, Prng, shardPgId, utf8Encode } from '@shoal/base'
import { createErasureCode, joinStripes, stripeWidth } from '@shoal/erasure'
import { type ClientOp, cloneOf, type ObjectId, type ObjectOp, type SnapContext, snapDirOf } from '@shoal/wire'
import { describe, expect, it } from 'vitest'
import type { PgCore } from '../src/core.ts'
import type { ObjectState } from '../src/effects.ts'
import { stashName } from '../src/erasure/rollback-log.ts'
import { decodeShardAttribute, shardAttributeName } from '../src/erasure/shard-attribute.ts'
import { familySteps } from '../src/erasure/shard-family.ts'
import { ShardReplicator, spoiledBy, storeSubWrite } from '../src/erasure/shard-replicator.ts'
import { stripesToLoad } from '../src/erasure/shard-steps.ts'
import { isTemporary } from '../src/object-transfer.ts'
import { executeWrite, type RollbackTarget } from '../src/op-executor.ts'
import { openEnvelope } from '../src/peer-message.ts'
import type { LogEntry } from '../src/pg-log.ts'
import { setMissing, snapRecordRange } from '../src/pg-store.ts'
import { planSnapWrite, planTrim } from '../src/plan-snapshots.ts'
import { mergeIntoCore } from '../src/replica.ts'
import { resolveSnap, snapSetIn } from '../src/snap-set.ts'
import { simulatedPg } from './simulation/map-authority.ts'
import { MemoryStore } from './simulation/memory-store.ts'
import { coreOf, entry, object, version } from './support.ts'

const head = object('thing')
const layout = { k: 2, chunkBytes: 8 }
const code = createErasureCode({ k: 2, m: 1 })
const collections = [0, 1, 2].map((shard) => shardPgId(simulatedPg, shard))

/** Three shards, each with the log that it would have as a member, and the primary's view of the object. */
class Bench {
  readonly stores = collections.map(() => new MemoryStore())
  readonly cores = collections.map((id) => coreOf(id))
  private removed: readonly number[] = []

  constructor() {
    for (const [shard, store] of this.stores.entries())
      store.submit({ ops: [{ kind: 'create-collection', collection: collections[shard] as PgId }] })
  }

  get primary(): PgCore {
    return this.cores[0] as PgCore
  }

  bytes(id: ObjectId, sizeBytes: number): Uint8Array {
    const chunks = this.stores.slice(0, 2).map((store) => store.find(id)?.data ?? new Uint8Array(0))
    return joinStripes(layout, chunks, sizeBytes)
  }

  state(id: ObjectId, ops: readonly ObjectOp[] = []): ObjectState {
    const found = this.stores[0]?.find(id)
    if (found === undefined) return { exists: false, sizeBytes: 0, xattrs: new Map(), omap: [], extents: [] }
    const xattrs = new Map(found.xattrs)
    const encoded = xattrs.get(shardAttributeName)
    xattrs.delete(shardAttributeName)
    const sizeBytes = encoded === undefined ? 0 : decodeShardAttribute(encoded).sizeBytes
    const width = stripeWidth(layout)
    const whole = this.bytes(id, Math.ceil(sizeBytes / width) * width)
    const stripes = new Map<number, Uint8Array>()
    for (const at of stripesToLoad(layout, ops, sizeBytes)) stripes.set(at, whole.slice(at * width, (at + 1) * width))
    return { exists: true, sizeBytes, xattrs, omap: [], extents: [], stripes }
  }

  private family(before: ObjectState) {
    const dir = this.state(snapDirOf(head))
    return { set: snapSetIn(before.exists ? before.xattrs : dir.xattrs), dir: before.exists ? undefined : dir }
  }

  /** Returns the entries. */
  write(ops: readonly ObjectOp[], context: SnapContext): readonly LogEntry[] {
    const before = this.state(head, ops)
    const family = this.family(before)
    const [op] = ops
    let rollback: RollbackTarget | undefined
    if (op?.kind === 'rollback') {
      const target = resolveSnap(family.set, before.exists, op.snap)
      rollback = target.kind === 'clone' ? cloneTarget(this, target.clone.id) : target
    }
    const execution = executeWrite(simulatedPg, head, ops, before, { client: 1, nowMs: 0 }, rollback)
    if (execution.kind === 'failed' || (execution.steps.length === 0 && !execution.after.exists)) return []
    const { version: at } = this.primary.log.head
    const asked = { type: 'client-op', request: { client: 1, tid: at }, oldestTid: at, object: head, ops } as const
    const { entries, steps, after } = planSnapWrite(
      this.primary,
      { ...asked, pgId: simulatedPg, epoch: this.primary.map.epoch, attempt: 0 } satisfies ClientOp,
      before,
      family,
      context,
      execution,
    )
    this.store(entries, familySteps({ layout, code, collections, entries, steps, head: { before, after } }).byShard)
    return entries
  }

  trim(snap: number, clone: number): readonly LogEntry[] {
    this.removed = [...this.removed, snap]
    const snapshots = { removed: this.removed.map((one) => ({ first: one, last: one })) }
    Object.defineProperty(this.primary, 'pool', { value: { snapshots }, configurable: true })
    const state = this.state(head)
    const id = cloneOf(head, clone)
    const planned = planTrim(this.primary, id, this.state(id), { object: head, state }, this.family(state))
    if (planned === undefined) return []
    const { entries, steps } = planned
    this.store(entries, familySteps({ layout, code, collections, entries, steps }).byShard)
    return entries
  }

  private store(entries: readonly LogEntry[], byShard: ReturnType<typeof familySteps>['byShard']): void {
    for (const [shard, core] of this.cores.entries()) {
      const { steps: ops } = storeSubWrite(core, entries, byShard[shard] ?? [], version("0'0"), version("0'0"))
      this.stores[shard]?.submit({ ops })
    }
  }

  /** What each shard has, and for which snapshots it lists clones. */
  contents() {
    const { from, to } = snapRecordRange(0, 1_000)
    return this.stores.map((store) => ({
      objects: store.objects().map(({ id, data, xattrs }) => ({ id, data: data.slice(), xattrs: new Map(xattrs) })),
      listed: store.metaEntries(from, to).map(({ key }) => key),
    }))
  }

  /** The log of all members is cut to its first entries, as when peering chose a shorter one. */
  undo(head: LogEntry['version'], entries: readonly LogEntry[]): void {
    for (const [shard, core] of this.cores.entries()) {
      const steps = mergeIntoCore(core, { tail: version("0'0"), head, entries })
      this.stores[shard]?.submit({ ops: steps })
      expect(core.missing.size).toBe(0)
    }
  }
}

function cloneTarget(bench: Bench, id: number): RollbackTarget {
  const clone = cloneOf(head, id)
  return { kind: 'clone', object: clone, state: bench.state(clone) }
}

function anyOp(random: Prng, snaps: readonly number[]): ObjectOp {
  const data = random.bytes(1 + random.below(40))
  const snap = snaps[random.below(snaps.length)]
  switch (random.below(8)) {
    case 0:
      return { kind: 'remove' }
    case 1:
      return { kind: 'write-full', data }
    case 2:
      return { kind: 'set-xattr', name: 'x', value: data }
    case 3:
      return { kind: 'truncate', sizeBytes: random.below(60) }
    case 4:
      return snap === undefined ? { kind: 'append', data } : { kind: 'rollback', snap }
    default:
      return { kind: 'write', offset: random.below(60), data }
  }
}

const data = (text: string): Uint8Array => utf8Encode(text)
const put = (text: string): readonly ObjectOp[] => [{ kind: 'write-full', data: data(text) }]
const contextOf = (...snaps: number[]): SnapContext => ({ seq: snaps[0] ?? 0, snaps })

describe('a write of an object that has a snapshot', () => {
  it('leaves each shard of the clone as that of the head was, and the head as it is written', () => {
    const bench = new Bench()
    bench.write(put('what there was, in several stripes'), contextOf())
    const before = bench.stores.map((store) => store.find(head)?.data.slice())
    bench.write([{ kind: 'write', offset: 3, data: data('NEW') }], contextOf(5, 4))
    const clone = cloneOf(head, 5)
    expect(bench.stores.map((store) => store.find(clone)?.data)).toEqual(before)
    expect(bench.state(clone).sizeBytes).toBe(34)
    expect(bench.bytes(head, 34)).toEqual(data('whaNEWhere was, in several stripes'))
    expect(snapSetIn(bench.state(head).xattrs)?.clones).toMatchObject([{ id: 5, snaps: [5, 4], sizeBytes: 34 }])
    // Listed on every shard, whoever leads next.
    for (const { listed } of bench.contents()) expect(listed).toHaveLength(2)
  })

  it('is undone on every shard as a whole: clones, what stands for the head, and rollbacks', () => {
    for (let seed = 1; seed <= 60; seed++) {
      const random = new Prng(seed)
      const bench = new Bench()
      const snaps: number[] = []
      const step = (): readonly LogEntry[] => {
        if (random.below(2) === 0) snaps.unshift((snaps[0] ?? 0) + 1)
        return bench.write([anyOp(random, snaps)], contextOf(...snaps))
      }
      for (let at = 2 + random.below(8); at >= 0; at--) step()
      const kept = bench.primary.log.all().slice()
      const { head: at } = bench.primary.log
      const before = bench.contents()
      for (let left = 1 + random.below(4); left > 0; left--) step()
      bench.undo(at, kept)
      // What is listed too much is looked at once more, and skipped.
      expect(bench.contents().map(({ objects }) => objects)).toEqual(before.map(({ objects }) => objects))
    }
  })

  it('is undone, too, when it takes a snapshot from a clone, which stays listed for it', () => {
    const bench = new Bench()
    bench.write(put('first'), contextOf())
    bench.write(put('second'), contextOf(2, 1))
    bench.write([{ kind: 'remove' }], contextOf(3, 2, 1))
    const kept = bench.primary.log.all().slice()
    const { head: at } = bench.primary.log
    const before = bench.contents()
    expect(bench.trim(1, 2).map(({ kind }) => kind)).toEqual(['modify', 'modify'])
    expect(bench.trim(2, 2).map(({ kind }) => kind)).toEqual(['delete', 'modify'])
    expect(bench.trim(3, 3).map(({ kind }) => kind)).toEqual(['delete', 'delete'])
    // Nothing but what would undo them is left.
    for (const { objects } of bench.contents()) expect(objects.every(({ id }) => isTemporary(id))).toBe(true)
    bench.undo(at, kept)
    expect(bench.contents()).toEqual(before)
  })
})

describe('a write of several objects on its way', () => {
  it('keeps what undoes its first entry until all of it is everywhere', () => {
    const core = coreOf(collections[0] as PgId)
    const targets = { backfillTargets: [], isWrittenTo: () => false, isDegraded: false }
    const replicator = new ShardReplicator<number>(core, targets, () => {})
    const of = (...texts: string[]): readonly LogEntry[] => texts.map(entry)
    for (const entries of [of("modify 1'2 thing 1'1", "modify 1'3 other"), of("modify 1'4 third")])
      replicator.replicateOwn(1, entries, [], {})
    const told = core
      .takeEffects()
      .flatMap((effect) =>
        effect.kind === 'send' && effect.message.type === 'pg' ? [openEnvelope(effect.message)] : [],
      )
    expect(told).toMatchObject([{ settledBelow: version("1'2") }, { settledBelow: version("1'2") }])
  })

  it('makes nothing good of a shard that turned out to be bad meanwhile', () => {
    const core = coreOf(collections[0] as PgId)
    const clone = cloneOf(head, 5)
    const collection = collections[0] as PgId
    const entries = [{ ...entry("modify 1'2 thing"), object: clone }, entry("modify 1'3 thing 1'1")]
    const ops = [
      { kind: 'clone', collection, object: head, to: clone },
      { kind: 'clone', collection, object: head, to: stashName(head, version("1'3")) },
    ] as const
    expect(spoiledBy(core, entries, ops)).toEqual([])
    core.missing.set({ object: head, need: version("1'1") })
    expect(spoiledBy(core, entries, ops)).toEqual([clone])
    const { steps, spoiled } = storeSubWrite(core, entries, ops, version("0'0"), version("0'0"))
    expect(spoiled).toEqual([clone])
    expect([...core.missing.values()]).toEqual([
      { object: head, need: version("1'3") },
      { object: clone, need: version("1'2") },
    ])
    expect(steps).toContainEqual(setMissing(collection, [{ object: clone, need: version("1'2") }]))
  })
})
