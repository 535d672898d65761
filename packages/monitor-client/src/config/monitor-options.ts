/** Options of a monitor, under Ceph's names. Times are seconds where Ceph's option is in seconds. */
import { type CommonSettings, commonOptions } from './common-options.ts'
import type { OptionTable } from './option.ts'
import { osdOptions } from './osd-options.ts'

export interface MonitorSettings extends CommonSettings {
  readonly mon_osd_min_down_reporters: number
  readonly mon_osd_reporter_subtree_level: string
  readonly osd_heartbeat_grace: number
  readonly mon_osd_adjust_heartbeat_grace: boolean
  readonly mon_osd_laggy_halflife: number
  readonly mon_osd_laggy_weight: number
  readonly mon_osd_laggy_max_interval: number
  readonly mon_osd_min_up_ratio: number
  readonly mon_osd_down_out_interval: number
  readonly mon_osd_min_in_ratio: number
  readonly mon_osd_down_out_subtree_limit: string
  readonly mon_osd_report_timeout: number
  readonly mon_osd_auto_create: boolean
  readonly mon_osd_auto_mark_new_in: boolean
  readonly mon_osd_auto_mark_auto_out_in: boolean
  readonly osd_scrub_max_interval: number
  readonly osd_deep_scrub_interval: number
  readonly mon_warn_pg_not_scrubbed_ratio: number
  readonly mon_warn_pg_not_deep_scrubbed_ratio: number
  readonly mon_max_pg_per_osd: number
  readonly mon_allow_pool_delete: boolean
  readonly osd_pool_default_pg_num: number
  readonly osd_pool_default_size: number
  readonly osd_pool_default_min_size: number
  readonly osd_crush_update_on_start: boolean
  readonly mon_min_osdmap_epochs: number
  readonly mon_max_osdmap_epochs: number
  readonly mon_log_max: number
  readonly mon_lease: number
  readonly mon_target_pg_per_osd: number
  readonly balancer_mode: string
  readonly balancer_sleep_interval: number
  readonly balancer_upmap_max_optimizations: number
  readonly mon_crash_warn_recent_interval: number
  readonly mon_crash_retain_interval: number
}

const live = { level: 'advanced', services: ['mon'], change: 'live' } as const
const day = 86_400
const crushTypes = [
  'osd',
  'host',
  'chassis',
  'rack',
  'row',
  'pdu',
  'pod',
  'room',
  'datacenter',
  'zone',
  'region',
  'root',
]

export const monitorOptions: OptionTable<MonitorSettings> = {
  ...commonOptions,
  mon_osd_min_down_reporters: {
    ...live,
    type: 'uint',
    default: 2,
    min: 1,
    max: 1_000,
    description: 'Reports about one OSD must come from so many failure domains.',
  },
  mon_osd_reporter_subtree_level: {
    ...live,
    type: 'str',
    default: 'host',
    choices: crushTypes,
    description: 'The CRUSH type that counts as a failure domain of reporters.',
  },
  osd_heartbeat_grace: osdOptions.osd_heartbeat_grace,
  mon_osd_adjust_heartbeat_grace: {
    ...live,
    type: 'bool',
    default: true,
    description: 'Whether the grace grows for OSDs that were marked down while they were only slow.',
  },
  mon_osd_laggy_halflife: {
    ...live,
    type: 'secs',
    default: 3_600,
    min: 1,
    max: 7 * day,
    description: 'Half-life of what is remembered about slowness.',
  },
  mon_osd_laggy_weight: {
    ...live,
    type: 'float',
    default: 0.3,
    min: 0,
    max: 1,
    description: 'How much the last time counts in what is remembered about slowness.',
  },
  mon_osd_laggy_max_interval: {
    ...live,
    type: 'secs',
    default: 300,
    min: 0,
    max: day,
    description: 'An absence counts as slowness up to this.',
  },
  mon_osd_min_up_ratio: {
    ...live,
    type: 'float',
    default: 0.3,
    min: 0,
    max: 1,
    description: 'Never mark down by reports so many that a smaller part than this stays up.',
  },
  mon_osd_down_out_interval: {
    ...live,
    level: 'basic',
    type: 'secs',
    default: 600,
    min: 0,
    max: 365 * day,
    description: 'Down for so long means out; 0 turns it off.',
  },
  mon_osd_min_in_ratio: {
    ...live,
    type: 'float',
    default: 0.75,
    min: 0,
    max: 1,
    description: 'Never mark out so many that a smaller part than this stays in.',
  },
  mon_osd_down_out_subtree_limit: {
    ...live,
    type: 'str',
    default: 'rack',
    choices: crushTypes,
    description: "A subtree of this type that is down as a whole is left in: an operator's work or a cut cable.",
  },
  mon_osd_report_timeout: {
    ...live,
    type: 'secs',
    default: 180,
    min: 110,
    max: day,
    description: 'An OSD that sent no statistics for so long is marked down.',
  },
  mon_osd_auto_create: {
    ...live,
    type: 'bool',
    default: true,
    description: 'Whether an unknown id that boots is registered at once.',
  },
  mon_osd_auto_mark_new_in: {
    ...live,
    type: 'bool',
    default: true,
    description: 'Whether a new OSD comes in when it boots.',
  },
  mon_osd_auto_mark_auto_out_in: {
    ...live,
    type: 'bool',
    default: true,
    description: 'Whether an OSD that was marked out for its absence comes in again when it boots.',
  },
  osd_scrub_max_interval: osdOptions.osd_scrub_max_interval,
  osd_deep_scrub_interval: osdOptions.osd_deep_scrub_interval,
  mon_warn_pg_not_scrubbed_ratio: {
    ...live,
    type: 'float',
    default: 0.5,
    min: 0,
    max: 100,
    description: 'Health warns of a scrub that is later than osd_scrub_max_interval by this share of it.',
  },
  mon_warn_pg_not_deep_scrubbed_ratio: {
    ...live,
    type: 'float',
    default: 0.75,
    min: 0,
    max: 100,
    description: 'Health warns of a deep scrub that is later than osd_deep_scrub_interval by this share of it.',
  },
  mon_max_pg_per_osd: {
    ...live,
    type: 'uint',
    default: 250,
    min: 1,
    max: 100_000,
    unit: 'placement groups',
    description: 'Copies of placement groups per OSD; pools that would exceed it are refused.',
  },
  mon_allow_pool_delete: {
    ...live,
    level: 'basic',
    type: 'bool',
    default: true,
    description: 'Whether pools may be deleted at all.',
  },
  osd_pool_default_pg_num: {
    ...live,
    level: 'basic',
    type: 'uint',
    default: 32,
    min: 1,
    max: 65_536,
    unit: 'placement groups',
    description: 'Of a new pool that does not say.',
  },
  osd_pool_default_size: {
    ...live,
    level: 'basic',
    type: 'uint',
    default: 3,
    min: 1,
    max: 10,
    unit: 'copies',
    description: 'Of a new pool that does not say.',
  },
  osd_pool_default_min_size: {
    ...live,
    level: 'basic',
    type: 'uint',
    default: 0,
    min: 0,
    max: 10,
    unit: 'copies',
    description: 'Copies that must be there for a new pool to serve; 0 means the size less half of it.',
  },
  osd_crush_update_on_start: {
    ...live,
    type: 'bool',
    default: true,
    description: 'Whether an OSD that boots elsewhere is moved there in the CRUSH map.',
  },
  mon_min_osdmap_epochs: {
    ...live,
    type: 'uint',
    default: 500,
    min: 1,
    max: 1_000_000,
    unit: 'epochs',
    description: 'OSD maps that are always kept; more while placement groups are not clean.',
  },
  mon_max_osdmap_epochs: {
    ...live,
    type: 'uint',
    default: 10_000,
    min: 1,
    max: 1_000_000,
    unit: 'epochs',
    description: 'Never more OSD maps than this, clean or not.',
  },
  mon_log_max: {
    ...live,
    type: 'uint',
    default: 1_000,
    min: 1,
    max: 100_000,
    unit: 'entries',
    description: 'Entries of the cluster log that are kept.',
  },
  mon_lease: {
    ...live,
    type: 'secs',
    default: 5,
    min: 1,
    max: 600,
    description: 'A monitor that the leader has not heard for so long is out of quorum.',
  },
  mon_target_pg_per_osd: {
    ...live,
    type: 'uint',
    default: 100,
    min: 1,
    max: 10_000,
    unit: 'placement groups',
    description: 'Copies of placement groups that each OSD should have, by which the autoscaler sizes pools.',
  },
  balancer_mode: {
    ...live,
    type: 'str',
    default: 'upmap-read',
    choices: ['upmap', 'read', 'upmap-read'],
    description: 'What the balancer evens out: copies of placement groups (upmap), their primaries (read), or both.',
  },
  balancer_sleep_interval: {
    ...live,
    type: 'secs',
    default: 20,
    min: 1,
    max: 86_400,
    description: 'Between two plans of the balancer.',
  },
  balancer_upmap_max_optimizations: {
    ...live,
    type: 'uint',
    default: 10,
    min: 1,
    max: 10_000,
    unit: 'placement groups',
    description: 'Of how many placement groups one plan of the balancer moves a copy or the primary, at most.',
  },
  mon_crash_warn_recent_interval: {
    ...live,
    type: 'secs',
    default: 14 * day,
    min: 0,
    max: 365 * day,
    description: 'Crashes that are younger, and not archived, raise RECENT_CRASH.',
  },
  mon_crash_retain_interval: {
    ...live,
    type: 'secs',
    default: 365 * day,
    min: 60,
    max: 3_650 * day,
    description: 'Crash reports that are older are removed.',
  },
}
