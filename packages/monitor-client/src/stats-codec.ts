/** Statistics of an OSD and its PGs as bytes. Reports come every few seconds from every OSD, so they are not JSON. */
import {
  array,
  type Codec,
  type Epoch,
  f64,
  type OsdId,
  oneOf,
  type PgId,
  string,
  struct,
  u32,
  u64,
  versioned,
} from '@shoal/base'
import { noSnaps, type OsdStats, type PgStats, pgStates, snapIntervalsCodec } from '@shoal/cluster-map'
import type { StatsReport } from './monitor-client.ts'

const osds = array(u32<OsdId>())

const plainStatsCodec = struct<Omit<PgStats, 'purgedSnaps'>>({
  pgId: string<PgId>(),
  states: array(oneOf(pgStates)),
  reportedEpoch: u32<Epoch>(),
  reportedSequence: u64(),
  version: string(),
  up: osds,
  acting: osds,
  actingPrimary: { write: (w, v) => w.i32(v), read: (r) => r.i32() as OsdId },
  objects: u64(),
  bytes: u64(),
  logEntries: u64(),
  degradedCopies: u64(),
  misplacedCopies: u64(),
  unfoundObjects: u64(),
  lastEpochClean: u32<Epoch>(),
  readOps: u64(),
  writeOps: u64(),
  readBytes: u64(),
  writeBytes: u64(),
  recoveredObjects: u64(),
  recoveredBytes: u64(),
})

const statsWithoutSnaps = versioned<PgStats>(1, 1, 'PG statistics', plainStatsCodec)
const statsWithSnaps = versioned<PgStats>(2, 1, 'PG statistics', {
  write(writer, stats) {
    plainStatsCodec.write(writer, stats)
    snapIntervalsCodec.write(writer, stats.purgedSnaps ?? noSnaps)
  },
  read(reader, version) {
    const stats = plainStatsCodec.read(reader)
    return version < 2 ? stats : { ...stats, purgedSnaps: snapIntervalsCodec.read(reader) }
  },
})

/** The second version is written only for placement groups that have purged snapshots to tell of. */
export const pgStatsCodec: Codec<PgStats> = {
  write: (writer, stats) => (stats.purgedSnaps === undefined ? statsWithoutSnaps : statsWithSnaps).write(writer, stats),
  read: (reader) => statsWithSnaps.read(reader),
}

export const osdStatsCodec: Codec<OsdStats> = versioned(
  1,
  1,
  'OSD statistics',
  struct<OsdStats>({
    osd: u32<OsdId>(),
    totalBytes: u64(),
    usedBytes: u64(),
    metadataBytes: u64(),
    pgs: u32(),
    commitLatencyMs: f64(),
    applyLatencyMs: f64(),
    slowOps: u32(),
    silentPeers: osds,
    checksumErrors: u64(),
    repairedBlocks: u64(),
  }),
)

export const statsReportCodec: Codec<StatsReport> = versioned(
  1,
  1,
  'statistics report',
  struct<StatsReport>({
    osd: osdStatsCodec,
    incarnation: u64(),
    epoch: u32<Epoch>(),
    pgs: array(pgStatsCodec),
  }),
)
