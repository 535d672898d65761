/**
 * An erasure-coded placement group: each member keeps one shard of every object (docs/mechanisms/erasure-code.md, and
 * docs/mechanisms/erasure-coded-pools.md for what makes it crash-safe).
 */
import { ClusterError, errorTable, type OsdId, shardPgId } from '@shoal/base'
import { erasureProfileOf } from '@shoal/cluster-map'
import {
  type ByteRange,
  createErasureCode,
  type ErasureCode,
  parseErasureCodeProfile,
  type StripeLayout,
  stripeLayoutOf,
  stripeWidth,
} from '@shoal/erasure'
import { type ClientOp, type ObjectId, type ObjectOp, type TransactionOp, type Version } from '@shoal/wire'
import type { HeadStates, OnFetched, PgBackend, WriteSteps } from '../backend.ts'
import type { PgCore } from '../core.ts'
import type { LoadRequest, ObjectState } from '../effects.ts'
import { shardOf } from '../member.ts'
import { type MissingObject, MissingSet } from '../missing-set.ts'
import { objectAttributeName, versionOf } from '../object-attribute.ts'
import { ObjectCache } from '../object-cache.ts'
import { type CachedObject, loadRequestFor } from '../op-executor.ts'
import type { PeerMessage, ShardMessage } from '../peer-message.ts'
import type { LogEntry } from '../pg-log.ts'
import { removeMissing, setMissing } from '../pg-store.ts'
import type { ShardCheck } from '../scrub-compare.ts'
import type { InFlightWrite, WriteReplicator, WriteTargets } from '../write-replicator.ts'
import { decodeShardAttribute, shardAttributeName } from './shard-attribute.ts'
import { familySteps } from './shard-family.ts'
import { ShardReadExecutor, withinObject } from './shard-read-executor.ts'
import { ShardReader } from './shard-reader.ts'
import { ShardReplicator, settledBelow, storeSubWrite } from './shard-replicator.ts'
import { ShardRules } from './shard-rules.ts'
import { shardCheck } from './shard-scrub.ts'
import { ShardSteps, stripesToLoad } from './shard-steps.ts'
import { ShardTransfer } from './shard-transfer.ts'

/** What the backend asks of the other parts. */
export interface ShardBackendEvents {
  /** Members of acting that miss no object, this one included, without those that miss this object. */
  holders(object: ObjectId): readonly OsdId[]
  /** This OSD leads, and its own shard is bad. */
  onBadCopy(object: ObjectId, version: Version): void
  onBadPeer(from: OsdId, object: ObjectId, version: Version): void
  /** Somebody reads an object of which too few shards can be had now. */
  onStalled(object: ObjectId): void
  /** This OSD follows writes. */
  isActive(): boolean
  onActivated(from: OsdId, missing: MissingSet): void
}

/** Members are told that nothing is under way any more so long after the last write. */
const settleMs = 200

const noExtents: readonly Uint8Array[] = []

export class ShardBackend implements PgBackend {
  readonly rules: ShardRules
  readonly transfer: ShardTransfer
  readonly cache: ObjectCache = new ObjectCache()
  private readonly core: PgCore
  private readonly events: ShardBackendEvents
  private readonly reader: ShardReader
  private readonly executor: ShardReadExecutor
  private made: { readonly words: string; readonly code: ErasureCode; readonly layout: StripeLayout } | undefined
  private writes: ShardReplicator<unknown> | undefined
  /** Answers that are owed to the machine. */
  private readonly reading = new Set<number>()
  private readonly loading = new Set<number>()

  constructor(core: PgCore, temporaries: readonly ObjectId[], events: ShardBackendEvents) {
    this.core = core
    this.events = events
    this.rules = new ShardRules(() => this.coding().code.k)
    this.reader = new ShardReader(core, () => this.coding(), {
      holders: (object) => events.holders(object),
      onBadShard: (object, version) => this.onBadShard(object, version),
      onStalled: (object) => events.onStalled(object),
    })
    this.executor = new ShardReadExecutor({
      pgId: core.pgId,
      wallMs: () => core.clock.wallMs(),
      stateOf: (...args) => this.stateOf(...args),
      readRanges: (...args) => this.readRanges(...args),
    })
    this.transfer = new ShardTransfer(
      core,
      temporaries,
      () => this.coding().code,
      (object) => this.reader.reportBad(object),
    )
  }

  /** Of the pool's profile, which is fixed for its life. */
  private coding(): { readonly code: ErasureCode; readonly layout: StripeLayout } {
    const words = erasureProfileOf(this.core.pool)
    if (this.made === undefined || (words !== undefined && this.made.words !== words)) {
      if (words === undefined) throw new ClusterError('EINVAL', `the pool of ${this.core.pgId} has no erasure code`)
      const profile = parseErasureCodeProfile(words.split(' '))
      this.made = { words, code: createErasureCode(profile), layout: stripeLayoutOf(profile) }
    }
    return this.made
  }

  // Loading

  loadRequest(object: ObjectId, ops: readonly ObjectOp[], cached: CachedObject | undefined): LoadRequest | undefined {
    const request = { object, omapKeys: [], extents: loadRequestFor(object, ops)?.extents ?? [], ops }
    if (cached === undefined || request.extents.length > 0) return request
    return stripesToLoad(this.coding().layout, ops, cached.sizeBytes).length > 0 ? request : undefined
  }

  load(request: LoadRequest, token: number): void {
    this.loading.add(token)
    this.stateOf(
      request.object,
      (state) => this.loadBytes(request, state, token),
      (errno, detail) => {
        if (this.loading.delete(token)) this.core.answer(token, { kind: 'load-failed', token, errno, detail })
      },
    )
  }

  private loadBytes(request: LoadRequest, state: ObjectState, token: number): void {
    const { object, extents, ops = [] } = request
    const { layout } = this.coding()
    const width = stripeWidth(layout)
    const stripes = stripesToLoad(layout, ops, state.sizeBytes)
    const answer = (whole: ObjectState): void => {
      if (this.loading.delete(token)) this.core.answer(token, { kind: 'loaded', token, state: whole })
    }
    const cut = extents.map((extent) => withinObject(extent, state.sizeBytes))
    const ranges = [...cut, ...stripes.map((stripe) => ({ offset: stripe * width, length: width }))]
    if (!state.exists) return answer({ ...state, extents: extents.map(() => new Uint8Array(0)) })
    const onRead = (data: readonly Uint8Array[]): void =>
      answer({
        ...state,
        extents: data.slice(0, cut.length),
        stripes: new Map(stripes.map((stripe, at) => [stripe, data[cut.length + at] as Uint8Array])),
      })
    this.readRanges(object, state, ranges, onRead, () => {
      if (this.loading.delete(token)) this.load(request, token)
    })
  }

  /** Ranges of no length are not asked for. */
  private readRanges(
    object: ObjectId,
    state: CachedObject,
    ranges: readonly ByteRange[],
    onRead: (data: readonly Uint8Array[]) => void,
    onGone: () => void,
  ): void {
    const version = versionOf(state.xattrs.get(objectAttributeName))
    const asked = ranges.filter(({ length }) => length > 0)
    this.reader.read({
      object,
      version,
      ranges: asked,
      onGone,
      onRead: (data) => {
        let at = 0
        onRead(ranges.map(({ length }) => (length > 0 ? (data[at++] as Uint8Array) : new Uint8Array(0))))
      },
    })
  }

  /** Attributes and size of the whole object, from memory or from the own shard. */
  private stateOf(
    object: ObjectId,
    onState: (state: ObjectState) => void,
    onFailed: (errno: number, detail: string) => void,
  ): void {
    const { core, cache } = this
    const cached = cache.get(object)
    if (cached !== undefined) return onState({ ...cached, omap: [], extents: noExtents })
    const token = core.expectInInterval((input) => {
      if (input.kind === 'load-failed') return onFailed(input.errno, input.detail)
      if (input.kind !== 'loaded') return
      const { exists } = input.state
      const encoded = input.state.xattrs.get(shardAttributeName)
      const sizeBytes = encoded === undefined ? 0 : decodeShardAttribute(encoded).sizeBytes
      const xattrs = new Map(input.state.xattrs)
      xattrs.delete(shardAttributeName)
      cache.set(object, { exists, sizeBytes, xattrs })
      onState({ exists, sizeBytes, xattrs, omap: [], extents: noExtents })
    })
    core.emit({ kind: 'load', request: { object, omapKeys: [], extents: [] }, token })
  }

  // Reading

  executeRead(op: ClientOp, token: number): void {
    const { object, ops, request } = op
    if (ops.every(({ kind }) => kind === 'list-objects')) {
      return this.core.emit({ kind: 'execute-read', client: request.client, object, ops, token })
    }
    this.reading.add(token)
    this.executor.execute(op, (answer) => {
      if (this.reading.delete(token)) this.core.answer(token, { kind: 'read-done', token, ...answer })
    })
  }

  // Writing

  plan(entries: readonly LogEntry[], steps: readonly TransactionOp[], head?: HeadStates): WriteSteps {
    const { code, layout } = this.coding()
    const { core } = this
    const collections = Array.from({ length: code.k + code.m }, (_, shard) => shardPgId(core.pgId, shard))
    return familySteps({ layout, code, collections, entries, steps, head })
  }

  /** Nothing is kept to undo it: who must, misses the object again. */
  planGivenUp(object: ObjectId): { readonly steps: WriteSteps; readonly memberSteps: WriteSteps } {
    const { k, m } = this.coding().code
    const steps = new ShardSteps(
      Array.from({ length: k + m }, (_, shard) => {
        const collection = shardPgId(this.core.pgId, shard)
        return [{ kind: 'remove', collection, object }, removeMissing(collection, [object])]
      }),
    )
    return { steps, memberSteps: steps }
  }

  createReplicator<Q>(targets: WriteTargets, onDone: (write: InFlightWrite<Q>) => void): WriteReplicator<Q> {
    const writes = new ShardReplicator<Q>(this.core, targets, onDone)
    writes.onIdle = () => this.settleLater()
    this.writes = writes as ShardReplicator<unknown>
    return writes
  }

  private settleLater(): void {
    this.core.emit({ kind: 'set-timer', timer: 'settle', delayMs: settleMs })
  }

  onStarted(): void {
    if (this.core.mayServe) this.settleLater()
  }

  /** Nothing is under way: what is kept to undo the last writes goes. */
  onTimer(): void {
    const { core, writes } = this
    if (writes === undefined || writes.size > 0 || !core.isPrimary) return
    const below = settledBelow(core, undefined)
    const trimTo = core.log.tail
    const transaction = { ops: [] }
    for (const member of core.mapping.acting) {
      if (member === core.whoami) continue
      core.send(member, { kind: 'sub-write', tid: 0, entries: [], trimTo, settledBelow: below, transaction })
    }
    const { steps } = storeSubWrite(core, [], [], trimTo, below)
    if (steps.length > 0) core.transact(steps)
  }

  private onSubWrite(from: OsdId, message: Extract<PeerMessage, { kind: 'sub-write' }>): void {
    if (!this.events.isActive()) return
    const { core } = this
    const { tid, entries, transaction, trimTo } = message
    const { steps, spoiled } = storeSubWrite(core, entries, transaction.ops, trimTo, message.settledBelow)
    if (entries.length === 0 && steps.length === 0) return
    core.transact(steps, () => {
      for (const { object, version } of entries)
        if (spoiled.includes(object)) core.send(from, { kind: 'bad-shard', object, version })
      if (entries.length > 0) core.send(from, { kind: 'replicated', tid, roomBytes: core.space.roomBytes })
    })
  }

  // Recovery

  canFetch(sources: readonly OsdId[]): boolean {
    return this.transfer.canRebuild(sources)
  }

  fetch(object: ObjectId, version: Version, sources: readonly OsdId[], onFetched: OnFetched): void {
    this.transfer.rebuild(object, version, sources, onFetched)
  }

  canGive(sources: readonly OsdId[]): boolean {
    return new Set([this.core.whoami, ...sources].map(shardOf)).size >= this.coding().code.k
  }

  recoverMessage(object: ObjectId, version: Version, sources: readonly OsdId[]): PeerMessage {
    const { core } = this
    const own = core.missing.has(object) ? [] : [core.whoami]
    return { kind: 'rebuild', object, version, sources: [...own, ...sources] }
  }

  private onRebuild(from: OsdId, { object, version, sources }: Extract<PeerMessage, { kind: 'rebuild' }>): void {
    const others = sources.filter((member) => member !== this.core.whoami)
    this.transfer.rebuild(object, version, others, (errno, bytes) =>
      this.core.send(from, { kind: 'recovered', object, version, errno, bytes }),
    )
  }

  /** The own shard counts as missing from now on, durably. */
  private onBadShard(object: ObjectId, version: Version): void {
    const { core, events } = this
    if (core.isPrimary) return events.onBadCopy(object, version)
    const missing: MissingObject = { object, need: version }
    core.missing.set(missing)
    const primary = core.mapping.actingPrimary
    core.transact([setMissing(core.pgId, [missing])], () => core.send(primary, { kind: 'bad-shard', object, version }))
  }

  shardCheck(): ShardCheck {
    return shardCheck(this.coding().code)
  }

  isReadable(object: ObjectId): boolean {
    return !this.core.missing.has(object) && this.events.holders(object).length >= this.coding().code.k
  }

  // Messages

  onMessage(from: OsdId, message: ShardMessage): void {
    switch (message.kind) {
      case 'sub-write':
        return this.onSubWrite(from, message)
      case 'sub-read':
        return this.reader.onSubRead(from, message)
      case 'sub-read-reply':
        return this.reader.onSubReadReply(from, message)
      case 'rebuild':
        return this.onRebuild(from, message)
      case 'bad-shard':
        if (this.core.isPrimary) this.events.onBadPeer(from, message.object, message.version)
        return
      case 'shard-activated':
        this.core.space.onRoom(from, message.roomBytes)
        return this.events.onActivated(from, new MissingSet(message.missing))
    }
  }

  retry(object?: ObjectId): void {
    this.reader.retry(object)
  }

  reset(): void {
    this.transfer.reset()
    this.reader.reset()
    this.cache.clear()
    const errno = errorTable.ESTALE.errno
    const detail = 'the placement group changes hands'
    for (const token of this.loading) this.core.answer(token, { kind: 'load-failed', token, errno, detail })
    for (const token of this.reading) this.core.answer(token, { kind: 'read-done', token, errno, detail, results: [] })
    this.loading.clear()
    this.reading.clear()
    this.core.emit({ kind: 'cancel-timer', timer: 'settle' })
  }
}
