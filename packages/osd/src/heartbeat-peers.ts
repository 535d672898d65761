/** Whom an OSD pings: the members of its placement groups, and in large clusters some others so that nobody is forgotten. */
import { type OsdId, type PgId, wholePgId } from '@shoal/base'
import { noOsd, type OsdMap, type PlacementCache } from '@shoal/cluster-map'
import type { HeartbeatPeer } from './heartbeat-tracker.ts'
import { mappingIfPresent } from './pg-mapping.ts'

/** OSDs that are up, without this one: those that share a PG with it, then its neighbours by id up to `peersMin`. */
export function chooseHeartbeatPeers(
  map: OsdMap,
  placement: PlacementCache,
  whoami: OsdId,
  pgs: Iterable<PgId>,
  peersMin: number,
): readonly HeartbeatPeer[] {
  const chosen = new Set<OsdId>()
  const choose = (osd: OsdId): void => {
    if (osd !== whoami && osd !== noOsd && map.osds.get(osd)?.up === true) chosen.add(osd)
  }
  for (const id of pgs) {
    const mapping = mappingIfPresent(placement, wholePgId(id))
    if (mapping === undefined) continue
    for (const osd of mapping.up) choose(osd)
    for (const osd of mapping.acting) choose(osd)
  }
  const up = [...map.osds.values()].filter((osd) => osd.up && osd.id !== whoami).map((osd) => osd.id)
  up.sort((a, b) => a - b)
  const first = up.findIndex((osd) => osd > whoami)
  // Neighbours on both sides, so that the pairs of a large cluster form a ring.
  for (let distance = 0; distance < up.length && chosen.size < peersMin; distance++) {
    const step = distance % 2 === 0 ? distance / 2 : -(distance + 1) / 2
    const at = ((first < 0 ? 0 : first) + step + up.length) % up.length
    choose(up[at] as OsdId)
  }
  return [...chosen].sort((a, b) => a - b).map((osd) => ({ osd, incarnation: map.osds.get(osd)?.incarnation ?? 0 }))
}
