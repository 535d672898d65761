/**
 * Settings of an OSD under Ceph's names where Ceph has the setting, with our defaults. Times are seconds and sizes bytes,
 * as the names' readers expect.
 */
import { ClusterError } from '@shoal/base'

export interface OsdSettings {
  /** Seconds between pings to one peer; each is drawn from 0.8 to 1.2 of it. */
  readonly osd_heartbeat_interval: number
  /** The same while no client uses a placement group that both hold; never less than `osd_heartbeat_interval`. */
  readonly osd_heartbeat_idle_interval: number
  /** Silence, in seconds, after which a peer is reported to the monitors, who decide. */
  readonly osd_heartbeat_grace: number
  /** For how long, in seconds, an answered ping lets the pinger serve reads. Several heartbeat intervals. */
  readonly osd_read_lease: number
  /** Ping at least so many OSDs, or all there are. */
  readonly osd_heartbeat_min_peers: number
  /** Bytes of client operations that may be under way; sessions pause above it. */
  readonly osd_client_message_size_cap: number
  /** Client operations that may be under way. */
  readonly osd_client_message_cap: number
  /** PGs that may recover or backfill at once: as primary, and again as replica. */
  readonly osd_max_backfills: number
  /** Objects that one PG recovers side by side. */
  readonly osd_recovery_max_active: number
  /** PGs that trim removed snapshots at once. */
  readonly osd_max_trimming_pgs: number
  /** Clones that one PG trims side by side. */
  readonly osd_pg_max_concurrent_snap_trims: number
  /** Log entries of all PGs together while every copy is complete; a PG's share is at most 1,500. */
  readonly osd_target_pg_log_entries_per_osd: number
  /** Log entries of one PG, however many PGs there are: fewer would make short absences a matter of backfill. */
  readonly osd_min_pg_log_entries: number
  /** Requests of one PG that are remembered, without a log entry, because they may be sent again. */
  readonly osd_pg_log_dups_tracked: number
  /** Used share of the store above which nothing but removals is taken, whatever the map's ratios say. */
  readonly osd_failsafe_full_ratio: number
  /** An operation that took longer, in seconds, is kept in `daemon ops` and counted as slow. */
  readonly osd_op_complaint_time: number
  /** How many slow operations are kept. */
  readonly osd_op_history_size: number
  /** OSD maps kept in the store, so that placement groups catch up epoch by epoch after a restart. */
  readonly osd_map_keep: number
  /** Seconds between reports of changed statistics. */
  readonly osd_mon_report_interval: number
  /** Seconds after which all statistics are reported again. */
  readonly osd_mon_report_refresh: number
  /** Marked down by mistake so often within ten minutes, it comes back only after a growing pause. */
  readonly osd_max_markdown_count: number
}

export const defaultOsdSettings: OsdSettings = {
  osd_heartbeat_interval: 0.5,
  osd_heartbeat_idle_interval: 1.5,
  osd_heartbeat_grace: 4,
  osd_read_lease: 1.5,
  osd_heartbeat_min_peers: 10,
  osd_client_message_size_cap: 48 * 1024 * 1024,
  osd_client_message_cap: 1024,
  osd_max_backfills: 3,
  osd_recovery_max_active: 4,
  osd_max_trimming_pgs: 2,
  osd_pg_max_concurrent_snap_trims: 2,
  osd_target_pg_log_entries_per_osd: 24_000,
  osd_min_pg_log_entries: 200,
  osd_pg_log_dups_tracked: 2_000,
  osd_failsafe_full_ratio: 0.97,
  osd_op_complaint_time: 2,
  osd_op_history_size: 20,
  osd_map_keep: 500,
  osd_mon_report_interval: 3,
  osd_mon_report_refresh: 60,
  osd_max_markdown_count: 5,
}

/** The defaults with some settings replaced. EINVAL for an unknown name or a value that is no number of zero or more. */
export function osdSettingsWith(overrides: Partial<OsdSettings>): OsdSettings {
  for (const [name, value] of Object.entries(overrides)) {
    if (!Object.hasOwn(defaultOsdSettings, name)) {
      throw new ClusterError('EINVAL', `there is no setting '${name}'`, {
        hint: `known settings: ${Object.keys(defaultOsdSettings).join(', ')}`,
      })
    }
    if (typeof value !== 'number' || !Number.isFinite(value) || value < 0) {
      throw new ClusterError('EINVAL', `${name} must be a number of zero or more, not ${JSON.stringify(value)}`)
    }
  }
  return { ...defaultOsdSettings, ...overrides }
}
