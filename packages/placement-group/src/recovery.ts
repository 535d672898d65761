/**
 * Recovery by log, on the primary: every object that some member of acting misses is brought to all of them, once.
 *
 * An object is first fetched by the primary if it misses it itself, then each member that misses it is told to fetch it
 * from the primary. Only objects in the missing sets move. Objects that somebody waits for go first, and need no slot:
 * clients do not wait for reservations.
 *
 * Invariant 1: the clones of an object come before it. What was acknowledged before a clone was made is in the clone, and
 * in copies of the object that have yet to be replaced: nobody's is, as long as somebody lacks the clone.
 */
import { assert, errorTable, type OsdId } from '@shoal/base'
import { headSnap, type ObjectId, objectKey, type Version } from '@shoal/wire'
import type { PgBackend } from './backend.ts'
import type { PgCore } from './core.ts'
import { type MissingObject, MissingSet } from './missing-set.ts'
import { isFilled, type PgInfo } from './pg-info.ts'
import { setMissing } from './pg-store.ts'
import { Reservations, recoveryPriority } from './reservations.ts'

interface ActiveRecovery {
  readonly object: ObjectId
  readonly version: Version
  /** Members that were told to fetch and have not answered. */
  readonly waiting: Set<OsdId>
  /** Sources that could not give it, this time. */
  readonly tried: Set<OsdId>
}

/** Of one object. */
export interface BadCopies {
  readonly object: ObjectId
  /** What the good copies are. */
  readonly version: Version
  readonly bad: readonly OsdId[]
}

export interface RecoveryEvents {
  /** Backfill has to stop: it comes after recovery, and holds the slots that recovery asks for. */
  onNeeded(): void
  /** The object is whole on every member, or may be read again. */
  onObjectRecovered(object: ObjectId): void
  /** Nothing is missing any more. */
  onRecovered(): void
}

const retryMs = 1_000

export class Recovery {
  /** What the other members miss. */
  readonly peerMissing: Map<OsdId, MissingSet> = new Map()
  private readonly core: PgCore
  private readonly backend: PgBackend
  private readonly events: RecoveryEvents
  private readonly active = new Map<string, ActiveRecovery>()
  private readonly urgent = new Map<string, ObjectId>()
  /** Objects of which no reachable copy is good. */
  private readonly unfound = new Map<string, ObjectId>()
  /** Those of them that are not looked for again before something changes. */
  private readonly searched = new Set<string>()
  /** Objects that a member could not fetch, until it is time to try again. */
  private readonly deferred = new Map<string, ObjectId>()
  private readonly reservations: Reservations
  /** `onRecovered` is owed. */
  private pending = false
  /** Some member has no room for what it misses. */
  isTooFull = false
  /** An operator wants it done before others. */
  isForced = false
  private peerInfos: Map<OsdId, PgInfo> = new Map()
  private members: readonly OsdId[] = []
  recoveredObjects = 0
  recoveredBytes = 0

  constructor(core: PgCore, backend: PgBackend, events: RecoveryEvents) {
    this.core = core
    this.backend = backend
    this.events = events
    this.reservations = new Reservations(core, 'recovery', {
      onGranted: () => this.work(),
      onRevoked: () => this.begin(),
      onTooFull: () => core.emit({ kind: 'set-timer', timer: 'recovery-retry', delayMs: retryMs }),
    })
  }

  get slots(): Pick<Reservations, 'onLocalGranted' | 'onLocalRevoked' | 'onReserved' | 'onRevoked'> {
    return this.reservations
  }

  reset(): void {
    this.reservations.reset()
    this.pending = false
    this.isTooFull = false
    this.isForced = false
    this.active.clear()
    this.urgent.clear()
    this.unfound.clear()
    this.searched.clear()
    this.deferred.clear()
    this.peerMissing.clear()
    this.members = []
  }

  /** Peering is done: `infos` tells which other copies may be sources, `members` who must be whole: acting and those being filled. */
  start(infos: ReadonlyMap<OsdId, PgInfo>, members: readonly OsdId[]): void {
    this.peerInfos = new Map(infos)
    this.members = members
    this.begin()
  }

  get unfoundCount(): number {
    return this.unfound.size
  }

  get unfoundObjects(): readonly MissingObject[] {
    return [...this.unfound.values()].flatMap((object): readonly MissingObject[] => {
      const need = this.core.missing.get(object)?.need ?? this.needOf(object)
      return need === undefined ? [] : [{ object, need }]
    })
  }

  /** Whether it is known what this OSD has. */
  wasAsked(osd: OsdId): boolean {
    return this.core.isUp(osd) && (this.peerInfos.has(osd) || this.core.mapping.acting.includes(osd))
  }

  /** A copy that nobody asked for offers itself: it may have what is looked for. */
  onStray(osd: OsdId, info: PgInfo): void {
    this.peerInfos.set(osd, info)
    if (this.unfound.size > 0) this.retry()
  }

  /** The object is to be no more, by an operator's choice: nobody misses it. */
  onGivenUp(object: ObjectId): void {
    for (const missing of this.peerMissing.values()) missing.delete(object)
    this.onSettled(object)
  }

  /** What this copy has is the newest version now, by an operator's choice: everybody else misses that. */
  onReverted(object: ObjectId, version: Version, isKept: (osd: OsdId) => boolean): void {
    for (const osd of this.members) {
      if (osd !== this.core.whoami && isKept(osd)) this.missingAt(osd).set({ object, need: version })
    }
    this.onSettled(object)
  }

  private onSettled(object: ObjectId): void {
    const key = objectKey(object)
    this.unfound.delete(key)
    this.searched.delete(key)
    this.begin()
    this.work()
    this.events.onObjectRecovered(object)
  }

  get isRunning(): boolean {
    return this.reservations.isGranted && this.isNeeded
  }

  get isWaiting(): boolean {
    return !this.reservations.isGranted && this.isNeeded
  }

  /** Copies that are missing on acting, this one included. */
  get missingCopies(): number {
    let copies = this.core.missing.size
    for (const osd of this.members) copies += this.peerMissing.get(osd)?.size ?? 0
    return copies
  }

  get isNeeded(): boolean {
    return this.missingCopies > 0
  }

  isMissingAnywhere(object: ObjectId): boolean {
    if (this.core.missing.has(object)) return true
    return this.members.some((osd) => this.peerMissing.get(osd)?.has(object) === true)
  }

  /** A clone of this object, or its snapdir, that some member has yet to get. */
  missingCloneOf(head: ObjectId): ObjectId | undefined {
    const own = this.core.missing.cloneOf(head)
    if (own !== undefined || this.peerMissing.size === 0) return own
    for (const osd of this.members) {
      const clone = this.peerMissing.get(osd)?.cloneOf(head)
      if (clone !== undefined) return clone
    }
    return undefined
  }

  isRecovering(object: ObjectId): boolean {
    return this.active.size > 0 && this.active.has(objectKey(object))
  }

  prioritize(object: ObjectId): void {
    const key = objectKey(object)
    const isMissing = this.isMissingAnywhere(object) || this.missingCloneOf(object) !== undefined
    if (!isMissing || this.active.has(key) || this.deferred.has(key)) return
    this.urgent.set(key, object)
    this.work()
  }

  /** A copy that should be good is not: it is missing from now on, durably, so that a restart does not trust it again. */
  onBadCopy(object: ObjectId, version: Version): void {
    // Two reads may have found it. A record behind the last piece of the good copy would stay for good.
    if (!this.core.missing.has(object)) {
      const missing: MissingObject = { object, need: version }
      this.core.missing.set(missing)
      this.core.transact([setMissing(this.core.pgId, [missing])])
      this.core.count('repairedObjects')
    }
    this.begin()
    this.prioritize(object)
  }

  /**
   * Copies of some members, this one perhaps among them, are bad, and others are good: they are missing from now on, on
   * each of those members durably, and are recovered like all that is missing.
   */
  onBadCopies(copies: readonly BadCopies[]): void {
    const { core } = this
    for (const osd of new Set(copies.flatMap(({ bad }) => bad))) {
      const missing = copies
        .filter(({ bad }) => bad.includes(osd))
        .map(({ object, version }): MissingObject => ({ object, need: version }))
      const set = osd === core.whoami ? core.missing : this.missingAt(osd)
      for (const one of missing) set.set(one)
      if (osd === core.whoami) core.transact([setMissing(core.pgId, missing)])
      else core.send(osd, { kind: 'scrub', message: { kind: 'mend', missing, remove: [] } })
      core.count('repairedObjects', missing.length)
    }
    this.begin()
    this.work()
  }

  /** The same of another member, which has noted it. */
  onBadPeer(osd: OsdId, object: ObjectId, version: Version): void {
    const latest = this.core.log.latestOf(object)
    // Ordered while it told: there is nothing to bring.
    if (latest?.kind === 'delete') return
    this.missingAt(osd).set({ object, need: latest?.version ?? version })
    this.core.count('repairedObjects')
    if (!this.members.includes(osd)) return
    this.begin()
    this.prioritize(object)
  }

  /** Members that miss nothing of this object, of acting. */
  holders(object: ObjectId): readonly OsdId[] {
    const { core } = this
    return core.mapping.acting.filter((osd) =>
      osd === core.whoami ? !core.missing.has(object) : this.peerMissing.get(osd)?.has(object) !== true,
    )
  }

  /** False: it is so already, or there is nothing to recover. Asks for its slots anew, at its new place in the queues. */
  force(on: boolean): boolean {
    if (this.isForced === on || (on && !this.isNeeded)) return false
    this.isForced = on
    if (!this.reservations.isGranted) {
      this.reservations.release()
      this.begin()
    }
    return true
  }

  private begin(): void {
    if (!this.isNeeded) return
    this.pending = true
    this.events.onNeeded()
    if (!this.isHeldBack && !this.reservations.isAsked) {
      this.reservations.request(this.targets(), recoveryPriority(this.core, this.isForced))
    }
  }

  private get isHeldBack(): boolean {
    return this.core.map.flags.has('norecover')
  }

  /** The members that have something to fetch. */
  private targets(): readonly OsdId[] {
    return this.members.filter((osd) => osd !== this.core.whoami && (this.peerMissing.get(osd)?.size ?? 0) > 0)
  }

  /** The map changed (flags), a source came up, or it is time to try again. */
  retry(): void {
    const waited = [...this.unfound.values(), ...this.deferred.values()]
    this.searched.clear()
    this.deferred.clear()
    if (this.isHeldBack) this.reservations.release()
    this.begin()
    this.work()
    // Whoever waits for them puts them first again.
    for (const object of waited) this.events.onObjectRecovered(object)
  }

  work(): void {
    const { core } = this
    for (const [key, object] of this.urgent) {
      if (this.active.size >= core.settings.recoveryActiveMax * 4) break
      const clone = this.cloneBefore(object)
      if (clone === undefined) {
        this.urgent.delete(key)
        this.recover(object)
      } else if (this.mayBegin(clone)) {
        this.recover(clone)
      }
    }
    if (this.reservations.isGranted) this.workReserved()
    if (!this.pending || this.isNeeded || this.active.size > 0) return
    this.pending = false
    this.isTooFull = false
    this.isForced = false
    this.reservations.release()
    this.events.onRecovered()
  }

  private workReserved(): void {
    // A member whose copy turned out to be bad is one more target: the slots are asked for anew, in their order.
    if (this.targets().some((osd) => !this.reservations.includes(osd))) {
      this.reservations.release()
      return this.begin()
    }
    for (const object of this.candidates()) {
      if (this.active.size >= this.core.settings.recoveryActiveMax) return
      this.recover(object)
    }
    // What is left cannot be had now: others may have the slots meanwhile.
    if (this.active.size === 0) this.reservations.release()
  }

  private *candidates(): Generator<ObjectId> {
    const sets = [this.core.missing, ...this.members.map((osd) => this.peerMissing.get(osd))]
    for (const set of sets) {
      for (const { object } of set?.values() ?? []) {
        if (this.mayBegin(object) && this.cloneBefore(object) === undefined) yield object
      }
    }
  }

  private mayBegin(object: ObjectId): boolean {
    const key = objectKey(object)
    return !this.active.has(key) && !this.searched.has(key) && !this.deferred.has(key)
  }

  /** Invariant 1. A clone that nobody has is not waited for: the object would be lost with it. */
  private cloneBefore(object: ObjectId): ObjectId | undefined {
    if (object.snap !== headSnap) return undefined
    const clone = this.missingCloneOf(object)
    return clone === undefined || this.unfound.has(objectKey(clone)) ? undefined : clone
  }

  private recover(object: ObjectId): void {
    const key = objectKey(object)
    if (this.active.has(key) || !this.isMissingAnywhere(object)) return
    const own = this.core.missing.get(object)
    const version = own?.need ?? this.needOf(object)
    assert(version !== undefined, 'a missing object has a version')
    const active: ActiveRecovery = { object, version, waiting: new Set(), tried: new Set() }
    this.active.set(key, active)
    if (own !== undefined) return this.pullFromAnyone(active)
    if (this.backend.canGive(this.sources(object))) return this.pushToPeers(active)
    this.cannotReach(active)
  }

  private cannotReach({ object }: ActiveRecovery): void {
    this.active.delete(objectKey(object))
    this.noteUnfound(object)
    this.core.emit({ kind: 'set-timer', timer: 'recovery-retry', delayMs: retryMs })
  }

  private needOf(object: ObjectId): Version | undefined {
    for (const osd of this.members) {
      const missing = this.peerMissing.get(osd)?.get(object)
      if (missing !== undefined) return missing.need
    }
    return undefined
  }

  private pullFromAnyone(active: ActiveRecovery): void {
    const sources = this.sources(active.object).filter((osd) => !active.tried.has(osd))
    if (!this.backend.canFetch(sources)) return this.cannotReach(active)
    this.backend.fetch(active.object, active.version, sources, (errno, bytes, failed) => {
      if (errno === errorTable.ENOSPC.errno) {
        this.defer(active.object, true)
        this.active.delete(objectKey(active.object))
        return this.work()
      }
      if (errno !== 0) {
        // That copy is no good either: the next one. What is known to be bad on a member is mended with ours.
        for (const source of failed) {
          active.tried.add(source)
          if (errno === errorTable.ECHECKSUM.errno) {
            this.missingAt(source).set({ object: active.object, need: active.version })
          }
        }
        this.pullFromAnyone(active)
        return
      }
      this.counted(bytes)
      this.pushToPeers(active)
    })
  }

  private noteUnfound(object: ObjectId): void {
    const key = objectKey(object)
    this.searched.add(key)
    if (this.unfound.has(key)) return
    this.unfound.set(key, object)
    const message = `no good copy of ${object.name} can be reached`
    this.core.emit({ kind: 'log', level: 'error', message, cluster: this.unfound.size === 1 })
  }

  /** Not now, not at once again. */
  private defer(object: ObjectId, tooFull: boolean): void {
    if (tooFull && !this.isTooFull) this.core.count('recoveryTooFull')
    this.isTooFull ||= tooFull
    this.deferred.set(objectKey(object), object)
    this.core.emit({ kind: 'set-timer', timer: 'recovery-retry', delayMs: retryMs })
  }

  private missingAt(osd: OsdId): MissingSet {
    let missing = this.peerMissing.get(osd)
    if (missing === undefined) {
      missing = new MissingSet()
      this.peerMissing.set(osd, missing)
    }
    return missing
  }

  /** Other members whose copy of the object may be good. */
  sources(object: ObjectId): readonly OsdId[] {
    const { core } = this
    return [...new Set([...core.mapping.acting, ...this.peerInfos.keys()])].filter((osd) => {
      if (osd === core.whoami || !core.isUp(osd) || this.peerMissing.get(osd)?.has(object) === true) return false
      if (core.mapping.acting.includes(osd)) return true
      const info = this.peerInfos.get(osd)
      return info !== undefined && info.lastEpochStarted > 0 && isFilled(info.lastBackfill, object)
    })
  }

  private pushToPeers(active: ActiveRecovery): void {
    const { core } = this
    this.unfound.delete(objectKey(active.object))
    for (const osd of this.members) {
      if (osd === core.whoami || this.peerMissing.get(osd)?.has(active.object) !== true) continue
      active.waiting.add(osd)
      core.send(osd, this.backend.recoverMessage(active.object, active.version, this.sources(active.object)))
    }
    this.maybeFinish(active)
  }

  /** A member fetched what it was told to, or could not. */
  onRecovered(from: OsdId, object: ObjectId, errno: number, bytes: number): void {
    const active = this.active.get(objectKey(object))
    if (active === undefined || !active.waiting.delete(from)) return
    if (errno === 0) {
      this.peerMissing.get(from)?.delete(object)
      this.counted(bytes)
    } else if (errno === errorTable.ECHECKSUM.errno) {
      this.active.delete(objectKey(object))
      this.onBadCopy(object, active.version)
      return
    } else {
      this.defer(object, errno === errorTable.ENOSPC.errno)
    }
    this.maybeFinish(active)
  }

  private counted(bytes: number): void {
    this.isTooFull = false
    this.recoveredObjects++
    this.recoveredBytes += bytes
    this.core.count('recoveredObjects')
    this.core.count('recoveredBytes', bytes)
  }

  private maybeFinish(active: ActiveRecovery): void {
    if (active.waiting.size > 0) return
    this.active.delete(objectKey(active.object))
    this.events.onObjectRecovered(active.object)
    this.work()
  }
}
