/**
 * Settings of the monitors under Ceph's names, with their defaults. They come as options of the daemon; a database of
 * settings in the cluster would feed the same table.
 *
 * Times are seconds where Ceph's option is in seconds, as their names' readers expect.
 */
import { ClusterError } from '@shoal/base'

export interface MonitorSettings {
  /** Reports about one OSD must come from so many failure domains. */
  readonly mon_osd_min_down_reporters: number
  /** The CRUSH type that counts as a failure domain of reporters. */
  readonly mon_osd_reporter_subtree_level: string
  /** Silence, in seconds, after which a report without refusal counts. Adaptive grace comes on top. */
  readonly osd_heartbeat_grace: number
  /** Whether the grace grows for OSDs that were marked down while they were only slow. */
  readonly mon_osd_adjust_heartbeat_grace: boolean
  /** Half-life of what is remembered about slowness, in seconds. */
  readonly mon_osd_laggy_halflife: number
  readonly mon_osd_laggy_weight: number
  readonly mon_osd_laggy_max_interval: number
  /** Never mark down by reports so many that a smaller part than this stays up. */
  readonly mon_osd_min_up_ratio: number
  /** Down for so many seconds means out; 0 turns it off. */
  readonly mon_osd_down_out_interval: number
  /** Never mark out so many that a smaller part than this stays in. */
  readonly mon_osd_min_in_ratio: number
  /** A subtree of this type that is down as a whole is left in: an operator's work or a cut cable. */
  readonly mon_osd_down_out_subtree_limit: string
  /** An OSD that sent no statistics for so many seconds is marked down. */
  readonly mon_osd_report_timeout: number
  /** Whether an unknown id that boots is registered at once. */
  readonly mon_osd_auto_create: boolean
  readonly mon_osd_auto_mark_new_in: boolean
  readonly mon_osd_auto_mark_auto_out_in: boolean
  readonly mon_max_pg_per_osd: number
  readonly mon_allow_pool_delete: boolean
  readonly osd_pool_default_pg_num: number
  readonly osd_pool_default_size: number
  /** 0: size minus half of it. */
  readonly osd_pool_default_min_size: number
  readonly osd_crush_update_on_start: boolean
  /** Epochs of the OSD map that are always kept; more while PGs are not clean. */
  readonly mon_min_osdmap_epochs: number
  /** Never more than so many, clean or not. */
  readonly mon_max_osdmap_epochs: number
  /** Entries of the cluster log that are kept. */
  readonly mon_log_max: number
  /** A monitor that the leader has not heard for so many seconds is out of quorum. */
  readonly mon_lease: number
  /** Seconds between two plans of the balancer. */
  readonly balancer_sleep_interval: number
  /** PGs that one plan of the balancer moves a copy of, at most. */
  readonly balancer_upmap_max_optimizations: number
}

export const defaultSettings: MonitorSettings = {
  mon_osd_min_down_reporters: 2,
  mon_osd_reporter_subtree_level: 'host',
  osd_heartbeat_grace: 4,
  mon_osd_adjust_heartbeat_grace: true,
  mon_osd_laggy_halflife: 3_600,
  mon_osd_laggy_weight: 0.3,
  mon_osd_laggy_max_interval: 300,
  mon_osd_min_up_ratio: 0.3,
  mon_osd_down_out_interval: 600,
  mon_osd_min_in_ratio: 0.75,
  mon_osd_down_out_subtree_limit: 'rack',
  mon_osd_report_timeout: 180,
  mon_osd_auto_create: true,
  mon_osd_auto_mark_new_in: true,
  mon_osd_auto_mark_auto_out_in: true,
  mon_max_pg_per_osd: 250,
  mon_allow_pool_delete: true,
  osd_pool_default_pg_num: 32,
  osd_pool_default_size: 3,
  osd_pool_default_min_size: 0,
  osd_crush_update_on_start: true,
  mon_min_osdmap_epochs: 500,
  mon_max_osdmap_epochs: 10_000,
  mon_log_max: 1_000,
  mon_lease: 5,
  balancer_sleep_interval: 20,
  balancer_upmap_max_optimizations: 10,
}

/** The defaults with some settings replaced. Throws EINVAL for an unknown name or a value of the wrong kind. */
export function settingsWith(overrides: Partial<MonitorSettings>): MonitorSettings {
  for (const [name, value] of Object.entries(overrides)) {
    const standard = Object.hasOwn(defaultSettings, name) ? defaultSettings[name as keyof MonitorSettings] : undefined
    if (standard === undefined) {
      throw new ClusterError('EINVAL', `there is no setting '${name}'`, {
        hint: `known settings: ${Object.keys(defaultSettings).join(', ')}`,
      })
    }
    if (typeof value !== typeof standard || (typeof value === 'number' && !(Number.isFinite(value) && value >= 0))) {
      throw new ClusterError('EINVAL', `${name} must be a ${typeof standard}, not ${JSON.stringify(value)}`)
    }
  }
  return { ...defaultSettings, ...overrides }
}
