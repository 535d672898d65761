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
 */
import { errorTable, type OsdId } from '@shoal/base'
import { compareObjectIds, equalVersions, type ObjectId, objectKey, type Version } from '@shoal/wire'
import type { PgCore } from './core.ts'
import { versionOf } from './object-attribute.ts'
import { isTemporary } from './object-transfer.ts'
import type { PeerMessage } from './peer-message.ts'
import { type BackfillCursor, backfillComplete, isFilled, type PgInfo } from './pg-info.ts'

type Scanned = Extract<PeerMessage, { kind: 'scanned' }>

interface Listing {
  readonly objects: readonly { readonly object: ObjectId; readonly version: Version }[]
  /** How far the listing reaches; undefined when it is whole. */
  readonly end: ObjectId | undefined
}

interface Target {
  readonly osd: OsdId
  info: PgInfo
  /** Writes up to here are sent. */
  started: BackfillCursor
  reserved: boolean
}

export interface BackfillEvents {
  /** Writes that waited may go on. */
  onUnblocked(object?: ObjectId): void
  onBackfilled(): void
  onBadCopy(object: ObjectId, version: Version): void
}

const retryMs = 2_000

export class Backfill {
  private readonly core: PgCore
  private readonly events: BackfillEvents
  private targets: Target[] = []
  private granted = false
  private asked = false
  private scanning: { own: Listing | undefined; theirs: Listing | undefined } | undefined
  private window:
    | {
        end: BackfillCursor
        remove: readonly ObjectId[]
        removeKeys: ReadonlySet<string>
        left: { object: ObjectId; version: Version }[]
      }
    | undefined
  private readonly recovering = new Map<string, Version>()
  backfilledObjects = 0
  backfilledBytes = 0
  private tooFull = false

  constructor(core: PgCore, events: BackfillEvents) {
    this.core = core
    this.events = events
  }

  reset(): void {
    if (this.asked) this.core.emit({ kind: 'release', slot: 'local-backfill' })
    this.targets = []
    this.granted = false
    this.asked = false
    this.tooFull = false
    this.endWindow()
  }

  private endWindow(): void {
    this.scanning = undefined
    this.window = undefined
    this.recovering.clear()
  }

  setTargets(infos: ReadonlyMap<OsdId, PgInfo>): void {
    this.targets = [...infos].map(([osd, info]) => ({ osd, info, started: info.lastBackfill, reserved: false }))
  }

  get osds(): readonly OsdId[] {
    return this.targets.map((target) => target.osd)
  }

  get isNeeded(): boolean {
    return this.targets.some((target) => target.info.lastBackfill.kind !== 'complete')
  }

  get isRunning(): boolean {
    return this.granted && this.current?.reserved === true
  }

  get isTooFull(): boolean {
    return this.tooFull
  }

  infoOf(osd: OsdId): PgInfo | undefined {
    return this.targets.find((target) => target.osd === osd)?.info
  }

  isWrittenTo(osd: OsdId, object: ObjectId): boolean {
    const target = this.targets.find((one) => one.osd === osd)
    return target !== undefined && isFilled(target.started, object)
  }

  blocksWrites(object: ObjectId): boolean {
    if (this.targets.length === 0) return false
    const key = objectKey(object)
    // What the target has too much is gone only when it has stored the new cursor: a new object of that name waits.
    if (this.recovering.has(key) || this.window?.removeKeys.has(key) === true) return true
    return this.scanning !== undefined && !isFilled((this.current as Target).started, object)
  }

  private get current(): Target | undefined {
    return this.targets.find((target) => target.info.lastBackfill.kind !== 'complete')
  }

  /** Log recovery is done. */
  start(): void {
    if (this.asked || !this.isNeeded || this.core.map.flags.has('nobackfill')) return
    this.asked = true
    this.core.emit({ kind: 'reserve', slot: 'local-backfill', priority: 140 })
  }

  onGranted(): void {
    if (!this.asked) return
    this.granted = true
    this.reserveTarget()
  }

  private reserveTarget(): void {
    const target = this.current
    if (target === undefined) return this.finish()
    if (target.reserved) return this.scan()
    this.core.send(target.osd, { kind: 'reserve', backfill: true, priority: 140 })
  }

  onReserved(from: OsdId): void {
    const target = this.current
    if (target === undefined || target.osd !== from || !this.granted) return
    target.reserved = true
    this.tooFull = false
    if (this.scanning === undefined && this.window === undefined) this.scan()
  }

  onRejected(from: OsdId): void {
    if (this.current?.osd !== from) return
    this.tooFull = true
    this.core.emit({ kind: 'set-timer', timer: 'recovery-retry', delayMs: retryMs })
  }

  retry(): void {
    if (!this.granted) return this.start()
    if (this.current?.reserved !== true) this.reserveTarget()
    else if (this.window !== undefined) this.fill()
    else if (this.scanning === undefined) this.scan()
  }

  private finish(): void {
    this.core.emit({ kind: 'release', slot: 'local-backfill' })
    this.asked = false
    this.granted = false
    this.events.onBackfilled()
  }

  // Comparing

  private scan(): void {
    const target = this.current as Target
    if (this.core.map.flags.has('nobackfill')) {
      this.core.emit({ kind: 'set-timer', timer: 'recovery-retry', delayMs: retryMs })
      return
    }
    const after = target.info.lastBackfill.kind === 'object' ? target.info.lastBackfill.object : undefined
    const limit = this.core.settings.scanObjects
    this.scanning = { own: undefined, theirs: undefined }
    const token = this.core.expectInInterval((input) => {
      if (input.kind !== 'scanned' || this.scanning === undefined) return
      const objects = input.objects.map(({ object, attribute }) => ({ object, version: versionOf(attribute) }))
      const end = input.more ? objects.at(-1)?.object : undefined
      this.scanning.own = { objects: objects.filter(({ object }) => !isTemporary(object)), end }
      this.compare()
    })
    this.core.emit({ kind: 'scan', after, limit, token })
    this.core.send(target.osd, { kind: 'scan', after, limit })
  }

  onScanned(from: OsdId, message: Scanned): void {
    if (this.scanning === undefined || this.current?.osd !== from) return
    this.scanning.theirs = { objects: message.objects, end: message.more ? message.objects.at(-1)?.object : undefined }
    this.compare()
  }

  private compare(): void {
    const { own, theirs } = this.scanning as { own: Listing | undefined; theirs: Listing | undefined }
    if (own === undefined || theirs === undefined) return
    const end = windowEnd(own, theirs)
    const within = (listing: Listing): Listing['objects'] =>
      listing.objects.filter(({ object }) => isFilled(end, object))
    const have = new Map(within(theirs).map(({ object, version }) => [objectKey(object), version]))
    const left: { object: ObjectId; version: Version }[] = []
    for (const one of within(own)) {
      const version = have.get(objectKey(one.object))
      if (version === undefined || !equalVersions(version, one.version)) left.push(one)
      have.delete(objectKey(one.object))
    }
    const remove = within(theirs)
      .map(({ object }) => object)
      .filter((object) => have.has(objectKey(object)))
    this.scanning = undefined
    this.window = { end, remove, removeKeys: new Set(remove.map(objectKey)), left }
    // From here on the target follows every write in the window; those of differing objects wait for their turn.
    for (const { object, version } of left) this.recovering.set(objectKey(object), version)
    ;(this.current as Target).started = end
    this.fill()
    this.events.onUnblocked()
  }

  // Filling

  private fill(): void {
    const target = this.current
    const { window, core } = this
    if (target === undefined || window === undefined) return
    const inFlight = this.recovering.size - window.left.length
    for (let free = core.settings.recoveryActiveMax - inFlight; free > 0; free--) {
      const next = window.left.shift()
      if (next === undefined) break
      core.send(target.osd, { kind: 'recover', object: next.object, version: next.version })
    }
    if (this.recovering.size > 0) return
    const info = { ...core.currentInfo(), missingCount: 0, lastBackfill: window.end }
    core.send(target.osd, { kind: 'backfilled', info, remove: window.remove })
  }

  /** False: not one of ours. */
  onRecovered(from: OsdId, object: ObjectId, errno: number, bytes: number): boolean {
    const key = objectKey(object)
    const version = this.recovering.get(key)
    if (version === undefined || this.current?.osd !== from) return false
    if (errno === errorTable.ECHECKSUM.errno) {
      // Our own copy is bad: mend it from elsewhere, then this object comes again.
      this.window?.left.push({ object, version })
      this.events.onBadCopy(object, version)
      this.core.emit({ kind: 'set-timer', timer: 'recovery-retry', delayMs: retryMs })
      return true
    }
    if (errno !== 0) {
      this.window?.left.push({ object, version })
      this.core.emit({ kind: 'set-timer', timer: 'recovery-retry', delayMs: retryMs })
      return true
    }
    this.recovering.delete(key)
    this.backfilledObjects++
    this.backfilledBytes += bytes
    this.core.count('recoveredObjects')
    this.core.count('recoveredBytes', bytes)
    this.events.onUnblocked(object)
    this.fill()
    return true
  }

  onStored(from: OsdId, info: PgInfo): void {
    const target = this.current
    if (target === undefined || target.osd !== from) return
    target.info = info
    this.endWindow()
    this.events.onUnblocked()
    if (info.lastBackfill.kind === 'complete') {
      this.core.send(from, { kind: 'release', backfill: true })
      this.reserveTarget()
    } else {
      this.scan()
    }
  }
}

/** Both listings are known to be whole up to here. */
function windowEnd(own: Listing, theirs: Listing): BackfillCursor {
  const ends = [own.end, theirs.end].filter((end) => end !== undefined).toSorted(compareObjectIds)
  const first = ends[0]
  return first === undefined ? backfillComplete : { kind: 'object', object: first }
}
