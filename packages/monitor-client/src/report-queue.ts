/**
 * One-way reports of an OSD, sent in batches, one batch under way at a time. Statistics are merged while they wait and
 * kept, so that a new leader can be told all of them again.
 *
 * Invariant 1: the queue holds at most `queueMax` reports; the oldest go first. Callers repeat what matters until the map
 *              shows it.
 */
import { type Env, isClusterError, type PgId } from '@shoal/base'
import type { PgStats } from '@shoal/cluster-map'
import type { StatsReport } from './monitor-client.ts'
import type { MonitorSession } from './monitor-session.ts'
import type { Report } from './transport.ts'

const queueMax = 1_024
const batchMax = 256
const sendTimeoutMs = 2_000
const attemptsMax = 4
const retryDelayMs = 200

export class ReportQueue {
  private readonly env: Env
  private readonly session: MonitorSession
  private queue: Report[] = []
  private stats: StatsReport | undefined
  private unsentPgs = new Map<PgId, PgStats>()
  private statsWaiting = false
  private readonly pgs = new Map<PgId, PgStats>()
  private sending = false
  private closed = false
  private endPause: () => void = () => undefined

  constructor(env: Env, session: MonitorSession) {
    this.env = env
    this.session = session
  }

  add(report: Report): void {
    if (this.closed) return
    if (this.queue.length >= queueMax) this.queue.shift()
    this.queue.push(report)
    this.flushSoon()
  }

  addStats(stats: StatsReport): void {
    if (this.closed) return
    this.stats = stats
    for (const pg of stats.pgs) {
      this.pgs.set(pg.pgId, pg)
      this.unsentPgs.set(pg.pgId, pg)
    }
    this.statsWaiting = true
    this.flushSoon()
  }

  /** All statistics again: a new leader knows none. */
  repeatStats(): void {
    if (this.stats === undefined || this.closed) return
    this.unsentPgs = new Map(this.pgs)
    this.statsWaiting = true
    this.flushSoon()
  }

  close(): void {
    this.closed = true
    this.endPause()
    this.queue = []
  }

  private flushSoon(): void {
    if (this.sending || this.closed) return
    this.sending = true
    this.env.timers.soon(() => void this.flush())
  }

  private async flush(): Promise<void> {
    while (!this.closed && (this.queue.length > 0 || this.statsWaiting)) await this.send(this.takeBatch())
    this.sending = false
  }

  private takeBatch(): readonly Report[] {
    const batch = this.queue.splice(0, batchMax)
    if (this.statsWaiting && this.stats !== undefined) {
      batch.push({ kind: 'stats', stats: { ...this.stats, pgs: [...this.unsentPgs.values()] } })
      this.unsentPgs = new Map()
      this.statsWaiting = false
    }
    return batch
  }

  private async send(batch: readonly Report[]): Promise<void> {
    for (let attempt = 1; attempt <= attemptsMax && !this.closed; attempt++) {
      const monitor = this.session.currentAddress
      try {
        await this.session.current().report(batch, false, sendTimeoutMs)
        return
      } catch (error) {
        if (!isClusterError(error) || !error.retry) {
          this.env.log.warn('the monitors refused a report', { error })
          return
        }
        this.session.leave(monitor)
        await this.pause()
      }
    }
    this.keepStats(batch)
  }

  private pause(): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.env.timers.after(retryDelayMs, resolve)
      this.endPause = () => {
        timer.cancel()
        resolve()
      }
    })
  }

  /** Statistics that could not be sent wait for the next report; the rest is the caller's to repeat. */
  private keepStats(batch: readonly Report[]): void {
    for (const report of batch) {
      if (report.kind !== 'stats') continue
      for (const pg of report.stats.pgs) if (!this.unsentPgs.has(pg.pgId)) this.unsentPgs.set(pg.pgId, pg)
    }
  }
}
