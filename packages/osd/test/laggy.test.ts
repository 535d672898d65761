/** What a placement group says of its lease follows the lease, also when nothing else happens to it. */
import { it } from 'vitest'
import { MiniCluster } from './support/mini-cluster.ts'

it('is no longer laggy once new heartbeat peers have answered', async () => {
  // Few neighbours: most members of a new pool's groups have not pinged each other before.
  const cluster = await MiniCluster.create(4, 8, { settings: { osd_heartbeat_min_peers: 1 } })
  await cluster.pool('things', 8, 3, 2)
})
