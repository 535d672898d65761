/**
 * Scrub, on the primary: has every member of acting look at the same objects in the same state, chunk by chunk, and
 * compares. docs/mechanisms/scrub.md
 *
 * Invariants
 * 1. A chunk (scrub-chunk.ts), which keeps writes off its range, ends: with the last answer, with the interval, or with its
 *    time. Then the scrub is given up, and begun again later.
 * 2. A copy is given up only when a good one is known, and through recovery, as any other copy that is missing: before the
 *    range may be written to again. (Counter-example: later, by when a write has made another version of the good copies.)
 * 3. Scrub begins, and goes on, only while every copy is whole.
 */
import type { OsdId } from '@shoal/base'
import { headOf, type ObjectId, objectKey } from '@shoal/wire'
import type { PgCore } from './core.ts'
import { Reservations } from './reservations.ts'
import { type ChunkOutcome, ScrubChunk } from './scrub-chunk.ts'
import type { ShardCheck } from './scrub-compare.ts'
import type { ScrubMember } from './scrub-member.ts'
import type { ScrubMessage } from './scrub-message.ts'
import { type InconsistentObject, inconsistentMax, type ScrubRecord } from './scrub-record.ts'
import { nextScrub, type ScrubRequest } from './scrub-schedule.ts'

export interface ScrubEvents {
  /** Every copy is whole and where it belongs, and nothing moves. */
  isWhole(): boolean
  /** Undefined: members keep copies. */
  shardCheck(): ShardCheck | undefined
  /** Writes that waited for a range may go on. */
  onUnblocked(): void
  /** Whether writes to such objects are under way; `onWritten` is called when one is over. */
  isWriting(inside: (object: ObjectId) => boolean): boolean
  /** Client operations so far: scrub leaves them room. */
  operations(): number
  /** These copies are bad, and others are good. */
  onBadCopies(copies: readonly InconsistentObject[]): void
}

interface Job {
  readonly deep: boolean
  /** Mend what can be mended, proven or not. */
  readonly repair: boolean
  /** Looks whether a repair has left anything; mends only what that repair did not try. */
  readonly check: boolean
  readonly asked: boolean
}

interface Running {
  readonly job: Job
  readonly found: InconsistentObject[]
  unlisted: number
  mended: number
  /** For copies to be whole again. */
  waiting: boolean
  cursor: ObjectId | undefined
  operations: number
}

const priorities = { scheduled: 5, urgent: 60, asked: 120 } as const
const retryMs = 60_000
/** The wall clock may be set meanwhile. */
const lookEveryMs = 600_000

export class Scrubber {
  private readonly core: PgCore
  private readonly member: ScrubMember
  private readonly events: ScrubEvents
  private readonly reservations: Reservations
  private asked: Job | undefined
  private job: Job | undefined
  private running: Running | undefined
  private chunk: ScrubChunk | undefined
  private chunks = 0
  private chunkObjects: number
  private isMending = false
  scrubbedObjects = 0

  constructor(core: PgCore, member: ScrubMember, events: ScrubEvents) {
    this.core = core
    this.member = member
    this.events = events
    this.chunkObjects = core.settings.scrub.chunkObjectsMax
    this.reservations = new Reservations(core, 'scrub', {
      onGranted: () => this.begin(),
      onRevoked: () => this.giveUp('somebody more urgent has its place'),
      onTooFull: () => this.giveUp('a member has no place'),
    })
  }

  get slots(): Pick<Reservations, 'onLocalGranted' | 'onLocalRevoked' | 'onReserved' | 'onRevoked'> {
    return this.reservations
  }

  get isRunning(): boolean {
    return this.running !== undefined
  }

  get isDeep(): boolean {
    return this.running?.job.deep === true
  }

  /** Bad copies are being replaced. */
  get isRepairing(): boolean {
    return this.isMending
  }

  /** The interval is over. What was asked for is done in the next one, if this OSD leads it. */
  reset(): void {
    this.reservations.reset()
    this.member.reset()
    if (this.job?.asked === true) this.asked ??= this.job
    this.job = undefined
    this.running = undefined
    this.chunk = undefined
    this.isMending = false
  }

  blocksWrites(object: ObjectId): boolean {
    return this.chunk !== undefined && this.chunk.blocksWrites(object)
  }

  /** A client's write is on stable storage everywhere. */
  onWritten(): void {
    if (this.chunk !== undefined) this.chunk.collectWhenDrained()
  }

  /** An operator asks; a second request before the first has begun adds to it. */
  request(kind: ScrubRequest): void {
    this.ask({ deep: kind !== 'scrub', repair: kind === 'repair', check: false, asked: true })
  }

  private ask(job: Job): void {
    const { asked } = this
    this.asked =
      asked === undefined
        ? job
        : {
            deep: asked.deep || job.deep,
            repair: asked.repair || job.repair,
            check: asked.check && job.check,
            asked: true,
          }
    this.consider()
  }

  /** The group is clean, or clean again: time to see what is due. */
  onWhole(): void {
    const { member } = this
    if (member.record === undefined) {
      const nowMs = this.core.clock.wallMs()
      this.publish({ scrubbedMs: nowMs, deepScrubbedMs: nowMs, inconsistent: [], unlisted: 0, checkDue: false })
    }
    this.isMending = false
    if (this.running?.waiting === true) {
      this.running.waiting = false
      return this.wake(this.core.settings.scrub.sleepMs)
    }
    if (this.job === undefined && member.record?.checkDue === true)
      this.ask({ deep: true, repair: false, check: true, asked: true })
    else this.consider()
  }

  /** Members that were not there when it was found learn what is known. */
  tellMembers(): void {
    const { record } = this.member
    if (record !== undefined) this.sendAll({ kind: 'record', record, fresh: false })
  }

  /** A member knows of a scrub while this OSD was away. */
  private onLaterRecord(record: ScrubRecord): void {
    if (record.scrubbedMs > (this.member.record?.scrubbedMs ?? 0)) this.publish(record)
  }

  onMap(): void {
    const { job, core } = this
    if (job === undefined || job.asked) return this.consider()
    if (core.map.flags.has(job.deep ? 'nodeep-scrub' : 'noscrub')) this.giveUp('a flag of the map holds it back')
  }

  /** Its settings have changed. */
  onSchedule(): void {
    this.consider()
  }

  /** Of the schedule, or between two chunks. */
  onTimer(): void {
    if (this.running === undefined) this.consider()
    else if (this.chunk === undefined) this.nextChunk()
  }

  onChunkTimer(): void {
    if (this.chunk !== undefined) this.giveUp('a member did not answer in time')
  }

  private consider(): void {
    const { core, member } = this
    if (this.job !== undefined || member.record === undefined || !core.isPrimary) return
    if (!this.events.isWhole()) return
    if (this.asked !== undefined) {
      this.job = this.asked
      this.asked = undefined
      return this.reserve(priorities.asked)
    }
    const nowMs = core.clock.wallMs()
    const next = nextScrub(core.pgId, member.record, core.settings.scrub, core.map.flags, nowMs)
    if (next === undefined) return
    if (next.atMs > nowMs) return this.wake(Math.min(next.atMs - nowMs, lookEveryMs))
    this.job = { deep: next.deep, repair: false, check: false, asked: false }
    this.reserve(next.urgent ? priorities.urgent : priorities.scheduled)
  }

  private wake(delayMs: number): void {
    this.core.emit({ kind: 'set-timer', timer: 'scrub', delayMs: Math.max(1, delayMs) })
  }

  private get others(): readonly OsdId[] {
    return this.core.mapping.acting.filter((osd) => osd !== this.core.whoami)
  }

  private sendAll(message: ScrubMessage): void {
    for (const osd of this.others) this.core.send(osd, { kind: 'scrub', message })
  }

  private reserve(priority: number): void {
    this.reservations.request(this.others, priority)
  }

  private begin(): void {
    const { job } = this
    if (job === undefined) return this.reservations.release()
    this.core.count('scrubs')
    // A look at the schedule is not due while it runs.
    this.core.emit({ kind: 'cancel-timer', timer: 'scrub' })
    const operations = this.events.operations()
    this.running = { job, found: [], unlisted: 0, mended: 0, waiting: false, cursor: undefined, operations }
    this.nextChunk()
  }

  /** Finds out where the next chunk ends. */
  private nextChunk(): void {
    const { core, running } = this
    if (running === undefined) return
    if (!this.events.isWhole()) {
      if (running.waiting) return this.giveUp('copies are being recovered')
      running.waiting = true
      return this.wake(retryMs)
    }
    // Before it keeps writes off its range: what blocks clients does not wait for its own turn.
    const token = core.expectInInterval(() => {
      if (this.running === running && this.chunk === undefined) this.scanChunk(running)
    })
    core.emit({ kind: 'admit', work: 'scrub', token })
  }

  private scanChunk(running: Running): void {
    const { core } = this
    const token = core.expectInInterval((input) => {
      if (input.kind !== 'scanned' || this.running !== running) return
      const last = input.objects.at(-1)?.object
      // Writes to a head are writes to its clones: the range ends behind a head, whatever the last object is.
      this.beginChunk(running, input.more && last !== undefined ? headOf(last) : undefined)
    })
    core.emit({ kind: 'scan', after: running.cursor, limit: this.chunkObjects, token })
  }

  private beginChunk(running: Running, until: ObjectId | undefined): void {
    const { core, member } = this
    const plan = { after: running.cursor, until, objectsMax: 2 * this.chunkObjects, deep: running.job.deep }
    const chunk = new ScrubChunk(core, member, ++this.chunks, plan, {
      isWriting: (inside) => this.events.isWriting(inside),
      shardCheck: () => this.events.shardCheck(),
      onCompared: (outcome) => this.onCompared(running, chunk, outcome),
      onFailed: (why) => {
        if (this.chunk === chunk) this.giveUp(why)
      },
    })
    this.chunk = chunk
    core.emit({ kind: 'set-timer', timer: 'scrub-chunk', delayMs: core.settings.scrub.chunkTimeoutMs })
    chunk.collectWhenDrained()
  }

  onMessage(from: OsdId, message: Extract<ScrubMessage, { kind: 'reserved' | 'release' | 'map' | 'record' }>): void {
    if (message.kind === 'reserved') this.reservations.onReserved(from, message.round)
    else if (message.kind === 'release') this.reservations.onRevoked(from, message.round, false)
    else if (message.kind === 'record') this.onLaterRecord(message.record)
    else this.chunk?.onAnswer(from, message)
  }

  private onCompared(running: Running, chunk: ScrubChunk, { end, objects, found }: ChunkOutcome): void {
    const { core } = this
    if (this.chunk !== chunk) return
    this.scrubbedObjects += objects
    core.count('scrubbedObjects', objects)
    for (const object of found) {
      if (running.found.length < inconsistentMax) running.found.push(object)
      else running.unlisted++
    }
    this.mend(running, found)
    const tookMs = core.clock.monotonicMs() - chunk.startedMs
    this.endChunk()
    if (end === undefined) return this.finish(running)
    running.cursor = end
    this.pause(running, chunk.contended, tookMs)
  }

  private mend(running: Running, found: readonly InconsistentObject[]): void {
    const { member } = this
    const { job } = running
    const before = new Set((member.record?.inconsistent ?? []).map(({ object }) => objectKey(object)))
    // What a repair has not mended, another would not either.
    const mended = found.filter((each) => this.mayMend(each, job) && !(job.check && before.has(objectKey(each.object))))
    if (mended.length === 0) return
    running.mended += mended.length
    this.isMending = true
    if (member.record?.checkDue === false) this.publish({ ...member.record, checkDue: true })
    this.events.onBadCopies(mended)
  }

  /** Clients come first: while they are busy, scrub rests as long as it works, and takes smaller bites. */
  private pause(running: Running, contended: boolean, tookMs: number): void {
    const { sleepMs, chunkObjectsMin, chunkObjectsMax } = this.core.settings.scrub
    const operations = this.events.operations()
    const busy = operations !== running.operations
    running.operations = operations
    const wanted = contended ? this.chunkObjects / 2 : this.chunkObjects * 2
    this.chunkObjects = Math.max(1, Math.min(chunkObjectsMax, Math.max(chunkObjectsMin, Math.floor(wanted))))
    this.wake(busy ? Math.max(sleepMs, tookMs) : sleepMs)
  }

  private endChunk(): void {
    if (this.chunk === undefined) return
    this.chunk = undefined
    this.core.emit({ kind: 'cancel-timer', timer: 'scrub-chunk' })
    this.events.onUnblocked()
  }

  /** Begun again, from the first object, when its time comes. */
  private giveUp(why: string): void {
    const { job, core, running } = this
    if (job === undefined) return
    core.count('scrubsGivenUp')
    core.emit({ kind: 'log', level: 'info', message: `scrub is given up: ${why}`, cluster: false })
    this.job = undefined
    this.running = undefined
    if (job.asked) this.asked ??= job
    this.endChunk()
    this.reservations.release()
    if (running !== undefined && running.found.length > 0) this.keepFound(running)
    this.wake(retryMs)
  }

  /** What a scrub has found is known, though it did not come to its end. */
  private keepFound({ found, unlisted }: Running): void {
    const { record } = this.member
    if (record === undefined) return
    const objects = new Map([...record.inconsistent, ...found].map((each) => [objectKey(each.object), each]))
    const inconsistent = [...objects.values()].slice(0, inconsistentMax)
    this.publish({ ...record, inconsistent, unlisted: Math.max(record.unlisted, unlisted) })
  }

  private finish(running: Running): void {
    const { core, member } = this
    const { job, found, unlisted, mended } = running
    const nowMs = core.clock.wallMs()
    this.job = undefined
    this.running = undefined
    this.reservations.release()
    // What only a deep scrub sees stays until the next one.
    const again = new Set(found.map(({ object }) => objectKey(object)))
    const known = job.deep ? [] : (member.record?.inconsistent ?? [])
    const kept = known.filter(({ deep, object }) => deep && !again.has(objectKey(object)))
    this.publish({
      scrubbedMs: nowMs,
      deepScrubbedMs: job.deep ? nowMs : (member.record?.deepScrubbedMs ?? nowMs),
      inconsistent: [...found, ...kept].slice(0, inconsistentMax),
      unlisted: job.deep ? unlisted : unlisted + (member.record?.unlisted ?? 0),
      checkDue: mended > 0,
    })
    this.tell(running)
    if (this.events.isWhole()) this.onWhole()
  }

  private mayMend({ bad, proven }: InconsistentObject, job: Job): boolean {
    return bad.length > 0 && (job.repair || (proven && this.core.settings.scrub.autoRepair))
  }

  private tell({ job, found, mended }: Running): void {
    if (found.length === 0) return
    this.core.count('scrubInconsistentObjects', found.length)
    const names = found.slice(0, 3).map(({ object }) => object.name)
    const message = `${job.deep ? 'deep-scrub' : 'scrub'} found ${found.length} inconsistent objects (${names.join(', ')}${found.length > 3 ? ', ...' : ''}), mends ${mended}`
    this.core.emit({ kind: 'log', level: 'error', message, cluster: true })
  }

  private publish(record: ScrubRecord): void {
    this.member.keep(record)
    this.sendAll({ kind: 'record', record, fresh: true })
  }

  /** For `pg query`. */
  query(): object {
    const { record } = this.member
    return {
      lastScrubMs: record?.scrubbedMs ?? 0,
      lastDeepScrubMs: record?.deepScrubbedMs ?? 0,
      inconsistentObjects: (record?.inconsistent.length ?? 0) + (record?.unlisted ?? 0),
      running: this.running === undefined ? false : this.running.job.deep ? 'deep-scrub' : 'scrub',
      waiting: this.asked !== undefined || (this.job !== undefined && this.running === undefined),
      chunkObjects: this.chunkObjects,
      scrubbedObjects: this.scrubbedObjects,
    }
  }
}
