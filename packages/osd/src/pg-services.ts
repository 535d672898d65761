/** What the placement groups of one OSD share. */
import type { Env, Epoch, OsdId, PgId } from '@shoal/base'
import type { PgStats } from '@shoal/cluster-map'
import type { ObjectStore } from '@shoal/object-store'
import type { Reserver } from '@shoal/placement-group'
import type { ClientOpReply, Message, WatchEvent } from '@shoal/wire'
import type { OpScheduler } from './op-scheduler.ts'
import type { PerfCounters } from './perf-counters.ts'
import type { SpaceWatch } from './space-watch.ts'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

export interface PgServices {
  readonly env: Env
  readonly store: ObjectStore
  readonly counters: PerfCounters
  /** For what this OSD drives as primary. */
  readonly localReserver: Reserver
  /** For what it receives as replica. */
  readonly remoteReserver: Reserver
  send(to: OsdId, message: Message): void
  reply(session: number, reply: ClientOpReply): void
  sendEvent(session: number, event: WatchEvent): void
  /** The operation stays to be answered and counts no more among those in flight. */
  park(session: number, tid: number): void
  mark(session: number, tid: number, stage: string): void
  publishStats(stats: PgStats): void
  requestUpThru(epoch: Epoch): void
  requestPgTemp(pgId: PgId, osds: readonly OsdId[]): void
  /** `cluster`: people should find it in `shoal log`, too. */
  log(pgId: PgId, level: LogLevel, message: string, cluster: boolean): void
  readonly space: SpaceWatch
  readonly scheduler: OpScheduler
  removed(pgId: PgId): void
}
