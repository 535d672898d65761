/**
 * The `data` of command replies, by prefix. Plain JSON: weights are 1.0-based numbers (not 16.16), sizes are bytes, times
 * are milliseconds, sets of flags are sorted arrays.
 */

export const healthStatuses = ['HEALTH_OK', 'HEALTH_WARN', 'HEALTH_ERR'] as const
export type HealthStatus = (typeof healthStatuses)[number]

export interface HealthCheck {
  /** Ceph's code where one exists: `OSD_DOWN`. */
  readonly code: string
  readonly severity: 'warning' | 'error'
  readonly summary: string
  readonly detail: readonly string[]
  /** The command that mends it, or what to do. */
  readonly mend: string
  /** How many of what the check looks at: more of them ends a mute. */
  readonly count: number
  /** An operator does not want to hear of it: it does not count in the status. */
  readonly muted: boolean
}

export interface HealthMuteRow {
  readonly code: string
  /** Wall clock; 0: until it is taken back. */
  readonly untilMs: number
  readonly sticky: boolean
  /** Of the check when it was muted. */
  readonly count: number
  readonly severity: HealthCheck['severity']
  readonly summary: string
}

/** `health` */
export interface HealthReport {
  readonly status: HealthStatus
  readonly checks: readonly HealthCheck[]
  /** Also of checks that are not failing. */
  readonly mutes: readonly HealthMuteRow[]
}

/** Rows of `health history`, oldest first. */
export interface HealthEventRow {
  readonly wallMs: number
  readonly code: string
  readonly event: 'failed' | 'worsened' | 'eased' | 'cleared' | 'muted' | 'unmuted'
  readonly severity: HealthCheck['severity']
  readonly summary: string
}

/** `mon stat`, `quorum_status` */
export interface MonitorStat {
  readonly fsid: string
  readonly epoch: number
  /** Undefined while there is none. */
  readonly leader: string | undefined
  readonly term: number
  readonly quorum: readonly string[]
  readonly outOfQuorum: readonly string[]
  readonly monitors: readonly { readonly id: number; readonly name: string; readonly address: string }[]
}

/** `osd stat` */
export interface OsdStat {
  readonly epoch: number
  readonly osds: number
  readonly up: number
  readonly in: number
  readonly flags: readonly string[]
}

export interface IoRatesReply {
  readonly readOpsPerSecond: number
  readonly writeOpsPerSecond: number
  readonly readBytesPerSecond: number
  readonly writeBytesPerSecond: number
  readonly recoveredObjectsPerSecond: number
  readonly recoveredBytesPerSecond: number
}

/** `pg stat` */
export interface PgSummary {
  readonly pgs: number
  readonly pools: number
  /** Most frequent first; a state is all its words joined by `+`. */
  readonly states: readonly { readonly state: string; readonly count: number }[]
  readonly objects: number
  /** Copies that should exist. */
  readonly copies: number
  /** Stored by clients, once. */
  readonly bytes: number
  readonly degradedCopies: number
  readonly misplacedCopies: number
  readonly unfoundObjects: number
  readonly totalBytes: number
  readonly usedBytes: number
  readonly io: IoRatesReply
}

/** `status` */
export interface ClusterStatus {
  readonly fsid: string
  readonly health: HealthReport
  readonly monitors: MonitorStat
  readonly osdMap: OsdStat
  readonly pgMap: PgSummary
  readonly wallMs: number
}

/** Rows of `osd ls`, and `osds` of `osd dump`. */
export interface OsdRow {
  readonly id: number
  readonly uuid: string
  readonly up: boolean
  readonly in: boolean
  /** Reweight, 0 to 1. */
  readonly weight: number
  readonly primaryAffinity: number
  readonly autoOut: boolean
  readonly deviceClass?: string
  readonly addresses?: { readonly data: string; readonly heartbeat: string; readonly admin: string }
  readonly incarnation: number
  readonly upFrom: number
  readonly upThru: number
  readonly downAt: number
  readonly lostAt: number
  readonly lastCleanBegin: number
  readonly lastCleanEnd: number
}

/** Rows of `osd tree`, depth first. */
export interface OsdTreeNode {
  readonly id: number
  readonly name: string
  readonly type: string
  readonly depth: number
  readonly crushWeight: number
  readonly deviceClass?: string
  readonly status?: 'up' | 'down' | 'destroyed'
  readonly reweight?: number
  readonly primaryAffinity?: number
}

/** Rows of `osd df`. */
export interface OsdUsageRow {
  readonly id: number
  readonly status: string
  readonly crushWeight: number
  readonly reweight: number
  readonly totalBytes: number
  readonly usedBytes: number
  readonly metadataBytes: number
  readonly pgs: number
  /** PGs that it is the acting primary of. */
  readonly primaries: number
}

/** `osd ok-to-stop` */
export interface OkToStopReply {
  readonly osds: readonly number[]
  readonly okBecomeDegraded: readonly string[]
  readonly badNoStats: readonly string[]
  readonly badAlreadyInactive: readonly string[]
  readonly badBecomeInactive: readonly string[]
  /** Members that would stay miss objects. */
  readonly badRecovering: readonly string[]
}

/** `osd safe-to-destroy` */
export interface SafeToDestroyReply {
  readonly safe: readonly number[]
  /** PGs are placed on them. */
  readonly active: readonly number[]
  /** They may hold copies that are needed. */
  readonly stored: readonly number[]
  readonly missingStats: readonly number[]
}

/** `osd drain` */
export interface DrainReply {
  readonly drained: readonly { readonly id: number; readonly crushWeightBefore: number }[]
}

/** `osd map`, `pg map` */
export interface PlacementReply {
  readonly epoch: number
  readonly pgId: string
  readonly pool?: string
  readonly object?: string
  readonly up: readonly number[]
  readonly upPrimary: number
  readonly acting: readonly number[]
  readonly actingPrimary: number
}

/** Rows of `osd pool ls`. */
export interface PoolRow {
  readonly id: number
  readonly name: string
  readonly type: string
  readonly size: number
  readonly minSize: number
  readonly pgNum: number
  readonly pgpNum: number
  readonly crushRule: string
  readonly applications: readonly string[]
  readonly created: number
  /** 0: none. */
  readonly quotaMaxBytes: number
  readonly quotaMaxObjects: number
  readonly options: Readonly<Record<string, string>>
  /** Left out while the pool never had a snapshot. */
  readonly snapshots?: {
    readonly mode: string
    readonly seq: number
    /** Of pool snapshots. */
    readonly count: number
    /** Removed, and not gone from every placement group yet. */
    readonly trimming: number
  }
}

/** Rows of `osd pool lssnap`. */
export interface PoolSnapshotRow {
  readonly id: number
  readonly name: string
  readonly createdMs: number
}

/** Rows of `osd pool stats`. */
export interface PoolStatsRow extends IoRatesReply {
  readonly id: number
  readonly name: string
  readonly objects: number
  readonly bytes: number
  /** Over all copies, as far as counted from objects, less what compression saves. */
  readonly usedBytes: number
  readonly degradedCopies: number
  readonly misplacedCopies: number
  readonly unfoundObjects: number
  /** What lies compressed, over all copies on OSDs that are up. */
  readonly compression: {
    /** Ceph's UNDER COMPR: before compression. */
    readonly originalBytes: number
    readonly compressedBytes: number
    /** Ceph's USED COMPR. */
    readonly allocatedBytes: number
    readonly operations: number
  }
}

/** `osd pool get-quota` */
export interface PoolQuotaReply {
  readonly name: string
  /** 0: none. */
  readonly maxBytes: number
  readonly maxObjects: number
  /** What is used, as the primaries told last. */
  readonly bytes: number
  readonly objects: number
}

/** `df`: the cluster, and each pool. */
export interface ClusterUsage {
  readonly totalBytes: number
  readonly usedBytes: number
  readonly availableBytes: number
  readonly bytes: number
  readonly objects: number
  readonly pools: readonly PoolUsageRow[]
}

export interface PoolUsageRow extends PoolRow {
  readonly objects: number
  readonly bytes: number
  /** Over all copies, as far as counted from objects. */
  readonly usedBytes: number
  /** What clients can still store, by the OSD that is full first and by the quota. */
  readonly availableBytes: number
  readonly compression: PoolStatsRow['compression']
}

/** `pg list-unfound`, of the primary. */
export interface UnfoundReply {
  readonly objects: readonly { readonly namespace: string; readonly name: string; readonly need: string }[]
  /** OSDs that may have them: not up, or not asked, and not declared lost. */
  readonly mightBeOn: readonly number[]
}

/** Rows of `pg ls`. */
export interface PgRow {
  readonly pgId: string
  readonly state: string
  readonly objects: number
  readonly bytes: number
  readonly degradedCopies: number
  readonly misplacedCopies: number
  readonly unfoundObjects: number
  readonly version: string
  readonly up: readonly number[]
  readonly upPrimary: number
  readonly acting: readonly number[]
  readonly actingPrimary: number
  readonly lastEpochClean: number
  /** Milliseconds of the wall clock; 0 while nothing is known. */
  readonly lastScrubMs: number
  readonly lastDeepScrubMs: number
  readonly scrubErrors: number
}

/** `balancer status`. What only the leader knows is absent in a stale answer. */
export interface BalancerStatus {
  readonly active: boolean
  /** Of the option `balancer_mode`: upmap, read or upmap-read. */
  readonly mode: string
  readonly state?: 'off' | 'waiting' | 'balanced' | 'balancing'
  /** What the next plan waits for; empty when nothing. */
  readonly why?: string
  readonly lastPlanAgeSeconds?: number | undefined
  /** PGs of which the last plan moved a copy, or the primary. */
  readonly lastChanges?: number
  /** PGs that lie elsewhere than CRUSH says. */
  readonly exceptions: number
  /** PGs that have another primary than CRUSH says. */
  readonly primaryExceptions: number
  /** Over all pools, the largest of |primaries - what the OSD should have|, in PGs. */
  readonly primaryDeviationMax: number
}

/** A row of `balancer eval`. */
export interface PoolBalanceRow {
  readonly name: string
  readonly osds: number
  /** PG copies on the OSDs with the fewest and with the most. */
  readonly least: number
  readonly most: number
  /** From what each should hold by its weight, in PGs. */
  readonly deviationMax: number
  readonly deviationRms: number
  /** Of replicated pools. */
  readonly primaries?: PrimaryBalanceRow
}

/** PGs of a pool that an OSD is primary of. */
export interface PrimaryBalanceRow {
  /** On the OSDs with the fewest and with the most, of those that should have any. */
  readonly least: number
  readonly most: number
  /** From what each should have by its copies and its primary affinity. */
  readonly deviationMax: number
  /** Ceph's read_balance_score: 1 when all is even. */
  readonly score: number
}

/** Rows of `config dump`. */
export interface ConfigDumpRow {
  /** `osd/class:ssd` */
  readonly who: string
  readonly section: string
  /** Empty for none. */
  readonly mask: string
  readonly name: string
  readonly value: string
  /** `unknown` for an option of a later version. */
  readonly level: string
  readonly needsRestart: boolean
}

/** `config get`: one row, or all that are set. */
export interface ConfigGetRow {
  readonly name: string
  readonly value: string
  /** The target that it was set for, or `default`. */
  readonly source: string
}

/** Rows of `config log`, newest first. */
export interface ConfigLogRow {
  readonly version: number
  readonly wallMs: number
  /** As the client named itself. */
  readonly by: string
  readonly options: readonly {
    readonly who: string
    readonly name: string
    readonly before: string | undefined
    readonly after: string | undefined
  }[]
}

/** A row of `osd pool autoscale-status`. */
export interface AutoscaleRow {
  readonly pool: number
  readonly name: string
  readonly mode: 'off' | 'warn' | 'on'
  /** What clients stored, one copy. */
  readonly bytes: number
  /** What they are said to store one day; 0 for nothing said. */
  readonly targetBytes: number
  /** Copies. */
  readonly size: number
  /** Of the OSDs that the pool may use. */
  readonly capacityBytes: number
  /** The part of the capacity that the pool counts for. */
  readonly ratio: number
  /** What `target_size_ratio` makes of it; 0 for nothing said. */
  readonly targetRatio: number
  readonly bias: number
  readonly pgNum: number
  readonly wanted: number
  /** Not `fine` when it is off by a factor of three. */
  readonly verdict: 'fine' | 'too-few' | 'too-many'
}

/** `crash info`, and rows of `crash ls`, oldest first. */
export interface CrashReport {
  /** Time and a random part: `2026-11-26T14:53:27.123Z_0f3a...`. */
  readonly id: string
  readonly wallMs: number
  /** `osd.3` */
  readonly entity: string
  readonly host: string
  readonly shoalVersion: string
  readonly reason: string
  readonly stack: string
  /** 0: nobody has said that he has seen it. */
  readonly archivedMs: number
}
