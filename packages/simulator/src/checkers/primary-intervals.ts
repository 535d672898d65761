/**
 * Never two primaries of one placement group: the spans of virtual time in which OSDs answered its clients do not overlap.
 *
 * A span is that of one OSD in one interval of the PG: from the first answer that was made there to the last. Two primaries
 * of different intervals may both be running and both believe in themselves; what must not be is that the older one
 * answers a read after the newer one has answered anything. (Answers to writes are safe by themselves: an older primary
 * gets no acknowledgement from members that have moved on. They count as well, where the caller reports them.)
 */
import type { Violation } from '../history.ts'

export interface ServeObservation {
  readonly pgId: string
  readonly osd: number
  /** Epoch in which the interval began in which the OSD served. */
  readonly interval: number
  readonly atMs: number
  readonly kind: 'read' | 'write'
}

interface Span {
  readonly osd: number
  readonly interval: number
  readonly firstMs: number
  lastMs: number
}

export class PrimaryIntervalChecker {
  readonly violations: Violation[] = []
  /** By PG, the newest last. */
  private readonly spans = new Map<string, Span[]>()

  /** In order of time. */
  observe(seen: ServeObservation): void {
    const spans = this.spans.get(seen.pgId) ?? []
    this.spans.set(seen.pgId, spans)
    const newer = spans.find((span) => span.interval > seen.interval)
    if (newer !== undefined && newer.osd !== seen.osd) {
      this.report(
        seen,
        `osd.${seen.osd} answered a ${seen.kind} of ${seen.pgId} in the interval of epoch ${seen.interval} ` +
          `${(seen.atMs - newer.firstMs).toFixed(1)} ms after osd.${newer.osd} began to serve in that of ${newer.interval}`,
      )
    }
    const own = spans.find((span) => span.interval === seen.interval)
    if (own === undefined) {
      spans.push({ osd: seen.osd, interval: seen.interval, firstMs: seen.atMs, lastMs: seen.atMs })
      spans.sort((a, b) => a.interval - b.interval)
      if (spans.length > 8) spans.shift()
    } else if (own.osd === seen.osd) {
      own.lastMs = seen.atMs
    } else {
      this.report(seen, `osd.${own.osd} and osd.${seen.osd} both serve ${seen.pgId} in the interval of ${own.interval}`)
    }
  }

  private report(seen: ServeObservation, message: string): void {
    this.violations.push({ checker: 'two-primaries', object: seen.pgId, message, details: seen })
  }
}
