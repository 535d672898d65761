/**
 * What daemons and clients ask of the monitors. The production implementation speaks gRPC (`protos/monitor.proto`),
 * the simulator's calls the monitors in memory; both hunt for a monitor that answers and retry within bounds.
 */
import type { Epoch, OsdId, PgId } from '@shoal/base'
import type { MonitorMap, OsdAddresses, OsdMap, OsdStats, PgStats } from '@shoal/cluster-map'
import type { EffectiveConfig } from './config/effective-config.ts'

/**
 * A command in Ceph's manner: `{prefix: 'osd pool create', pool: 'rbd', pg_num: 32}`. With `stale: true` a read is
 * answered from what the asked monitor has, even when it has no quorum.
 */
export interface MonitorCommand {
  readonly prefix: string
  readonly stale?: boolean
  readonly [argument: string]: unknown
}

export interface CommandReply {
  /** A line for people: what was done. */
  readonly status: string
  /** The result for machines; undefined where there is none. */
  readonly data: unknown
  /** Answered by a monitor that did not ask a quorum: it may be old. */
  readonly stale?: boolean
}

export interface OsdBoot {
  readonly osd: OsdId
  readonly uuid: string
  readonly incarnation: number
  readonly addresses: OsdAddresses
  readonly features: number
  /** Where CRUSH should place it if it is new: `{root: 'default', host: 'alpha'}`. */
  readonly crushLocation: Readonly<Record<string, string>>
  readonly deviceClass: string | undefined
  /** In TiB, as CRUSH weights are. */
  readonly crushWeight: number
  /** The newest OSD map it holds. */
  readonly mapEpoch: Epoch
}

export interface FailureReport {
  readonly reporter: OsdId
  readonly failed: OsdId
  /** The run that is reported; a report about an earlier run is void. */
  readonly incarnation: number
  readonly silentForMs: number
  /** The peer's host refused the connection: counts at once, without grace. */
  readonly refused: boolean
  /** Takes an earlier report back. */
  readonly retracted: boolean
  readonly epoch: Epoch
}

export interface StatsReport {
  readonly osd: OsdStats
  readonly incarnation: number
  readonly epoch: Epoch
  /** PGs of which the reporter is the primary; only the ones that changed since the last report, all every minute. */
  readonly pgs: readonly PgStats[]
}

export interface ClusterLogEntry {
  readonly from: string
  readonly wallMs: number
  readonly level: 'debug' | 'info' | 'warn' | 'error'
  readonly message: string
}

export interface MapSubscription {
  cancel(): void
}

export interface MonitorClient {
  /** Connects and resolves once a first OSD map arrived; ENOQUORUM or ETIMEDOUT when no monitor answers in time. */
  start(): Promise<void>
  close(): Promise<void>

  /** The newest OSD map; undefined before `start` resolved. */
  readonly osdMap: OsdMap | undefined
  readonly monitorMap: MonitorMap | undefined
  /** Called for every epoch in order without gaps (unless the monitors have trimmed them: then the next full map). */
  onOsdMap(listener: (map: OsdMap) => void): MapSubscription
  /** What the configuration says for this client; undefined while nothing was ever configured. */
  readonly config: EffectiveConfig | undefined
  /** Called for each newer one. The first comes before the first map. */
  onConfig(listener: (config: EffectiveConfig) => void): MapSubscription
  /** Called when a leader of a later term is heard of: what only the memory of the one before held is gone. */
  onNewLeader(listener: (term: number) => void): MapSubscription
  /** Of the newest leader that was heard of; 0 before. */
  readonly leaderTerm: number
  /** Resolves once `osdMap.epoch` is at least this. */
  waitForEpoch(epoch: Epoch, timeoutMs: number): Promise<OsdMap>
  /** A past map, for past intervals; ENOENT once trimmed (the answer's hint tells the oldest kept). */
  osdMapAt(epoch: Epoch): Promise<OsdMap>

  /** Rejects with the command's own code, or ENOQUORUM/ETIMEDOUT with `outcome: 'unknown'` where it may have happened. */
  command(command: MonitorCommand, timeoutMs?: number): Promise<CommandReply>

  // Of OSDs. All of these may be lost with a monitor: callers repeat them until the map shows their effect.
  boot(boot: OsdBoot): Promise<void>
  /** A clean goodbye: marks the run down at once. */
  shutdown(osd: OsdId, incarnation: number): Promise<void>
  reportFailure(report: FailureReport): void
  /** Asks that `upThru` of this OSD reach the epoch. */
  requestUpThru(osd: OsdId, epoch: Epoch): void
  /** An empty list removes the entry. */
  requestPgTemp(pgTemp: ReadonlyMap<PgId, readonly OsdId[]>, osd: OsdId, epoch: Epoch): void
  reportStats(report: StatsReport): void
  log(entry: ClusterLogEntry): void
}
