/**
 * Maps as daemons and clients see them: epochs never go back for anybody, and an epoch means the same map to everybody. (An
 * observer that starts again begins anew: it may be given a map it had before, never another one.)
 */
import type { Violation } from '../history.ts'

export interface MapObservation {
  /** One life of a daemon or client: `osd.3#2`. */
  readonly observer: string
  readonly atMs: number
  /** Which map, where there are several: `osdmap`, `monmap`. */
  readonly map: string
  readonly epoch: number
  /** A digest of the encoded map. */
  readonly digest: string
}

export class MapEpochChecker {
  readonly violations: Violation[] = []
  private readonly newest = new Map<string, MapObservation>()
  private readonly contents = new Map<string, MapObservation>()

  observe(seen: MapObservation): void {
    const before = this.newest.get(`${seen.observer} ${seen.map}`)
    if (before !== undefined && seen.epoch < before.epoch) {
      this.report(`${seen.observer} went from ${seen.map} ${before.epoch} back to ${seen.epoch}`, { before, seen })
    }
    if (before === undefined || seen.epoch > before.epoch) this.newest.set(`${seen.observer} ${seen.map}`, seen)
    const key = `${seen.map} ${seen.epoch}`
    const first = this.contents.get(key)
    if (first === undefined) this.contents.set(key, seen)
    else if (first.digest !== seen.digest) {
      this.report(`${seen.map} ${seen.epoch} of ${seen.observer} is not that of ${first.observer}`, { first, seen })
    }
  }

  private report(message: string, details: unknown): void {
    this.violations.push({ checker: 'map-epochs', message, details })
  }
}
