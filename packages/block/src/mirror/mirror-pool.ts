/** One cluster's pool, as whoever mirrors sees it: copies can be changed there, and what each image is can be told. */
import { ClusterError, type Env, hexEncode, isClusterError } from '@shoal/base'
import { ImageDirectory } from '../image-directory.ts'
import { type ImageHeader, readHeader } from '../image-header.ts'
import { automaticCookie, breakImageLock, giveImageLock, readLockHolder, takeImageLock } from '../image-lock.ts'
import { ImageStore } from '../image-store.ts'
import type { Fencer, ObjectIo } from '../object-io.ts'
import { nobodyHears, type Quiescer } from '../quiescer.ts'
import { readMarker } from '../transfer/import-marker.ts'
import type { MirrorSide } from './mirror-plan.ts'
import { listMirrored, readRecord } from './mirror-record.ts'

type MirrorEnv = Pick<Env, 'clock' | 'random' | 'timers'>

const partialSuffix = '~mirror'

/** The name of a copy that has not got its own yet. */
export const partialMirrorName = (name: string): string => `${name}${partialSuffix}`

/** Another view of the same pool. */
function asMirror(io: ObjectIo): ObjectIo {
  const poolId = io.poolId?.bind(io)
  const inPool = io.inPool?.bind(io)
  const createSelfManagedSnapshot = io.createSelfManagedSnapshot?.bind(io)
  const removeSelfManagedSnapshot = io.removeSelfManagedSnapshot?.bind(io)
  return {
    mirrors: true,
    execute: (name, ops, options) => io.execute(name, ops, options),
    ...(poolId === undefined ? {} : { poolId }),
    ...(inPool === undefined ? {} : { inPool }),
    ...(createSelfManagedSnapshot === undefined ? {} : { createSelfManagedSnapshot }),
    ...(removeSelfManagedSnapshot === undefined ? {} : { removeSelfManagedSnapshot }),
  }
}

export class MirrorPool {
  readonly env: MirrorEnv
  readonly io: ObjectIo
  readonly store: ImageStore
  readonly quiescer: Quiescer
  private readonly directory: ImageDirectory
  private readonly fencer: Fencer | undefined
  private readonly cookie: string

  /** Without a fencer nobody else may copy into this pool. */
  constructor(env: MirrorEnv, io: ObjectIo, quiescer: Quiescer = nobodyHears, fencer?: Fencer) {
    this.env = env
    this.fencer = fencer
    this.cookie = automaticCookie(`mirror ${hexEncode(env.random.bytes(8))}`)
    this.io = asMirror(io)
    this.quiescer = quiescer
    this.directory = new ImageDirectory(this.io)
    this.store = new ImageStore(env, this.io, quiescer)
  }

  /** Of the image with this id; undefined when it is gone, or going. */
  async side(imageId: string): Promise<MirrorSide | undefined> {
    const found = await readHeader(this.io, imageId).catch((error: unknown) => {
      if (isClusterError(error, 'ENOENT')) return undefined
      throw error
    })
    const record = found === undefined ? undefined : await readRecord(this.io, imageId)
    if (found === undefined || record === undefined || found.header.removing) return undefined
    // The header's own may be ahead: it changes first when the image is renamed.
    const name = await this.directory.nameOf(imageId)
    if (name === undefined) return undefined
    const { mirrorCopy, snapshots } = found.header
    const taken = (snapshots?.entries ?? []).filter(({ kind, removing }) => kind === 'mirror' && !removing)
    const isComplete = ({ id }: { readonly id: number }): boolean =>
      mirrorCopy === undefined || mirrorCopy.state === 'demoting' || id <= mirrorCopy.readable
    return {
      name,
      role: mirrorCopy === undefined ? 'primary' : mirrorCopy.state === 'copying' ? 'copy' : mirrorCopy.state,
      scheduleMs: record.scheduleMs,
      snapshots: taken.filter(isComplete),
      importing: (await readMarker(this.io, imageId, 'mirror'))?.to,
      unpublished: taken.find((snapshot) => !isComplete(snapshot))?.name,
      isPartial: name.endsWith(partialSuffix),
    }
  }

  /** By the id that the image has in all clusters. */
  async sideOf(globalId: string): Promise<MirrorSide | undefined> {
    const imageId = (await listMirrored(this.io)).get(globalId)
    return imageId === undefined ? undefined : this.side(imageId)
  }

  /** EINVAL for an image that is not mirrored. */
  async globalIdOf(name: string): Promise<string> {
    const { id } = await this.store.info(name)
    const record = await readRecord(this.io, id)
    if (record !== undefined) return record.globalId
    throw notMirrored(name)
  }

  /**
   * The image's lock, while `work` writes its head. Who had it before and is not us is fenced first: it may have died long ago, or
   * have a write under way that would land on ours.
   */
  async whileLocked<T>(imageId: string, work: () => Promise<T>): Promise<T> {
    if (this.fencer === undefined) return work()
    await this.fenceOthers(imageId)
    await takeImageLock(this.io, imageId, this.cookie, 'mirroring')
    try {
      return await work()
    } finally {
      await giveImageLock(this.io, imageId, this.cookie)
    }
  }

  /** Nothing that others have sent lands after this. */
  async fenceOthers(imageId: string): Promise<void> {
    const holder = this.fencer === undefined ? undefined : await readLockHolder(this.io, imageId)
    if (this.fencer === undefined || holder === undefined || holder.cookie === this.cookie) return
    await breakImageLock({ io: this.io, fencer: this.fencer }, imageId, holder)
  }

  /** No two are of one name, in whatever cluster. */
  newSnapshotName(): string {
    return `mirror.${hexEncode(this.env.random.bytes(8))}`
  }
}

/** ENOENT when the image is gone. */
export async function currentHeader(io: ObjectIo, imageId: string): Promise<ImageHeader> {
  return (await readHeader(io, imageId)).header
}

export function notMirrored(name: string): ClusterError {
  return new ClusterError('EINVAL', `image ${name} is not mirrored`, { hint: `shoal block mirror enable ${name}` })
}
