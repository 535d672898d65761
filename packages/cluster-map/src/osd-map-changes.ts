/** From one epoch to the next, and back to what changed. */
import {
  array,
  assert,
  type Codec,
  encode,
  equalBytes,
  f64,
  type OsdId,
  type PgId,
  epoch as toEpoch,
  u32,
} from '@shoal/base'
import { type CrushMap, encodeCrushMap } from '@shoal/crush'
import type { OsdMap, OsdMapIncremental, UpmapItem } from './osd-map.ts'
import { osdInfoCodec, poolCodec, wordsCodec } from './osd-map-codec.ts'

/** An empty map at epoch 0: what the first incremental applies to. */
export function createOsdMap(fsid: string, crush: CrushMap, createdMs: number): OsdMap {
  return {
    fsid,
    epoch: toEpoch(0),
    createdMs,
    modifiedMs: createdMs,
    flags: new Set(),
    osds: new Map(),
    pools: new Map(),
    poolIdMax: 0,
    crush,
    pgTemp: new Map(),
    primaryTemp: new Map(),
    upmap: new Map(),
    upmapItems: new Map(),
    blocklist: new Map(),
    nearfullRatio: 0.85,
    backfillfullRatio: 0.9,
    fullRatio: 0.95,
    requiredFeatures: 0,
  }
}

function applyEntries<K, V>(
  entries: ReadonlyMap<K, V>,
  changes: ReadonlyMap<K, V | null> | undefined,
): ReadonlyMap<K, V> {
  if (changes === undefined || changes.size === 0) return entries
  const result = new Map(entries)
  for (const [key, value] of changes) {
    if (value === null) result.delete(key)
    else result.set(key, value)
  }
  return result
}

/**
 * The next epoch. What did not change is shared with `map`, so that caches may compare by reference.
 * The incremental must be for `map.epoch + 1`, unless it carries a whole map.
 */
export function applyIncremental(map: OsdMap, incremental: OsdMapIncremental): OsdMap {
  const base = incremental.full ?? map
  assert(base.fsid === incremental.fsid, `incremental of cluster ${incremental.fsid} on a map of ${base.fsid}`)
  assert(
    incremental.full !== undefined || incremental.epoch === map.epoch + 1,
    `incremental ${incremental.epoch} on epoch ${map.epoch}`,
  )
  const { ratios, erasureProfiles, upmapPrimaries } = incremental
  const { upmapPrimaries: primariesBefore = noPrimaries, ...rest } = base
  const primaries = applyEntries(primariesBefore, upmapPrimaries)
  return {
    ...rest,
    epoch: incremental.epoch,
    modifiedMs: incremental.modifiedMs,
    flags: incremental.flags ?? base.flags,
    osds: applyEntries(base.osds, incremental.osds),
    pools: applyEntries(base.pools, incremental.pools),
    poolIdMax: incremental.poolIdMax ?? base.poolIdMax,
    crush: incremental.crush ?? base.crush,
    pgTemp: applyEntries(base.pgTemp, incremental.pgTemp),
    primaryTemp: applyEntries(base.primaryTemp, incremental.primaryTemp),
    upmap: applyEntries(base.upmap, incremental.upmap),
    upmapItems: applyEntries(base.upmapItems, incremental.upmapItems),
    blocklist: applyEntries(base.blocklist, incremental.blocklist),
    nearfullRatio: ratios?.nearfull ?? base.nearfullRatio,
    backfillfullRatio: ratios?.backfillfull ?? base.backfillfullRatio,
    fullRatio: ratios?.full ?? base.fullRatio,
    requiredFeatures: incremental.requiredFeatures ?? base.requiredFeatures,
    ...(erasureProfiles === undefined
      ? {}
      : { erasureProfiles: applyEntries(base.erasureProfiles ?? new Map(), erasureProfiles) }),
    ...(primaries.size === 0 ? {} : { upmapPrimaries: primaries }),
  }
}

function diffEntries<K, V>(
  from: ReadonlyMap<K, V>,
  to: ReadonlyMap<K, V>,
  codec: Codec<V>,
): ReadonlyMap<K, V | null> | undefined {
  if (from === to) return undefined
  const changes = new Map<K, V | null>()
  for (const key of from.keys()) if (!to.has(key)) changes.set(key, null)
  for (const [key, value] of to) {
    const old = from.get(key)
    if (old === value) continue
    if (old === undefined || !equalBytes(encode(codec, old), encode(codec, value))) changes.set(key, value)
  }
  return changes.size === 0 ? undefined : changes
}

const noPrimaries: ReadonlyMap<PgId, OsdId> = new Map()
const noProfiles: ReadonlyMap<string, readonly string[]> = new Map()
const osdListCodec: Codec<readonly OsdId[]> = array(u32<OsdId>())
const upmapItemsCodec: Codec<readonly UpmapItem[]> = {
  write(writer, items) {
    for (const item of items) writer.u32(item.from).u32(item.to)
  },
  read: () => [],
}

/** What brings `from` to `to`: `applyIncremental(from, diffOsdMaps(from, to))` equals `to`. The epochs must follow each other. */
export function diffOsdMaps(from: OsdMap, to: OsdMap): OsdMapIncremental {
  assert(to.epoch === from.epoch + 1 && to.fsid === from.fsid, 'maps of consecutive epochs of one cluster')
  const changes = {
    flags: sameFlags(from, to) ? undefined : to.flags,
    osds: diffEntries(from.osds, to.osds, osdInfoCodec),
    pools: diffEntries(from.pools, to.pools, poolCodec),
    poolIdMax: from.poolIdMax === to.poolIdMax ? undefined : to.poolIdMax,
    crush:
      from.crush === to.crush || equalBytes(encodeCrushMap(from.crush), encodeCrushMap(to.crush))
        ? undefined
        : to.crush,
    pgTemp: diffEntries(from.pgTemp, to.pgTemp, osdListCodec),
    primaryTemp: diffEntries(from.primaryTemp, to.primaryTemp, u32<OsdId>()),
    upmap: diffEntries(from.upmap, to.upmap, osdListCodec),
    upmapItems: diffEntries(from.upmapItems, to.upmapItems, upmapItemsCodec),
    blocklist: diffEntries(from.blocklist, to.blocklist, f64()),
    ratios: sameRatios(from, to)
      ? undefined
      : { nearfull: to.nearfullRatio, backfillfull: to.backfillfullRatio, full: to.fullRatio },
    requiredFeatures: from.requiredFeatures === to.requiredFeatures ? undefined : to.requiredFeatures,
    erasureProfiles: diffEntries(from.erasureProfiles ?? noProfiles, to.erasureProfiles ?? noProfiles, wordsCodec),
    upmapPrimaries: diffEntries(from.upmapPrimaries ?? noPrimaries, to.upmapPrimaries ?? noPrimaries, u32<OsdId>()),
  }
  const present = Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== undefined))
  return { fsid: to.fsid, epoch: to.epoch, modifiedMs: to.modifiedMs, ...present }
}

function sameFlags(a: OsdMap, b: OsdMap): boolean {
  return a.flags === b.flags || (a.flags.size === b.flags.size && [...a.flags].every((flag) => b.flags.has(flag)))
}

function sameRatios(a: OsdMap, b: OsdMap): boolean {
  return (
    a.nearfullRatio === b.nearfullRatio && a.backfillfullRatio === b.backfillfullRatio && a.fullRatio === b.fullRatio
  )
}
