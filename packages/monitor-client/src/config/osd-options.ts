/**
 * Options of an OSD, under Ceph's names where Ceph has the option, with our defaults. Times are seconds and sizes bytes,
 * as the names' readers expect.
 */
import { type CommonSettings, commonOptions } from './common-options.ts'
import type { OptionTable } from './option.ts'

export interface OsdSettings extends CommonSettings {
  readonly osd_heartbeat_interval: number
  readonly osd_heartbeat_idle_interval: number
  readonly osd_heartbeat_grace: number
  readonly osd_read_lease: number
  readonly osd_heartbeat_min_peers: number
  readonly osd_client_message_size_cap: number
  readonly osd_client_message_cap: number
  readonly osd_max_backfills: number
  readonly osd_max_scrubs: number
  readonly osd_scrub_min_interval: number
  readonly osd_scrub_max_interval: number
  readonly osd_deep_scrub_interval: number
  readonly osd_scrub_interval_randomize_ratio: number
  readonly osd_scrub_chunk_min: number
  readonly osd_scrub_chunk_max: number
  readonly osd_scrub_chunk_bytes: number
  readonly osd_scrub_chunk_timeout: number
  readonly osd_scrub_sleep: number
  readonly osd_scrub_auto_repair: boolean
  readonly osd_recovery_max_active: number
  readonly osd_max_trimming_pgs: number
  readonly osd_pg_max_concurrent_snap_trims: number
  readonly osd_target_pg_log_entries_per_osd: number
  readonly osd_min_pg_log_entries: number
  readonly osd_pg_log_dups_tracked: number
  readonly osd_failsafe_full_ratio: number
  readonly osd_op_complaint_time: number
  readonly osd_op_history_size: number
  readonly osd_map_keep: number
  readonly osd_mon_report_interval: number
  readonly osd_mon_report_refresh: number
  readonly osd_max_markdown_count: number
  readonly osd_store_data_cache_size: number
  readonly osd_store_meta_cache_size: number
  readonly osd_mclock_profile: string
  readonly osd_mclock_max_sequential_bandwidth: number
  readonly osd_mclock_cost_per_op: number
}

const live = { level: 'advanced', services: ['osd'], change: 'live' } as const
const day = 86_400

export const osdOptions: OptionTable<OsdSettings> = {
  ...commonOptions,
  osd_heartbeat_interval: {
    ...live,
    type: 'secs',
    default: 0.5,
    min: 0.05,
    max: 1,
    description: 'Between pings to one peer; each is drawn from 0.8 to 1.2 of it. Well below osd_read_lease.',
  },
  osd_heartbeat_idle_interval: {
    ...live,
    type: 'secs',
    default: 1.5,
    min: 0,
    max: 60,
    description:
      'Between pings while no client uses a placement group that both hold; never less than osd_heartbeat_interval.',
  },
  osd_heartbeat_grace: {
    ...live,
    services: ['osd', 'mon'],
    level: 'basic',
    type: 'secs',
    default: 4,
    min: 2,
    max: 3_600,
    description:
      'Silence after which OSDs report a peer to the monitors, and after which the monitors believe them. Set it in global.',
  },
  osd_read_lease: {
    ...live,
    level: 'dev',
    change: 'fixed',
    type: 'secs',
    default: 1.5,
    min: 0.1,
    max: 600,
    description:
      'For how long an answered ping lets the pinger serve reads. All OSDs must agree at every moment, so it cannot change.',
  },
  osd_heartbeat_min_peers: {
    ...live,
    type: 'uint',
    default: 10,
    min: 1,
    max: 1_000,
    unit: 'OSDs',
    description: 'Ping at least so many OSDs, or all there are.',
  },
  osd_client_message_size_cap: {
    ...live,
    type: 'size',
    default: 48 * 1024 * 1024,
    min: 64 * 1024,
    max: 64 * 1024 ** 3,
    description: 'Bytes of client operations that may be under way; sessions pause above it.',
  },
  osd_client_message_cap: {
    ...live,
    type: 'uint',
    default: 1024,
    min: 1,
    max: 1_000_000,
    unit: 'operations',
    description: 'Client operations that may be under way; sessions pause above it.',
  },
  osd_max_backfills: {
    ...live,
    level: 'basic',
    type: 'uint',
    default: 3,
    min: 1,
    max: 1_000,
    unit: 'placement groups',
    description: 'Placement groups that may recover or backfill at once: as primary, and again as replica.',
  },
  osd_max_scrubs: {
    ...live,
    level: 'basic',
    type: 'uint',
    default: 1,
    min: 1,
    max: 1_000,
    unit: 'placement groups',
    description: 'Scrubs that an OSD leads at once, and as many that it takes part in.',
  },
  osd_scrub_min_interval: {
    ...live,
    level: 'basic',
    type: 'secs',
    default: day,
    min: 1,
    max: 365 * day,
    description:
      'Between two scrubs of a placement group; each is longer by a share up to osd_scrub_interval_randomize_ratio.',
  },
  osd_scrub_max_interval: {
    ...live,
    services: ['osd', 'mon'],
    type: 'secs',
    default: 7 * day,
    min: 1,
    max: 365 * day,
    description: 'A scrub that is so late goes before others; much later, and health warns. Set it in global.',
  },
  osd_deep_scrub_interval: {
    ...live,
    services: ['osd', 'mon'],
    level: 'basic',
    type: 'secs',
    default: 7 * day,
    min: 1,
    max: 365 * day,
    description:
      'Between two deep scrubs of a placement group, spread alike; much later, and health warns. Set it in global.',
  },
  osd_scrub_interval_randomize_ratio: {
    ...live,
    type: 'float',
    default: 0.5,
    min: 0,
    max: 10,
    description: 'Intervals between scrubs are longer by a random share up to this, so that scrubs spread.',
  },
  osd_scrub_chunk_min: {
    ...live,
    type: 'uint',
    default: 5,
    min: 1,
    max: 10_000,
    unit: 'objects',
    description: 'Objects of one chunk while clients are busy; writes to them wait while it is looked at.',
  },
  osd_scrub_chunk_max: {
    ...live,
    type: 'uint',
    default: 25,
    min: 1,
    max: 10_000,
    unit: 'objects',
    description: 'Objects of one chunk of a scrub at most; writes to them wait while it is looked at.',
  },
  osd_scrub_chunk_bytes: {
    ...live,
    type: 'size',
    default: 8 * 1024 * 1024,
    min: 4096,
    max: 1024 ** 3,
    description: 'A chunk of a deep scrub ends once so many bytes were read.',
  },
  osd_scrub_chunk_timeout: {
    ...live,
    type: 'secs',
    default: 10,
    min: 0.1,
    max: 3_600,
    description: 'A chunk whose members do not all answer for so long is given up.',
  },
  osd_scrub_sleep: {
    ...live,
    type: 'secs',
    default: 0.1,
    min: 0,
    max: 60,
    description: 'Between two chunks of a scrub, and longer while clients are busy.',
  },
  osd_scrub_auto_repair: {
    ...live,
    level: 'basic',
    type: 'bool',
    default: true,
    description: 'Whether what checksums or the log prove to be bad is mended unasked; if not, only `pg repair` mends.',
  },
  osd_recovery_max_active: {
    ...live,
    level: 'basic',
    type: 'uint',
    default: 4,
    min: 1,
    max: 1_000,
    unit: 'objects',
    description: 'Objects that one placement group recovers side by side.',
  },
  osd_max_trimming_pgs: {
    ...live,
    type: 'uint',
    default: 2,
    min: 1,
    max: 1_000,
    unit: 'placement groups',
    description: 'Placement groups that take removed snapshots from their clones at once.',
  },
  osd_pg_max_concurrent_snap_trims: {
    ...live,
    type: 'uint',
    default: 2,
    min: 1,
    max: 1_000,
    unit: 'clones',
    description: 'Clones that one placement group trims side by side.',
  },
  osd_target_pg_log_entries_per_osd: {
    ...live,
    type: 'uint',
    default: 24_000,
    min: 1,
    max: 10_000_000,
    unit: 'entries',
    description: 'Log entries of all placement groups together while every copy is whole; a group has at most 1,500.',
  },
  osd_min_pg_log_entries: {
    ...live,
    type: 'uint',
    default: 200,
    min: 1,
    max: 100_000,
    unit: 'entries',
    description:
      'Log entries of one placement group, however many there are: fewer would make short absences a matter of backfill.',
  },
  osd_pg_log_dups_tracked: {
    ...live,
    type: 'uint',
    default: 2_000,
    min: 1,
    max: 1_000_000,
    unit: 'requests',
    description:
      'Requests of one placement group that are remembered, without a log entry, because they may come again.',
  },
  osd_failsafe_full_ratio: {
    ...live,
    type: 'float',
    default: 0.97,
    min: 0.1,
    max: 0.99,
    description:
      'Used share of the store above which nothing but removals is taken, whatever the ratios of the map say.',
  },
  osd_op_complaint_time: {
    ...live,
    level: 'basic',
    type: 'secs',
    default: 2,
    min: 0,
    max: 3_600,
    description: 'An operation that takes longer is slow: kept in `daemon ops`, counted in SLOW_OPS.',
  },
  osd_op_history_size: {
    ...live,
    type: 'uint',
    default: 20,
    min: 0,
    max: 10_000,
    unit: 'operations',
    description: 'How many slow operations are kept for `daemon ops`.',
  },
  osd_map_keep: {
    ...live,
    type: 'uint',
    default: 500,
    min: 1,
    max: 100_000,
    unit: 'epochs',
    description: 'OSD maps kept in the store, so that placement groups catch up epoch by epoch after a restart.',
  },
  osd_mon_report_interval: {
    ...live,
    type: 'secs',
    default: 3,
    min: 0.1,
    max: 60,
    description: 'Between reports of changed statistics.',
  },
  osd_mon_report_refresh: {
    ...live,
    type: 'secs',
    default: 60,
    min: 1,
    max: 100,
    description: 'After so long all statistics are reported again. Well below mon_osd_report_timeout.',
  },
  osd_mclock_profile: {
    ...live,
    level: 'basic',
    type: 'str',
    default: 'balanced',
    choices: ['high_client_ops', 'balanced', 'high_recovery_ops'],
    description: 'Who is served first when clients and recovery want more of the disk than it can do.',
  },
  osd_mclock_max_sequential_bandwidth: {
    ...live,
    type: 'size',
    default: 256 * 1024 * 1024,
    min: 1024 * 1024,
    max: 64 * 1024 ** 3,
    description: 'Bytes per second that this OSD is taken to be able to do; shares are parts of it.',
  },
  osd_mclock_cost_per_op: {
    ...live,
    type: 'size',
    default: 16 * 1024,
    min: 512,
    max: 16 * 1024 * 1024,
    description: 'What an operation costs besides its bytes, in bytes.',
  },
  osd_max_markdown_count: {
    ...live,
    type: 'uint',
    default: 5,
    min: 1,
    max: 10_000,
    description: 'Marked down by mistake so often within ten minutes, an OSD comes back only after a growing pause.',
  },
  osd_store_data_cache_size: {
    ...live,
    change: 'restart',
    type: 'size',
    default: 16 * 1024 * 1024,
    min: 64 * 1024,
    max: 64 * 1024 ** 3,
    description: 'Bytes of data that the object store keeps in memory.',
  },
  osd_store_meta_cache_size: {
    ...live,
    change: 'restart',
    type: 'size',
    default: 16 * 1024 * 1024,
    min: 64 * 1024,
    max: 64 * 1024 ** 3,
    description:
      'Bytes of metadata (where the bytes of objects lie, their attributes) that the object store keeps in memory.',
  },
}
