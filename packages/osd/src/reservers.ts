/**
 * The slots of one OSD for work in the background: for each kind of work a {@link Reserver} that all placement groups
 * share. What an OSD drives as primary and what it takes part in have slots of their own, so that two OSDs that wait for
 * each other's slots cannot both stand still.
 */
import { type ReservationSlot, Reserver, type ReserverSummary } from '@shoal/placement-group'
import type { OsdSettings } from './settings.ts'

export type ReserverSettings = Pick<OsdSettings, 'osd_max_backfills' | 'osd_max_trimming_pgs' | 'osd_max_scrubs'>

/** For `daemon perf`. */
export interface ReserversSummary {
  /** Recovery and backfill, and trimming of removed snapshots. */
  readonly reservations: Readonly<Record<'local' | 'remote' | 'snapTrim', ReserverSummary>>
  readonly scrubReservations: Readonly<Record<'local' | 'remote', ReserverSummary>>
}

export class Reservers {
  private readonly settings: ReserverSettings
  private readonly local: Reserver
  private readonly remote: Reserver
  private readonly snapTrim: Reserver
  private readonly localScrubs: Reserver
  private readonly remoteScrubs: Reserver

  /** `settings` are read again at each {@link onConfigChange}. */
  constructor(settings: ReserverSettings) {
    this.settings = settings
    this.local = new Reserver(settings.osd_max_backfills)
    this.remote = new Reserver(settings.osd_max_backfills)
    this.snapTrim = new Reserver(settings.osd_max_trimming_pgs)
    this.localScrubs = new Reserver(settings.osd_max_scrubs)
    this.remoteScrubs = new Reserver(settings.osd_max_scrubs)
  }

  of(slot: ReservationSlot): Reserver {
    switch (slot) {
      case 'local-recovery':
      case 'local-backfill':
        return this.local
      case 'remote-recovery':
      case 'remote-backfill':
        return this.remote
      case 'snaptrim':
        return this.snapTrim
      case 'local-scrub':
        return this.localScrubs
      case 'remote-scrub':
        return this.remoteScrubs
    }
  }

  /** Numbers of slots are held, not read at use: whoever waits is granted at once. `changed`: names of options. */
  onConfigChange(changed: ReadonlySet<string>): void {
    const { osd_max_backfills, osd_max_trimming_pgs, osd_max_scrubs } = this.settings
    if (changed.has('osd_max_backfills')) setSlots(osd_max_backfills, this.local, this.remote)
    if (changed.has('osd_max_trimming_pgs')) setSlots(osd_max_trimming_pgs, this.snapTrim)
    if (changed.has('osd_max_scrubs')) setSlots(osd_max_scrubs, this.localScrubs, this.remoteScrubs)
  }

  summary(): ReserversSummary {
    const { local, remote, snapTrim, localScrubs, remoteScrubs } = this
    return {
      reservations: { local: local.summary(), remote: remote.summary(), snapTrim: snapTrim.summary() },
      scrubReservations: { local: localScrubs.summary(), remote: remoteScrubs.summary() },
    }
  }
}

function setSlots(slots: number, ...reservers: readonly Reserver[]): void {
  for (const reserver of reservers) reserver.setSlots(slots)
}
