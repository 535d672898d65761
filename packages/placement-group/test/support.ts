import { type Epoch, type OsdId, osdId, type PgId, pgShard } from '@shoal/base'
import type { ObjectId, Version } from '@shoal/wire'
import { defaultPgSettings, PgCore } from '../src/core.ts'
import { RollbackLog } from '../src/erasure/rollback-log.ts'
import { MissingSet } from '../src/missing-set.ts'
import { backfillComplete, newPgInfo, type PastInterval, type PgInfo } from '../src/pg-info.ts'
import { type LogEntry, PgLog } from '../src/pg-log.ts'
import { MapAuthority, placeSimulated } from './simulation/map-authority.ts'
import { simulatedObject } from './simulation/simulated-client.ts'

export const epoch = (value: number): Epoch => value as Epoch
export const osds = (...ids: number[]): readonly OsdId[] => ids.map(osdId)
export const object = (name: string): ObjectId => simulatedObject(name)

/** `5'12`: epoch 5, number 12. */
export function version(text: string): Version {
  const [at, number] = text.split("'").map(Number)
  return { epoch: epoch(at as number), version: number as number }
}

/** `modify 5'12 a 4'10`: kind, version, object, version before. */
export function entry(text: string): LogEntry {
  const [kind, at, name, prior = "0'0"] = text.split(' ') as [LogEntry['kind'], string, string, string?]
  return {
    kind,
    version: version(at),
    priorVersion: version(prior),
    object: object(name),
    request: { client: 1, tid: version(at).version },
    oldestTid: version(at).version,
    modifiedMs: 0,
    errno: kind === 'error' ? 17 : 0,
    pgObjects: 0,
    pgBytes: 0,
  }
}

export function info(changes: {
  readonly lastUpdate?: string
  readonly logTail?: string
  readonly started?: number
  readonly historyStarted?: number
  readonly lastBackfill?: PgInfo['lastBackfill']
}): PgInfo {
  const blank = newPgInfo(epoch(1))
  return {
    ...blank,
    lastUpdate: version(changes.lastUpdate ?? "0'0"),
    logTail: version(changes.logTail ?? "0'0"),
    lastEpochStarted: epoch(changes.started ?? 0),
    lastBackfill: changes.lastBackfill ?? backfillComplete,
    history: { ...blank.history, lastEpochStarted: epoch(changes.historyStarted ?? changes.started ?? 0) },
  }
}

export function interval(first: number, last: number, acting: readonly OsdId[], maybeWrote = true): PastInterval {
  return { first: epoch(first), last: epoch(last), acting, up: acting, primary: acting[0] ?? osdId(-1), maybeWrote }
}

/** Of osd.0, a copy or a shard, in a group of osd.0 and osd.1. */
export function coreOf(
  pgId: PgId,
  leader: OsdId = osdId(1),
  changes: Partial<ConstructorParameters<typeof PgCore>[0]> = {},
): PgCore {
  const { map } = new MapAuthority({ osds: 2, size: 2, minSize: 1, onEpoch: () => {} })
  const core = new PgCore({
    pgId,
    whoami: osdId(0),
    settings: defaultPgSettings,
    leases: { heldUntilMs: () => 0, want: () => {}, isLate: () => false, grantedUntilMs: () => 0 },
    space: { admits: () => true, hasRoomFor: () => true, isBackfillFull: false, roomBytes: 1e9, onRoom: () => {} },
    clock: { monotonicMs: () => 0, wallMs: () => 0 },
    info: info({ started: 1 }),
    log: new PgLog(version("0'0"), []),
    missing: new MissingSet(),
    rollback: pgShard(pgId) === undefined ? undefined : new RollbackLog(pgId, []),
    pastIntervals: [],
    interval: {
      mapEpoch: map.epoch,
      since: epoch(1),
      up: osds(0, 1),
      acting: osds(0, 1),
      upPrimary: leader,
      actingPrimary: leader,
      incarnations: [],
    },
    ...changes,
  })
  core.map = map
  core.mapping = { ...placeSimulated(map), acting: osds(0, 1), actingPrimary: leader }
  return core
}
