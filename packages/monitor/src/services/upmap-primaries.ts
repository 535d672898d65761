/** Who is to be primary by exception (Ceph's pg_upmap_primaries): set by operators and by the balancer. */
import type { OsdId, PgId } from '@shoal/base'
import { featureUpmapPrimaries, type OsdInfo, type OsdMap } from '@shoal/cluster-map'
import type { OsdMapChange } from '../state/osd-map-change.ts'
import { osdWithout, requireFeatures } from './osd-features.ts'

/**
 * An OSD whose version does not read maps with such exceptions. From the first one on such OSDs may not boot: under one epoch
 * everybody must see the same primary.
 */
export function osdThatCannotFollowPrimaries(map: OsdMap): OsdInfo | undefined {
  return osdWithout(map, featureUpmapPrimaries)
}

export function setUpmapPrimary(change: OsdMapChange, pgId: PgId, osd: OsdId): void {
  requireFeatures(change, [featureUpmapPrimaries])
  change.setUpmapPrimary(pgId, osd)
}
