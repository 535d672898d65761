/**
 * What an OSD knows of its copy of a placement group, as it is stored and as it travels while peering.
 *
 * `lastUpdate` is the newest entry of its log. `lastBackfill` is how far the copy is filled, in the order of objects:
 * everything after it is absent or stale. A copy that is not being filled stands at `complete`.
 */
import { array, type Codec, type Epoch, type OsdId, struct, u32, u64, versioned } from '@shoal/base'
import { noSnaps, type SnapIntervals, snapIntervalsCodec } from '@shoal/cluster-map'
import { compareObjectIds, type ObjectId, objectIdCodec, type Version, versionCodec, zeroVersion } from '@shoal/wire'

/** `start`: nothing is filled. `complete`: everything is. Otherwise: objects up to and with this one. */
export type BackfillCursor =
  | { readonly kind: 'start' }
  | { readonly kind: 'object'; readonly object: ObjectId }
  | { readonly kind: 'complete' }

export const backfillStart: BackfillCursor = { kind: 'start' }
export const backfillComplete: BackfillCursor = { kind: 'complete' }

/** Whether an object lies in the filled part. */
export function isFilled(cursor: BackfillCursor, object: ObjectId): boolean {
  if (cursor.kind === 'complete') return true
  return cursor.kind === 'object' && compareObjectIds(object, cursor.object) <= 0
}

export interface PgHistory {
  /** When the PG came to be; 0 while that, and what happened since, is not known here. */
  readonly epochCreated: Epoch
  /** Latest epoch known in which the PG began to serve: no log that ends before it can win. */
  readonly lastEpochStarted: Epoch
  /** Latest epoch known in which every copy was complete and where it belongs. */
  readonly lastEpochClean: Epoch
}

export interface PgInfo {
  readonly lastUpdate: Version
  /** Log entries up to and with this version are gone. */
  readonly logTail: Version
  readonly lastBackfill: BackfillCursor
  /** Of this copy: the epoch in which it last took part in starting to serve. */
  readonly lastEpochStarted: Epoch
  readonly history: PgHistory
  readonly missingCount: number
  readonly objects: number
  readonly bytes: number
  /** Removed snapshots of which nothing is left here, as long as the map names them as not purged. Left out when there are none. */
  readonly purgedSnaps?: SnapIntervals | undefined
}

export function newPgInfo(epochCreated: Epoch): PgInfo {
  const none = 0 as Epoch
  return {
    lastUpdate: zeroVersion,
    logTail: zeroVersion,
    lastBackfill: backfillComplete,
    lastEpochStarted: none,
    history: { epochCreated, lastEpochStarted: none, lastEpochClean: none },
    missingCount: 0,
    objects: 0,
    bytes: 0,
  }
}

/** A copy without a past: of a PG that is new, or on an OSD that has lost or never had it. */
export function isBlank(info: PgInfo): boolean {
  return info.lastUpdate.version === 0 && info.lastEpochStarted === 0
}

export function mergeHistory(a: PgHistory, b: PgHistory): PgHistory {
  return {
    epochCreated: Math.max(a.epochCreated, b.epochCreated) as Epoch,
    lastEpochStarted: Math.max(a.lastEpochStarted, b.lastEpochStarted) as Epoch,
    lastEpochClean: Math.max(a.lastEpochClean, b.lastEpochClean) as Epoch,
  }
}

const cursorCodec: Codec<BackfillCursor> = {
  write(writer, cursor) {
    writer.u8(cursor.kind === 'start' ? 0 : cursor.kind === 'object' ? 1 : 2)
    if (cursor.kind === 'object') objectIdCodec.write(writer, cursor.object)
  },
  read(reader) {
    const kind = reader.u8()
    if (kind === 0) return backfillStart
    return kind === 1 ? { kind: 'object', object: objectIdCodec.read(reader) } : backfillComplete
  },
}

const plainInfoCodec = struct<Omit<PgInfo, 'purgedSnaps'>>({
  lastUpdate: versionCodec,
  logTail: versionCodec,
  lastBackfill: cursorCodec,
  lastEpochStarted: u32(),
  history: struct<PgHistory>({ epochCreated: u32(), lastEpochStarted: u32(), lastEpochClean: u32() }),
  missingCount: u32(),
  objects: u64(),
  bytes: u64(),
})

const infoWithoutSnaps = versioned<PgInfo>(1, 1, 'PG info', plainInfoCodec)
const infoWithSnaps = versioned<PgInfo>(2, 1, 'PG info', {
  write(writer, info) {
    plainInfoCodec.write(writer, info)
    snapIntervalsCodec.write(writer, info.purgedSnaps ?? noSnaps)
  },
  read(reader, version) {
    const info = plainInfoCodec.read(reader)
    return version < 2 ? info : { ...info, purgedSnaps: snapIntervalsCodec.read(reader) }
  },
})

/** The second version is written only while there are purged snapshots. */
export const pgInfoCodec: Codec<PgInfo> = {
  write: (writer, info) => (info.purgedSnaps === undefined ? infoWithoutSnaps : infoWithSnaps).write(writer, info),
  read: (reader) => infoWithSnaps.read(reader),
}

/** A span of epochs, both ends included, in which the PG's sets did not change. */
export interface PastInterval {
  readonly first: Epoch
  readonly last: Epoch
  readonly acting: readonly OsdId[]
  readonly up: readonly OsdId[]
  readonly primary: OsdId
  /** Writes may have been acknowledged in it. */
  readonly maybeWrote: boolean
}

const osdsCodec = array(u32<OsdId>())

export const pastIntervalsCodec: Codec<readonly PastInterval[]> = array(
  versioned<PastInterval>(
    1,
    1,
    'past interval',
    struct<PastInterval>({
      first: u32(),
      last: u32(),
      acting: osdsCodec,
      up: osdsCodec,
      primary: { write: (writer, osd) => writer.i32(osd), read: (reader) => reader.i32() as OsdId },
      maybeWrote: { write: (writer, value) => writer.boolean(value), read: (reader) => reader.boolean() },
    }),
  ),
)
