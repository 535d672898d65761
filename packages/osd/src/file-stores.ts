/** The production object store as the OSD opens it. */
import type { Env } from '@shoal/base'
import { FileObjectStore, inspectStore, type MountOptions } from '@shoal/object-store'
import type { ObjectStoreFactory } from './osd-options.ts'
import type { OsdSettings } from './settings.ts'

const mebibyte = 1024 * 1024

/** What of an OSD's 256 MB the store may have beside its caches: waiting writes are what grows with load. */
const memory: MountOptions = {
  pendingBytesMax: 32 * mebibyte,
  dirtyBytesMax: 36 * mebibyte,
}

export const fileObjectStores: ObjectStoreFactory = {
  // The superblock is the last file that `create` makes.
  exists: (env: Env, directory: string) => env.disk.exists(`${directory}/superblock`),
  create: (env: Env, directory: string, sizeBytes: number, storeKey?: Uint8Array) =>
    FileObjectStore.create(env, directory, { sizeBytes, storeKey }),
  encrypted: async (env: Env, directory: string) => (await inspectStore(env, directory)).encrypted,
  /** A journal that lost its tail is a matter for the peers: they have what is missing. */
  mount: (env: Env, directory: string, settings: OsdSettings, storeKey?: Uint8Array) =>
    FileObjectStore.mount({ ...env, log: env.log.child('store') }, directory, {
      ...memory,
      dataCacheBytes: settings.osd_store_data_cache_size,
      metaCacheBytes: settings.osd_store_meta_cache_size,
      onJournalDamage: 'recover',
      storeKey,
    }),
}
