/**
 * Promises between OSDs that ride on heartbeats: whoever answers a ping lets, for a while, nobody but the pinger serve
 * the placement groups that the pinger leads. Promises that no client needs may run out: the first operation after that
 * asks for them again. docs/mechanisms/heartbeat.md, docs/mechanisms/read-leases.md
 *
 * Invariant 1: what a pinger believes to hold ends before what its peer believes to have granted: the pinger counts from
 *              when it sent the ping, the peer from when it received it.
 * Invariant 2: both sides agree on whether there was a promise: only if the answering OSD's map was no newer than the map
 *              named in the ping. (Counter-example: a primary without monitors whose replicas have moved on.)
 * Invariant 3: only a run that the map shows as up is promised anything, so that the promise to an OSD that was marked
 *              down ends, however often it still pings. Answers by maps from before its run promise nothing, and it
 *              takes them so.
 * Invariant 4: after a restart the OSD takes it that it had promised everybody everything when it ended.
 */
import type { Epoch, OsdId } from '@shoal/base'
import type { PgLeases } from '@shoal/placement-group'

interface SentPing {
  readonly stampMs: number
  readonly epoch: Epoch
}

/** The last promise to pings that named this epoch. */
interface Grant {
  readonly epoch: Epoch
  untilMs: number
}

/** Operations of clients are going on, and need a peer's promise. */
interface Want {
  sinceMs: number
  untilMs: number
}

/** A promise is kept up for so long after the last operation that needed it. */
const wantedMs = 10_000
/** Written down again after this part of it. */
const wantedParts = 10
/** Pings to one peer that may still be answered. */
const sentMax = 16
/** Promises to one peer, by epoch, that have not run out. */
const grantsMax = 32
/** Two clocks may run apart by this part. */
const clockDrift = 0.02

export class LeaseTable implements PgLeases {
  /** Told when a promise is wanted that was not. */
  onWanted: () => void = () => undefined
  private readonly leaseMs: number
  private readonly inheritedUntilMs: number
  private readonly held = new Map<OsdId, number>()
  private readonly granted = new Map<OsdId, Grant[]>()
  private readonly sent = new Map<OsdId, SentPing[]>()
  private readonly wants = new Map<OsdId, Want>()
  /** Peers whose last answer was a promise. */
  private readonly granting = new Set<OsdId>()

  /** `nowMs` undefined for a store that never served: it has promised nothing. */
  constructor(leaseMs: number, nowMs: number | undefined) {
    this.leaseMs = leaseMs
    this.inheritedUntilMs = nowMs === undefined ? Number.NEGATIVE_INFINITY : nowMs + leaseMs
  }

  heldUntilMs(peer: OsdId): number {
    return this.held.get(peer) ?? Number.NEGATIVE_INFINITY
  }

  want(peer: OsdId, nowMs: number): void {
    const want = this.wants.get(peer)
    const untilMs = nowMs + wantedMs
    if (want !== undefined && want.untilMs > nowMs) {
      if (untilMs - want.untilMs > wantedMs / wantedParts) want.untilMs = untilMs
      return
    }
    this.wants.set(peer, { sinceMs: nowMs, untilMs })
    this.onWanted()
  }

  /** Whether to ping the peer at every interval. */
  isWanted(peer: OsdId, nowMs: number): boolean {
    return !this.granting.has(peer) || (this.wants.get(peer)?.untilMs ?? 0) > nowMs
  }

  isLate(peer: OsdId, nowMs: number): boolean {
    const heldMs = this.heldUntilMs(peer)
    if (heldMs > nowMs) return false
    if (!this.granting.has(peer)) return true
    const asked = this.sent.get(peer)?.[0]
    if (asked !== undefined && nowMs - asked.stampMs > this.leaseMs) return true
    const want = this.wants.get(peer)
    return want !== undefined && want.untilMs > nowMs && nowMs - Math.max(want.sinceMs, heldMs) > this.leaseMs / 3
  }

  grantedUntilMs(peer: OsdId, since: Epoch): number {
    let untilMs = this.inheritedUntilMs
    for (const grant of this.granted.get(peer) ?? []) {
      if (grant.epoch < since) untilMs = Math.max(untilMs, grant.untilMs)
    }
    return untilMs
  }

  onPingSent(to: OsdId, stampMs: number, epoch: Epoch): void {
    let pings = this.sent.get(to)
    if (pings === undefined) {
      pings = []
      this.sent.set(to, pings)
    }
    pings.push({ stampMs, epoch })
    if (pings.length > sentMax) pings.shift()
  }

  /** A ping of a run that our map shows as up. */
  onPing(from: OsdId, pingEpoch: Epoch, ourEpoch: Epoch, nowMs: number): void {
    if (ourEpoch > pingEpoch) return
    const untilMs = nowMs + this.leaseMs
    const live = (this.granted.get(from) ?? []).filter((grant) => grant.untilMs > nowMs)
    const same = live.find((grant) => grant.epoch === pingEpoch)
    if (same !== undefined) same.untilMs = untilMs
    else live.push({ epoch: pingEpoch, untilMs })
    // Too many epochs at once: the two oldest become one that promises at least as much.
    if (live.length > grantsMax) {
      const [first, second] = live.splice(0, 2) as [Grant, Grant]
      live.unshift({ epoch: first.epoch, untilMs: Math.max(first.untilMs, second.untilMs) })
    }
    this.granted.set(from, live)
  }

  onReply(from: OsdId, stampMs: number, replyEpoch: Epoch): void {
    const pings = this.sent.get(from)
    const at = pings?.findIndex((ping) => ping.stampMs === stampMs) ?? -1
    if (pings === undefined || at < 0) return
    const ping = pings[at] as SentPing
    pings.splice(0, at + 1)
    if (replyEpoch > ping.epoch) {
      this.granting.delete(from)
      return
    }
    this.granting.add(from)
    const untilMs = stampMs + this.leaseMs * (1 - clockDrift)
    if (untilMs > this.heldUntilMs(from)) this.held.set(from, untilMs)
  }
}
