/**
 * Clones of snapshots: made, listed, and made whole.
 *
 * Order of steps, so that a crash between any two leaves nothing that the same command, or whoever comes next, cannot finish:
 * 1. clone: name, registration with the parent, header; then both are looked up again (image-children.ts, header-stone.ts).
 * 2. flatten: the objects, each copied if it is not there; the header takes `leaving`, so that nothing is read from the
 *    parent any more; the registration goes, and with the last one a snapshot that was removed; the header takes `left`.
 * 3. rm: as of any image; the registration goes after the data and before the header.
 */
import { ClusterError, hexEncode, isClusterError } from '@shoal/base'
import { CopyUp } from './copy-up.ts'
import {
  type ChildRef,
  type ImageChild,
  isRegistered,
  liveChildren,
  registerChild,
  unregisterChild,
} from './image-children.ts'
import { checkImageName, ImageDirectory } from './image-directory.ts'
import {
  beingRolledBack,
  changedMeanwhile,
  changeHeader,
  createHeaderOps,
  dataIoOf,
  hasDataPool,
  hasParent,
  type ImageHeader,
  poolOf,
  readHeader,
  type StoredHeader,
} from './image-header.ts'
import { layersMax, layersUnder, openParent, tooManyLayers } from './image-layers.ts'
import { type ImageSnapshot, snapshotNamed } from './image-snapshot.ts'
import { ifThere, type ObjectIo } from './object-io.ts'
import { forEachIndex } from './parallel.ts'
import { overlapOf } from './parent-link.ts'
import { removeSnapshot } from './snapshot-removal.ts'
import { noProgress, type ProgressListener, type StoreServices } from './store-services.ts'
import { dataObjectName, headerObjectName } from './striping.ts'

/** Objects that are copied side by side: each is held in memory as a whole. */
const flattenWidthMax = 4

export interface CloneSource {
  /** Where the header of the parent is; left out: the clone's own pool. */
  readonly pool?: ObjectIo
  readonly image: string
  readonly snapshot: string
}

export interface CloneOptions {
  /** Left out: that of the parent. */
  readonly objectBytes?: number
  /** Id of the pool for its data; left out: the pool of its header. */
  readonly dataPool?: number
}

export class ImageClones {
  private readonly services: StoreServices

  constructor(services: StoreServices) {
    this.services = services
  }

  /** EEXIST when the name is taken, ENOENT without the snapshot, EOPNOTSUPP when there would be more than 16 layers. */
  async create(name: string, source: CloneSource, options: CloneOptions = {}): Promise<ImageHeader> {
    checkImageName(name)
    const { env, directory, io } = this.services
    const pool = source.pool ?? io
    const parent = await new ImageDirectory(pool).find(source.image)
    const layers = await layersUnder(pool, parent, snapshotNamed(parent.header, source.snapshot))
    if (layers + 2 > layersMax) throw tooManyLayers(name)
    const id = hexEncode(env.random.bytes(8))
    await directory.add(name, id)
    try {
      return await this.createNamed(id, name, pool, parent.header.id, source.snapshot, options)
    } catch (error) {
      // Of what cannot be undone now, the registration is cleared when somebody asks for it; `rm` takes the name.
      if (isClusterError(error, 'ENOENT', 'EBUSY', 'EINVAL', 'EOPNOTSUPP')) await directory.remove(name, id)
      throw error
    }
  }

  private async createNamed(
    id: string,
    name: string,
    pool: ObjectIo,
    parentId: string,
    snapshotName: string,
    options: CloneOptions,
  ): Promise<ImageHeader> {
    const { directory, env, io } = this.services
    const child = { poolId: await idOf(io), imageId: id }
    const { parent, snapshot } = await registerChild(pool, parentId, snapshotName, child)
    const ref: ChildRef = { ...child, snapId: snapshot.id }
    const base = { id, name, createdMs: env.clock.wallMs() }
    const header = cloneHeader(base, parent.header, snapshot, await idOf(pool), options)
    dataIoOf(io, header)
    try {
      await io.execute(headerObjectName(id), createHeaderOps(header))
    } catch (error) {
      if (!isClusterError(error, 'EEXIST')) throw error
      throw clearedMeanwhile(name, error)
    }
    const named = await directory.idOf(name).catch(() => undefined)
    if (named === id && (await isRegistered(pool, parentId, ref))) return header
    await io.execute(headerObjectName(id), [{ kind: 'remove' }])
    await unregisterChild(pool, parentId, ref)
    throw clearedMeanwhile(name)
  }

  /** The clones of an image's snapshots, or of one of them. */
  async children(image: string, snapshot?: string): Promise<readonly ImageChild[]> {
    const { directory, io } = this.services
    const { header } = await directory.find(image)
    return liveChildren(io, header, snapshot === undefined ? undefined : snapshotNamed(header, snapshot).id)
  }

  /**
   * Gives a clone all that it has from its parent, and then lets the parent go. Goes on where it was interrupted; those who
   * use the image go on meanwhile. EINVAL for what is no clone.
   */
  async flatten(name: string, onProgress: ProgressListener = noProgress): Promise<void> {
    const { directory, io, settle } = this.services
    const before = await directory.find(name)
    const found = await settle(before)
    // An interrupted one had only this left.
    if (before.header.parent?.state === 'leaving') return
    const { parent } = found.header
    if (parent?.state !== 'linked') {
      throw new ClusterError('EINVAL', `image ${name} is no clone`, { hint: `shoal block info ${name}` })
    }
    await this.copyAll(found.header, onProgress)
    const leaving = await changeHeader(io, found.header.id, (current) => {
      if (current.snapshots !== undefined && current.snapshots.rollingBackTo !== 0) throw beingRolledBack(current)
      // What its snapshots have from the parent is not copied yet.
      if (current.shrinkingFromBytes !== 0) throw changedMeanwhile(current)
      if (current.parent?.state !== 'linked') return current
      return { ...current, parent: { ...current.parent, state: 'leaving', overlapBytes: 0 } }
    })
    await this.finishLeaving(leaving)
  }

  /** What an interrupted flatten left: the parent still counts the clone. */
  async finishLeaving(current: StoredHeader): Promise<StoredHeader> {
    if (current.header.parent?.state !== 'leaving') return current
    await this.leaveParent(current.header)
    return changeHeader(this.services.io, current.header.id, (header) =>
      header.parent?.state === 'leaving' ? { ...header, parent: { ...header.parent, state: 'left' } } : header,
    )
  }

  /** The parent does not count the image any more; a removed snapshot goes with the last clone. */
  async leaveParent({ id, parent: link }: ImageHeader): Promise<void> {
    if (link === undefined || link.state === 'left') return
    const { io } = this.services
    const pool = poolOf(io, link.poolId)
    await unregisterChild(pool, link.imageId, { snapId: link.snapId, poolId: await idOf(io), imageId: id })
    const parent = await ifThere(readHeader(pool, link.imageId))
    const entry = parent?.header.snapshots?.entries.find((one) => one.id === link.snapId)
    if (entry?.kind === 'trash') await ifThere(removeSnapshot(pool, link.imageId, link.snapId))
  }

  /**
   * Before a shrink takes the end away: its snapshots keep what they have from the parent there. Only what never was is
   * copied: what is gone has left its clones.
   */
  async copyForSnapshots(header: ImageHeader): Promise<void> {
    const { io, env } = this.services
    if (header.parent?.state !== 'linked') return
    const overlapBytes = Math.max(0, ...(header.snapshots?.entries ?? []).map((entry) => entry.overlapBytes))
    const first = Math.floor(header.sizeBytes / header.objectBytes)
    const count = Math.ceil(overlapBytes / header.objectBytes) - first
    if (overlapBytes <= header.sizeBytes || count <= 0) return
    const data = dataIoOf(io, header)
    const copyUp = new CopyUp(data, header, await openParent(io, env.clock, header.parent))
    await forEachIndex(count, flattenWidthMax, async (i) => {
      if (await wasEver(data, dataObjectName(header.id, first + i))) return
      await copyUp.objectWithData(first + i, overlapBytes)
    })
  }

  private async copyAll(header: ImageHeader, onProgress: ProgressListener): Promise<void> {
    const { io, env } = this.services
    const { parent: link } = header
    if (link === undefined) return
    const overlapBytes = overlapOf(header, undefined)
    const data = dataIoOf(io, header)
    const copyUp = new CopyUp(data, header, await openParent(io, env.clock, link))
    const count = Math.ceil(overlapBytes / header.objectBytes)
    let done = 0
    await forEachIndex(count, flattenWidthMax, async (index) => {
      if (!(await exists(data, dataObjectName(header.id, index)))) await copyUp.objectWithData(index, overlapBytes)
      onProgress(++done, count)
    })
  }
}

function cloneHeader(
  base: Pick<ImageHeader, 'id' | 'name' | 'createdMs'>,
  parent: ImageHeader,
  snapshot: ImageSnapshot,
  poolId: number,
  { objectBytes = parent.objectBytes, dataPool }: CloneOptions,
): ImageHeader {
  const { sizeBytes } = snapshot
  return {
    ...base,
    sizeBytes,
    objectBytes,
    incompatibleFeatures: hasParent | (dataPool === undefined ? 0 : hasDataPool),
    compatibleFeatures: 0,
    removing: false,
    shrinkingFromBytes: 0,
    ...(dataPool === undefined ? {} : { dataPool }),
    parent: {
      state: 'linked',
      poolId,
      imageId: parent.id,
      snapId: snapshot.id,
      overlapBytes: sizeBytes,
      coveredBytes: sizeBytes,
    },
  }
}

async function idOf(io: ObjectIo): Promise<number> {
  if (io.poolId !== undefined) return Number(await io.poolId())
  throw new ClusterError('EOPNOTSUPP', 'clones cannot be made from here', {
    hint: 'open the pool with a client of the cluster',
  })
}

async function exists(data: ObjectIo, object: string): Promise<boolean> {
  return (await ifThere(data.execute(object, [{ kind: 'assert-exists' }]))) !== undefined
}

/** The object, or a clone of it for a snapshot. */
async function wasEver(data: ObjectIo, object: string): Promise<boolean> {
  return (await ifThere(data.execute(object, [{ kind: 'list-snaps' }]))) !== undefined
}

function clearedMeanwhile(name: string, cause?: unknown): ClusterError {
  return new ClusterError('EBUSY', `somebody cleared image ${name} away while it was made`, { cause, retry: true })
}
