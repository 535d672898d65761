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
}

/** `health` */
export interface HealthReport {
  readonly status: HealthStatus
  readonly checks: readonly HealthCheck[]
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
  readonly options: Readonly<Record<string, string>>
}

/** Rows of `osd pool stats`. */
export interface PoolStatsRow extends IoRatesReply {
  readonly id: number
  readonly name: string
  readonly objects: number
  readonly bytes: number
  /** Over all copies, as far as counted from objects. */
  readonly usedBytes: number
  readonly degradedCopies: number
  readonly misplacedCopies: number
  readonly unfoundObjects: number
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
