/**
 * Trimming, on the primary: takes removed snapshots from the clones that served them, in the background, one snapshot after
 * the other. Each clone is one ordinary replicated write of bounded size, in its turn among what clients do; few are under
 * way at once, and an OSD trims few placement groups at a time (a slot, as for backfill).
 *
 * Invariants
 * 1. A snapshot counts as purged only when every clone that was listed for it was looked at, and what changed is durable on
 *    every member. No clone is made for it later: the map that removed it is known here before, and to every later primary.
 * 2. It goes on only while every copy is whole: what is missing somewhere could come back.
 * 3. A clone that cannot be read here was not looked at: the pass is given up, and begins anew after a pause that grows.
 */
import {
  intersectSnaps,
  noSnaps,
  type PoolSnapshots,
  type SnapIntervals,
  snapsToTrim,
  subtractSnaps,
  withSnap,
} from '@shoal/cluster-map'
import { formatObjectId, type ObjectId, objectKey } from '@shoal/wire'
import type { PgCore } from './core.ts'
import type { TrimRequest } from './object-queue.ts'
import { clearSnapRecords, cloneOfSnapRecord, snapRecordRange } from './pg-store.ts'

export interface SnapTrimEvents {
  /** Takes removed snapshots from a clone. */
  trim(request: TrimRequest): void
}

interface Pass {
  readonly snap: number
  /** Listed and not begun. */
  found: ObjectId[]
  after: Uint8Array | undefined
  listing: boolean
  listed: boolean
  readonly active: Set<string>
}

const listMax = 64
const retryMsMin = 5_000
const retryMsMax = 300_000
/** Below everything that brings copies back. */
const priority = 10

export class SnapTrimmer {
  private readonly core: PgCore
  private readonly events: SnapTrimEvents
  /** 0: no slot is held or asked for. */
  private round = 0
  private granted = false
  private pass: Pass | undefined
  private retryMs = retryMsMin
  /** Until the timer `snaptrim-retry`: no pass begins. */
  private pausing = false
  private owedOf: PoolSnapshots | undefined
  private owedWithout: SnapIntervals | undefined
  private owedNow: SnapIntervals = noSnaps
  trimmedClones = 0

  constructor(core: PgCore, events: SnapTrimEvents) {
    this.core = core
    this.events = events
  }

  /** The interval is over. */
  reset(): void {
    this.pass = undefined
    this.release()
    if (this.pausing) this.core.emit({ kind: 'cancel-timer', timer: 'snaptrim-retry' })
    this.pausing = false
    this.retryMs = retryMsMin
  }

  /** Removed snapshots that may have something left here. */
  get owed(): SnapIntervals {
    const { snapshots } = this.core.pool ?? {}
    if (snapshots === undefined) return noSnaps
    const { purgedSnaps } = this.core.info
    // Asked after every step.
    if (snapshots !== this.owedOf || purgedSnaps !== this.owedWithout) {
      this.owedOf = snapshots
      this.owedWithout = purgedSnaps
      this.owedNow = subtractSnaps(snapsToTrim(snapshots), purgedSnaps ?? noSnaps)
    }
    return this.owedNow
  }

  get isNeeded(): boolean {
    return this.owed.length > 0
  }

  get isRunning(): boolean {
    return this.pass !== undefined
  }

  private get mayRun(): boolean {
    const { core } = this
    return core.isPrimary && core.clean && !core.isMerging && !core.map.flags.has('nosnaptrim')
  }

  /** The map is another, or every copy is whole now. */
  update(): void {
    this.forgetNoted()
    if (!this.mayRun || !this.isNeeded || this.pausing) {
      // What is under way ends by itself; the pass begins anew.
      this.pass = undefined
      return this.release()
    }
    if (this.granted) return this.work()
    if (this.round !== 0) return
    this.round = this.core.nextRound()
    this.core.emit({ kind: 'reserve', slot: 'snaptrim', priority, round: this.round })
  }

  /** What the map shows as purged need not be told any more. */
  private forgetNoted(): void {
    const { core } = this
    const { purgedSnaps } = core.info
    if (purgedSnaps === undefined) return
    const left = intersectSnaps(purgedSnaps, snapsToTrim(core.pool?.snapshots))
    core.info = { ...core.info, purgedSnaps: left.length === 0 ? undefined : left }
  }

  onGranted(round: number): void {
    if (round !== this.round) return
    this.granted = true
    this.update()
  }

  onRevoked(round: number): void {
    if (round !== this.round) return
    this.pass = undefined
    this.round = 0
    this.granted = false
    this.update()
  }

  onRetryTimer(): void {
    this.pausing = false
    this.update()
  }

  private release(): void {
    if (this.round !== 0) this.core.emit({ kind: 'release', slot: 'snaptrim' })
    this.round = 0
    this.granted = false
  }

  private work(): void {
    const pass = this.pass ?? this.begin()
    if (pass === undefined) return this.release()
    while (pass.active.size < this.core.settings.snapTrimActiveMax) {
      const clone = pass.found.shift()
      if (clone === undefined) break
      const key = objectKey(clone)
      pass.active.add(key)
      this.trimInTurn(pass, clone, key)
      if (this.pass !== pass) return
    }
    if (pass.found.length > 0 || pass.listing) return
    if (!pass.listed) return this.list(pass)
    if (pass.active.size === 0) this.onPurged(pass)
  }

  private trimInTurn(pass: Pass, clone: ObjectId, key: string): void {
    const token = this.core.expectInInterval(() => {
      // It is listed again by the pass that comes.
      if (this.pass !== pass) return
      const spent = { kind: 'spent', work: 'snaptrim', bytes: 0, admitted: true } as const
      this.events.trim({
        clone,
        onDone: () => {
          this.core.emit(spent)
          pass.active.delete(key)
          this.trimmedClones++
          this.core.count('snapTrimmedClones')
          if (this.pass === pass) this.work()
        },
        onFailed: (errno, detail) => {
          this.core.emit(spent)
          this.onFailed(pass, clone, errno, detail)
        },
      })
    })
    this.core.emit({ kind: 'admit', work: 'snaptrim', token })
  }

  private begin(): Pass | undefined {
    const snap = this.owed[0]?.first
    if (snap === undefined) return undefined
    this.pass = { snap, found: [], after: undefined, listing: false, listed: false, active: new Set() }
    return this.pass
  }

  private list(pass: Pass): void {
    pass.listing = true
    const { from, to } = snapRecordRange(pass.snap, pass.snap)
    const token = this.core.expectInInterval((input) => {
      if (input.kind !== 'records-listed' || this.pass !== pass) return
      pass.listing = false
      pass.listed = !input.more
      pass.after = input.keys.at(-1)
      pass.found = input.keys.map(cloneOfSnapRecord)
      this.work()
    })
    // The key after the last one: that one with a zero behind it.
    const next = pass.after === undefined ? from : new Uint8Array([...pass.after, 0])
    this.core.emit({ kind: 'list-records', from: next, to, limit: listMax, token })
  }

  /** Invariant 3. The others of the pass end by themselves; their clones are skipped when it begins anew. */
  private onFailed(pass: Pass, clone: ObjectId, errno: number, detail: string): void {
    if (this.pass !== pass) return
    const { core, retryMs } = this
    const what = `snapshot ${pass.snap} cannot be taken from ${formatObjectId(clone)}`
    const message = `${what} (errno ${errno}: ${detail}): trying again in ${retryMs / 1000} s`
    core.emit({ kind: 'log', level: 'error', message, cluster: true })
    core.count('snapTrimFailures')
    this.pausing = true
    this.retryMs = Math.min(retryMsMax, retryMs * 2)
    core.emit({ kind: 'set-timer', timer: 'snaptrim-retry', delayMs: retryMs })
    this.update()
  }

  /** Invariant 1. */
  private onPurged({ snap }: Pass): void {
    const { core } = this
    this.pass = undefined
    this.retryMs = retryMsMin
    core.info = { ...core.info, purgedSnaps: withSnap(core.info.purgedSnaps ?? noSnaps, snap) }
    core.transact([clearSnapRecords(core.pgId, { first: snap, last: snap }), core.recordOp()])
    for (const osd of core.mapping.acting) {
      if (osd !== core.whoami) core.send(osd, { kind: 'history', info: core.currentInfo(), clean: core.clean })
    }
    this.update()
  }
}
