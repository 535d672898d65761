/** What hunts are made of: their shape, and settings that many of them share. */
import type { Scenario } from '../scenario/scenario.ts'
import type { PatternName } from './hunt-patterns.ts'
import type { Edit } from './planted-bug.ts'

export interface Hunt {
  readonly virtualSeconds: number
  readonly workloads: readonly string[]
  /** Of each workload. */
  readonly clients?: number
  /** Kinds, more often drawn when named more often. */
  readonly faults?: readonly string[]
  readonly patterns?: readonly PatternName[]
  /** Between two faults or patterns, in the middle. */
  readonly everySeconds: number
  /** No fault that is drawn alone lasts longer. */
  readonly lastsSecondsMax: number
  readonly osds: number
  /** OSDs on each host, which is the failure domain. */
  readonly perHost?: number
  readonly monitors?: number
  /** All stores are. */
  readonly encrypted?: boolean
  readonly pgNum?: number
  readonly size?: number
  readonly minSize?: number
  /** Of erasure-coded pools. */
  readonly code?: { readonly k: number; readonly m: number }
  readonly ioDelayMs?: Scenario['ioDelayMs']
  readonly network?: Scenario['network']
  readonly pauseFactor?: number
  readonly compression?: Readonly<Record<string, string>>
  readonly store?: Partial<Scenario['store']>
  readonly osdSettings?: Scenario['osdSettings']
  readonly monitorSettings?: Scenario['monitorSettings']
  /** For what no setting reaches: made with the bug and without it. */
  readonly tuning?: readonly Edit[]
}

/** Logs that are cut soon, so that backfill and forgotten requests are met; and backfill in small steps. */
export const shortLogs: Scenario['osdSettings'] = {
  osd_target_pg_log_entries_per_osd: 64,
  osd_min_pg_log_entries: 8,
}
export const smallScans: readonly Edit[] = [
  { file: 'placement-group/dist/core.js', find: '    scanObjects: 64,', replace: '    scanObjects: 5,' },
]

/** Little may be under way before others wait: few clients are enough for a line. */
export const narrowWindow: readonly Edit[] = [
  { file: 'osd/dist/mclock-profiles.js', find: '    windowBytes: 4 * mebibyte,', replace: '    windowBytes: 1,' },
]

/** A monitor that has just started waits as long as the others do before it stands for election. */
export const patientStarts: readonly Edit[] = [
  {
    file: 'monitor/dist/consensus/consensus-driver.js',
    find: 'const firstElectionTicks = 2;',
    replace: 'const firstElectionTicks = 8;',
  },
]

export const mebibyte: number = 1024 * 1024
type Settings = Pick<Hunt, 'osdSettings' | 'monitorSettings'>

export const small: Pick<Hunt, 'virtualSeconds' | 'everySeconds' | 'lastsSecondsMax' | 'osds'> = {
  virtualSeconds: 25,
  everySeconds: 2,
  lastsSecondsMax: 6,
  osds: 4,
}
export const slowDisk = { min: 1, max: 15 }
export const smallMemory: Scenario['store']['mount'] = { dataCacheBytes: 16 * 1024, largeWriteBytes: 8 * 1024 }
/** What is written is soon on the disk itself, where it can rot. */
export const quickCheckpoints: Scenario['store']['mount'] = { ...smallMemory, pendingBytesMax: 64 * 1024 }
export const compression = {
  compression_mode: 'force',
  compression_algorithm: 'lz4',
  compression_required_ratio: '1',
  compression_max_blob_size: '16384',
}
export const osdSettings: Scenario['osdSettings'] = {
  osd_heartbeat_interval: 0.3,
  osd_heartbeat_grace: 2,
  osd_read_lease: 0.9,
  osd_max_markdown_count: 50,
}
export const quickDown: Settings = {
  osdSettings,
  monitorSettings: { osd_heartbeat_grace: 2, mon_osd_down_out_interval: 600 },
}
export const quickOut: Settings = {
  osdSettings,
  monitorSettings: { osd_heartbeat_grace: 2, mon_osd_down_out_interval: 5 },
}
export const monitorHunt: Omit<Hunt, 'faults' | 'patterns'> = {
  ...small,
  workloads: ['monitor-set'],
  clients: 6,
  osds: 3,
}
