/**
 * What the directory of a stopped OSD tells about its cluster: the maps that it kept, the key, and which pools it has
 * placement groups of. The source of a rebuilt monitor store, as Ceph's `ceph-objectstore-tool --op update-mon-db`.
 */
import { ClusterError, type Env, type Epoch, type OsdId, type PoolId, pgPool } from '@shoal/base'
import type { OsdMap } from '@shoal/cluster-map'
import { fileObjectStores } from './file-stores.ts'
import { readKeyCopy } from './key-copy.ts'
import { MapStore } from './map-store.ts'
import type { ObjectStoreFactory } from './osd-options.ts'
import { defaultOsdSettings } from './settings.ts'
import { metaCollection, readSuperblock, storeDirectory } from './superblock.ts'

export interface OsdArchive {
  readonly osd: OsdId
  readonly uuid: string
  readonly fsid: string
  /** False: it was never registered for certain, and registers itself when it starts. */
  readonly ready: boolean
  /** Oldest first, with gaps where the OSD was away for long; empty for one that never saw a map. */
  readonly maps: readonly OsdMap[]
  /** Pools that it has placement groups of. */
  readonly pools: readonly PoolId[]
  /** Undefined, too, when its copy is damaged. */
  readonly key: Uint8Array | undefined
}

export interface OsdArchiveOptions {
  /** The key of an encrypted store, 32 bytes, by the uuid of its OSD; undefined: there is none. */
  readonly storeKey?: ((uuid: string) => Uint8Array | undefined) | undefined
  readonly stores?: ObjectStoreFactory
}

/**
 * Mounts the store, reads, and closes it: nothing of it changes but what every mount does (a journal is replayed).
 * Rejects with ENOENT (no OSD's directory), EBUSY (its daemon runs), EACCES (encrypted, and its key is missing or wrong),
 * EIO or EBADMSG (damaged).
 */
export async function readOsdArchive(
  env: Env,
  directory: string,
  { storeKey, stores = fileObjectStores }: OsdArchiveOptions = {},
): Promise<OsdArchive> {
  const superblock = await readSuperblock(env.disk, directory)
  if (superblock === undefined) {
    throw new ClusterError('ENOENT', `${directory} is no OSD's directory`, { hint: 'it has no file `superblock`' })
  }
  const { whoami: osd, uuid, fsid } = superblock
  const ready = superblock.state === 'ready'
  const empty: OsdArchive = { osd, uuid, fsid, ready, maps: [], pools: [], key: undefined }
  const path = storeDirectory(directory)
  if (!ready && !(await stores.exists(env, path))) return empty
  const key = (await stores.encrypted?.(env, path)) === true ? neededKey(osd, storeKey?.(uuid)) : undefined
  const store = await stores.mount(env, path, defaultOsdSettings, key)
  try {
    if (!store.hasCollection(metaCollection)) return empty
    const maps: OsdMap[] = []
    await new MapStore(store, () => Number.POSITIVE_INFINITY, env.log).load(
      0 as Epoch,
      async (map) => void maps.push(map),
    )
    const pools = new Set<PoolId>()
    for (const pgId of store.collections()) if (pgId !== metaCollection) pools.add(pgPool(pgId))
    const copy = await readKeyCopy(store)
    if (copy === 'damaged') env.log.warn('the copy of the key is damaged', { osd })
    return { ...empty, maps, pools: [...pools], key: copy === 'damaged' ? undefined : copy }
  } finally {
    await store.close()
  }
}

function neededKey(osd: OsdId, key: Uint8Array | undefined): Uint8Array {
  if (key !== undefined) return key
  throw new ClusterError('EACCES', `the store of osd.${osd} is encrypted, and its key is not at hand`, {
    hint: 'monitors keep the keys; without them a backup has them, if one was made: --key-backup FILE',
  })
}
