/** What a placement group says of its lease follows the lease, also when nothing else happens to it. */
import { expect, it } from 'vitest'
import { MiniCluster } from './support/mini-cluster.ts'

it('is no longer laggy once heartbeats pass again', async () => {
  const cluster = await MiniCluster.create(4, 3)
  const pool = await cluster.pool('things', 4, 3, 2)
  for (const other of ['host-1', 'host-2']) cluster.world.network.partition('host-0', other)
  // Longer than the lease after the next ping, shorter than the grace; then a new map makes the groups report.
  await cluster.world.time.advance(3_400)
  cluster.monitors.setFlags('noout')
  await cluster.world.time.advance(500)
  expect(cluster.monitors.allPgs(pool, 'active', 'clean')).toBe(false)
  cluster.world.network.heal()
  await cluster.untilClean(pool, 10_000)
})
