/** Snapshots of a pool as the monitors keep them: the client has the map at once, as after a command. */
import { must, type PoolId, pgId } from '@shoal/base'
import { emptySnapshots, type Pool, withoutSnapshot } from '@shoal/cluster-map'
import type { MiniCluster } from './mini-cluster.ts'

function poolOf(cluster: MiniCluster, id: PoolId): Pool {
  return must(cluster.monitors.map.pools.get(id), 'the pool')
}

/** Returns its id. */
export function takeSnapshot(cluster: MiniCluster, id: PoolId, mode: 'pool' | 'selfmanaged' = 'pool'): number {
  const pool = poolOf(cluster, id)
  const snapshots = pool.snapshots ?? emptySnapshots(mode)
  const seq = snapshots.seq + 1
  const snaps = mode === 'pool' ? [...snapshots.snaps, { id: seq, name: `s${seq}`, createdMs: 0 }] : []
  cluster.monitors.change({ pools: new Map([[id, { ...pool, snapshots: { ...snapshots, seq, snaps } }]]) })
  return seq
}

export function dropSnapshot(cluster: MiniCluster, id: PoolId, snap: number): void {
  const pool = poolOf(cluster, id)
  const snapshots = withoutSnapshot(pool.snapshots ?? emptySnapshots('pool'), snap)
  cluster.monitors.change({ pools: new Map([[id, { ...pool, snapshots }]]) })
}

/** Whether the pool's one placement group has told that nothing is left of it. */
export function isPurged(cluster: MiniCluster, id: PoolId, snap: number): boolean {
  const stats = cluster.monitors.pgStats.get(pgId(id, 0))
  return stats?.purgedSnaps?.some(({ first, last }) => first <= snap && snap <= last) === true
}
