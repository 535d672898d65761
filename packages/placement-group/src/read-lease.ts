/**
 * The primary's lease: promises of all other members of acting that nobody else serves now. It is asked for when clients
 * come, and waited for when it is not there. docs/mechanisms/read-leases.md
 */
import type { PgCore } from './core.ts'

/** A promise that nobody needed lately comes within the time of a ping; one that does not is asked for less and less. */
const retryMsMin = 1
const retryMsMax = 50

export class ReadLease {
  private readonly core: PgCore
  private timerSet = false
  private retryMs = retryMsMin

  constructor(core: PgCore) {
    this.core = core
  }

  /** Whether every other member of acting has promised not to let another primary serve now. */
  get isHeld(): boolean {
    const { mapping, whoami, leases, clock } = this.core
    const nowMs = clock.monotonicMs()
    for (const osd of mapping.acting) if (osd !== whoami && leases.heldUntilMs(osd) <= nowMs) return false
    return true
  }

  /** Whether a member of acting owes its promise. */
  get isLate(): boolean {
    const { mapping, whoami, leases, clock } = this.core
    const nowMs = clock.monotonicMs()
    for (const osd of mapping.acting) if (osd !== whoami && leases.isLate(osd, nowMs)) return true
    return false
  }

  /** A client is here: promises are needed, now and for a while. */
  want(): void {
    const { mapping, whoami, leases, clock } = this.core
    const nowMs = clock.monotonicMs()
    for (const osd of mapping.acting) if (osd !== whoami) leases.want(osd, nowMs)
  }

  /** The timer `lease-renew` comes when it is time to look again. */
  waitFor(): void {
    if (this.timerSet) return
    this.timerSet = true
    this.core.emit({ kind: 'set-timer', timer: 'lease-renew', delayMs: this.retryMs })
    this.retryMs = Math.min(retryMsMax, this.retryMs * 2)
  }

  onTimer(): void {
    this.timerSet = false
  }

  /** It was held when it was needed. */
  onUsed(): void {
    this.retryMs = retryMsMin
  }
}
