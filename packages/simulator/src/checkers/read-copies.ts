/** Reads whole objects for the final comparison: through the client, and from an OSD's store. */
import { isClusterError } from '@shoal/base'
import type { PoolHandle } from '@shoal/client'
import type { ObjectStore } from '@shoal/object-store'
import { type ObjectId, type ObjectOp, type OmapEntry, objectKey } from '@shoal/wire'
import type { FinalObject, ReplicaCopy, StoredCopy } from '../history.ts'

const pageEntries = 512
const pieceBytes = 8 * 1024 * 1024

/** Undefined when there is no such object. Nobody writes it meanwhile. */
export async function readFinalObject(pool: PoolHandle, name: string): Promise<FinalObject | undefined> {
  const one = async (op: ObjectOp) => (await pool.execute(name, [op])).results[0]
  try {
    const { sizeBytes, version } = await pool.stat(name)
    const data = new Uint8Array(sizeBytes)
    for (let at = 0; at < sizeBytes; at += pieceBytes) data.set(await pool.read(name, at, pieceBytes), at)
    const header = await one({ kind: 'omap-get-header' })
    const omap: OmapEntry[] = []
    for await (const entry of pool.omap(name)) omap.push(entry)
    return {
      data,
      xattrs: await pool.xattrs(name),
      omapHeader: header?.kind === 'data' ? header.data : new Uint8Array(0),
      omap,
      version,
    }
  } catch (error) {
    if (isClusterError(error, 'ENOENT')) return undefined
    throw error
  }
}

/** An OSD's copy of a placement group. `isObject` leaves out what the OSD keeps there for itself. */
export async function readReplicaCopy(
  store: ObjectStore,
  pgId: Parameters<ObjectStore['list']>[0],
  osd: number,
  isObject: (object: ObjectId) => boolean = () => true,
): Promise<ReplicaCopy> {
  const objects = new Map<string, StoredCopy>()
  let after: Parameters<ObjectStore['list']>[1]
  for (;;) {
    const page = await store.list(pgId, after, pageEntries)
    for (const object of page.objects) {
      if (isObject(object)) objects.set(objectKey(object), await readStored(store, pgId, object))
    }
    after = page.objects.at(-1)
    if (!page.more || after === undefined) return { pgId, osd, objects }
  }
}

async function readStored(
  store: ObjectStore,
  pgId: Parameters<ObjectStore['list']>[0],
  object: Parameters<ObjectStore['stat']>[1],
): Promise<StoredCopy> {
  const sizeBytes = (await store.stat(pgId, object))?.sizeBytes ?? 0
  const omap: OmapEntry[] = []
  for (let after: Uint8Array | undefined; ; ) {
    const page = await store.omapEntries(pgId, object, { after, prefix: new Uint8Array(0), limit: pageEntries })
    omap.push(...page.entries)
    after = page.entries.at(-1)?.key
    if (!page.more || after === undefined) break
  }
  return {
    data: await store.read(pgId, object, 0, sizeBytes),
    xattrs: new Map(await store.xattrs(pgId, object)),
    omapHeader: await store.omapHeader(pgId, object),
    omap,
  }
}
