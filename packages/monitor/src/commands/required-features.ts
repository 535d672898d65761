/** Features that OSDs must have for what the map holds: asked for before, and required as long as it is there. */
import { ClusterError } from '@shoal/base'
import {
  featureQuotas,
  featureShardSnapshots,
  featureShards,
  hasFeatures,
  type OsdInfo,
  type OsdMap,
  poolQuotaOf,
} from '@shoal/cluster-map'
import type { WriteView } from './command.ts'

type Draft = WriteView['draft']

/** `cannot`: what an OSD without the feature does not do. Throws EOPNOTSUPP. */
export function requireFeature(map: OsdMap, feature: number, cannot: string): void {
  const older = [...map.osds.values()].filter((osd) => osd.up && !hasFeatures(osd.features, feature))
  if (older.length === 0) return
  throw new ClusterError('EOPNOTSUPP', `osd.${older[0]?.id} runs a version that does not ${cannot}`, {
    hint: `upgrade ${older.map((osd) => `osd.${osd.id}`).join(', ')} first`,
  })
}

/** `osd`: one that is too old. Throws EOPNOTSUPP when there is one. */
export function refuseOlder(osd: OsdInfo | undefined, cannot: string): void {
  if (osd === undefined) return
  throw new ClusterError('EOPNOTSUPP', `osd.${osd.id} runs a version that cannot ${cannot}`, {
    hint: 'upgrade and restart all OSDs first',
  })
}

/** After pools have changed. */
export function updateRequiredFeatures(draft: Draft): void {
  const pools = [...draft.map.pools.values()]
  setRequired(
    draft,
    featureQuotas,
    pools.some((pool) => poolQuotaOf(pool) !== undefined),
  )
  setRequired(
    draft,
    featureShards,
    pools.some(({ type }) => type === 'erasure'),
  )
  setRequired(
    draft,
    featureShardSnapshots,
    pools.some(({ type, snapshots }) => type === 'erasure' && snapshots !== undefined),
  )
}

function setRequired({ osd, map }: Draft, feature: number, isUsed: boolean): void {
  if (hasFeatures(map.requiredFeatures, feature) === isUsed) return
  osd.setRequiredFeatures(map.requiredFeatures + (isUsed ? feature : -feature))
}
