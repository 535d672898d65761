/**
 * How full the store is. Measured now and then; in between, every byte that was submitted counts as used, so that the
 * answer errs on the side of full and is then measured again.
 *
 * Invariant 1: a transaction of a client is never ordered when it may find no room: by then it could not be refused, only
 *              the daemon ended.
 */
import type { Env } from '@shoal/base'
import type { OsdMap } from '@shoal/cluster-map'
import type { ObjectStore, StoreUsage } from '@shoal/object-store'

const measureEveryMs = 1_000
/** What a small write may take besides its bytes: its blocks at both ends. */
const overheadBytes = 8192

export class SpaceWatch {
  private readonly env: Env
  private readonly store: ObjectStore
  private readonly failsafeRatio: number
  private measuredMs = Number.NEGATIVE_INFINITY
  private submittedBytes = 0
  private last: StoreUsage = { totalBytes: 0, usedBytes: 0, freeBytes: 0, metadataBytes: 0 }

  constructor(env: Env, store: ObjectStore, failsafeRatio: number) {
    this.env = env
    this.store = store
    this.failsafeRatio = failsafeRatio
  }

  /** At most a second old. */
  usage(): StoreUsage {
    if (this.env.clock.monotonicMs() - this.measuredMs >= measureEveryMs) this.measure()
    return this.last
  }

  /** A transaction with so many bytes of data went to the store. */
  onSubmit(dataBytes: number): void {
    this.submittedBytes += dataBytes + overheadBytes
  }

  /** Whether so many bytes more would lift the store above the failsafe ratio, whatever the map says. */
  isFullFor(dataBytes: number): boolean {
    return this.isAbove(this.failsafeRatio, dataBytes + overheadBytes)
  }

  /** Nothing is backfilled to this OSD. */
  isBackfillFull(map: OsdMap | undefined): boolean {
    return map !== undefined && this.isAbove(map.backfillfullRatio, 0)
  }

  private isAbove(ratio: number, moreBytes: number): boolean {
    const { totalBytes, usedBytes } = this.usage()
    const limitBytes = totalBytes * ratio
    if (totalBytes === 0 || usedBytes + this.submittedBytes + moreBytes < limitBytes) return false
    if (this.submittedBytes > 0) this.measure()
    return this.last.usedBytes + moreBytes >= limitBytes
  }

  private measure(): void {
    this.measuredMs = this.env.clock.monotonicMs()
    this.submittedBytes = 0
    this.last = this.store.usage()
  }
}
