/**
 * Never two primaries of one placement group at once, looked at from inside: at no instant may two OSDs both be ready to
 * answer a read of it. Stricter than what clients can see: it needs nobody who asks at the wrong moment.
 */
import type { Violation } from '../history.ts'

export interface ServingPrimary {
  readonly pgId: string
  readonly osd: number
  /** Epoch in which its interval began. */
  readonly interval: number
}

export class ServingPrimariesChecker {
  /** The first of each placement group. */
  readonly violations: Violation[] = []
  private readonly reported = new Set<string>()

  /** All that would answer at this instant. */
  observe(atMs: number, serving: readonly ServingPrimary[]): void {
    const byPg = new Map<string, ServingPrimary>()
    for (const one of serving) {
      const other = byPg.get(one.pgId)
      byPg.set(one.pgId, one)
      if (other === undefined || this.reported.has(one.pgId)) continue
      this.reported.add(one.pgId)
      const who = [other, one].map(({ osd, interval }) => `osd.${osd} (interval of epoch ${interval})`).join(' and ')
      const message = `${who} both serve ${one.pgId} at ${atMs.toFixed(1)} ms`
      this.violations.push({ checker: 'two-primaries', object: one.pgId, message, details: [other, one] })
    }
  }
}
