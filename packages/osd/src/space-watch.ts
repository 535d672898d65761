/** How full the store is, measured at most every so often: asking the store for each operation would cost more than it tells. */
import type { Env } from '@shoal/base'
import type { OsdMap } from '@shoal/cluster-map'
import type { ObjectStore, StoreUsage } from '@shoal/object-store'

const measureEveryMs = 200

export class SpaceWatch {
  private readonly env: Env
  private readonly store: ObjectStore
  private readonly failsafeRatio: number
  private measuredMs = Number.NEGATIVE_INFINITY
  private last: StoreUsage = { totalBytes: 0, usedBytes: 0, freeBytes: 0, metadataBytes: 0 }

  constructor(env: Env, store: ObjectStore, failsafeRatio: number) {
    this.env = env
    this.store = store
    this.failsafeRatio = failsafeRatio
  }

  usage(): StoreUsage {
    const nowMs = this.env.clock.monotonicMs()
    if (nowMs - this.measuredMs >= measureEveryMs) {
      this.measuredMs = nowMs
      this.last = this.store.usage()
    }
    return this.last
  }

  /** Writes that need space are refused here, whatever the map says. */
  isFull(): boolean {
    return this.isAbove(this.failsafeRatio)
  }

  /** Nothing is backfilled to this OSD. */
  isBackfillFull(map: OsdMap | undefined): boolean {
    return map !== undefined && this.isAbove(map.backfillfullRatio)
  }

  private isAbove(ratio: number): boolean {
    const { totalBytes, usedBytes } = this.usage()
    return totalBytes > 0 && usedBytes >= totalBytes * ratio
  }
}
