/** When placement groups are told of, on a small cluster. */
import { featureOwnIntervals, type Pool, pgIdsOf } from '@shoal/cluster-map'
import { expect, it } from 'vitest'
import { MiniCluster } from './support/mini-cluster.ts'

it('soon after their pool has changed, also of those whose states stay as they are', async () => {
  const cluster = await MiniCluster.create(1, 3, { settings: { osd_mon_report_interval: 1_000 } })
  const id = await cluster.pool('things', 8, 3, 2)
  const { monitors } = cluster
  monitors.change({ requiredFeatures: featureOwnIntervals })
  const pool = (): Pool => monitors.map.pools.get(id) as Pool
  for (const change of [{ name: 'others' }, { pgNum: 9 }, { minSize: 1 }]) {
    monitors.setPool(id, change)
    const { lastChange } = pool()
    // Without haste what has no other states is told of after 1,000 s.
    await cluster.until(
      () => pgIdsOf(pool()).every((pg) => (monitors.pgStats.get(pg)?.reportedEpoch ?? 0) >= lastChange),
      10_000,
    )
  }
  expect(monitors.allPgs(id, 'active', 'clean')).toBe(true)
})
