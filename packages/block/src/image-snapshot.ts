/**
 * What the header of an image keeps of its snapshots. A snapshot is an id that the pool of the data gave; every write names
 * those that the image has (its context), so that objects are cloned for them. docs/mechanisms/snapshots.md
 */
import {
  type ByteReader,
  type ByteWriter,
  boolean,
  ClusterError,
  type Codec,
  f64,
  oneOf,
  string,
  struct,
  u64,
  versioned,
} from '@shoal/base'
import type { SnapContext } from '@shoal/wire'
import type { ImageHeader } from './image-header.ts'

/**
 * Whose a snapshot is: people change only those of `user`, so that a group's and mirroring's stay whole; `trash`: removed, but
 * clones still need it.
 */
const snapshotKinds = ['user', 'trash', 'group', 'mirror'] as const
export type SnapshotKind = (typeof snapshotKinds)[number]

export interface ImageSnapshot {
  /** In the pool of the data; ids of one image grow with time. */
  readonly id: number
  readonly name: string
  readonly kind: SnapshotKind
  /** Of the image, then. */
  readonly sizeBytes: number
  readonly createdMs: number
  /** Cannot be removed until that is taken back. */
  readonly protected: boolean
  /** Removal has begun: it can only be removed further. */
  readonly removing: boolean
  /** How much of the image lay over its parent then; 0 without one. */
  readonly overlapBytes: number
  /** How many clones of it were ever begun: the header changes with each, so that no removal overlooks one. */
  readonly clonesBegun: number
}

export interface SnapshotTable {
  /** By id, oldest first. */
  readonly entries: readonly ImageSnapshot[]
  /** The newest id that this image ever had. */
  readonly seq: number
  /** How many it may have. */
  readonly limit: number
  /** A rollback to this snapshot has begun: nothing is read or written until it is over. 0 otherwise. */
  readonly rollingBackTo: number
}

/** The context of a write names them all, and has room for 1024 in all. */
export const snapshotsPerImageMax = 512

export const noSnapshots: SnapshotTable = { entries: [], seq: 0, limit: snapshotsPerImageMax, rollingBackTo: 0 }

const snapshotCodec: Codec<ImageSnapshot> = versioned<ImageSnapshot>(
  1,
  1,
  'image snapshot',
  struct<ImageSnapshot>({
    id: u64(),
    name: string(),
    kind: oneOf(snapshotKinds),
    sizeBytes: u64(),
    createdMs: f64(),
    protected: boolean(),
    removing: boolean(),
    overlapBytes: u64(),
    clonesBegun: u64(),
  }),
)

export const snapshotTableCodec: Codec<SnapshotTable> = {
  write(writer: ByteWriter, { entries, seq, limit, rollingBackTo }: SnapshotTable) {
    writer.u64(seq).u32(limit).u64(rollingBackTo).u32(entries.length)
    for (const entry of entries) snapshotCodec.write(writer, entry)
  },
  read(reader: ByteReader): SnapshotTable {
    const [seq, limit, rollingBackTo] = [reader.u64(), reader.u32(), reader.u64()]
    const count = reader.count()
    const entries = Array.from({ length: count }, () => snapshotCodec.read(reader))
    return { entries, seq, limit, rollingBackTo }
  },
}

/** In whose context the image is written; undefined for one that never had a snapshot. */
export function snapContextOf({ snapshots }: ImageHeader): SnapContext | undefined {
  if (snapshots === undefined) return undefined
  return { seq: snapshots.seq, snaps: snapshots.entries.map(({ id }) => id).toReversed() }
}

/** Where a snapshot comes from that people did not take, and how they get rid of it. */
export const takenFor: Readonly<Record<'group' | 'mirror', { readonly what: string; readonly removal: string }>> = {
  group: { what: 'a snapshot of a group', removal: 'shoal block group snap rm GROUP@SNAPSHOT' },
  mirror: { what: 'the mirroring of the image', removal: 'shoal block mirror disable IMAGE' },
}

/** Those that people may see, oldest first. */
export function visibleSnapshots({ snapshots }: ImageHeader): readonly ImageSnapshot[] {
  return (snapshots?.entries ?? []).filter(({ kind, removing }) => kind !== 'trash' && !removing)
}

/** ENOENT unless the image has a snapshot of this name that people may see. */
export function snapshotNamed(header: ImageHeader, name: string): ImageSnapshot {
  const found = header.snapshots?.entries.find((entry) => entry.kind !== 'trash' && entry.name === name)
  if (found !== undefined && !found.removing) return found
  const what = found === undefined ? 'has no snapshot' : 'is losing its snapshot'
  throw new ClusterError('ENOENT', `image ${header.name} ${what} ${name}`, {
    hint: `shoal block snap ${found === undefined ? 'ls' : 'rm'} ${header.name}`,
  })
}

/** ENOENT when it is gone, or going. */
export function snapshotWithId(header: ImageHeader, id: number): ImageSnapshot {
  const found = header.snapshots?.entries.find((entry) => entry.id === id)
  if (found !== undefined && !found.removing) return found
  throw new ClusterError('ENOENT', `image ${header.name} has no snapshot with the id ${id} any more`, {
    hint: `shoal block snap ls ${header.name}`,
  })
}

/** `IMAGE@SNAPSHOT`, or `IMAGE` alone. */
export function parseImageSpec(spec: string): { readonly name: string; readonly snapshot: string | undefined } {
  const at = spec.indexOf('@')
  return at < 0 ? { name: spec, snapshot: undefined } : { name: spec.slice(0, at), snapshot: spec.slice(at + 1) }
}
