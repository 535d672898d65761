/**
 * How long the logs of placement groups may be: one budget for the whole OSD, for each entry costs about half a kilobyte
 * of heap and an OSD with many PGs must stay as small as one with few.
 */
import { defaultPgSettings, type PgSettings, type ScrubSettings } from '@shoal/placement-group'
import type { OsdSettings } from './settings.ts'

function scrubSettings(settings: OsdSettings): ScrubSettings {
  return {
    minIntervalMs: settings.osd_scrub_min_interval * 1000,
    maxIntervalMs: settings.osd_scrub_max_interval * 1000,
    deepIntervalMs: settings.osd_deep_scrub_interval * 1000,
    randomizeRatio: settings.osd_scrub_interval_randomize_ratio,
    chunkObjectsMin: Math.max(1, settings.osd_scrub_chunk_min),
    chunkObjectsMax: Math.max(1, settings.osd_scrub_chunk_max),
    chunkBytesMax: Math.max(1, settings.osd_scrub_chunk_bytes),
    sleepMs: settings.osd_scrub_sleep * 1000,
    chunkTimeoutMs: settings.osd_scrub_chunk_timeout * 1000,
    autoRepair: settings.osd_scrub_auto_repair > 0,
  }
}

/** While some copies must catch up, logs may be so much longer. */
const degradedFactor = 8 / 3

/** Settings whose log lengths follow the number of PGs at the time they are read. */
export function pgSettings(settings: OsdSettings, pgs: () => number): PgSettings {
  const budget = settings.osd_target_pg_log_entries_per_osd
  const share = (entries: number, most: number): number =>
    Math.max(settings.osd_min_pg_log_entries, Math.min(most, Math.floor(entries / Math.max(1, pgs()))))
  return {
    get logEntriesMin() {
      return share(budget, defaultPgSettings.logEntriesMin)
    },
    get logEntriesMax() {
      return share(budget * degradedFactor, defaultPgSettings.logEntriesMax)
    },
    // A record of a request without an entry is a third of an entry: they have the same budget.
    get trimmedRequestsMax() {
      return share(budget, settings.osd_pg_log_dups_tracked)
    },
    recoveryActiveMax: settings.osd_recovery_max_active,
    pieceBytesMax: defaultPgSettings.pieceBytesMax,
    scanObjects: defaultPgSettings.scanObjects,
    scrub: scrubSettings(settings),
  }
}
