/** What OSDs and primaries report when all is well; a test changes what it is about. */
import { must, type OsdId, osdId, type PgId, parsePgId } from '@shoal/base'
import { type OsdMap, type OsdStats, type PgStats, PlacementCache } from '@shoal/cluster-map'

export const gibibyte = 1024 ** 3

const epochZero = 0 as PgStats['reportedEpoch']

/** A disk of 100 GiB of which a tenth is used. */
export function osdStatsOf(osd: number, change: Partial<OsdStats> = {}): OsdStats {
  return {
    osd: osdId(osd),
    totalBytes: 100 * gibibyte,
    usedBytes: 10 * gibibyte,
    metadataBytes: 0,
    pgs: 0,
    commitLatencyMs: 0,
    applyLatencyMs: 0,
    slowOps: 0,
    silentPeers: [],
    checksumErrors: 0,
    repairedBlocks: 0,
    ...change,
  }
}

/** Where the map has the group, as its primary would tell; nothing where the map does not have it yet. */
export function placeOf(id: PgId, map: OsdMap | undefined): Partial<PgStats> {
  const { pool, seed } = must(parsePgId(id), 'the id of a placement group')
  if (map === undefined || seed >= (map.pools.get(pool)?.pgNum ?? 0)) return {}
  const { up, acting, actingPrimary } = new PlacementCache(map).mapping(id)
  return { up, acting, actingPrimary }
}

/** Active and clean on osd.0, osd.1 and osd.2, and empty. `sequence`: must grow with each report. */
export function pgStatsOf(pgId: PgId, sequence: number, change: Partial<PgStats> = {}): PgStats {
  const acting = [0, 1, 2] as readonly number[] as readonly OsdId[]
  return {
    pgId,
    states: ['active', 'clean'],
    reportedEpoch: epochZero,
    reportedSequence: sequence,
    version: "1'1",
    up: acting,
    acting,
    actingPrimary: osdId(0),
    objects: 0,
    bytes: 0,
    logEntries: 0,
    degradedCopies: 0,
    misplacedCopies: 0,
    unfoundObjects: 0,
    lastEpochClean: epochZero,
    readOps: 0,
    writeOps: 0,
    readBytes: 0,
    writeBytes: 0,
    recoveredObjects: 0,
    recoveredBytes: 0,
    lastScrubMs: 0,
    lastDeepScrubMs: 0,
    scrubErrors: 0,
    ...change,
  }
}
