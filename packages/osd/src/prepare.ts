/** From an empty directory to a mounted store that belongs to this OSD (mkfs and mount). Each step may be repeated. */
import { ClusterError, type Disk, type Env } from '@shoal/base'
import type { MonitorClient } from '@shoal/monitor-client'
import { keepKeyCopy } from './key-copy.ts'
import type { OsdDaemonOptions, OsdParts, OsdStore } from './osd-options.ts'
import type { OsdSettings } from './settings.ts'
import { fetchStoreKey, makeStoreKey } from './store-key.ts'
import { claimStore, makeUuid, readSuperblock, type Superblock, storeDirectory, writeSuperblock } from './superblock.ts'

export interface PreparedOsd {
  readonly superblock: Superblock
  readonly store: OsdStore
  /** Made in this run: it has promised nothing to anybody. */
  readonly isNew: boolean
}

/** Rejects with EINVAL (another OSD's directory), EEXIST (the id belongs to another store), EIO (a store that lost data). */
export async function prepareOsd(
  env: Env,
  options: OsdDaemonOptions,
  parts: OsdParts,
  settings: OsdSettings,
): Promise<PreparedOsd> {
  const { id, dataDirectory } = options
  const superblock = await openSuperblock(env, options, parts.monitor)
  if (superblock.whoami !== id) {
    throw new ClusterError('EINVAL', `${dataDirectory} belongs to osd.${superblock.whoami}, not osd.${id}`)
  }
  const fsid = parts.monitor.osdMap?.fsid ?? ''
  if (superblock.fsid !== fsid) {
    throw new ClusterError('EINVAL', `${dataDirectory} belongs to cluster ${superblock.fsid}, not ${fsid}`, {
      hint: 'point the OSD at the monitors of its own cluster',
    })
  }
  const directory = storeDirectory(dataDirectory)
  const isNew = superblock.state === 'preparing'
  const source = { env, monitor: parts.monitor, secret: options.security?.secret }
  let storeKey: Uint8Array | undefined
  if (isNew && !(await parts.stores.exists(env, directory))) {
    if (options.encrypt === true) storeKey = await makeStoreKey(source, superblock.uuid)
    await parts.stores.create(env, directory, options.sizeBytes, storeKey)
  } else if (await parts.stores.encrypted?.(env, directory)) {
    storeKey = await fetchStoreKey(source, superblock.uuid)
  }
  const store = await parts.stores.mount(env, directory, settings, storeKey)
  try {
    await claimStore(store, superblock)
    if (options.security?.secret !== undefined) await keepKeyCopy(store, options.security.secret)
    if (!isNew) return { superblock, store, isNew }
    await parts.monitor.command({ prefix: 'osd new', uuid: superblock.uuid, id })
    const ready: Superblock = { ...superblock, state: 'ready' }
    await writeSuperblock(env.disk, dataDirectory, ready)
    return { superblock: ready, store, isNew }
  } catch (error) {
    await store.close()
    throw error
  }
}

async function openSuperblock(env: Env, options: OsdDaemonOptions, monitor: MonitorClient): Promise<Superblock> {
  const { id, dataDirectory } = options
  const present = await readSuperblock(env.disk, dataDirectory)
  if (present !== undefined) return present
  if (await env.disk.exists(storeDirectory(dataDirectory))) {
    throw new ClusterError('EIO', `${dataDirectory} holds a store but no superblock`, {
      hint: `bring the file back, or remove the directory and run \`shoal osd destroy ${id} --yes-i-really-mean-it\``,
    })
  }
  await makeDurableDirectory(env.disk, dataDirectory)
  const superblock: Superblock = {
    whoami: id,
    uuid: makeUuid(env.random),
    fsid: monitor.osdMap?.fsid ?? '',
    state: 'preparing',
  }
  await writeSuperblock(env.disk, dataDirectory, superblock)
  return superblock
}

/** The directory and those above it that had to be made survive a power cut, too. */
async function makeDurableDirectory(disk: Disk, directory: string): Promise<void> {
  const made: string[] = []
  let at = directory
  while (!(await disk.exists(at))) {
    const parent = at.slice(0, at.lastIndexOf('/')) || '/'
    made.push(parent)
    if (parent === '/' || !at.includes('/')) break
    at = parent
  }
  await disk.makeDirectory(directory)
  for (const parent of made) await disk.syncDirectory(parent)
}
