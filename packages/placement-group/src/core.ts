/**
 * What the parts of a placement group share: its persistent state, the map it acts on, and the effects of the step that
 * is being taken. Parts call each other through it; only `PlacementGroup` is public.
 */
import {
  AssertionError,
  assert,
  type Clock,
  type Epoch,
  type OsdId,
  type PgId,
  type PoolId,
  pgPool,
  pgShard,
  shardPgId,
} from '@shoal/base'
import { isMerging, type OsdMap, type PgMapping, type Pool } from '@shoal/cluster-map'
import type { PgEnvelope, Transaction, TransactionOp, Version } from '@shoal/wire'
import type { PgEffect, PgInput } from './effects.ts'
import type { RollbackLog } from './erasure/rollback-log.ts'
import { osdOf, shardOf } from './member.ts'
import type { MissingSet } from './missing-set.ts'
import { envelope, type PeerMessage } from './peer-message.ts'
import type { PastInterval, PgInfo } from './pg-info.ts'
import type { LogEntry, PgLog } from './pg-log.ts'
import { type IntervalRecord, removeLogEntries, setLogEntries, setRecord, setTrimmedRequests } from './pg-store.ts'
import { defaultScrubSettings, type ScrubSettings } from './scrub-schedule.ts'

export interface PgSettings {
  /** Entries kept for recognising resends, and for recovery by log. */
  readonly logEntriesMin: number
  /** Entries kept while some copy is incomplete, so that it can catch up by log instead of backfill. */
  readonly logEntriesMax: number
  /** Bytes of entries at most: a member that joins stores the whole log in one transaction. */
  readonly logBytesMax: number
  /** Requests whose entries are gone that are kept because they may be sent again. */
  readonly trimmedRequestsMax: number
  /** Objects that are recovered side by side. */
  readonly recoveryActiveMax: number
  /** Bytes of one piece of an object on its way to another OSD. */
  readonly pieceBytesMax: number
  readonly scanObjects: number
  /** Clones from which removed snapshots are taken side by side. */
  readonly snapTrimActiveMax: number
  readonly scrub: ScrubSettings
}

export const defaultPgSettings: PgSettings = {
  logEntriesMin: 1_500,
  logEntriesMax: 6_000,
  logBytesMax: 24 * 1024 * 1024,
  trimmedRequestsMax: 2_000,
  recoveryActiveMax: 4,
  pieceBytesMax: 2 * 1024 * 1024,
  scanObjects: 64,
  snapTrimActiveMax: 2,
  scrub: defaultScrubSettings,
}

/**
 * Promises between OSDs that ride on heartbeats: "until then I let nobody but you serve the PGs in which you are my
 * primary". Times are monotonic milliseconds of this OSD. docs/mechanisms/read-leases.md
 */
export interface PgLeases {
  /** Until when this peer has promised us, by answers that knew no newer map than ours. */
  heldUntilMs(peer: OsdId): number
  /** A client uses a placement group of which this peer has a copy: its promise is needed, now and for a while. */
  want(peer: OsdId, nowMs: number): void
  /** It has not promised what was asked of it. Not so while nobody asks: then promises may run out. */
  isLate(peer: OsdId, nowMs: number): boolean
  /**
   * Until when we have promised this peer, by answers to pings that named a map before `since`: a peer that knows of the
   * interval that began then has stopped to serve the one before it, however often it still pings.
   */
  grantedUntilMs(peer: OsdId, since: Epoch): number
}

/**
 * Who has room for what. Asked before anything is ordered: a transaction that a store could refuse must not come to be.
 * docs/mechanisms/space.md
 */
export interface PgSpace {
  /** Whether these members, this OSD perhaps among them, have room for all that clients have under way here, and for this. */
  admits(members: readonly OsdId[], bytes: number): boolean
  /** Whether a piece of an object that is recovered finds room here. */
  hasRoomFor(bytes: number): boolean
  /** Nothing is backfilled to this OSD. */
  readonly isBackfillFull: boolean
  /** What each primary may have under way here: told with every answer. */
  readonly roomBytes: number
  /** What a member has told. */
  onRoom(peer: OsdId, roomBytes: number): void
}

/** The answer to an effect with a token. */
export type Continuation = (input: PgInput) => void

export class PgCore {
  readonly pgId: PgId
  private readonly poolId: PoolId
  /** Of an erasure-coded PG: which shard this copy is. */
  readonly shard: number | undefined
  /** As a member (member.ts). */
  readonly whoami: OsdId
  readonly settings: PgSettings
  readonly leases: PgLeases
  readonly space: PgSpace
  readonly clock: Clock
  info: PgInfo
  log: PgLog
  missing: MissingSet
  /** Of an erasure-coded PG. */
  readonly rollback: RollbackLog | undefined
  pastIntervals: readonly PastInterval[]
  interval: IntervalRecord
  map!: OsdMap
  mapping!: PgMapping
  objects: number
  bytes: number
  /** Every copy is whole and where it belongs, as far as the primary of this interval knows. */
  clean = false
  private effects: PgEffect[] = []
  private readonly continuations = new Map<number, Continuation>()
  private nextToken = 1
  /** Transactions; the store commits them in order. */
  private submitted = 0
  private committed = 0
  private readonly untilStored: { readonly submitted: number; readonly run: () => void }[] = []
  private round = 0

  constructor(options: {
    readonly pgId: PgId
    readonly whoami: OsdId
    readonly settings: PgSettings
    readonly leases: PgLeases
    readonly space: PgSpace
    readonly clock: Clock
    readonly info: PgInfo
    readonly log: PgLog
    readonly missing: MissingSet
    readonly rollback: RollbackLog | undefined
    readonly pastIntervals: readonly PastInterval[]
    readonly interval: IntervalRecord
  }) {
    this.pgId = options.pgId
    this.poolId = pgPool(options.pgId)
    this.shard = pgShard(options.pgId)
    this.rollback = options.rollback
    this.whoami = options.whoami
    this.settings = options.settings
    this.leases = options.leases
    this.space = options.space
    this.clock = options.clock
    this.info = options.info
    this.log = options.log
    this.missing = options.missing
    this.pastIntervals = options.pastIntervals
    this.interval = options.interval
    const last = options.log.all().at(-1)
    this.objects = last?.pgObjects ?? options.info.objects
    this.bytes = last?.pgBytes ?? options.info.bytes
  }

  get pool(): Pool | undefined {
    return this.map.pools.get(this.poolId)
  }

  /** False: this OSD has not seen every map of the PG's life, and may not know who served it. */
  get historyKnown(): boolean {
    return this.info.history.epochCreated > 0
  }

  get isPrimary(): boolean {
    return this.mapping.actingPrimary === this.whoami
  }

  /**
   * Whether enough members are there for clients. Only an interval in which they are counts as started: it is also the only
   * kind whose members are asked later on (`maybeWrote`). Counter-example: a member alone peers, says that it started, and
   * tells others so; from then on only it counts as current, and nobody asks it.
   */
  get mayServe(): boolean {
    return this.mapping.acting.length >= (this.pool?.minSize ?? 1)
  }

  /** Nothing may be written: merge.md. */
  get isMerging(): boolean {
    return isMerging(this.pool, this.pgId)
  }

  /** The info as of now: what is derived from log and missing set included. */
  currentInfo(): PgInfo {
    return {
      ...this.info,
      lastUpdate: this.log.head,
      logTail: this.log.tail,
      missingCount: this.missing.size,
      objects: this.objects,
      bytes: this.bytes,
    }
  }

  isUp(osd: OsdId): boolean {
    return this.map.osds.get(osdOf(osd))?.up === true
  }

  // Effects

  emit(effect: PgEffect): void {
    this.effects.push(effect)
  }

  takeEffects(): PgEffect[] {
    const taken = this.effects
    this.effects = []
    return taken
  }

  send(to: OsdId, message: PeerMessage): void {
    this.sendSealed(to, this.seal(message))
  }

  /** A message that goes to several members is encoded once. */
  seal(message: PeerMessage): PgEnvelope {
    return envelope(this.pgId, this.map.epoch, message, this.shard)
  }

  sendSealed(to: OsdId, message: PgEnvelope): void {
    assert(to !== this.whoami, 'nobody sends to itself')
    if (this.shard === undefined) this.emit({ kind: 'send', to, message })
    else this.emit({ kind: 'send', to, message: { ...message, pgId: this.collectionOf(to) } })
  }

  /** Where a member of an erasure-coded PG keeps its share. */
  collectionOf(member: OsdId): PgId {
    return shardPgId(this.pgId, shardOf(member))
  }

  count(counter: string, by = 1): void {
    this.emit({ kind: 'count', counter, by })
  }

  /** Of asking for slots. */
  nextRound(): number {
    return ++this.round
  }

  /** Runs `then` with the answer to the effect that carries the returned token. */
  expect(then: Continuation): number {
    const token = this.nextToken++
    this.continuations.set(token, then)
    return token
  }

  /** Like `expect`, but an answer that comes in a later interval is dropped. */
  expectInInterval(then: Continuation): number {
    const { since } = this.interval
    return this.expect((input) => {
      if (this.interval.since === since) then(input)
    })
  }

  answer(token: number, input: PgInput): void {
    const then = this.continuations.get(token)
    this.continuations.delete(token)
    assert(then !== undefined, `an answer to a question that was asked: ${input.kind} ${token}`)
    then(input)
  }

  /** Submits the steps; `onCommit` runs when they are durable, unless the interval is another by then. */
  transact(ops: readonly TransactionOp[], onCommit?: () => void): void {
    const transaction: Transaction = { ops }
    const { since } = this.interval
    this.submitted++
    const token = this.expect((input) => {
      // The log in memory, and the other members, have it: only a restart, and peering, bring this copy back in step.
      if (input.kind !== 'committed')
        throw new AssertionError(`the store refused what the driver let through: ${describeFailure(input)}`)
      if (this.interval.since === since) onCommit?.()
      this.committed++
      while (this.untilStored[0] !== undefined && this.untilStored[0].submitted <= this.committed)
        this.untilStored.shift()?.run()
    })
    this.emit({ kind: 'transact', transaction, token })
  }

  /**
   * What a shard tells of itself in peering it must not forget: runs `then` once all that was submitted is on stable
   * storage, unless the interval is another by then. Counter-example: three members have a write in memory and agree on it;
   * one stores that and the others lose their power. Its log now wins, and names an object of which one shard is left. Of a
   * copy one is enough: it tells at once.
   */
  whenStored(then: () => void): void {
    if (this.shard === undefined || this.committed === this.submitted) return then()
    const { since } = this.interval
    const { submitted } = this
    this.untilStored.push({
      submitted,
      run: () => {
        if (this.interval.since === since) then()
      },
    })
  }

  recordOp(): TransactionOp {
    return setRecord(this.pgId, {
      info: this.currentInfo(),
      pastIntervals: this.pastIntervals,
      interval: this.interval,
    })
  }

  /** Appends to the log in memory; returns the step that stores the entries. */
  appendLog(entries: readonly LogEntry[]): TransactionOp {
    for (const entry of entries) this.log.append(entry)
    const last = entries.at(-1)
    if (last !== undefined) {
      this.objects = last.pgObjects
      this.bytes = last.pgBytes
    }
    return setLogEntries(this.pgId, entries)
  }

  /** Cuts the log; returns the steps that store it, none when nothing is cut. */
  trimLog(to: Version): readonly TransactionOp[] {
    const { log, pgId } = this
    const before = log.trimmedRequests.length
    const trimmed = log.trim(to, this.settings.trimmedRequestsMax)
    if (trimmed.length === 0) return []
    const steps = [this.recordOp(), removeLogEntries(pgId, trimmed)]
    if (before > 0 || log.trimmedRequests.length > 0) steps.push(setTrimmedRequests(pgId, log.trimmedRequests))
    return steps
  }

  setHistory(change: Partial<PgInfo['history']>): void {
    this.info = { ...this.info, history: { ...this.info.history, ...change } }
  }
}

function describeFailure(input: PgInput): string {
  return input.kind === 'transact-failed' ? `errno ${input.errno}, ${input.detail}` : input.kind
}
