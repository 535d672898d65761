/**
 * The OSD map: which OSDs exist, which are up and in, which pools there are and how CRUSH spreads them. Immutable data;
 * the monitors make a new epoch by applying an {@link OsdMapIncremental}, everybody else by applying the same one.
 *
 * Terms are Ceph's: *up/down* says whether the daemon answers, *in/out* whether data is placed on it.
 */
import type { Address, Epoch, OsdId, PgId, PoolId } from '@shoal/base'
import type { CrushMap } from '@shoal/crush'
import type { PoolSnapshots } from './pool-snapshots.ts'

/** Cluster-wide switches of `shoal osd set|unset`. */
export const osdFlags = [
  'pauserd',
  'pausewr',
  'noup',
  'nodown',
  'noout',
  'noin',
  'nobackfill',
  'norebalance',
  'norecover',
  'noscrub',
  'nodeep-scrub',
  'full',
  'nosnaptrim',
  // Set by `shoal balancer off`. Flags are stored by their place here.
  'nobalance',
] as const
export type OsdFlag = (typeof osdFlags)[number]

/** Weights are 16.16 fixed point as in CRUSH: 0x10000 is 1.0. */
export const weightOne = 0x1_0000

export interface OsdAddresses {
  /** Clients and replication. */
  readonly data: Address
  readonly heartbeat: Address
  /** The control endpoint of the daemon itself: perf, ops, pg query. */
  readonly admin: Address
}

export interface OsdInfo {
  readonly id: OsdId
  /** Identity of the store behind this id; a new disk under an old id has a new one. */
  readonly uuid: string
  readonly up: boolean
  /** Reweight: 0 = out, 0x10000 = fully in. */
  readonly weight: number
  /** Whether the cluster marked it out by itself (so that it comes back in by itself when it boots). */
  readonly autoOut: boolean
  readonly primaryAffinity: number
  /** Of the present or last run; undefined before the first boot. */
  readonly addresses: OsdAddresses | undefined
  /** A number unique to each run of the daemon, so that a restart is told from a reconnect. */
  readonly incarnation: number
  /** First epoch of the present (or last) run in which it was up. */
  readonly upFrom: Epoch
  /** Latest epoch through which it is recorded as having been able to serve: see Ceph's "up_thru". */
  readonly upThru: Epoch
  /** Epoch in which it was last marked down. */
  readonly downAt: Epoch
  /** Epoch in which an operator declared its data lost. */
  readonly lostAt: Epoch
  /** An interval [begin, end) of a run that ended with a clean shutdown; 0, 0 if none. */
  readonly lastCleanBegin: Epoch
  readonly lastCleanEnd: Epoch
  readonly features: number
  readonly deviceClass: string | undefined
}

export const poolTypes = ['replicated', 'erasure'] as const
export type PoolType = (typeof poolTypes)[number]

export interface Pool {
  readonly id: PoolId
  readonly name: string
  readonly type: PoolType
  /** Replicas (or k+m shards). */
  readonly size: number
  readonly minSize: number
  readonly pgNum: number
  /** PGs counted for placement; differs from pgNum only while PGs split or merge. */
  readonly pgpNum: number
  readonly crushRule: number
  /** Mix the pool id into placement seeds (Ceph's hashpspool). */
  readonly hashPool: boolean
  /** Epoch of creation: when its PGs' history begins. */
  readonly created: Epoch
  /** Last epoch in which size, minSize, pgNum or rule changed: such a change starts a new interval. */
  readonly lastChange: Epoch
  /** What it is used for, by application name (`block`, `object`, `file`), as in `ceph osd pool application`. */
  readonly applications: readonly string[]
  /** Settings without a field of their own, by name; values are validated where they are set. */
  readonly options: ReadonlyMap<string, string>
  /** Left out while the pool never had a snapshot. */
  readonly snapshots?: PoolSnapshots | undefined
}

export interface UpmapItem {
  readonly from: OsdId
  readonly to: OsdId
}

export interface OsdMap {
  readonly fsid: string
  readonly epoch: Epoch
  readonly createdMs: number
  readonly modifiedMs: number
  readonly flags: ReadonlySet<OsdFlag>
  readonly osds: ReadonlyMap<OsdId, OsdInfo>
  readonly pools: ReadonlyMap<PoolId, Pool>
  /** Highest pool id ever given: ids are never reused. */
  readonly poolIdMax: number
  readonly crush: CrushMap
  /** Acting sets that differ from up while a PG backfills; an empty list never occurs. */
  readonly pgTemp: ReadonlyMap<PgId, readonly OsdId[]>
  readonly primaryTemp: ReadonlyMap<PgId, OsdId>
  readonly upmap: ReadonlyMap<PgId, readonly OsdId[]>
  readonly upmapItems: ReadonlyMap<PgId, readonly UpmapItem[]>
  /** Fenced client sessions: session id to expiry (wall ms). */
  readonly blocklist: ReadonlyMap<string, number>
  readonly nearfullRatio: number
  readonly backfillfullRatio: number
  readonly fullRatio: number
  /** Features every OSD must have to join, a bit set. */
  readonly requiredFeatures: number
  /** Words of erasure code profiles by name; left out while none was ever set. Pools have copies of their own. */
  readonly erasureProfiles?: ReadonlyMap<string, readonly string[]>
  /**
   * Who is to be primary, by exception (pg_upmap_primaries): takes the first place of a replicated set that it is a member
   * of. Left out while there are none.
   */
  readonly upmapPrimaries?: ReadonlyMap<PgId, OsdId>
}

/** What changes from `epoch - 1` to `epoch`. `null` in a map removes the entry. */
export interface OsdMapIncremental {
  readonly fsid: string
  readonly epoch: Epoch
  readonly modifiedMs: number
  /** Replaces the whole map (first epoch, disaster recovery). */
  readonly full?: OsdMap
  readonly flags?: ReadonlySet<OsdFlag>
  /** Whole new values of the OSDs that changed. */
  readonly osds?: ReadonlyMap<OsdId, OsdInfo | null>
  readonly pools?: ReadonlyMap<PoolId, Pool | null>
  readonly poolIdMax?: number
  readonly crush?: CrushMap
  readonly pgTemp?: ReadonlyMap<PgId, readonly OsdId[] | null>
  readonly primaryTemp?: ReadonlyMap<PgId, OsdId | null>
  readonly upmap?: ReadonlyMap<PgId, readonly OsdId[] | null>
  readonly upmapItems?: ReadonlyMap<PgId, readonly UpmapItem[] | null>
  readonly blocklist?: ReadonlyMap<string, number | null>
  readonly ratios?: { readonly nearfull: number; readonly backfillfull: number; readonly full: number }
  readonly requiredFeatures?: number
  readonly erasureProfiles?: ReadonlyMap<string, readonly string[] | null>
  readonly upmapPrimaries?: ReadonlyMap<PgId, OsdId | null>
}

/**
 * Where a placement group lives. `noOsd` (CRUSH_ITEM_NONE) marks a hole in an erasure-coded set; sets of replicated
 * pools have no holes. A primary of `noPrimary` means that nobody can serve.
 */
export interface PgMapping {
  readonly up: readonly OsdId[]
  readonly upPrimary: OsdId
  readonly acting: readonly OsdId[]
  readonly actingPrimary: OsdId
}

export const noOsd: OsdId = 0x7fffffff as OsdId
export const noPrimary: OsdId = -1 as OsdId

/** Whether the map fences a client session: nothing that it sends may begin any more. */
export function isFenced(map: OsdMap, client: number): boolean {
  return map.blocklist.size > 0 && map.blocklist.has(String(client))
}
