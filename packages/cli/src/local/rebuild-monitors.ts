/**
 * `shoal mon rebuild`: with every monitor's directory lost, new monitors out of what the OSDs kept, and the keyring, if it
 * is lost as well. All daemons are stopped meanwhile. What it rests on: docs/mechanisms/monitor-rebuild.md.
 */
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { address, ClusterError, type Env, equalBytes, isClusterError } from '@shoal/base'
import type { OsdFate, RebuildPlan } from '@shoal/monitor'
import type { OsdArchive } from '@shoal/osd'
import type { KeyBackup } from './key-backup.ts'
import { createKeyring, readKeyring } from './keyring.ts'
import type { ClusterFile, ClusterLayout } from './layout.ts'
import { runningDaemons } from './process-table.ts'

export interface RebuildMonitorsOptions {
  /** Directories of OSDs; those of the cluster's directory when left out. */
  readonly from: readonly string[] | undefined
  /** Set healthy monitors aside, too. */
  readonly force: boolean
  /** Epochs and pool ids that are passed over. */
  readonly margin: number
  /** Of encrypted stores: opens them, and goes back to the monitors. */
  readonly keyBackup: KeyBackup | undefined
}

export interface RebuildReport {
  /** An earlier attempt had all but put its monitors in place. */
  readonly completed: boolean
  readonly monitors: readonly string[]
  /** Where directories of the old monitors are now. */
  readonly moved: readonly string[]
  readonly newestEpoch?: number
  readonly epoch?: number
  readonly pools?: number
  readonly osds?: readonly {
    readonly osd: number
    readonly directory: string
    readonly newestEpoch: number
    readonly fate: OsdFate
  }[]
  readonly missing?: readonly number[]
  readonly unreadable?: readonly { readonly directory: string; readonly error: string }[]
  readonly keyring: 'kept' | 'differs' | 'restored' | 'none'
  /** OSDs whose store key the new monitors have from the backup. */
  readonly storeKeys?: readonly number[]
}

interface Archive extends OsdArchive {
  readonly directory: string
}

const logMax = 1_000

/**
 * Rejects with EBUSY (a daemon runs), EEXIST (a monitor is healthy), EACCES (stores are encrypted, and no backup of their keys
 * is given), EINVAL (a backup of another cluster), and what `planRebuild` and the directories reject with.
 */
export async function rebuildMonitors(layout: ClusterLayout, options: RebuildMonitorsOptions): Promise<RebuildReport> {
  const cluster = layout.read()
  refuseWhileRunning(layout)
  const { keyBackup } = options
  if (keyBackup !== undefined && keyBackup.fsid !== cluster.fsid) {
    throw new ClusterError('EINVAL', `the backup of keys is of cluster ${keyBackup.fsid}, this one is ${cluster.fsid}`)
  }
  const [{ createRealEnv }, monitor] = await Promise.all([import('@shoal/runtime'), import('@shoal/monitor')])
  const env = createRealEnv({ name: 'rebuild', logLevel: 'error' })
  const staging = layout.dataDirectory('mon.rebuild')
  const monitors = cluster.monitors.map((one) => ({
    name: one.name,
    address: address(one.address),
    directory: layout.dataDirectory(`mon.${one.name}`),
  }))
  const names = monitors.map(({ name }) => `mon.${name}`)
  if (await monitor.rebuildUnderWay(env, staging, cluster.fsid)) {
    const moved = await monitor.placeRebuiltStores(env, { staging, monitors })
    return { completed: true, monitors: names, moved, keyring: existsSync(layout.keyringFile) ? 'kept' : 'none' }
  }
  if (!options.force) {
    for (const { name, directory } of monitors) {
      if ((await monitor.inspectMonitorStore(env, directory)) === 'healthy') throw healthy(name, directory)
    }
  }
  const { archives, unreadable } = await readArchives(env, osdDirectories(layout, cluster, options.from), keyBackup)
  const wallMs = env.clock.wallMs()
  const plan = monitor.planRebuild(archives, { fsid: cluster.fsid, margin: options.margin, wallMs })
  const keyring = restoreKeyring(layout, cluster, archives, plan)
  const storeKeys = await sealedStoreKeys(env, layout, plan, archives, keyBackup)
  const epoch = plan.maps.at(-1)?.epoch ?? 0
  await monitor.stageRebuiltStores(env, {
    staging,
    monitors,
    poolSize: cluster.poolSize,
    fsid: cluster.fsid,
    monitorMapEpoch: epoch,
    state: (map) => monitor.rebuiltState(plan, { monitors: map, wallMs, logMax, configKeys: storeKeys.sealed }),
  })
  const moved = await monitor.placeRebuiltStores(env, { staging, monitors })
  const directories = new Map(archives.map(({ osd, directory }) => [osd, directory]))
  return {
    completed: false,
    monitors: names,
    moved,
    newestEpoch: plan.newestEpoch,
    epoch,
    pools: plan.maps.at(-1)?.pools.size ?? 0,
    osds: plan.sources.map((source) => ({ ...source, directory: directories.get(source.osd) ?? '' })),
    missing: plan.missing,
    unreadable,
    keyring,
    storeKeys: storeKeys.osds,
  }
}

function refuseWhileRunning(layout: ClusterLayout): void {
  const running = runningDaemons(layout).map(({ name }) => name)
  if (running.length === 0) return
  throw new ClusterError('EBUSY', `${running.join(', ')} still ${running.length === 1 ? 'runs' : 'run'}`, {
    hint: 'stop the whole cluster first: shoal down',
  })
}

function healthy(name: string, directory: string): ClusterError {
  return new ClusterError('EEXIST', `mon.${name} is whole: ${directory}`, {
    hint: 'start it, remove the lost ones with `shoal mon remove` and add new ones; --force sets it aside, and what only it knows is lost',
  })
}

function osdDirectories(layout: ClusterLayout, cluster: ClusterFile, from: readonly string[] | undefined): string[] {
  if (from !== undefined && from.length > 0) return from.map((directory) => resolve(directory))
  return cluster.osds.map(({ id }) => layout.dataDirectory(`osd.${id}`)).filter((directory) => existsSync(directory))
}

/**
 * One damaged directory of many does not stand in the way, nor one whose key the backup has not. That an OSD is in use
 * does; and that no backup is given for an encrypted one: its key would be missing when it starts.
 */
async function readArchives(env: Env, directories: readonly string[], keyBackup: KeyBackup | undefined) {
  const { readOsdArchive } = await import('@shoal/osd')
  const storeKey = (uuid: string): Uint8Array | undefined => keyBackup?.keys.get(uuid)
  const archives: Archive[] = []
  const unreadable: { directory: string; error: string }[] = []
  let first: ClusterError | undefined
  for (const directory of directories) {
    try {
      archives.push({ ...(await readOsdArchive(env, directory, { storeKey })), directory })
    } catch (error) {
      if (!isClusterError(error) || error.code === 'EBUSY') throw error
      if (error.code === 'EACCES' && keyBackup === undefined) throw error
      first ??= error
      unreadable.push({ directory, error: error.message })
    }
  }
  if (archives.length === 0 && first !== undefined) throw first
  return { archives, unreadable }
}

/** Keys of the backup as monitors keep them, of OSDs that may come back: not of those that an operator removed. */
async function sealedStoreKeys(
  env: Env,
  layout: ClusterLayout,
  plan: RebuildPlan,
  archives: readonly Archive[],
  keyBackup: KeyBackup | undefined,
): Promise<{ readonly sealed: ReadonlyMap<string, string>; readonly osds: readonly number[] }> {
  const sealed = new Map<string, string>()
  const osds: number[] = []
  if (keyBackup === undefined) return { sealed, osds }
  const { sealStoreKey, storeKeyName } = await import('@shoal/osd')
  const secret = readKeyring(layout.keyringFile)
  const uuids = new Map([...(plan.maps.at(-1)?.osds.values() ?? [])].map(({ id, uuid }) => [uuid, id]))
  const preparing = new Set(plan.sources.filter(({ fate }) => fate === 'preparing').map(({ osd }) => osd))
  for (const { osd, uuid } of archives) if (preparing.has(osd)) uuids.set(uuid, osd)
  for (const [uuid, storeKey] of keyBackup.keys) {
    const osd = uuids.get(uuid)
    if (osd === undefined) continue
    sealed.set(storeKeyName(uuid), sealStoreKey(env.random, secret, uuid, storeKey))
    osds.push(osd)
  }
  return { sealed, osds: osds.sort((a, b) => a - b) }
}

/** The OSD with the newest map ran last, so its copy is the key that was in use. */
function restoreKeyring(
  layout: ClusterLayout,
  cluster: ClusterFile,
  archives: readonly Archive[],
  plan: RebuildPlan,
): RebuildReport['keyring'] {
  const newestOf = new Map(plan.sources.map(({ osd, newestEpoch }) => [osd, newestEpoch]))
  const [copy] = archives
    .filter(({ key }) => key !== undefined)
    .sort((a, b) => (newestOf.get(b.osd) ?? 0) - (newestOf.get(a.osd) ?? 0))
  if (existsSync(layout.keyringFile)) {
    const same = copy?.key === undefined || equalBytes(copy.key, readKeyring(layout.keyringFile))
    return same ? 'kept' : 'differs'
  }
  if (copy?.key !== undefined) {
    createKeyring(layout.keyringFile, copy.key)
    return 'restored'
  }
  if (cluster.ms_auth?.includes('secret') !== true) return 'none'
  throw new ClusterError('ENOENT', `${layout.keyringFile} is lost, and no OSD has a copy of it`, {
    hint: 'restore it from a backup, or make a new one: shoal auth create',
  })
}
