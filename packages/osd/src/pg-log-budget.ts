/**
 * How long the logs of placement groups may be: one budget for the whole OSD, for each entry costs about half a kilobyte
 * of heap and an OSD with many PGs must stay as small as one with few.
 */
import { defaultPgSettings, type PgSettings } from '@shoal/placement-group'

/** Entries of all PGs while every copy is complete, and while some must catch up. */
const entriesBudget = 24_000
const entriesBudgetDegraded = 64_000
/** However many PGs there are: fewer would make short absences a matter of backfill, and resends unknown. */
const entriesPerPgMin = 200

/** Settings whose log lengths follow the number of PGs at the time they are read. */
export function pgSettings(recoveryActiveMax: number, pgs: () => number): PgSettings {
  const share = (budget: number, most: number): number =>
    Math.max(entriesPerPgMin, Math.min(most, Math.floor(budget / Math.max(1, pgs()))))
  return {
    get logEntriesMin() {
      return share(entriesBudget, defaultPgSettings.logEntriesMin)
    },
    get logEntriesMax() {
      return share(entriesBudgetDegraded, defaultPgSettings.logEntriesMax)
    },
    recoveryActiveMax,
    pieceBytesMax: defaultPgSettings.pieceBytesMax,
    scanObjects: defaultPgSettings.scanObjects,
  }
}
