/** Says in the log why connections were closed, without letting a hostile stranger fill the disk with it. */
import { type Clock, ClusterError, type ErrorCode, type Log } from '@shoal/base'

const linesPerWindow = 20
const windowMs = 10_000

/** Reasons that a person should hear of; anything else is the weather of networks. */
const loudCodes: ReadonlySet<ErrorCode> = new Set(['EBADMSG', 'EPROTO', 'EOVERFLOW', 'EOPNOTSUPP', 'EACCES'])

export interface ClosingCounters {
  protocolErrors: number
  /** Handshakes that ended for want of a proof, or of a common way to prove or to seal. */
  authenticationsRefused: number
  timeouts: number
}

export class ClosingLog {
  private readonly clock: Clock
  private readonly log: Log
  private readonly counters: ClosingCounters
  private windowStartMs = Number.NEGATIVE_INFINITY
  private lines = 0

  constructor(clock: Clock, log: Log, counters: ClosingCounters) {
    this.clock = clock
    this.log = log
    this.counters = counters
  }

  report(remote: string, error: Error | undefined): void {
    if (!(error instanceof ClusterError)) return
    if (error.code === 'ETIMEDOUT') this.counters.timeouts++
    if (!loudCodes.has(error.code)) return
    if (error.code === 'EACCES') this.counters.authenticationsRefused++
    else this.counters.protocolErrors++
    const nowMs = this.clock.monotonicMs()
    if (nowMs - this.windowStartMs >= windowMs) {
      if (this.lines > linesPerWindow)
        this.log.warn('closed more connections', { unlogged: this.lines - linesPerWindow })
      this.windowStartMs = nowMs
      this.lines = 0
    }
    this.lines++
    if (this.lines > linesPerWindow) return
    this.log.warn('closed a connection', { remote, code: error.code, reason: error.message, hint: error.hint })
  }
}
