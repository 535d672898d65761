/**
 * The reads that a placement group asks for besides clients' own: the state of an object before a write, a piece of an
 * object for another copy, a page of its listing. All store reads of one request start in the same turn, so that they see
 * one state of the object.
 */
import { emptyBytes, isClusterError, type PgId } from '@shoal/base'
import type { ObjectStore } from '@shoal/object-store'
import { type LoadRequest, type ObjectPiece, type ObjectState, objectAttributeName } from '@shoal/placement-group'
import type { ObjectId, OmapEntry } from '@shoal/wire'

const noXattrs: ReadonlyMap<string, Uint8Array> = new Map()
const missing: ObjectState = { exists: false, sizeBytes: 0, xattrs: noXattrs, omap: [], extents: [] }
const noEntries: readonly OmapEntry[] = []

/** Rejects with the store's errors, ECHECKSUM among them. */
export async function loadObject(store: ObjectStore, collection: PgId, request: LoadRequest): Promise<ObjectState> {
  const { object, omapKeys, extents } = request
  try {
    const [stat, xattrs, omap, data] = await Promise.all([
      store.stat(collection, object),
      store.xattrs(collection, object),
      omapKeys.length === 0 ? noEntries : store.omapGet(collection, object, omapKeys),
      Promise.all(extents.map((extent) => store.read(collection, object, extent.offset, extent.length))),
    ])
    if (stat === undefined) return { ...missing, extents: extents.map(() => emptyBytes) }
    return { exists: true, sizeBytes: stat.sizeBytes, xattrs, omap, extents: data }
  } catch (error) {
    if (!isClusterError(error, 'ENOENT')) throw error
    return { ...missing, extents: extents.map(() => emptyBytes) }
  }
}

export interface PieceRequest {
  readonly object: ObjectId
  readonly offset: number
  readonly lengthMax: number
  readonly omapAfter: Uint8Array | undefined
  readonly omapEntriesMax: number
}

/** Undefined when the object does not exist. */
export async function readPiece(
  store: ObjectStore,
  collection: PgId,
  request: PieceRequest,
): Promise<ObjectPiece | undefined> {
  const { object, offset, lengthMax, omapAfter, omapEntriesMax } = request
  const page = { after: omapAfter, prefix: emptyBytes, limit: omapEntriesMax }
  const stat = await store.stat(collection, object)
  if (stat === undefined) return undefined
  const [xattrs, omapHeader, extents, omap] = await Promise.all([
    store.xattrs(collection, object),
    store.omapHeader(collection, object),
    store.extents(collection, object, offset, lengthMax),
    store.omapEntries(collection, object, page),
  ])
  const chunks = await Promise.all(
    extents.map(async (extent) => ({
      offset: extent.offset,
      data: await store.read(collection, object, extent.offset, extent.length),
    })),
  )
  const nextOffset = Math.min(stat.sizeBytes, offset + lengthMax)
  return {
    sizeBytes: stat.sizeBytes,
    xattrs,
    omapHeader,
    extents: chunks.filter((chunk) => chunk.data.length > 0),
    nextOffset,
    dataDone: nextOffset >= stat.sizeBytes,
    omap: omap.entries,
    omapDone: !omap.more,
  }
}

export interface ScannedObject {
  readonly object: ObjectId
  readonly attribute: Uint8Array | undefined
}

/** A page of the collection with each object's version attribute. */
export async function scanObjects(
  store: ObjectStore,
  collection: PgId,
  after: ObjectId | undefined,
  limit: number,
): Promise<{ readonly objects: readonly ScannedObject[]; readonly more: boolean }> {
  const page = await store.list(collection, after, limit)
  const objects = await Promise.all(
    page.objects.map(async (object) => {
      try {
        return { object, attribute: (await store.xattrs(collection, object)).get(objectAttributeName) }
      } catch (error) {
        // Removed between the listing and now.
        if (isClusterError(error, 'ENOENT')) return undefined
        // Its attributes are damaged: whoever wants it will find out, and have it mended.
        if (isClusterError(error, 'ECHECKSUM')) return { object, attribute: undefined }
        throw error
      }
    }),
  )
  return { objects: objects.filter((each) => each !== undefined), more: page.more }
}
