/**
 * A primary's share of its pool's quota: up to where its placement group may grow.
 *
 *     0 |------- used (ordered, answered or not) -------|---- slack ----| held
 *
 * Invariant 1: nothing is ordered that brings the use beyond what is held. The shares of all primaries together are never
 *              more than the quota (QuotaLedger of the monitor), so neither is what clients were acknowledged.
 * Invariant 2: what is held grows only by the answer to the latest ask, and each ask tells what is held then. An earlier
 *              answer that comes late is void: whoever asked has told since that it holds less.
 * Invariant 3: what is not used goes back within two seconds, so that nobody is refused because somebody else is idle.
 * Invariant 4: an interval begins with no slack; so does the time after a change of the quota.
 */
import { type Epoch, wholePgId } from '@shoal/base'
import { noUse, type Pool, type PoolQuota, type PoolUse, poolQuotaOf, type QuotaAnswer } from '@shoal/cluster-map'
import type { PgCore } from './core.ts'

/** After `wait`. */
const askAgainMs = 250
const giveBackMs = 1_000
/** A refusal stands for so long: clients that try again at once do not each cost a question to the monitors. */
const refusalMs = 100

export class QuotaShare {
  private readonly core: PgCore
  private pool: Pool | undefined
  private quota: PoolQuota | undefined
  private active = false
  private held: PoolUse = noUse
  private sequence = 0
  private asking = false
  /** The leader has answered something since it leads. */
  private isKnown = false
  /** Operations wait for the next answer. */
  private waited = false
  private refusal: { readonly growth: PoolUse; readonly untilMs: number } | undefined
  private usedLast: PoolUse = noUse
  private dueMs = Number.POSITIVE_INFINITY

  constructor(core: PgCore) {
    this.core = core
  }

  /** False: nothing need be asked, every write may grow. */
  get isLimited(): boolean {
    return this.quota !== undefined
  }

  reset(): void {
    this.active = false
    this.pool = undefined
    this.forget()
  }

  /** The placement group begins to serve. */
  activate(): void {
    this.active = true
    this.onMap()
  }

  /** True when operations may go on that waited under the quota before. */
  onMap(): boolean {
    const { pool } = this.core
    if (!this.active || pool === this.pool) return false
    this.pool = pool
    const before = this.quota
    this.quota = poolQuotaOf(pool)
    if (this.quota?.epoch === before?.epoch) return false
    this.forget()
    if (this.quota !== undefined) this.ask(noUse)
    return true
  }

  private forget(): void {
    this.held = noUse
    this.asking = false
    this.isKnown = false
    this.waited = false
    this.refusal = undefined
    this.dueMs = Number.POSITIVE_INFINITY
    if (this.pool === undefined) this.quota = undefined
  }

  private get used(): PoolUse {
    return { bytes: this.core.bytes, objects: this.core.objects }
  }

  /** Whether a write may be ordered that makes the placement group larger by this. `wait`: look again when told so. */
  admits(bytes: number, objects: number): 'yes' | 'wait' | 'no' {
    if (this.fits(bytes, objects)) return 'yes'
    const { refusal } = this
    if (refusal !== undefined && this.core.clock.monotonicMs() < refusal.untilMs) {
      if (bytes >= refusal.growth.bytes && objects >= refusal.growth.objects) return 'no'
    }
    this.waited = true
    if (!this.asking) this.ask({ bytes: Math.max(0, bytes), objects: Math.max(0, objects) })
    return 'wait'
  }

  private fits(bytes: number, objects: number): boolean {
    const { quota, held, core } = this
    if (quota === undefined) return true
    const bytesFit = bytes <= 0 || quota.maxBytes === 0 || core.bytes + bytes <= held.bytes
    return bytesFit && (objects <= 0 || quota.maxObjects === 0 || core.objects + objects <= held.objects)
  }

  /** A write was ordered. */
  onOrdered(): void {
    if (this.dueMs === Number.POSITIVE_INFINITY && this.hasSlack()) this.wakeIn(giveBackMs)
  }

  private hasSlack(): boolean {
    const { held, core, quota } = this
    if (quota === undefined) return false
    return (quota.maxBytes > 0 && held.bytes > core.bytes) || (quota.maxObjects > 0 && held.objects > core.objects)
  }

  private growthAsked: PoolUse = noUse

  private ask(growth: PoolUse): void {
    const { core, quota, used } = this
    if (quota === undefined) return
    this.asking = true
    this.growthAsked = growth
    // Less than what is used: it was written before there was this quota, or in the interval before.
    this.held = { bytes: Math.max(this.held.bytes, used.bytes), objects: Math.max(this.held.objects, used.objects) }
    const { held } = this
    core.emit({
      kind: 'ask-quota',
      ask: {
        pgId: wholePgId(core.pgId),
        since: core.interval.since,
        quota: quota.epoch,
        sequence: ++this.sequence,
        used,
        held,
        wanted: {
          bytes: Math.max(held.bytes, used.bytes + growth.bytes),
          objects: Math.max(held.objects, used.objects + growth.objects),
        },
      },
    })
  }

  /** True when those who waited should look again. */
  onAnswer({ since, sequence, verdict, held }: QuotaAnswer): boolean {
    const { core } = this
    // Invariant 2.
    if (!this.asking || sequence !== this.sequence || !this.isOf(since)) return false
    this.asking = false
    if (verdict === 'wait') {
      this.wakeIn(askAgainMs)
      return false
    }
    this.isKnown = true
    if (verdict === 'granted') this.held = held
    else this.refusal = { growth: this.growthAsked, untilMs: core.clock.monotonicMs() + refusalMs }
    this.onOrdered()
    const { waited } = this
    this.waited = false
    return waited
  }

  private isOf(since: Epoch): boolean {
    return since === this.core.interval.since
  }

  /** Another monitor leads. */
  onForgotten(): void {
    if (!this.active || this.quota === undefined) return
    this.isKnown = false
    this.ask(noUse)
  }

  /** True when those who waited should look again. */
  onTimer(): boolean {
    this.dueMs = Number.POSITIVE_INFINITY
    if (!this.active || this.quota === undefined || this.asking) return false
    if (this.waited) {
      this.waited = false
      return true
    }
    this.giveBack()
    return false
  }

  /** Keeps as much slack as was used in the last second. */
  private giveBack(): void {
    const { used, usedLast, held } = this
    this.usedLast = used
    if (!this.hasSlack()) {
      if (!this.isKnown) this.ask(noUse)
      return
    }
    const keep = (have: number, now: number, last: number): number => Math.min(have, now + Math.max(0, now - last))
    this.held = {
      bytes: keep(held.bytes, used.bytes, usedLast.bytes),
      objects: keep(held.objects, used.objects, usedLast.objects),
    }
    this.ask(noUse)
    this.wakeIn(giveBackMs)
  }

  private wakeIn(delayMs: number): void {
    const dueMs = this.core.clock.monotonicMs() + delayMs
    if (dueMs >= this.dueMs) return
    this.dueMs = dueMs
    this.core.emit({ kind: 'set-timer', timer: 'quota', delayMs })
  }

  /** For `pg query`; undefined without a quota. */
  summary(): object | undefined {
    const { quota, held, used, isKnown, asking } = this
    return quota === undefined ? undefined : { quota, used, held, isKnown, asking }
  }
}
