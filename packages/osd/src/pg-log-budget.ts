/**
 * How long the logs of placement groups may be: one budget for the whole OSD, for each entry costs about half a kilobyte
 * of heap and an OSD with many PGs must stay as small as one with few.
 */
import { defaultPgSettings, type PgSettings } from '@shoal/placement-group'
import type { OsdSettings } from './settings.ts'

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
    snapTrimActiveMax: settings.osd_pg_max_concurrent_snap_trims,
    pieceBytesMax: defaultPgSettings.pieceBytesMax,
    scanObjects: defaultPgSettings.scanObjects,
  }
}
