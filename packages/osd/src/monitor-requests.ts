/**
 * What the OSD wants of the monitors on behalf of its placement groups, repeated until a map shows it: any request may be
 * lost with the monitor that took it.
 */
import type { Env, Epoch, OsdId, PgId, Timer } from '@shoal/base'
import type { OsdMap } from '@shoal/cluster-map'
import type { MonitorClient } from '@shoal/monitor-client'

const repeatMs = 1_000

export class MonitorRequests {
  private readonly env: Env
  private readonly monitor: MonitorClient
  private readonly whoami: OsdId
  private map: OsdMap | undefined
  private upThru: Epoch = 0 as Epoch
  private readonly pgTemp = new Map<PgId, readonly OsdId[]>()
  private readonly unsent = new Set<PgId>()
  private flushing = false
  private timer: Timer | undefined
  private stopped = false

  constructor(env: Env, monitor: MonitorClient, whoami: OsdId) {
    this.env = env
    this.monitor = monitor
    this.whoami = whoami
  }

  requestUpThru(epoch: Epoch): void {
    if (epoch <= this.upThru && !this.isUpThruDone()) return
    this.upThru = epoch
    if (this.isUpThruDone()) return
    this.monitor.requestUpThru(this.whoami, epoch)
    this.repeatLater()
  }

  /** An empty list asks that the entry be removed. Those of one turn of the event loop go out together. */
  requestPgTemp(pgId: PgId, osds: readonly OsdId[]): void {
    this.pgTemp.set(pgId, osds)
    this.unsent.add(pgId)
    if (this.flushing) return
    this.flushing = true
    this.env.timers.soon(() => {
      this.flushing = false
      this.sendPgTemp(this.unsent)
      this.unsent.clear()
      this.repeatLater()
    })
  }

  /** A PG whose interval ended wants nothing any more; it will ask again. */
  onMap(map: OsdMap, intervalsEnded: ReadonlySet<PgId>): void {
    this.map = map
    for (const [pgId, osds] of this.pgTemp) {
      if (this.unsent.has(pgId)) continue
      if (intervalsEnded.has(pgId) || sameOsds(map.pgTemp.get(pgId) ?? [], osds)) this.pgTemp.delete(pgId)
    }
    if (this.isUpThruDone()) this.upThru = 0 as Epoch
  }

  stop(): void {
    this.stopped = true
    this.timer?.cancel()
  }

  private isUpThruDone(): boolean {
    return (this.map?.osds.get(this.whoami)?.upThru ?? 0) >= this.upThru
  }

  private sendPgTemp(pgs: Iterable<PgId>): void {
    const wanted = new Map<PgId, readonly OsdId[]>()
    for (const pgId of pgs) {
      const osds = this.pgTemp.get(pgId)
      if (osds !== undefined) wanted.set(pgId, osds)
    }
    if (wanted.size > 0) this.monitor.requestPgTemp(wanted, this.whoami, this.map?.epoch ?? (0 as Epoch))
  }

  private repeatLater(): void {
    if (this.stopped || this.timer !== undefined) return
    this.timer = this.env.timers.after(repeatMs, () => {
      this.timer = undefined
      const upThruWanted = this.upThru > 0 && !this.isUpThruDone()
      if (upThruWanted) this.monitor.requestUpThru(this.whoami, this.upThru)
      this.sendPgTemp([...this.pgTemp.keys()])
      if (upThruWanted || this.pgTemp.size > 0) this.repeatLater()
    })
  }
}

function sameOsds(a: readonly OsdId[], b: readonly OsdId[]): boolean {
  return a.length === b.length && a.every((osd, at) => osd === b[at])
}
