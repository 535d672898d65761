/** Who is to be primary by exception (Ceph's pg_upmap_primaries): set by operators and by the balancer. */
import type { OsdId, PgId } from '@shoal/base'
import { featureUpmapPrimaries, hasFeatures, type OsdInfo, type OsdMap } from '@shoal/cluster-map'
import type { OsdMapChange } from '../state/osd-map-change.ts'

/**
 * An OSD whose version does not read maps with such exceptions. From the first one on such OSDs may not boot: under one epoch
 * everybody must see the same primary.
 */
export function osdThatCannotFollowPrimaries({ osds }: OsdMap): OsdInfo | undefined {
  return [...osds.values()].find(
    ({ incarnation, features }) => incarnation > 0 && !hasFeatures(features, featureUpmapPrimaries),
  )
}

export function setUpmapPrimary(change: OsdMapChange, pgId: PgId, osd: OsdId): void {
  const { requiredFeatures } = change.map
  if (!hasFeatures(requiredFeatures, featureUpmapPrimaries)) {
    change.setRequiredFeatures(requiredFeatures + featureUpmapPrimaries)
  }
  change.setUpmapPrimary(pgId, osd)
}
