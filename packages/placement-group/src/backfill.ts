/**
 * Backfill, on the primary: fills copies that the log cannot bring up to date, object by object in the order of objects,
 * one target after the other.
 *
 * A window of objects is compared at a time: what differs is recovered to the target, what it has too much is removed,
 * then its cursor moves to the end of the window. Durable before what: the objects of a window before the cursor that
 * covers them, so that a target that restarts goes on from its cursor.
 *
 * Invariants
 * 1. Writes to objects up to `started` go to the target; others reach only its log.
 * 2. While a window is being compared, writes behind `started` wait: nothing changes between looking and deciding.
 * 3. A window that is given up half way (a slot was revoked, a flag was set) unblocks its writes and moves `started` back to
 *    the cursor in one step; the next window begins only when what was on its way has arrived. Otherwise a write would go
 *    to a stale copy, or an object would arrive after its removal had been compared.
 * 4. An object and its clones are filled together: cursors stand behind heads. A write changes several of them in one
 *    transaction, which a target takes as a whole or not at all.
 */
import { errorTable, type OsdId } from '@shoal/base'
import { compareObjectIds, equalVersions, headOf, headSnap, type ObjectId, objectKey, type Version } from '@shoal/wire'
import type { PgCore } from './core.ts'
import { versionOf } from './object-attribute.ts'
import { isTemporary } from './object-transfer.ts'
import type { PeerMessage } from './peer-message.ts'
import { type BackfillCursor, backfillComplete, isFilled, type PgInfo } from './pg-info.ts'
import { backfillPriority, Reservations } from './reservations.ts'

type Scanned = Extract<PeerMessage, { kind: 'scanned' }>

interface Listing {
  readonly objects: readonly { readonly object: ObjectId; readonly version: Version }[]
  /** How far the listing reaches; undefined when it is whole. */
  readonly end: ObjectId | undefined
}

interface Scan {
  readonly number: number
  readonly limit: number
  own: Listing | undefined
  theirs: Listing | undefined
}

interface Window {
  readonly end: BackfillCursor
  readonly remove: readonly ObjectId[]
  /** Of the heads that they belong to. */
  readonly removeKeys: ReadonlySet<string>
  /** So many it is about. */
  readonly objects: number
  /** To be sent yet. */
  left: { object: ObjectId; version: Version }[]
  stage: 'filling' | 'storing' | 'abandoned'
}

interface Target {
  readonly osd: OsdId
  info: PgInfo
  /** Writes up to here are sent. */
  started: BackfillCursor
  /** Objects that the cursor has passed in this interval. */
  passed: number
}

export interface BackfillEvents {
  /** Writes that waited may go on. */
  onUnblocked(object?: ObjectId): void
  onBackfilled(): void
  onBadCopy(object: ObjectId, version: Version): void
  /** Tells a target to get an object. */
  recoverMessage(object: ObjectId, version: Version): PeerMessage
}

const retryMs = 2_000

export class Backfill {
  private readonly core: PgCore
  private readonly events: BackfillEvents
  private readonly reservations: Reservations
  private targets: Target[] = []
  private scans = 0
  private scanning: Scan | undefined
  private window: Window | undefined
  /** What differs in the window: sent or to be sent. */
  private readonly recovering = new Map<string, Version>()
  /** How many of these there are of each head and its clones. */
  private readonly held = new Map<string, number>()
  backfilledObjects = 0
  backfilledBytes = 0
  private tooFull = false
  /** An operator wants it done before others. */
  isForced = false

  constructor(core: PgCore, events: BackfillEvents) {
    this.core = core
    this.events = events
    this.reservations = new Reservations(core, 'backfill', {
      onGranted: () => {
        this.tooFull = false
        this.next()
      },
      onRevoked: () => {
        this.suspend()
        this.start()
      },
      onTooFull: () => this.onTooFull(),
    })
  }

  get slots(): Pick<Reservations, 'onLocalGranted' | 'onLocalRevoked' | 'onReserved' | 'onRevoked'> {
    return this.reservations
  }

  reset(): void {
    this.reservations.reset()
    this.targets = []
    this.tooFull = false
    this.isForced = false
    this.endWindow()
  }

  private endWindow(): void {
    this.scanning = undefined
    this.window = undefined
    this.recovering.clear()
    this.held.clear()
  }

  private hold(object: ObjectId, version: Version): void {
    this.recovering.set(objectKey(object), version)
    const head = objectKey(headOf(object))
    this.held.set(head, (this.held.get(head) ?? 0) + 1)
  }

  private letGo(object: ObjectId): void {
    if (!this.recovering.delete(objectKey(object))) return
    const head = objectKey(headOf(object))
    const left = (this.held.get(head) ?? 0) - 1
    if (left > 0) this.held.set(head, left)
    else this.held.delete(head)
  }

  setTargets(infos: ReadonlyMap<OsdId, PgInfo>): void {
    this.targets = [...infos].map(([osd, info]) => ({
      osd,
      info,
      started: info.lastBackfill,
      passed: 0,
    }))
  }

  get osds(): readonly OsdId[] {
    return this.targets.map((target) => target.osd)
  }

  get isNeeded(): boolean {
    return this.targets.some((target) => target.info.lastBackfill.kind !== 'complete')
  }

  get isRunning(): boolean {
    return this.reservations.isGranted && this.isNeeded
  }

  /** Copies that are to be made or compared yet; more than that, where an earlier interval has begun. */
  get copiesLeft(): number {
    let copies = 0
    for (const { info, passed } of this.targets) {
      if (info.lastBackfill.kind !== 'complete') copies += Math.max(0, this.core.objects - passed)
    }
    return copies
  }

  get isTooFull(): boolean {
    return this.tooFull
  }

  isWrittenTo(osd: OsdId, object: ObjectId): boolean {
    const target = this.targets.find((one) => one.osd === osd)
    return target !== undefined && isFilled(target.started, object)
  }

  blocksWrites(object: ObjectId): boolean {
    if (this.targets.length === 0) return false
    const { window } = this
    const key = objectKey(headOf(object))
    if (this.held.has(key)) return true
    // What the target has too much is gone only when it has stored the new cursor: a new object of that name waits.
    if (window !== undefined && window.stage !== 'abandoned' && window.removeKeys.has(key)) return true
    return this.scanning !== undefined && !isFilled((this.current as Target).started, object)
  }

  private get current(): Target | undefined {
    return this.targets.find((target) => target.info.lastBackfill.kind !== 'complete')
  }

  // Slots

  /** Log recovery is done. */
  start(): void {
    const target = this.current
    if (target === undefined || this.reservations.isAsked || this.isHeldBack) return
    this.reservations.request([target.osd], backfillPriority(this.core, this.isForced))
  }

  /** False: it is so already, or there is nothing to backfill. Asks for its slots anew, at its new place in the queues. */
  force(on: boolean): boolean {
    if (this.isForced === on || (on && !this.isNeeded)) return false
    this.isForced = on
    if (!this.reservations.isGranted) {
      this.reservations.release()
      this.start()
    }
    return true
  }

  private get isHeldBack(): boolean {
    const { map, mapping, pool } = this.core
    if (map.flags.has('nobackfill')) return true
    return map.flags.has('norebalance') && mapping.acting.length >= (pool?.size ?? 0)
  }

  /** Flags may be others, or it is time to try again what failed. */
  retry(): void {
    if (this.isHeldBack) this.stop()
    else if (this.reservations.isGranted) this.next()
    else this.start()
  }

  /** Ends what goes on as soon as it can, and gives the slots back. */
  stop(): void {
    this.suspend()
    this.reservations.release()
  }

  private onTooFull(): void {
    this.tooFull = true
    this.suspend()
    this.core.emit({ kind: 'set-timer', timer: 'recovery-retry', delayMs: retryMs })
  }

  /** Invariant 3. A cursor that is being stored is waited for. */
  private suspend(): void {
    const { window } = this
    const target = this.current
    if (target === undefined || (this.scanning === undefined && window === undefined)) return
    this.scanning = undefined
    if (window?.stage === 'filling') {
      window.stage = 'abandoned'
      for (const { object } of window.left) this.letGo(object)
      window.left = []
      target.started = target.info.lastBackfill
      if (this.recovering.size === 0) this.endWindow()
    }
    this.events.onUnblocked()
  }

  /** What comes next, if nothing is under way. */
  private next(): void {
    if (this.window !== undefined) return this.fill()
    if (this.scanning === undefined) this.scan()
  }

  // Comparing

  private scan(limit = this.core.settings.scanObjects): void {
    const target = this.current as Target
    const { core } = this
    const after = target.info.lastBackfill.kind === 'object' ? target.info.lastBackfill.object : undefined
    const scan: Scan = { number: ++this.scans, limit, own: undefined, theirs: undefined }
    this.scanning = scan
    const token = core.expectInInterval((input) => {
      if (input.kind !== 'scanned' || this.scanning !== scan) return
      const objects = input.objects.map(({ object, attribute }) => ({ object, version: versionOf(attribute) }))
      const end = input.more ? objects.at(-1)?.object : undefined
      scan.own = { objects: objects.filter(({ object }) => !isTemporary(object)), end }
      this.compare(scan)
    })
    core.emit({ kind: 'scan', after, limit, token })
    core.send(target.osd, { kind: 'scan', scan: scan.number, after, limit })
  }

  onScanned(from: OsdId, message: Scanned): void {
    const { scanning } = this
    if (scanning?.number !== message.scan || this.current?.osd !== from) return
    const objects = message.objects.filter(({ object }) => !isTemporary(object))
    scanning.theirs = { objects, end: message.more ? message.objects.at(-1)?.object : undefined }
    this.compare(scanning)
  }

  private compare({ own, theirs, limit }: Scan): void {
    if (own === undefined || theirs === undefined) return
    const end = windowEnd(own, theirs)
    // One object with more clones than a page has room for.
    if (end === undefined) return this.scan(limit * 2)
    const within = (listing: Listing): Listing['objects'] =>
      listing.objects.filter(({ object }) => isFilled(end, object))
    const have = new Map(within(theirs).map(({ object, version }) => [objectKey(object), version]))
    const left: { object: ObjectId; version: Version }[] = []
    const ours = within(own)
    for (const one of ours) {
      const version = have.get(objectKey(one.object))
      if (version === undefined || !equalVersions(version, one.version)) left.push(one)
      have.delete(objectKey(one.object))
    }
    const remove = within(theirs)
      .map(({ object }) => object)
      .filter((object) => have.has(objectKey(object)))
    this.scanning = undefined
    this.window = {
      end,
      remove,
      removeKeys: new Set(remove.map((object) => objectKey(headOf(object)))),
      objects: ours.length,
      left,
      stage: 'filling',
    }
    // From here on the target follows every write in the window; those of differing objects wait for their turn.
    for (const { object, version } of left) this.hold(object, version)
    ;(this.current as Target).started = end
    this.fill()
    this.events.onUnblocked()
  }

  // Filling

  private fill(): void {
    const target = this.current
    const { window, core } = this
    if (target === undefined || window?.stage !== 'filling') return
    const inFlight = this.recovering.size - window.left.length
    for (let free = core.settings.recoveryActiveMax - inFlight; free > 0; free--) {
      const next = window.left.shift()
      if (next === undefined) break
      core.send(target.osd, this.events.recoverMessage(next.object, next.version))
    }
    if (this.recovering.size > 0) return
    window.stage = 'storing'
    const info = { ...core.currentInfo(), missingCount: 0, lastBackfill: window.end }
    core.send(target.osd, { kind: 'backfilled', info, remove: window.remove })
  }

  /** False: not one of ours. */
  onRecovered(from: OsdId, object: ObjectId, errno: number, bytes: number): boolean {
    const key = objectKey(object)
    const version = this.recovering.get(key)
    if (version === undefined || this.current?.osd !== from) return false
    if (errno === 0) {
      this.backfilledObjects++
      this.backfilledBytes += bytes
      this.core.count('recoveredObjects')
      this.core.count('recoveredBytes', bytes)
    } else {
      this.onFailed(object, version, errno)
    }
    if (errno === 0 || this.window?.stage === 'abandoned') {
      this.letGo(object)
      if (this.window?.stage === 'abandoned' && this.recovering.size === 0) this.endWindow()
      this.events.onUnblocked(object)
      if (this.reservations.isGranted) this.next()
    }
    return true
  }

  /** The object comes again: after a while, or when there is room, or when our own copy is mended. */
  private onFailed(object: ObjectId, version: Version, errno: number): void {
    if (this.window?.stage === 'filling') this.window.left.push({ object, version })
    if (errno === errorTable.ECHECKSUM.errno) this.events.onBadCopy(object, version)
    if (errno !== errorTable.ENOSPC.errno) {
      this.core.emit({ kind: 'set-timer', timer: 'recovery-retry', delayMs: retryMs })
      return
    }
    this.onTooFull()
    this.reservations.release()
  }

  onStored(from: OsdId, info: PgInfo): void {
    const target = this.current
    if (target === undefined || target.osd !== from || this.window?.stage !== 'storing') return
    target.info = info
    target.started = info.lastBackfill
    target.passed += this.window.objects
    this.endWindow()
    this.events.onUnblocked()
    if (info.lastBackfill.kind !== 'complete') {
      if (this.reservations.isGranted) this.next()
      return
    }
    this.reservations.release()
    if (this.isNeeded) return this.start()
    this.isForced = false
    this.events.onBackfilled()
  }
}

/** Both listings are known to be whole up to here, clones with their heads; undefined when that is nowhere. */
function windowEnd(own: Listing, theirs: Listing): BackfillCursor | undefined {
  const ends = [own.end, theirs.end].filter((end) => end !== undefined).toSorted(compareObjectIds)
  const first = ends[0]
  if (first === undefined) return backfillComplete
  if (first.snap === headSnap) return { kind: 'object', object: first }
  const cut = objectKey(headOf(first))
  let last: ObjectId | undefined
  for (const { object } of [...own.objects, ...theirs.objects]) {
    const isBefore = compareObjectIds(object, first) < 0 && objectKey(headOf(object)) !== cut
    if (isBefore && (last === undefined || compareObjectIds(object, last) > 0)) last = object
  }
  return last === undefined ? undefined : { kind: 'object', object: headOf(last) }
}
