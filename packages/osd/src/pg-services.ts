/** What the placement groups of one OSD share. */
import type { Env, Epoch, OsdId, PgId } from '@shoal/base'
import type { PgStats, QuotaAsk } from '@shoal/cluster-map'
import type { ObjectExaminer, ObjectStore } from '@shoal/object-store'
import type { ClientOpReply, Message, WatchEvent } from '@shoal/wire'
import type { OpScheduler } from './op-scheduler.ts'
import type { PerfCounters } from './perf-counters.ts'
import type { Reservers } from './reservers.ts'
import type { SpaceWatch } from './space-watch.ts'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

export interface PgServices {
  readonly env: Env
  readonly store: ObjectStore & ObjectExaminer
  readonly counters: PerfCounters
  readonly reservers: Reservers
  send(to: OsdId, message: Message): void
  reply(session: number, reply: ClientOpReply): void
  sendEvent(session: number, event: WatchEvent): void
  /** The operation stays to be answered and counts no more among those in flight. */
  park(session: number, tid: number): void
  mark(session: number, tid: number, stage: string): void
  publishStats(stats: PgStats): void
  askQuota(ask: QuotaAsk): void
  requestUpThru(epoch: Epoch): void
  requestPgTemp(pgId: PgId, osds: readonly OsdId[]): void
  /** `cluster`: people should find it in `shoal log`, too. */
  log(pgId: PgId, level: LogLevel, message: string, cluster: boolean): void
  readonly space: SpaceWatch
  readonly scheduler: OpScheduler
  removed(pgId: PgId): void
  /** A deep scrub begins: the OSD's own records are looked at, too. */
  scrubOwnRecords(): void
}
