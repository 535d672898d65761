/**
 * Reads ranges of an object from its shards, on the primary: only the data shards that a range touches; where one of them
 * is missing or bad, the same stretch of any k shards, from which it is computed.
 *
 * Invariant: bytes of different versions never meet. Each shard answers with the version that it holds, and one that is
 * not the version that was asked for counts as missing.
 */
import { errorTable, type OsdId } from '@shoal/base'
import { type ByteRange, type ErasureCode, type StripeLayout, shardExtents } from '@shoal/erasure'
import { equalVersions, type ObjectId, objectKey, type Version } from '@shoal/wire'
import { versionOfBadCopy } from '../bad-copy.ts'
import type { PgCore } from '../core.ts'
import { shardOf } from '../member.ts'
import { objectAttributeName, versionOf } from '../object-attribute.ts'
import type { PeerMessage, ShardRange } from '../peer-message.ts'

export interface ShardReaderEvents {
  /** The members of acting whose shard of the object is there. */
  holders(object: ObjectId): readonly OsdId[]
  /** This OSD's own shard cannot be read. */
  onBadShard(object: ObjectId, version: Version): void
  /** Too few shards of it can be had now. */
  onStalled(object: ObjectId): void
}

export interface WholeRead {
  readonly object: ObjectId
  readonly version: Version
  /** Within the object. */
  readonly ranges: readonly ByteRange[]
  readonly onRead: (data: readonly Uint8Array[]) => void
  /** An operator gave the object up: nobody has it any more. */
  readonly onGone: () => void
}

/** What is asked of one shard for one range. */
interface Piece extends ShardRange {
  readonly shard: number
}

interface Attempt {
  readonly read: WholeRead
  /** By range: the stretches to read, and the data shards that must be computed. */
  readonly plans: readonly { readonly pieces: readonly Piece[]; readonly wanted: readonly Piece[] }[]
  readonly waiting: Set<OsdId>
  readonly answers: Map<number, readonly Uint8Array[]>
  readonly failed: Set<OsdId>
}

export class ShardReader {
  private readonly core: PgCore
  private readonly events: ShardReaderEvents
  private readonly code: () => { readonly code: ErasureCode; readonly layout: StripeLayout }
  private readonly attempts = new Map<number, Attempt>()
  /** Reads of objects of which too few shards can be had now. */
  private stalled: WholeRead[] = []
  private nextTid = 1

  constructor(
    core: PgCore,
    code: () => { readonly code: ErasureCode; readonly layout: StripeLayout },
    events: ShardReaderEvents,
  ) {
    this.core = core
    this.code = code
    this.events = events
  }

  reset(): void {
    this.attempts.clear()
    this.stalled = []
  }

  /** Answers when it can: what cannot be read now waits for recovery. */
  read(read: WholeRead): void {
    if (read.ranges.length === 0) return read.onRead([])
    this.attempt(read, new Set())
  }

  /** Of one object, or all. */
  retry(object?: ObjectId): void {
    const key = object === undefined ? undefined : objectKey(object)
    const again = this.stalled.filter((read) => key === undefined || objectKey(read.object) === key)
    if (again.length === 0) return
    this.stalled = this.stalled.filter((read) => !again.includes(read))
    for (const read of again) this.attempt(read, new Set())
  }

  private attempt(read: WholeRead, failed: Set<OsdId>): void {
    const { code, layout } = this.code()
    const holders = new Map<number, OsdId>()
    for (const member of this.events.holders(read.object)) if (!failed.has(member)) holders.set(shardOf(member), member)
    if (holders.size < code.k) return this.stall(read)
    const plans = read.ranges.map((range) => {
      const wanted = piecesOf(layout, range)
      const shards = wanted.map(({ shard }) => shard)
      const used = code.minimumToDecode(shards, holders.keys())
      if (used.length === shards.length && used.every((shard) => shards.includes(shard)))
        return { pieces: wanted, wanted }
      this.core.count('degradedReads')
      const offset = Math.min(...wanted.map((piece) => piece.offset))
      const end = Math.max(...wanted.map((piece) => piece.offset + piece.length))
      return { pieces: used.map((shard) => ({ shard, offset, length: end - offset })), wanted }
    })
    const tid = this.nextTid++
    const waiting = new Set<OsdId>()
    const attempt: Attempt = { read, plans, waiting, answers: new Map(), failed }
    this.attempts.set(tid, attempt)
    const byShard = new Map<number, ShardRange[]>()
    for (const { shard, offset, length } of plans.flatMap(({ pieces }) => pieces)) {
      const ranges = byShard.get(shard) ?? []
      byShard.set(shard, ranges)
      ranges.push({ offset, length })
    }
    for (const shard of byShard.keys()) waiting.add(holders.get(shard) as OsdId)
    for (const [shard, extents] of byShard) this.ask(holders.get(shard) as OsdId, tid, read.object, extents)
  }

  /** Nothing is written while it is read: only what is given up can be gone. */
  private stall(read: WholeRead): void {
    if (this.core.log.latestOf(read.object)?.kind === 'delete') return read.onGone()
    this.stalled.push(read)
    this.core.emit({ kind: 'set-timer', timer: 'recovery-retry', delayMs: stalledRetryMs })
    this.events.onStalled(read.object)
  }

  private ask(member: OsdId, tid: number, object: ObjectId, extents: readonly ShardRange[]): void {
    const { core } = this
    if (member !== core.whoami) return core.send(member, { kind: 'sub-read', tid, object, extents })
    this.readOwn(object, extents, (errno, version, data) => this.onAnswer(member, tid, errno, version, data))
  }

  /** A member's side. */
  onSubRead(from: OsdId, { tid, object, extents }: Extract<PeerMessage, { kind: 'sub-read' }>): void {
    this.readOwn(object, extents, (errno, version, data) =>
      this.core.send(from, { kind: 'sub-read-reply', tid, errno, version, data }),
    )
  }

  private readOwn(
    object: ObjectId,
    extents: readonly ShardRange[],
    then: (errno: number, version: Version, data: readonly Uint8Array[]) => void,
  ): void {
    const { core } = this
    const none = versionOf(undefined)
    if (core.missing.has(object)) return then(errorTable.ENOENT.errno, none, [])
    const token = core.expectInInterval((input) => {
      if (input.kind === 'loaded') {
        const { exists, xattrs, extents: data } = input.state
        const errno = exists ? 0 : errorTable.ENOENT.errno
        return then(errno, versionOf(xattrs.get(objectAttributeName)), exists ? data : [])
      }
      if (input.kind !== 'load-failed') return
      if (input.errno === errorTable.ECHECKSUM.errno) this.reportBad(object)
      then(input.errno, none, [])
    })
    core.emit({ kind: 'load', request: { object, omapKeys: [], extents }, token })
  }

  /** Finds out which version the bad shard should be. */
  reportBad(object: ObjectId): void {
    const { core } = this
    core.count('checksumErrors')
    const token = core.expectInInterval((input) => {
      const attribute = input.kind === 'loaded' ? input.state.xattrs.get(objectAttributeName) : undefined
      const version = versionOfBadCopy(core.log, object, attribute)
      if (version === undefined || version === 'deleted' || core.missing.has(object)) return
      this.events.onBadShard(object, version)
    })
    core.emit({ kind: 'load', request: { object, omapKeys: [], extents: [] }, token })
  }

  onSubReadReply(from: OsdId, message: Extract<PeerMessage, { kind: 'sub-read-reply' }>): void {
    this.onAnswer(from, message.tid, message.errno, message.version, message.data)
  }

  private onAnswer(from: OsdId, tid: number, errno: number, version: Version, data: readonly Uint8Array[]): void {
    const attempt = this.attempts.get(tid)
    if (attempt === undefined || !attempt.waiting.delete(from)) return
    if (errno === 0 && isOfVersion(version, attempt.read)) attempt.answers.set(shardOf(from), data)
    else attempt.failed.add(from)
    if (attempt.waiting.size > 0) return
    this.attempts.delete(tid)
    if (attempt.failed.size > 0 && attempt.answers.size < askedOf(attempt))
      return this.attempt(attempt.read, attempt.failed)
    attempt.read.onRead(this.assemble(attempt))
  }

  private assemble({ read, plans, answers }: Attempt): readonly Uint8Array[] {
    const { code, layout } = this.code()
    const taken = new Map<number, number>()
    const next = (shard: number): Uint8Array => {
      const at = taken.get(shard) ?? 0
      taken.set(shard, at + 1)
      return answers.get(shard)?.[at] ?? new Uint8Array(0)
    }
    return plans.map(({ pieces, wanted }, at) => {
      const range = read.ranges[at] as ByteRange
      const have = new Map<number, { readonly offset: number; readonly bytes: Uint8Array }>()
      for (const piece of pieces) {
        have.set(piece.shard, { offset: piece.offset, bytes: padded(next(piece.shard), piece.length) })
      }
      if (pieces !== wanted) {
        const offset = (pieces[0] as Piece).offset
        const chunks = new Map([...have].map(([shard, { bytes }]) => [shard, bytes]))
        for (const [shard, bytes] of code.decode(
          chunks,
          wanted.map((piece) => piece.shard),
        )) {
          have.set(shard, { offset, bytes })
        }
      }
      const out = new Uint8Array(range.length)
      for (const { shard, shardOffset, offset, length } of shardExtents(layout, range)) {
        const source = have.get(shard)
        if (source === undefined) continue
        const from = shardOffset - source.offset
        out.set(source.bytes.subarray(from, from + length), offset - range.offset)
      }
      return out
    })
  }
}

const stalledRetryMs = 1_000

function isOfVersion(version: Version, { version: wanted }: WholeRead): boolean {
  return equalVersions(version, wanted)
}

function askedOf({ plans }: Attempt): number {
  return new Set(plans.flatMap(({ pieces }) => pieces.map(({ shard }) => shard))).size
}

function padded(bytes: Uint8Array, length: number): Uint8Array {
  if (bytes.length === length) return bytes
  const whole = new Uint8Array(length)
  whole.set(bytes.subarray(0, length))
  return whole
}

/** What a range takes of each data shard: one stretch, for units of one shard that follow each other lie side by side. */
function piecesOf(layout: StripeLayout, range: ByteRange): readonly Piece[] {
  const spans = new Map<number, { from: number; to: number }>()
  for (const { shard, shardOffset, length } of shardExtents(layout, range)) {
    const span = spans.get(shard)
    if (span === undefined) spans.set(shard, { from: shardOffset, to: shardOffset + length })
    else span.to = shardOffset + length
  }
  return [...spans].map(([shard, { from, to }]) => ({ shard, offset: from, length: to - from }))
}
