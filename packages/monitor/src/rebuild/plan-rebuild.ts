/**
 * From the maps that OSDs kept to the state that new monitors begin with, when every monitor's directory is lost. Pure.
 * The mechanism and its limits: docs/mechanisms/monitor-rebuild.md. After Ceph's "Recovery using OSDs"
 * (https://docs.ceph.com/en/latest/rados/troubleshooting/troubleshooting-mon/#recovery-using-osds).
 *
 * Invariant 1: no epoch means two things. What the lost monitors committed after the newest map that an OSD kept may be
 *              known to somebody (an OSD that is not here, a client), so the new history goes on `margin` epochs later.
 * Invariant 2: no pool id means two pools: ids that the lost monitors may have given are passed over as well.
 * Invariant 3: no snapshot id means two snapshots: the same for the ids of each pool.
 * Invariant 4: the epochs between an OSD that was behind and the newest are in the new history as far as an OSD kept
 *              them: from them it learns who served its placement groups meanwhile.
 */
import { ClusterError, type Epoch, encode, equalBytes, type OsdId, type PoolId } from '@shoal/base'
import { diffOsdMaps, type MonitorMap, type OsdInfo, type OsdMap, osdMapCodec, passOverSnaps } from '@shoal/cluster-map'
import { newOsd } from '../services/osd-lifecycle.ts'
import { ClusterState } from '../state/cluster-state.ts'
import { noOperations } from '../state/operations.ts'
import { OsdMapHistory } from '../state/osd-map-history.ts'

/** What the directory of one OSD tells. */
export interface MapSource {
  readonly osd: OsdId
  readonly uuid: string
  readonly fsid: string
  /** It was registered with the lost monitors. */
  readonly ready: boolean
  /** Oldest first. */
  readonly maps: readonly OsdMap[]
  /** Pools that it has placement groups of. */
  readonly pools: readonly PoolId[]
}

export interface RebuildOptions {
  /** The cluster that is meant; undefined takes that of the sources. */
  readonly fsid: string | undefined
  /** Epochs, pool ids, and in each pool snapshot ids, that are passed over; at least 1. */
  readonly margin: number
  /** Stamped on the new epochs. */
  readonly wallMs: number
}

export type OsdFate =
  /** The map knows it. */
  | 'known'
  /** Its registration was lost with the monitors, and is made again. */
  | 'registered'
  /** It registers itself when it starts. */
  | 'preparing'
  /** An operator removed or replaced it: the monitors will refuse it, as they did before. */
  | 'refused'

export interface RebuildPlan {
  readonly fsid: string
  /** Oldest first and without a gap; the last is what the cluster goes on with. */
  readonly maps: readonly OsdMap[]
  /** The newest map that an OSD kept. */
  readonly newestEpoch: Epoch
  readonly sources: readonly { readonly osd: OsdId; readonly newestEpoch: Epoch; readonly fate: OsdFate }[]
  /** In the map, with a store, but not among the sources. */
  readonly missing: readonly OsdId[]
}

/** Throws EINVAL (several clusters, or another one), ENOENT (no map at all), EBADMSG (two histories). */
export function planRebuild(sources: readonly MapSource[], options: RebuildOptions): RebuildPlan {
  const fsid = checkFsid(sources, options.fsid)
  checkIds(sources)
  const kept = history(mapsByEpoch(sources))
  const newest = kept.at(-1)
  if (newest === undefined) {
    throw new ClusterError('ENOENT', 'no OSD directory holds a map of the cluster', {
      hint: 'name the directories of more OSDs with --from',
    })
  }
  const fates = sources.map((source) => ({
    osd: source.osd,
    newestEpoch: source.maps.at(-1)?.epoch ?? (0 as Epoch),
    fate: fateOf(source, newest, sources),
  }))
  const here = new Set(fates.filter(({ fate }) => fate === 'known').map(({ osd }) => osd))
  return {
    fsid,
    maps: [...kept, ...newEpochs(newest, sources, fates, options)],
    newestEpoch: newest.epoch,
    sources: fates,
    missing: [...newest.osds.values()].filter(({ id, uuid }) => uuid !== '' && !here.has(id)).map(({ id }) => id),
  }
}

export interface RebuiltStateOptions {
  /** With every new monitor in it. */
  readonly monitors: MonitorMap
  readonly wallMs: number
  /** Lines that the cluster log keeps. */
  readonly logMax: number
  /** What is known of it from elsewhere, as the keys of encrypted stores from a backup. */
  readonly configKeys?: ReadonlyMap<string, string>
}

/** The state of the new monitors. Configuration, cluster log, crash reports and answers to commands begin empty. */
export function rebuiltState(plan: RebuildPlan, options: RebuiltStateOptions): ClusterState {
  const { monitors, wallMs, logMax, configKeys = new Map() } = options
  const [first, ...rest] = plan.maps as [OsdMap, ...OsdMap[]]
  const maps = new OsdMapHistory(first)
  for (const map of rest) maps.append(diffOsdMaps(maps.map, map))
  const state = new ClusterState(monitors, maps, noOperations)
  const message = `monitors rebuilt from OSDs: their newest map was ${plan.newestEpoch}, this is ${maps.last}`
  state.apply({
    osdMap: undefined,
    monitorMap: undefined,
    operations: undefined,
    configKeys,
    log: [{ from: 'mon', wallMs, level: 'warn', message }],
    replies: [],
    trimOsdMapsBefore: 0 as Epoch,
    logMax,
  })
  return state
}

function checkFsid(sources: readonly MapSource[], wanted: string | undefined): string {
  const fsid = wanted ?? sources[0]?.fsid
  if (fsid === undefined) {
    throw new ClusterError('ENOENT', 'there is no OSD directory to rebuild from', { hint: 'name some with --from' })
  }
  const foreign = sources.find((source) => source.fsid !== fsid || source.maps.some((map) => map.fsid !== fsid))
  if (foreign === undefined) return fsid
  throw new ClusterError('EINVAL', `osd.${foreign.osd} is of cluster ${foreign.fsid}, not ${fsid}`, {
    hint: 'name only directories of one cluster with --from',
  })
}

function checkIds(sources: readonly MapSource[]): void {
  const seen = new Set<OsdId>()
  for (const { osd } of sources) {
    if (seen.has(osd)) {
      throw new ClusterError('EINVAL', `two directories are those of osd.${osd}`, {
        hint: 'name only the one that was in use last with --from',
      })
    }
    seen.add(osd)
  }
}

/** Throws EBADMSG when two OSDs know an epoch differently: they followed different monitors. */
function mapsByEpoch(sources: readonly MapSource[]): ReadonlyMap<number, OsdMap> {
  const found = new Map<number, { readonly map: OsdMap; readonly osd: OsdId }>()
  for (const { osd, maps } of sources) {
    for (const map of maps) {
      const other = found.get(map.epoch)
      if (other === undefined) {
        found.set(map.epoch, { map, osd })
      } else if (!equalBytes(encode(osdMapCodec, other.map), encode(osdMapCodec, map))) {
        throw new ClusterError('EBADMSG', `osd.${other.osd} and osd.${osd} have different maps of epoch ${map.epoch}`, {
          hint: 'their histories parted: name only OSDs of the one that clients wrote to with --from',
        })
      }
    }
  }
  return new Map([...found].map(([epoch, { map }]) => [epoch, map]))
}

/** The newest map and what leads to it without a gap. */
function history(maps: ReadonlyMap<number, OsdMap>): readonly OsdMap[] {
  const run: OsdMap[] = []
  for (let epoch = Math.max(0, ...maps.keys()); ; epoch--) {
    const map = maps.get(epoch)
    if (map === undefined) return run.reverse()
    run.push(map)
  }
}

function fateOf(source: MapSource, newest: OsdMap, sources: readonly MapSource[]): OsdFate {
  const known = newest.osds.get(source.osd)
  if (known?.uuid === source.uuid) return 'known'
  if (!source.ready) return 'preparing'
  // Once in a map and no longer: somebody took it out.
  const wasKnown = sources.some(({ maps }) => maps.some((map) => map.osds.get(source.osd)?.uuid === source.uuid))
  return known === undefined && !wasKnown ? 'registered' : 'refused'
}

/** Empty epochs, and a last one with what holds after a stop of everything: nobody is up. */
function newEpochs(
  newest: OsdMap,
  sources: readonly MapSource[],
  fates: RebuildPlan['sources'],
  { margin, wallMs }: RebuildOptions,
): readonly OsdMap[] {
  const epochs: OsdMap[] = []
  for (let step = 1; step < margin; step++) epochs.push({ ...newest, epoch: (newest.epoch + step) as Epoch })
  const epoch = (newest.epoch + margin) as Epoch
  const osds = new Map<OsdId, OsdInfo>()
  for (const osd of newest.osds.values()) osds.set(osd.id, osd.up ? { ...osd, up: false, downAt: epoch } : osd)
  for (const { osd, fate } of fates) {
    const uuid = sources.find((source) => source.osd === osd)?.uuid
    if (fate === 'registered' && uuid !== undefined) osds.set(osd, newOsd(osd, uuid))
  }
  const poolIds = [newest.poolIdMax, ...sources.flatMap((source) => source.pools)]
  return [
    ...epochs,
    {
      ...newest,
      epoch,
      modifiedMs: wallMs,
      osds,
      pools: new Map([...newest.pools].map(([id, pool]) => [id, passOverSnaps(pool, margin)])),
      pgTemp: new Map(),
      primaryTemp: new Map(),
      poolIdMax: poolIds.reduce((most, id) => Math.max(most, id), 0) + margin,
    },
  ]
}
