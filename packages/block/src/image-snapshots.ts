/**
 * The snapshots of images: taken, named, removed.
 *
 * Order of steps, so that a crash between any two leaves nothing half visible and the same command finishes the work:
 * 1. create: the pool gives an id, writers are held, the header takes the snapshot, writers go on in its context. A crash
 *    leaves at worst an id that nobody uses.
 * 2. rm (snapshot-removal.ts): the header marks the snapshot, the pool forgets the id and trims, the header forgets it. In
 *    any other order a crash would lose the id that is still to be removed, and its clones would stay for ever. Whoever
 *    changes the snapshots of the image next completes it.
 *
 * The header takes an id only if it is above all that the image ever had. Otherwise of two who take a snapshot at once the
 * later one might bring the lower id: objects that were written in between know of a higher one, and would be absent at it.
 */
import { ClusterError } from '@shoal/base'
import type { ObjectOp } from '@shoal/wire'
import { beingRemoved, checkImageName } from './image-directory.ts'
import {
  beingRolledBack,
  changeHeader,
  dataIoOf,
  type ImageHeader,
  type StoredHeader,
  withEntry,
  withSnapshots,
} from './image-header.ts'
import {
  type ImageSnapshot,
  noSnapshots,
  type SnapshotKind,
  snapshotNamed,
  snapshotsPerImageMax,
  takenFor,
  visibleSnapshots,
} from './image-snapshot.ts'
import { overlapOf } from './parent-link.ts'
import { finishRemovals, removeSnapshot } from './snapshot-removal.ts'
import { noProgress, type ProgressListener, type StoreServices } from './store-services.ts'

const idAttemptsMax = 8

export class ImageSnapshots {
  private readonly services: StoreServices

  constructor(services: StoreServices) {
    this.services = services
  }

  /**
   * When it resolves nothing that is written can change what the snapshot shows, and all that was acknowledged before the
   * call is in it. Takes a header lease longer where not everybody could be told. EEXIST, EDQUOT at the limit.
   */
  async create(image: string, name: string, kind: Exclude<SnapshotKind, 'trash'> = 'user'): Promise<ImageSnapshot> {
    checkImageName(name, 'a snapshot')
    const { header } = await this.settled(image)
    checkRoom(header, name)
    const { quiescer, waitForLease } = this.services
    const hold = await quiescer.pause(header)
    let added: ImageSnapshot
    try {
      added = await this.add(header, name, kind, hold.guards)
    } finally {
      await hold.resume()
    }
    if (!hold.everybody) await waitForLease()
    return added
  }

  /** Those that people may see, oldest first. */
  async list(image: string): Promise<readonly ImageSnapshot[]> {
    const { header } = await this.services.directory.find(image)
    return visibleSnapshots(header)
  }

  /**
   * Resolves when nobody can read it any more; the space comes back by and by. EBUSY while it is protected, or when it is of
   * another kind: whoever took it removes it.
   */
  async remove(image: string, name: string, kind: SnapshotKind = 'user'): Promise<void> {
    const { header } = await this.services.directory.find(image)
    const found = findForRemoval(header, name)
    if (!found.removing) expectOf(kind, header, found)
    await removeSnapshot(this.services.io, header.id, found.id)
  }

  /** Removes all that people took and did not protect; resolves with the names of those that are protected. */
  async purge(image: string, onProgress: ProgressListener = noProgress): Promise<readonly string[]> {
    const { header } = await this.settled(image)
    const seen = (header.snapshots?.entries ?? []).filter(({ kind }) => kind === 'user')
    const going = seen.filter((snapshot) => !snapshot.protected)
    let done = 0
    for (const { id } of going) {
      await removeSnapshot(this.services.io, header.id, id)
      onProgress(++done, going.length)
    }
    return seen.filter((snapshot) => snapshot.protected).map(({ name }) => name)
  }

  /** EEXIST when another one has the new name, EBUSY unless people took it. */
  async rename(image: string, from: string, to: string): Promise<void> {
    checkImageName(to, 'a snapshot')
    await this.changeOne(image, from, (header, snapshot) => {
      if (from !== to) checkFree(header, to)
      return { ...snapshot, name: to }
    })
  }

  /** A protected snapshot is not removed by accident: that must be taken back first. */
  async protect(image: string, name: string, isProtected: boolean): Promise<void> {
    await this.changeOne(image, name, (_, snapshot) => ({ ...snapshot, protected: isProtected }))
  }

  /** How many snapshots the image may have: 1 to 512; those that it has stay, if they are more. */
  async setLimit(image: string, limit: number): Promise<void> {
    if (!Number.isInteger(limit) || limit < 1 || limit > snapshotsPerImageMax) {
      throw new ClusterError('EINVAL', `an image has 1 to ${snapshotsPerImageMax} snapshots, not ${limit}`)
    }
    const { header } = await this.settled(image)
    await changeHeader(this.services.io, header.id, (current) =>
      withSnapshots(current, { ...(current.snapshots ?? noSnapshots), limit }),
    )
  }

  private async settled(image: string): Promise<StoredHeader> {
    const { directory, io, settle } = this.services
    return finishRemovals(io, await settle(await directory.find(image)))
  }

  /** During a hold whose guards are given. ECANCELED when it was over before. */
  async add(
    header: ImageHeader,
    name: string,
    kind: SnapshotKind,
    guards: readonly ObjectOp[],
  ): Promise<ImageSnapshot> {
    const { env, io } = this.services
    const data = dataIoOf(io, header)
    if (data.createSelfManagedSnapshot === undefined) {
      throw new ClusterError('EOPNOTSUPP', 'snapshots cannot be taken from here', {
        hint: 'open the pool with a client of the cluster',
      })
    }
    for (let attempt = 1; attempt <= idAttemptsMax; attempt++) {
      const id = await data.createSelfManagedSnapshot()
      let added: ImageSnapshot | undefined
      const change = (current: ImageHeader): ImageHeader => {
        added = undefined
        if (current.removing) throw beingRemoved(current.name)
        checkRoom(current, name)
        const table = current.snapshots ?? noSnapshots
        if (table.rollingBackTo !== 0) throw beingRolledBack(current)
        if (id <= table.seq) return current
        added = {
          id,
          name,
          kind,
          sizeBytes: current.sizeBytes,
          createdMs: env.clock.wallMs(),
          protected: false,
          removing: false,
          overlapBytes: overlapOf(current, undefined),
          clonesBegun: 0,
        }
        return withSnapshots(current, { ...table, seq: id, entries: [...table.entries, added] })
      }
      await changeHeader(io, header.id, change, guards)
      if (added !== undefined) return added
    }
    throw new ClusterError('EBUSY', `others take snapshots of image ${header.name} all the time`, { retry: true })
  }

  private async changeOne(
    image: string,
    name: string,
    change: (header: ImageHeader, snapshot: ImageSnapshot) => ImageSnapshot,
  ): Promise<void> {
    const { header } = await this.settled(image)
    await changeHeader(this.services.io, header.id, (current) => {
      const found = snapshotNamed(current, name)
      expectOf('user', current, found)
      return withEntry(current, change(current, found))
    })
  }
}

/** Also one whose removal was interrupted. */
function findForRemoval(header: ImageHeader, name: string): ImageSnapshot {
  const begun = header.snapshots?.entries.find((one) => one.removing && one.name === name)
  return begun ?? snapshotNamed(header, name)
}

/** People leave alone what they did not take. */
function expectOf(kind: SnapshotKind, { name: image }: ImageHeader, snapshot: ImageSnapshot): void {
  if (snapshot.kind === kind) return
  const owner = snapshot.kind === 'group' || snapshot.kind === 'mirror' ? takenFor[snapshot.kind] : undefined
  throw new ClusterError('EBUSY', `snapshot ${image}@${snapshot.name} belongs to ${owner?.what ?? 'its clones'}`, {
    hint: owner?.removal ?? `shoal block children ${image}`,
  })
}

function checkRoom(header: ImageHeader, name: string): void {
  const { entries, limit } = header.snapshots ?? noSnapshots
  checkFree(header, name)
  if (entries.length < limit) return
  throw new ClusterError('EDQUOT', `image ${header.name} has ${entries.length} snapshots, and may have ${limit}`, {
    hint: `shoal block snap rm ${header.name}@${entries[0]?.name}, or snap limit`,
  })
}

function checkFree(header: ImageHeader, name: string): void {
  if (header.snapshots?.entries.some((one) => one.kind !== 'trash' && one.name === name) !== true) return
  throw new ClusterError('EEXIST', `image ${header.name} has a snapshot ${name} already`, {
    hint: `shoal block snap ls ${header.name}`,
  })
}
