/**
 * The header of an image: one versioned record under one omap key of its header object, replaced only by
 * compare-and-set, so that two administrators never overwrite each other. Byte table: docs/formats/block-image.md.
 */
import {
  assert,
  type ByteReader,
  type ByteWriter,
  ClusterError,
  type Codec,
  decode,
  encode,
  isClusterError,
  utf8Encode,
  versioned,
} from '@shoal/base'
import type { ObjectOp } from '@shoal/wire'
import { type ImageSnapshot, type SnapshotTable, snapshotTableCodec } from './image-snapshot.ts'
import { copyIsReadOnly, type MirrorCopy, mirrorCopyCodec } from './mirror/mirror-copy.ts'
import type { ObjectIo } from './object-io.ts'
import { omapValue } from './omap.ts'
import { type ParentLink, parentLinkCodec } from './parent-link.ts'
import { headerObjectName } from './striping.ts'

export interface ImageHeader {
  readonly id: string
  readonly name: string
  readonly sizeBytes: number
  readonly objectBytes: number
  readonly createdMs: number
  /** Features a reader must know to touch the image at all. */
  readonly incompatibleFeatures: number
  /** Features that an older reader may ignore. */
  readonly compatibleFeatures: number
  /** Removal has begun: the image can only be removed further. */
  readonly removing: boolean
  /** While a shrink is under way: the old size, up to which data objects may still exist. 0 otherwise. */
  readonly shrinkingFromBytes: number
  /** Id of the pool of the data objects; left out: that of the header. An erasure-coded pool can hold data, not headers. */
  readonly dataPool?: number
  /** Left out: the image never had one. */
  readonly snapshots?: SnapshotTable
  /** Left out: the image is no clone. */
  readonly parent?: ParentLink
  /** Only where the image is not the primary of those that mirror each other. */
  readonly mirrorCopy?: MirrorCopy
}

/** Incompatible: the data lies in another pool. */
export const hasDataPool = 1
/** Incompatible: writes must name the snapshots of the image, or they would change what those show. */
const hasSnapshots = 2
/** Incompatible: what the image does not have is read from a snapshot of another. */
export const hasParent = 4
/** Incompatible: the bytes are those of an image elsewhere, and belong to whoever mirrors it. */
const isMirrorCopy = 256
const knownIncompatibleFeatures = hasDataPool | hasSnapshots | hasParent | isMirrorCopy

/** Where the image's bytes are. */
export function dataIoOf(io: ObjectIo, { dataPool }: ImageHeader): ObjectIo {
  return dataPool === undefined ? io : poolOf(io, dataPool)
}

/** The pool with this id, of the same cluster. */
export function poolOf(io: ObjectIo, poolId: number): ObjectIo {
  const pool = io.inPool?.(poolId)
  if (pool !== undefined) return pool
  throw new ClusterError('EOPNOTSUPP', `pool ${poolId} cannot be reached from here`, {
    hint: 'open the image with a client of the cluster',
  })
}

/** Compatible: the image was shrunk once, so that a write which came too late may have left objects beyond its end. */
export const wasShrunk = 1

const headerCodec: Codec<ImageHeader> = versioned<ImageHeader>(1, 1, 'image header', {
  write(writer: ByteWriter, header: ImageHeader) {
    writer.string(header.id).string(header.name).u64(header.sizeBytes).u64(header.objectBytes).f64(header.createdMs)
    writer.u32(header.incompatibleFeatures).u32(header.compatibleFeatures)
    writer.boolean(header.removing).u64(header.shrinkingFromBytes)
    if (header.dataPool !== undefined) writer.u64(header.dataPool)
    if (header.snapshots !== undefined) snapshotTableCodec.write(writer, header.snapshots)
    if (header.parent !== undefined) parentLinkCodec.write(writer, header.parent)
    if (header.mirrorCopy !== undefined) mirrorCopyCodec.write(writer, header.mirrorCopy)
  },
  read: (reader: ByteReader): ImageHeader => readSections(reader, readPlain(reader)),
})

function readPlain(reader: ByteReader): ImageHeader {
  return {
    id: reader.string(),
    name: reader.string(),
    sizeBytes: reader.u64(),
    objectBytes: reader.u64(),
    createdMs: reader.f64(),
    incompatibleFeatures: reader.u32(),
    compatibleFeatures: reader.u32(),
    removing: reader.boolean(),
    shrinkingFromBytes: reader.u64(),
  }
}

/** Each is there with its feature, in the order of the bits; behind a feature that is unknown here nothing can be read. */
function readSections(reader: ByteReader, header: ImageHeader): ImageHeader {
  const has = (feature: number): boolean => (header.incompatibleFeatures & feature) !== 0
  if ((header.incompatibleFeatures & ~knownIncompatibleFeatures) !== 0) return header
  return {
    ...header,
    ...(has(hasDataPool) ? { dataPool: reader.u64() } : {}),
    ...(has(hasSnapshots) ? { snapshots: snapshotTableCodec.read(reader) } : {}),
    ...(has(hasParent) ? { parent: parentLinkCodec.read(reader) } : {}),
    ...(has(isMirrorCopy) ? { mirrorCopy: mirrorCopyCodec.read(reader) } : {}),
  }
}

/** `undefined` makes it an image like any other. */
export function withMirrorCopy(header: ImageHeader, mirrorCopy: MirrorCopy | undefined): ImageHeader {
  const { mirrorCopy: _, ...others } = header
  const incompatibleFeatures = header.incompatibleFeatures & ~isMirrorCopy
  if (mirrorCopy === undefined) return { ...others, incompatibleFeatures }
  return { ...others, incompatibleFeatures: incompatibleFeatures | isMirrorCopy, mirrorCopy }
}

/**
 * The section stays when the last snapshot goes: who takes one whose id was given earlier must learn that it is too late.
 */
export function withSnapshots(header: ImageHeader, snapshots: SnapshotTable): ImageHeader {
  return { ...header, incompatibleFeatures: header.incompatibleFeatures | hasSnapshots, snapshots }
}

/** Another entry for a snapshot that the header has. */
export function withEntry(header: ImageHeader, entry: ImageSnapshot): ImageHeader {
  const { snapshots } = header
  assert(snapshots !== undefined, 'a snapshot that is changed is in the header')
  const entries = snapshots.entries.map((one) => (one.id === entry.id ? entry : one))
  return withSnapshots(header, { ...snapshots, entries })
}

export const headerKey: Uint8Array = utf8Encode('image')

/** A header and the exact bytes it was read from: the expectation of the next compare-and-set. */
export interface StoredHeader {
  readonly header: ImageHeader
  readonly stored: Uint8Array
}

/** ENOENT when there is no such image, EOPNOTSUPP when it needs features that this version lacks. */
export async function readHeader(
  io: ObjectIo,
  imageId: string,
  guards: readonly ObjectOp[] = [],
): Promise<StoredHeader> {
  const stored = await omapValue(io, headerObjectName(imageId), headerKey, guards)
  if (stored === undefined) throw new ClusterError('ENOENT', `image ${imageId} has no header`)
  const header = decode(headerCodec, stored)
  const unknown = header.incompatibleFeatures & ~knownIncompatibleFeatures
  if (unknown !== 0) {
    throw new ClusterError(
      'EOPNOTSUPP',
      `image ${header.name} uses features 0x${unknown.toString(16)} that this version lacks`,
      {
        hint: 'upgrade this client',
      },
    )
  }
  return { header, stored }
}

/** The steps that create the header object; EEXIST if the id is taken. */
export function createHeaderOps(header: ImageHeader): readonly ObjectOp[] {
  return [
    { kind: 'create', exclusive: true },
    { kind: 'omap-set', entries: [{ key: headerKey, value: encode(headerCodec, header) }] },
  ]
}

/** The steps that replace a header if it is still what was read; [ECANCELED] when somebody else changed it meanwhile. */
export function replaceHeaderOps(current: StoredHeader, header: ImageHeader): readonly ObjectOp[] {
  return [
    { kind: 'compare-omap', key: headerKey, mode: 'equal', value: current.stored },
    { kind: 'omap-set', entries: [{ key: headerKey, value: encode(headerCodec, header) }] },
  ]
}

/** See {@link replaceHeaderOps}. With the code of a guard, if one fails. */
export async function replaceHeader(
  io: ObjectIo,
  current: StoredHeader,
  header: ImageHeader,
  guards: readonly ObjectOp[] = [],
): Promise<StoredHeader> {
  if (current.header.mirrorCopy !== undefined && io.mirrors !== true) throw copyIsReadOnly(current.header)
  await io.execute(headerObjectName(header.id), [...guards, ...replaceHeaderOps(current, header)])
  return { header, stored: encode(headerCodec, header) }
}

const changeAttemptsMax = 8

/**
 * Replaces the header by what `change` makes of it, read anew as often as somebody else was faster; EBUSY when that goes on.
 * `change` may throw to refuse, may look around first (what it saw still holds if the header is what it was), and returns its
 * argument when there is nothing to do. ECANCELED when a guard failed that often.
 */
export async function changeHeader(
  io: ObjectIo,
  imageId: string,
  change: (header: ImageHeader) => ImageHeader | Promise<ImageHeader>,
  guards: readonly ObjectOp[] = [],
): Promise<StoredHeader> {
  for (let attempt = 1; ; attempt++) {
    const current = await readHeader(io, imageId)
    const changed = await change(current.header)
    if (changed === current.header) return current
    try {
      return await replaceHeader(io, current, changed, guards)
    } catch (error) {
      if (!isClusterError(error, 'ECANCELED')) throw error
      if (attempt < changeAttemptsMax) continue
      throw guards.length > 0 ? pauseIsOver(changed, error) : changedMeanwhile(changed, error)
    }
  }
}

function pauseIsOver(header: ImageHeader, cause: unknown): ClusterError {
  return new ClusterError('ECANCELED', `the writers of image ${header.name} had waited too long, and went on`, {
    cause,
    retry: true,
    hint: 'once more; shoal health detail',
  })
}

export function changedMeanwhile({ name }: Pick<ImageHeader, 'name'>, cause?: unknown): ClusterError {
  return new ClusterError('EBUSY', `image ${name} was changed by somebody else meanwhile`, {
    cause,
    retry: true,
    hint: 'look again: shoal block info',
  })
}

export function beingRolledBack({ name }: Pick<ImageHeader, 'name'>): ClusterError {
  return new ClusterError('EBUSY', `image ${name} is being rolled back`, {
    retry: true,
    hint: 'shoal block snap rollback, to the same snapshot, finishes what was interrupted',
  })
}
