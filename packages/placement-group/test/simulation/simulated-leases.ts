/** Promises on heartbeats, by the rules that the OSD's own table follows: docs/mechanisms/read-leases.md. */
import type { Epoch, OsdId } from '@shoal/base'
import type { PgLeases } from '@shoal/placement-group'

export const leaseMs = 1_000

export class SimulatedLeases implements PgLeases {
  private readonly inheritedUntilMs: number
  private readonly held = new Map<OsdId, number>()
  private readonly granted = new Map<OsdId, number>()

  constructor(inheritedUntilMs: number) {
    this.inheritedUntilMs = inheritedUntilMs
  }

  heldUntilMs(peer: OsdId): number {
    return this.held.get(peer) ?? Number.NEGATIVE_INFINITY
  }

  grantedUntilMs(peer: OsdId): number {
    return Math.max(this.inheritedUntilMs, this.granted.get(peer) ?? Number.NEGATIVE_INFINITY)
  }

  /** Whether the pinger is promised anything. */
  onPing(from: OsdId, pingEpoch: Epoch, ourEpoch: Epoch, nowMs: number): void {
    if (ourEpoch <= pingEpoch) this.granted.set(from, nowMs + leaseMs)
  }

  onReply(from: OsdId, sentMs: number, pingEpoch: Epoch, replyEpoch: Epoch): void {
    if (replyEpoch > pingEpoch) return
    this.held.set(from, Math.max(this.heldUntilMs(from), sentMs + leaseMs * 0.98))
  }
}
