/**
 * Decides whether a small read may be made on the event loop's own thread. A read that the page cache answers takes 5 us
 * there, and 25 to 40 us and two switches of threads through the pool. One that waits for the disk would hold everything
 * up, so a slow one closes the gate: for `closedMsMin`, doubling up to `closedMsMax` while the first read after each
 * pause is slow again. At worst one read in `closedMsMax` waits on the loop.
 */
const slowMs = 1
const closedMsMin = 50
const closedMsMax = 10_000
/** So many quick reads in a row, and a slow one is an exception again. */
const quickReadsToForget = 256

export class ReadGate {
  private openAtMs = 0
  private closedMs = closedMsMin
  private quickReads = 0

  isOpen(nowMs: number): boolean {
    return nowMs >= this.openAtMs
  }

  /** A read on the loop's thread took so long. */
  took(elapsedMs: number, nowMs: number): void {
    if (elapsedMs <= slowMs) {
      if (++this.quickReads === quickReadsToForget) this.closedMs = closedMsMin
      return
    }
    this.openAtMs = nowMs + this.closedMs
    this.closedMs = Math.min(closedMsMax, this.closedMs * 2)
    this.quickReads = 0
  }
}
