/** Features that OSDs must have: who has not, and what the map asks of them from then on. */
import { hasFeatures, type OsdInfo, type OsdMap } from '@shoal/cluster-map'
import type { OsdMapChange } from '../state/osd-map-change.ts'

/** An OSD that has ever run and does not have the feature. Also one that is down: what it has would have to follow. */
export function osdWithout({ osds }: OsdMap, feature: number): OsdInfo | undefined {
  return [...osds.values()].find(({ incarnation, features }) => incarnation > 0 && !hasFeatures(features, feature))
}

/** From this epoch on OSDs without one of them may not boot. */
export function requireFeatures(change: OsdMapChange, features: readonly number[]): void {
  const { requiredFeatures } = change.map
  const missing = features.filter((one) => !hasFeatures(requiredFeatures, one))
  if (missing.length > 0) change.setRequiredFeatures(missing.reduce((sum, one) => sum + one, requiredFeatures))
}
