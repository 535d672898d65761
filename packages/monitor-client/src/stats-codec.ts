/** Statistics of an OSD and its PGs as bytes. Reports come every few seconds from every OSD, so they are not JSON. */
import {
  array,
  type Codec,
  type Epoch,
  f64,
  type OsdId,
  oneOf,
  type PgId,
  type PoolId,
  string,
  struct,
  u32,
  u64,
  versioned,
} from '@shoal/base'
import { type OsdStats, type PgStats, type PoolCompressionStats, pgStates } from '@shoal/cluster-map'
import type { StatsReport } from './monitor-client.ts'

const osds = array(u32<OsdId>())

export const pgStatsCodec: Codec<PgStats> = versioned(
  1,
  1,
  'PG statistics',
  struct<PgStats>({
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
  }),
)

const osdStatsBody = struct<Omit<OsdStats, 'compression'>>({
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
})

const compressionCodec = array(
  struct<PoolCompressionStats>({
    pool: u64<PoolId>(),
    originalBytes: u64(),
    compressedBytes: u64(),
    allocatedBytes: u64(),
    operations: u64(),
  }),
)

/** Compression follows only when something is compressed. */
export const osdStatsCodec: Codec<OsdStats> = versioned(1, 1, 'OSD statistics', {
  write(writer, stats: OsdStats) {
    osdStatsBody.write(writer, stats)
    if (stats.compression !== undefined) compressionCodec.write(writer, stats.compression)
  },
  read(reader): OsdStats {
    const stats = osdStatsBody.read(reader)
    return reader.remaining === 0 ? stats : { ...stats, compression: compressionCodec.read(reader) }
  },
})

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
