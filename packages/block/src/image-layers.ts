/** Opening an image with all that lies under it: a clone, the snapshot that it is a clone of, and so on. */
import { type Clock, ClusterError, isClusterError } from '@shoal/base'
import { Image } from './image.ts'
import { type ImageHeader, poolOf, readHeader, type StoredHeader } from './image-header.ts'
import { type ImageSnapshot, snapshotWithId } from './image-snapshot.ts'
import { readableSnapshot } from './mirror/mirror-copy.ts'
import type { ObjectIo } from './object-io.ts'
import { overlapOf, type ParentLink } from './parent-link.ts'

/** A read may have to ask each of them, and each holds the one below. */
export const layersMax = 16
/** Layers below may go while they are opened, when what is above is flattened. */
const attemptsMax = 4

type OpenClock = Pick<Clock, 'monotonicMs'>

/**
 * ENOENT without the image or the snapshot, ENXIO when a layer below is gone, EOPNOTSUPP when there are more than 16.
 * `pick` chooses the snapshot, undefined for the image as it is.
 */
export async function openImage(
  io: ObjectIo,
  clock: OpenClock,
  imageId: string,
  pick: (header: ImageHeader) => ImageSnapshot | undefined,
  layer = 1,
): Promise<Image> {
  for (let attempt = 1; ; attempt++) {
    const askedMs = clock.monotonicMs()
    const { header } = await readHeader(io, imageId)
    const snapshot = pick(header) ?? readableSnapshot(io, header)
    const { parent: link } = header
    if (link === undefined || overlapOf(header, snapshot) === 0) {
      return new Image(io, clock, header, askedMs, { snapshot })
    }
    if (layer === layersMax) throw tooManyLayers(header.name)
    try {
      const parent = await openParent(io, clock, link, layer + 1)
      return new Image(io, clock, header, askedMs, { snapshot, parent })
    } catch (cause) {
      if (!isClusterError(cause, 'ENOENT')) throw cause
      if (attempt === attemptsMax) throw parentGone(header.name, cause)
    }
  }
}

/** The snapshot that an image is a clone of. */
export function openParent(io: ObjectIo, clock: OpenClock, link: ParentLink, layer = 1): Promise<Image> {
  const pick = (header: ImageHeader): ImageSnapshot => snapshotWithId(header, link.snapId)
  return openImage(poolOf(io, link.poolId), clock, link.imageId, pick, layer)
}

/** How many snapshots lie under an image. */
export async function layersUnder(io: ObjectIo, { header }: StoredHeader, snapshot?: ImageSnapshot): Promise<number> {
  const { parent: link } = header
  if (link === undefined || overlapOf(header, snapshot) === 0) return 0
  const pool = poolOf(io, link.poolId)
  const below = await readHeader(pool, link.imageId)
  return 1 + (await layersUnder(pool, below, snapshotWithId(below.header, link.snapId)))
}

export function tooManyLayers(name: string): ClusterError {
  return new ClusterError('EOPNOTSUPP', `${name} would lie over more than ${layersMax - 1} others`, {
    hint: `shoal block flatten, with it or with one of those below`,
  })
}

function parentGone(name: string, cause: unknown): ClusterError {
  return new ClusterError('ENXIO', `what image ${name} is a clone of is gone`, { cause })
}
