/** Snapshots of pools: those that the cluster names, and ids for those that clients manage. docs/mechanisms/snapshots.md */
import { ClusterError } from '@shoal/base'
import {
  featureShardSnapshots,
  firstSnapshots,
  hasSnap,
  type Pool,
  type PoolSnapshots,
  type SnapshotMode,
  snapshotsMax,
  withoutSnapshot,
} from '@shoal/cluster-map'
import type { PoolSnapshotRow } from '@shoal/monitor-client'
import { z } from 'zod'
import { type Command, done, numberArgument, readCommand, type WriteView, writeCommand } from './command.ts'
import { requirePool } from './pool-rows.ts'
import { requireFeature, updateRequiredFeatures } from './required-features.ts'

const snapshotName = z
  .string()
  .min(1)
  .max(128)
  .regex(/^[^\s/@]+$/, "a snapshot's name has no spaces, no / and no @")

const modeNames: Readonly<Record<SnapshotMode, string>> = {
  pool: 'pool snapshots',
  selfmanaged: 'snapshots that its clients manage',
}

/** What a pool has of snapshots, or its first. A pool is of one kind for good. */
function snapshotsOf(pool: Pool, mode: SnapshotMode): PoolSnapshots {
  const snapshots = pool.snapshots ?? firstSnapshots(pool, mode)
  if (snapshots.mode === mode) return snapshots
  throw new ClusterError('EINVAL', `pool '${pool.name}' has ${modeNames[snapshots.mode]}, not ${modeNames[mode]}`, {
    hint: 'one pool is used in one of the two ways',
  })
}

/** An older OSD would take the clone that a write makes for a part of the write, and end. */
function requireSnapshots({ map }: WriteView['draft'], pool: Pool): void {
  if (pool.type === 'erasure') requireFeature(map, featureShardSnapshots, 'keep snapshots of erasure-coded pools')
}

function setSnapshots(draft: WriteView['draft'], pool: Pool, snapshots: PoolSnapshots): void {
  draft.osd.setPool({ ...pool, snapshots })
  if (pool.type === 'erasure') updateRequiredFeatures(draft)
}

const namedArguments = z.object({ pool: z.string(), snap: snapshotName })

function makeSnapshot(args: z.output<typeof namedArguments>, { draft }: WriteView) {
  const pool = requirePool(draft.map, args.pool)
  const snapshots = snapshotsOf(pool, 'pool')
  const { epoch } = draft.osd
  const present = snapshots.snaps.find(({ name }) => name === args.snap)
  if (present !== undefined) {
    return done(`pool '${pool.name}' has a snapshot '${args.snap}' already`, { snap: present.id, epoch })
  }
  if (snapshots.snaps.length >= snapshotsMax) {
    throw new ClusterError('ERANGE', `pool '${pool.name}' has ${snapshotsMax} snapshots, the most it may have`, {
      hint: `shoal pool rmsnap ${pool.name} ${snapshots.snaps[0]?.name}`,
    })
  }
  requireSnapshots(draft, pool)
  const id = snapshots.seq + 1
  const snaps = [...snapshots.snaps, { id, name: args.snap, createdMs: draft.wallMs }]
  setSnapshots(draft, pool, { ...snapshots, seq: id, snaps })
  return done(`created snapshot '${args.snap}' of pool '${pool.name}'`, { snap: id, epoch })
}

function removeNamed(args: z.output<typeof namedArguments>, { draft }: WriteView) {
  const pool = requirePool(draft.map, args.pool)
  const snapshots = snapshotsOf(pool, 'pool')
  const { epoch } = draft.osd
  const present = snapshots.snaps.find(({ name }) => name === args.snap)
  if (present === undefined) return done(`pool '${pool.name}' has no snapshot '${args.snap}'`, { epoch })
  draft.osd.setPool({ ...pool, snapshots: withoutSnapshot(snapshots, present.id) })
  return done(`removed snapshot '${args.snap}' of pool '${pool.name}'`, { snap: present.id, epoch })
}

function createManaged(args: { readonly pool: string }, { draft }: WriteView) {
  const pool = requirePool(draft.map, args.pool)
  const snapshots = snapshotsOf(pool, 'selfmanaged')
  requireSnapshots(draft, pool)
  const snap = snapshots.seq + 1
  setSnapshots(draft, pool, { ...snapshots, seq: snap })
  return done(`snapshot ${snap} of pool '${pool.name}'`, { snap, epoch: draft.osd.epoch })
}

function removeManaged(args: { readonly pool: string; readonly snap: number }, { draft }: WriteView) {
  const pool = requirePool(draft.map, args.pool)
  const snapshots = snapshotsOf(pool, 'selfmanaged')
  const { epoch } = draft.osd
  if (args.snap > snapshots.seq) {
    throw new ClusterError('ENOENT', `snapshot ${args.snap} of pool '${pool.name}' was never made`)
  }
  if (hasSnap(snapshots.removed, args.snap)) {
    return done(`snapshot ${args.snap} of pool '${pool.name}' is removed already`, { epoch })
  }
  draft.osd.setPool({ ...pool, snapshots: withoutSnapshot(snapshots, args.snap) })
  return done(`removed snapshot ${args.snap} of pool '${pool.name}'`, { snap: args.snap, epoch })
}

const snapId = numberArgument(z.number().int().min(1))

export const snapshotCommands: readonly Command[] = [
  writeCommand('osd pool mksnap', namedArguments, makeSnapshot),
  writeCommand('osd pool rmsnap', namedArguments, removeNamed),
  readCommand('osd pool lssnap', z.object({ pool: z.string() }), (args, { map }) => {
    const snapshots = requirePool(map, args.pool).snapshots?.snaps ?? []
    return done('', snapshots satisfies readonly PoolSnapshotRow[])
  }),
  writeCommand('osd pool selfmanaged-snap create', z.object({ pool: z.string() }), createManaged),
  writeCommand('osd pool selfmanaged-snap rm', z.object({ pool: z.string(), snap: snapId }), removeManaged),
]
