/** The production object store as the OSD opens it. */
import type { Env } from '@shoal/base'
import { FileObjectStore } from '@shoal/object-store'
import type { ObjectStoreFactory } from './osd-options.ts'

export const fileObjectStores: ObjectStoreFactory = {
  // The superblock is the last file that `create` makes.
  exists: (env: Env, directory: string) => env.disk.exists(`${directory}/superblock`),
  create: (env: Env, directory: string, sizeBytes: number) => FileObjectStore.create(env, directory, { sizeBytes }),
  /** A journal that lost its tail is a matter for the peers: they have what is missing. */
  mount: (env: Env, directory: string) => FileObjectStore.mount(env, directory, { onJournalDamage: 'recover' }),
}
