/** Promises on heartbeats, by the rules that the OSD's own table follows: docs/mechanisms/read-leases.md. */
import type { Epoch, OsdId } from '@shoal/base'
import type { PgLeases } from '@shoal/placement-group'

export const leaseMs = 1_000

interface Grant {
  readonly pingEpoch: Epoch
  readonly untilMs: number
}

export class SimulatedLeases implements PgLeases {
  private readonly inheritedUntilMs: number
  private readonly held = new Map<OsdId, number>()
  private readonly granted = new Map<OsdId, Grant[]>()

  constructor(inheritedUntilMs: number) {
    this.inheritedUntilMs = inheritedUntilMs
  }

  heldUntilMs(peer: OsdId): number {
    return this.held.get(peer) ?? Number.NEGATIVE_INFINITY
  }

  /** They are kept up always. */
  want(): void {}

  isLate(peer: OsdId, nowMs: number): boolean {
    return this.heldUntilMs(peer) <= nowMs
  }

  grantedUntilMs(peer: OsdId, since: Epoch): number {
    let untilMs = this.inheritedUntilMs
    for (const grant of this.granted.get(peer) ?? []) {
      if (grant.pingEpoch < since) untilMs = Math.max(untilMs, grant.untilMs)
    }
    return untilMs
  }

  /** A ping of a run that our map shows as up; a map newer than the pinger's promises nothing. */
  onPing(from: OsdId, pingEpoch: Epoch, ourEpoch: Epoch, nowMs: number): void {
    if (ourEpoch > pingEpoch) return
    const live = (this.granted.get(from) ?? []).filter(
      (grant) => grant.untilMs > nowMs && grant.pingEpoch !== pingEpoch,
    )
    this.granted.set(from, [...live, { pingEpoch, untilMs: nowMs + leaseMs }])
  }

  onReply(from: OsdId, sentMs: number, pingEpoch: Epoch, replyEpoch: Epoch): void {
    if (replyEpoch > pingEpoch) return
    this.held.set(from, Math.max(this.heldUntilMs(from), sentMs + leaseMs * 0.98))
  }
}

/** Planted: nobody's promise ever ends, and nobody has promised anything. */
export class EternalLeases extends SimulatedLeases {
  override heldUntilMs(): number {
    return Number.POSITIVE_INFINITY
  }

  override grantedUntilMs(): number {
    return Number.NEGATIVE_INFINITY
  }
}
