/** The OSD's own log and, for what people must know, the cluster log: at most a few entries per second, the rest counted. */
import type { EntityName, Env } from '@shoal/base'
import type { MonitorClient } from '@shoal/monitor-client'
import type { LogLevel } from './pg-services.ts'

const windowMs = 10_000
const entriesMax = 40

export class LogChannel {
  private readonly env: Env
  private readonly monitor: MonitorClient
  private readonly from: EntityName
  private windowStartMs = Number.NEGATIVE_INFINITY
  private entries = 0
  private dropped = 0

  constructor(env: Env, monitor: MonitorClient, from: EntityName) {
    this.env = env
    this.monitor = monitor
    this.from = from
  }

  write(level: LogLevel, message: string, cluster: boolean): void {
    this.env.log[level](message)
    if (!cluster) return
    const nowMs = this.env.clock.monotonicMs()
    if (nowMs - this.windowStartMs > windowMs) {
      const { dropped } = this
      this.windowStartMs = nowMs
      this.entries = 0
      this.dropped = 0
      if (dropped > 0) this.send('warn', `${dropped} more entries were left out`)
    }
    if (this.entries >= entriesMax) this.dropped++
    else this.send(level, message)
  }

  private send(level: LogLevel, message: string): void {
    this.entries++
    this.monitor.log({ from: this.from, wallMs: this.env.clock.wallMs(), level, message })
  }
}
