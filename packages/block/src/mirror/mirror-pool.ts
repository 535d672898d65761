/** One cluster's pool, as whoever mirrors sees it: copies can be changed there, and what each image is can be told. */
import { type Env, hexEncode, isClusterError } from '@shoal/base'
import { ImageDirectory } from '../image-directory.ts'
import { type ImageHeader, readHeader } from '../image-header.ts'
import { ImageStore } from '../image-store.ts'
import type { ObjectIo } from '../object-io.ts'
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
  const { poolId, inPool, createSelfManagedSnapshot, removeSelfManagedSnapshot } = io
  return {
    mirrors: true,
    execute: (name, ops, options) => io.execute(name, ops, options),
    ...(poolId === undefined ? {} : { poolId: () => poolId.call(io) }),
    ...(inPool === undefined ? {} : { inPool: (id: number) => inPool.call(io, id) }),
    ...(createSelfManagedSnapshot === undefined
      ? {}
      : { createSelfManagedSnapshot: () => createSelfManagedSnapshot.call(io) }),
    ...(removeSelfManagedSnapshot === undefined
      ? {}
      : { removeSelfManagedSnapshot: (snap: number) => removeSelfManagedSnapshot.call(io, snap) }),
  }
}

export class MirrorPool {
  readonly env: MirrorEnv
  readonly io: ObjectIo
  readonly store: ImageStore
  readonly quiescer: Quiescer
  private readonly directory: ImageDirectory

  constructor(env: MirrorEnv, io: ObjectIo, quiescer: Quiescer = nobodyHears) {
    this.env = env
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

  /** No two are of one name, in whatever cluster. */
  newSnapshotName(): string {
    return `mirror.${hexEncode(this.env.random.bytes(8))}`
  }
}

/** ENOENT when the image is gone. */
export async function currentHeader(io: ObjectIo, imageId: string): Promise<ImageHeader> {
  return (await readHeader(io, imageId)).header
}
