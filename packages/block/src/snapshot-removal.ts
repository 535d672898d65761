/**
 * How a snapshot goes. One with clones is out of sight at once, and goes with the last of them; nobody has to look for them
 * first. Order: the header marks it, the pool forgets the id and trims, the header forgets it.
 */
import { ClusterError } from '@shoal/base'
import { liveChildren } from './image-children.ts'
import {
  beingRolledBack,
  changeHeader,
  dataIoOf,
  type ImageHeader,
  type StoredHeader,
  withEntry,
  withSnapshots,
} from './image-header.ts'
import type { ImageSnapshot } from './image-snapshot.ts'
import type { ObjectIo } from './object-io.ts'

/** Can be done again. EBUSY while the snapshot is protected. Resolves with the header as it is then. */
export async function removeSnapshot(io: ObjectIo, imageId: string, id: number): Promise<StoredHeader> {
  const marked = await changeHeader(io, imageId, async (current) => {
    const entry = entryOf(current, id)
    if (entry === undefined || entry.removing) return current
    if (entry.protected) throw isProtected(current, entry)
    if (current.snapshots?.rollingBackTo === id) throw beingRolledBack(current)
    // A clone that is registered from here on changes the header.
    const children = await liveChildren(io, current, id)
    if (children.length === 0) return withEntry(current, { ...entry, removing: true })
    return entry.kind === 'trash' ? current : withEntry(current, { ...entry, kind: 'trash' })
  })
  if (entryOf(marked.header, id)?.removing !== true) return marked
  await dataIoOf(io, marked.header).removeSelfManagedSnapshot?.(id)
  return changeHeader(io, imageId, (current) => {
    const { snapshots } = current
    if (snapshots === undefined || entryOf(current, id) === undefined) return current
    return withSnapshots(current, { ...snapshots, entries: snapshots.entries.filter((one) => one.id !== id) })
  })
}

/** Completes removals that were interrupted, and those that waited for clones that are gone. */
export async function finishRemovals(io: ObjectIo, current: StoredHeader): Promise<StoredHeader> {
  let now = current
  for (const { id, removing, kind } of current.header.snapshots?.entries ?? []) {
    if (removing || kind === 'trash') now = await removeSnapshot(io, current.header.id, id)
  }
  return now
}

function entryOf(header: ImageHeader, id: number): ImageSnapshot | undefined {
  return header.snapshots?.entries.find((entry) => entry.id === id)
}

function isProtected(header: ImageHeader, snapshot: ImageSnapshot): ClusterError {
  return new ClusterError('EBUSY', `snapshot ${header.name}@${snapshot.name} is protected`, {
    hint: `shoal block snap unprotect ${header.name}@${snapshot.name}`,
  })
}
