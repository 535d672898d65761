/**
 * The slots that a PG needs, as primary, to recover, to backfill or to scrub: one of its own OSD, then one of each target.
 *
 * Invariants
 * 1. Slots are asked for one at a time, the own one first, then the targets' by rising id. Whoever waits for a slot holds
 *    only slots that come before it in this order, so that PGs never wait for each other in a circle.
 * 2. Whatever slot is revoked takes the others with it: they are given back, and asked for anew from the first.
 * 3. Each round of asking has a number, unique in the interval. Answers to an earlier round are void: a grant and a release
 *    may pass each other on the way.
 *
 * An interval that ends needs no messages: every member gives back what it held for that interval's primary.
 */
import type { OsdId } from '@shoal/base'
import type { PgCore } from './core.ts'
import { osdOf } from './member.ts'
import type { PeerMessage } from './peer-message.ts'

export interface ReservationEvents {
  /** Every slot is held. */
  onGranted(): void
  /** Somebody more urgent has one of the slots; none is held any more. */
  onRevoked(): void
  /** A target has no room; no slot is held any more. */
  onTooFull(): void
}

/** Ceph's priorities: what keeps clients waiting, then what is at risk, then what only lies in the wrong place. */
const priorities = {
  forcedRecovery: 255,
  forcedBackfill: 254,
  inactive: 220,
  recovery: 180,
  degradedBackfill: 140,
  backfill: 100,
} as const

/** How many copies fewer than so many there are. */
function lacking(core: PgCore, wanted: number): number {
  return Math.max(0, wanted - core.mapping.acting.length)
}

function inactivePriority(core: PgCore): number | undefined {
  const below = lacking(core, core.pool?.minSize ?? 1)
  return below > 0 ? priorities.inactive + Math.min(below, 20) : undefined
}

export function recoveryPriority(core: PgCore, isForced: boolean): number {
  if (isForced) return priorities.forcedRecovery
  return inactivePriority(core) ?? priorities.recovery + Math.min(lacking(core, core.pool?.size ?? 0), 20)
}

export function backfillPriority(core: PgCore, isForced: boolean): number {
  if (isForced) return priorities.forcedBackfill
  const below = lacking(core, core.pool?.size ?? 0)
  const base = below > 0 ? priorities.degradedBackfill + Math.min(below, 20) : priorities.backfill
  return inactivePriority(core) ?? base
}

type Purpose = 'recovery' | 'backfill' | 'scrub'

export class Reservations {
  private readonly core: PgCore
  private readonly purpose: Purpose
  private readonly events: ReservationEvents
  /** 0: no slot is held or asked for. */
  private round = 0
  private priority = 0
  private targets: readonly OsdId[] = []
  /** So many of the targets have been asked. */
  private asked = 0
  private granted = false

  constructor(core: PgCore, purpose: Purpose, events: ReservationEvents) {
    this.core = core
    this.purpose = purpose
    this.events = events
  }

  get isAsked(): boolean {
    return this.round !== 0
  }

  get isGranted(): boolean {
    return this.granted
  }

  includes(osd: OsdId): boolean {
    return this.targets.some((target) => osdOf(target) === osdOf(osd))
  }

  request(targets: readonly OsdId[], priority: number): void {
    if (this.isAsked) return
    this.round = this.core.nextRound()
    this.priority = priority
    // In one order of OSDs for all, or two groups would wait for each other; once for all shards that an OSD has.
    const sorted = targets.toSorted((a, b) => osdOf(a) - osdOf(b))
    this.targets = sorted.filter((target, at) => at === 0 || osdOf(sorted[at - 1] as OsdId) !== osdOf(target))
    this.core.emit({ kind: 'reserve', slot: `local-${this.purpose}`, priority, round: this.round })
  }

  onLocalGranted(round: number): void {
    if (round === this.round) this.askNext()
  }

  onReserved(from: OsdId, round: number): void {
    if (round === this.round && this.targets[this.asked - 1] === from) this.askNext()
  }

  private askNext(): void {
    const target = this.targets[this.asked]
    if (target === undefined) {
      this.granted = true
      return this.events.onGranted()
    }
    this.asked++
    const { priority, round } = this
    if (this.purpose === 'scrub')
      return this.core.send(target, { kind: 'scrub', message: { kind: 'reserve', priority, round } })
    this.core.send(target, { kind: 'reserve', backfill: this.purpose === 'backfill', priority, round })
  }

  onLocalRevoked(round: number): void {
    if (round !== this.round) return
    this.giveBackTargets(undefined)
    this.forget()
    this.core.count('reservationsRevoked')
    this.events.onRevoked()
  }

  onRevoked(from: OsdId, round: number, tooFull: boolean): void {
    if (round !== this.round || !this.targets.slice(0, this.asked).includes(from)) return
    this.giveBackTargets(from)
    this.giveBackLocal()
    this.forget()
    this.core.count(tooFull ? 'reservationsTooFull' : 'reservationsRevoked')
    if (tooFull) this.events.onTooFull()
    else this.events.onRevoked()
  }

  release(): void {
    if (!this.isAsked) return
    this.giveBackTargets(undefined)
    this.giveBackLocal()
    this.forget()
  }

  /** The interval is over. */
  reset(): void {
    if (this.isAsked) this.giveBackLocal()
    this.forget()
  }

  private giveBackLocal(): void {
    this.core.emit({ kind: 'release', slot: `local-${this.purpose}` })
  }

  private giveBackTargets(lost: OsdId | undefined): void {
    const { round } = this
    const message: PeerMessage =
      this.purpose === 'scrub'
        ? { kind: 'scrub', message: { kind: 'release', round } }
        : { kind: 'release', backfill: this.purpose === 'backfill', round, tooFull: false }
    for (const osd of this.targets.slice(0, this.asked)) if (osd !== lost) this.core.send(osd, message)
  }

  private forget(): void {
    this.round = 0
    this.targets = []
    this.asked = 0
    this.granted = false
  }
}
