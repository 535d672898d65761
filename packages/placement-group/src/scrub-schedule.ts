/**
 * When a placement group is scrubbed next. Intervals are spread by a fraction that follows from the group's name and its
 * last scrub, so that groups that were made together part, and a restart changes nothing.
 */
import type { PgId } from '@shoal/base'
import type { OsdFlag } from '@shoal/cluster-map'
import type { ScrubRecord } from './scrub-record.ts'

export const scrubRequests = ['scrub', 'deep-scrub', 'repair'] as const
export type ScrubRequest = (typeof scrubRequests)[number]

export interface ScrubSettings {
  readonly minIntervalMs: number
  /** Older than that, a scrub is urgent. */
  readonly maxIntervalMs: number
  readonly deepIntervalMs: number
  /** Intervals are up to so much longer, as a share. */
  readonly randomizeRatio: number
  readonly chunkObjectsMin: number
  readonly chunkObjectsMax: number
  /** A deep chunk ends once a member has read so much. */
  readonly chunkBytesMax: number
  /** Between two chunks. */
  readonly sleepMs: number
  /** Writes to a chunk wait at most so long. */
  readonly chunkTimeoutMs: number
  /** Mends, unasked, what is proven to be bad. */
  readonly autoRepair: boolean
}

const hourMs = 3_600_000

export const defaultScrubSettings: ScrubSettings = {
  minIntervalMs: 24 * hourMs,
  maxIntervalMs: 7 * 24 * hourMs,
  deepIntervalMs: 7 * 24 * hourMs,
  randomizeRatio: 0.5,
  chunkObjectsMin: 5,
  chunkObjectsMax: 25,
  chunkBytesMax: 8 * 1024 * 1024,
  sleepMs: 100,
  chunkTimeoutMs: 10_000,
  autoRepair: true,
}

export interface ScheduledScrub {
  /** Of the wall clock. */
  readonly atMs: number
  readonly deep: boolean
  readonly urgent: boolean
}

/** 0 to 1, by name and time (FNV-1a). */
function spread(pgId: PgId, atMs: number): number {
  let hash = 0x811c9dc5
  for (const char of `${pgId} ${Math.floor(atMs)}`) hash = Math.imul(hash ^ char.charCodeAt(0), 0x01000193) >>> 0
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) >>> 0
  return ((hash ^ (hash >>> 13)) >>> 0) / 0x1_0000_0000
}

/** What comes first; undefined when flags hold both back. */
export function nextScrub(
  pgId: PgId,
  record: ScrubRecord,
  settings: ScrubSettings,
  flags: ReadonlySet<OsdFlag>,
  nowMs: number,
): ScheduledScrub | undefined {
  const { minIntervalMs, maxIntervalMs, deepIntervalMs, randomizeRatio } = settings
  const due = (lastMs: number, intervalMs: number): number =>
    lastMs + intervalMs * (1 + randomizeRatio * spread(pgId, lastMs))
  const deepAtMs = flags.has('nodeep-scrub') ? Number.POSITIVE_INFINITY : due(record.deepScrubbedMs, deepIntervalMs)
  const shallowAtMs = flags.has('noscrub') ? Number.POSITIVE_INFINITY : due(record.scrubbedMs, minIntervalMs)
  const atMs = Math.min(deepAtMs, shallowAtMs)
  if (atMs === Number.POSITIVE_INFINITY) return undefined
  // What is due by now is done in one go: a deep scrub is a scrub, too.
  const deep = deepAtMs <= Math.max(atMs, nowMs)
  return { atMs, deep, urgent: nowMs > record.scrubbedMs + maxIntervalMs }
}
