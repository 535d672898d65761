/**
 * How long the logs of placement groups may be: one budget for the whole OSD, for each entry costs about half a kilobyte
 * of heap and an OSD with many PGs must stay as small as one with few.
 */
import { defaultPgSettings, type PgSettings, type ScrubSettings } from '@shoal/placement-group'
import { pieceBytesOf } from './mclock-profiles.ts'
import type { OsdSettings } from './settings.ts'

/** Read when they are needed: they change while the OSD runs. */
function scrubSettings(settings: OsdSettings): ScrubSettings {
  return {
    get minIntervalMs() {
      return settings.osd_scrub_min_interval * 1000
    },
    get maxIntervalMs() {
      return settings.osd_scrub_max_interval * 1000
    },
    get deepIntervalMs() {
      return settings.osd_deep_scrub_interval * 1000
    },
    get randomizeRatio() {
      return settings.osd_scrub_interval_randomize_ratio
    },
    get chunkObjectsMin() {
      return settings.osd_scrub_chunk_min
    },
    get chunkObjectsMax() {
      return settings.osd_scrub_chunk_max
    },
    get chunkBytesMax() {
      return settings.osd_scrub_chunk_bytes
    },
    get sleepMs() {
      return settings.osd_scrub_sleep * 1000
    },
    get chunkTimeoutMs() {
      return settings.osd_scrub_chunk_timeout * 1000
    },
    get autoRepair() {
      return settings.osd_scrub_auto_repair
    },
  }
}

/** While some copies must catch up, logs may be so much longer. */
const degradedFactor = 8 / 3

/** Of a request without an entry, in the store. */
const requestBytes = 48
/** Of the log, in the transaction that stores it whole; the rest is for what else is in it. */
const logShare = 0.75

/**
 * Log lengths follow the number of PGs, and all of it the settings, at the time it is read. `transactionBytesMax`: of the
 * store; a member that joins stores the log whole, and an OSD whose store refuses that could never serve again.
 */
export function pgSettings(settings: OsdSettings, pgs: () => number, transactionBytesMax: number): PgSettings {
  const budget = (): number => settings.osd_target_pg_log_entries_per_osd
  const share = (entries: number, most: number): number =>
    Math.max(settings.osd_min_pg_log_entries, Math.min(most, Math.floor(entries / Math.max(1, pgs()))))
  return {
    get logEntriesMin() {
      return share(budget(), defaultPgSettings.logEntriesMin)
    },
    get logEntriesMax() {
      return share(budget() * degradedFactor, defaultPgSettings.logEntriesMax)
    },
    get logBytesMax() {
      return logShare * transactionBytesMax - requestBytes * this.trimmedRequestsMax
    },
    // A record of a request without an entry is a third of an entry: they have the same budget.
    get trimmedRequestsMax() {
      return share(budget(), settings.osd_pg_log_dups_tracked)
    },
    get recoveryActiveMax() {
      return settings.osd_recovery_max_active
    },
    get snapTrimActiveMax() {
      return settings.osd_pg_max_concurrent_snap_trims
    },
    get pieceBytesMax() {
      return pieceBytesOf(settings)
    },
    scanObjects: defaultPgSettings.scanObjects,
    scrub: scrubSettings(settings),
  }
}
