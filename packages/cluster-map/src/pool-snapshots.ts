/**
 * Snapshots of a pool as its entry in the map keeps them. A pool that ever had one is of one kind for good, as in Ceph:
 * `pool`: the cluster names snapshots, and every write is done in the context of all of them; `selfmanaged`: the cluster
 * gives ids away, and each write says for which of them it counts.
 */
import { array, type Codec, f64, oneOf, string, struct, u64 } from '@shoal/base'
import type { Pool } from './osd-map.ts'
import { hasSnap, noSnaps, type SnapIntervals, snapIntervalsCodec, subtractSnaps, withSnap } from './snap-intervals.ts'

export const snapshotModes = ['pool', 'selfmanaged'] as const
export type SnapshotMode = (typeof snapshotModes)[number]

export interface PoolSnapshot {
  readonly id: number
  readonly name: string
  readonly createdMs: number
}

export interface PoolSnapshots {
  readonly mode: SnapshotMode
  /** The newest id ever given, from 1 on: ids are never reused. */
  readonly seq: number
  /** In mode `pool`: those that exist, oldest first. */
  readonly snaps: readonly PoolSnapshot[]
  /** All that were ever removed. */
  readonly removed: SnapIntervals
  /** Those of them of which no placement group has anything left. */
  readonly purged: SnapIntervals
}

/** At most so many in a pool of mode `pool`, and in the context of a write: both travel with every map or write. */
export const snapshotsMax = 1024

export const poolSnapshotsCodec: Codec<PoolSnapshots> = struct<PoolSnapshots>({
  mode: oneOf(snapshotModes),
  seq: u64(),
  snaps: array(struct<PoolSnapshot>({ id: u64(), name: string(), createdMs: f64() })),
  removed: snapIntervalsCodec,
  purged: snapIntervalsCodec,
})

export function emptySnapshots(mode: SnapshotMode): PoolSnapshots {
  return { mode, seq: 0, snaps: [], removed: noSnaps, purged: noSnaps }
}

/**
 * Option of a pool: ids up to this one may have been given though its entry shows none, by monitors that were lost with
 * all that they knew (docs/mechanisms/monitor-rebuild.md).
 */
export const snapSeqOption = 'snap_seq_passed_over'

/** What a pool that has no snapshots begins with. */
export function firstSnapshots(pool: Pick<Pool, 'options'>, mode: SnapshotMode): PoolSnapshots {
  return { ...emptySnapshots(mode), seq: Number(pool.options.get(snapSeqOption) ?? 0) }
}

/** So many ids are never given, for whoever may have been told of them. */
export function passOverSnaps(pool: Pool, ids: number): Pool {
  const { snapshots } = pool
  if (snapshots !== undefined) return { ...pool, snapshots: { ...snapshots, seq: snapshots.seq + ids } }
  const seq = Number(pool.options.get(snapSeqOption) ?? 0) + ids
  return { ...pool, options: new Map(pool.options).set(snapSeqOption, String(seq)) }
}

/** Whether a snapshot can be read. What is self-managed exists from when its id is given. */
export function snapshotExists(snapshots: PoolSnapshots | undefined, snap: number): boolean {
  if (snapshots === undefined || snap < 1 || snap > snapshots.seq) return false
  if (snapshots.mode === 'pool') return snapshots.snaps.some(({ id }) => id === snap)
  return !hasSnap(snapshots.removed, snap)
}

export function withoutSnapshot(snapshots: PoolSnapshots, snap: number): PoolSnapshots {
  return {
    ...snapshots,
    snaps: snapshots.snaps.filter(({ id }) => id !== snap),
    removed: withSnap(snapshots.removed, snap),
  }
}

/** Removed, and not known to be gone everywhere. */
export function snapsToTrim(snapshots: PoolSnapshots | undefined): SnapIntervals {
  return snapshots === undefined ? noSnaps : subtractSnaps(snapshots.removed, snapshots.purged)
}
