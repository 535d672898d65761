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
import {
  noSnaps,
  type OsdStats,
  type PgStats,
  type PoolCompressionStats,
  pgStates,
  snapIntervalsCodec,
} from '@shoal/cluster-map'
import type { StatsReport } from './monitor-client.ts'

const osds = array(u32<OsdId>())

type ScrubStats = Pick<PgStats, 'lastScrubMs' | 'lastDeepScrubMs' | 'scrubErrors'>

const firstPgStatsCodec = struct<Omit<PgStats, keyof ScrubStats | 'purgedSnaps'>>({
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

/** Since version 3. */
const scrubStatsCodec = struct<ScrubStats>({ lastScrubMs: f64(), lastDeepScrubMs: f64(), scrubErrors: u32() })

export const pgStatsCodec: Codec<PgStats> = versioned<PgStats>(3, 1, 'PG statistics', {
  write(writer, stats) {
    firstPgStatsCodec.write(writer, stats)
    snapIntervalsCodec.write(writer, stats.purgedSnaps ?? noSnaps)
    scrubStatsCodec.write(writer, stats)
  },
  read(reader, version) {
    const stats = firstPgStatsCodec.read(reader)
    const purgedSnaps = version >= 2 ? snapIntervalsCodec.read(reader) : undefined
    const scrub = version >= 3 ? scrubStatsCodec.read(reader) : { lastScrubMs: 0, lastDeepScrubMs: 0, scrubErrors: 0 }
    return { ...stats, ...scrub, ...(purgedSnaps === undefined || purgedSnaps.length === 0 ? {} : { purgedSnaps }) }
  },
})

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
