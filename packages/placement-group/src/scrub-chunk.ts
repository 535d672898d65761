/**
 * One chunk of a scrub, on the primary: keeps writes off a range of objects, waits for those under way, collects what every
 * member has of it, and compares.
 *
 * Invariants
 * 1. From when a chunk begins until it is ended nobody begins a write to its range (`blocksWrites`), and its maps are
 *    collected only once those under way are on stable storage everywhere; reads go on.
 * 2. A chunk is compared only up to where every member has looked.
 */
import { errorTable, type OsdId } from '@shoal/base'
import { compareObjectIds, type ObjectId } from '@shoal/wire'
import type { PgCore } from './core.ts'
import { osdOf } from './member.ts'
import { isTemporary } from './object-transfer.ts'
import { compareScrubMaps, type Expected, type MemberMap, type ShardCheck } from './scrub-compare.ts'
import { scrubMapOf } from './scrub-map.ts'
import type { ScrubAnswer, ScrubMember } from './scrub-member.ts'
import type { InconsistentObject } from './scrub-record.ts'

export interface ChunkPlan {
  /** Exclusive. */
  readonly after: ObjectId | undefined
  /** Inclusive; undefined: to the end. */
  readonly until: ObjectId | undefined
  /** What a member may have in it: more than this copy has, perhaps. */
  readonly objectsMax: number
  readonly deep: boolean
}

export interface ChunkOutcome {
  /** Up to where it was compared; undefined: to the end of all objects. */
  readonly end: ObjectId | undefined
  readonly objects: number
  readonly found: readonly InconsistentObject[]
}

export interface ChunkEvents {
  /** Whether writes to such objects are under way; `onWritten` is called when one is over. */
  isWriting(inside: (object: ObjectId) => boolean): boolean
  /** Undefined: members keep copies. */
  shardCheck(): ShardCheck | undefined
  /** The range is still kept from writes: until `end`. */
  onCompared(outcome: ChunkOutcome): void
  onFailed(why: string): void
}

export class ScrubChunk {
  /** Somebody wanted to write to it. */
  contended = false
  readonly startedMs: number
  private readonly number: number
  private readonly plan: ChunkPlan
  private readonly core: PgCore
  private readonly member: ScrubMember
  private readonly events: ChunkEvents
  private readonly answers = new Map<OsdId, ScrubAnswer>()
  /** Writes that were under way when it began are not over. */
  private draining = true

  /** `number`: unique among the chunks of this run. */
  constructor(core: PgCore, member: ScrubMember, number: number, plan: ChunkPlan, events: ChunkEvents) {
    this.core = core
    this.member = member
    this.number = number
    this.plan = plan
    this.events = events
    this.startedMs = core.clock.monotonicMs()
  }

  private isInside(object: ObjectId): boolean {
    const { after, until } = this.plan
    return (
      (after === undefined || compareObjectIds(object, after) > 0) &&
      (until === undefined || compareObjectIds(object, until) <= 0)
    )
  }

  blocksWrites(object: ObjectId): boolean {
    if (!this.isInside(object)) return false
    this.contended = true
    return true
  }

  /** Also called when a client's write is on stable storage everywhere. */
  collectWhenDrained(): void {
    if (!this.draining || this.events.isWriting((object) => this.isInside(object))) return
    this.draining = false
    const { core, plan, number } = this
    const { chunkBytesMax } = core.settings.scrub
    const request = {
      kind: 'request',
      chunk: number,
      version: core.log.head,
      bytesMax: chunkBytesMax,
      ...plan,
    } as const
    for (const osd of this.others) core.send(osd, { kind: 'scrub', message: request })
    this.member.examine(request, (answer) => this.onAnswer(core.whoami, answer))
  }

  private get others(): readonly OsdId[] {
    return this.core.mapping.acting.filter((osd) => osd !== this.core.whoami)
  }

  onAnswer(from: OsdId, answer: ScrubAnswer): void {
    const { core } = this
    if (answer.chunk !== this.number || this.answers.has(from)) return
    if (answer.errno === errorTable.EIO.errno) {
      const message = `osd.${osdOf(from)} cannot read its records: scrub is given up`
      core.emit({ kind: 'log', level: 'error', message, cluster: true })
    }
    if (answer.errno !== 0) return this.events.onFailed(`osd.${osdOf(from)} answers errno ${answer.errno}`)
    this.answers.set(from, answer)
    if (this.answers.size === core.mapping.acting.length) this.compare()
  }

  private compare(): void {
    const { core, answers } = this
    let end = this.plan.until
    for (const { through } of answers.values()) {
      if (through !== undefined && (end === undefined || compareObjectIds(through, end) < 0)) end = through
    }
    const members = [core.whoami, ...this.others].map((osd): MemberMap => {
      const objects = answers.get(osd)?.objects ?? []
      const upToEnd = objects.filter(({ object }) => end === undefined || compareObjectIds(object, end) <= 0)
      return { osd, objects: scrubMapOf(upToEnd) }
    })
    const found = compareScrubMaps(members, (object) => this.expectedOf(object), this.events.shardCheck())
    this.events.onCompared({ end, objects: members[0]?.objects.size ?? 0, found })
  }

  private expectedOf(object: ObjectId): Expected {
    if (isTemporary(object)) return { kind: 'unknown' }
    const entry = this.core.log.latestOf(object)
    if (entry === undefined) return { kind: 'unknown' }
    return entry.kind === 'delete' ? { kind: 'removed' } : { kind: 'version', version: entry.version }
  }
}
