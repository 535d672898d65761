/**
 * Marks OSDs out that have been down for long, so that their data is copied elsewhere. The clocks run in the leader's
 * memory: a new leader gives every OSD the whole interval again.
 *
 * Invariant 1: never so many that less than `mon_osd_min_in_ratio` of all OSDs would be in.
 * Invariant 2: never while `noout` is set, and never when a whole subtree of `mon_osd_down_out_subtree_limit` is down.
 */
import type { OsdId } from '@shoal/base'
import type { OsdInfo, OsdMap } from '@shoal/cluster-map'
import { ancestorOf } from '@shoal/crush'
import type { MonitorSettings } from '../config.ts'
import { devicesBelow } from './crush-topology.ts'

export class AutoOut {
  private readonly settings: MonitorSettings
  private readonly downSinceMs = new Map<OsdId, number>()

  constructor(settings: MonitorSettings) {
    this.settings = settings
  }

  /** Notes who is down, and names those whose time is over, in the order of their ids. */
  due(map: OsdMap, nowMs: number): readonly OsdInfo[] {
    this.observe(map, nowMs)
    const intervalMs = this.settings.mon_osd_down_out_interval * 1_000
    if (intervalMs === 0 || map.flags.has('noout')) return []
    const total = map.osds.size
    let inCount = [...map.osds.values()].filter((osd) => osd.weight > 0).length
    const due: OsdInfo[] = []
    for (const [id, sinceMs] of [...this.downSinceMs].sort(([a], [b]) => a - b)) {
      const osd = map.osds.get(id)
      if (osd === undefined || nowMs - sinceMs < intervalMs || this.subtreeIsDown(map, id)) continue
      if ((inCount - 1) / total < this.settings.mon_osd_min_in_ratio) break
      inCount--
      due.push(osd)
    }
    return due
  }

  /** Since when it has been seen down, on the clock of `due`. */
  downSince(id: OsdId): number | undefined {
    return this.downSinceMs.get(id)
  }

  private observe(map: OsdMap, nowMs: number): void {
    for (const osd of map.osds.values()) {
      if (osd.up || osd.weight === 0) this.downSinceMs.delete(osd.id)
      else if (!this.downSinceMs.has(osd.id)) this.downSinceMs.set(osd.id, nowMs)
    }
    for (const id of this.downSinceMs.keys()) if (!map.osds.has(id)) this.downSinceMs.delete(id)
  }

  private subtreeIsDown(map: OsdMap, id: OsdId): boolean {
    const subtree = ancestorOf(map.crush, id, this.settings.mon_osd_down_out_subtree_limit)
    if (subtree === undefined) return false
    return devicesBelow(map.crush, subtree).every((device) => map.osds.get(device as OsdId)?.up !== true)
  }
}
