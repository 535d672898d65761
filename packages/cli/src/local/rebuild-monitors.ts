/**
 * `shoal mon rebuild`: with every monitor's directory lost, new monitors out of what the OSDs kept, and the keyring, if it
 * is lost as well. All daemons are stopped meanwhile. What it rests on: docs/mechanisms/monitor-rebuild.md.
 */
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { address, ClusterError, type Env, equalBytes, isClusterError } from '@shoal/base'
import type { OsdFate, RebuildPlan } from '@shoal/monitor'
import type { OsdArchive } from '@shoal/osd'
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
}

interface Archive extends OsdArchive {
  readonly directory: string
}

const logMax = 1_000

/** Rejects with EBUSY (a daemon runs), EEXIST (a monitor is healthy), and what `planRebuild` and the directories reject with. */
export async function rebuildMonitors(layout: ClusterLayout, options: RebuildMonitorsOptions): Promise<RebuildReport> {
  const cluster = layout.read()
  refuseWhileRunning(layout)
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
  const { archives, unreadable } = await readArchives(env, osdDirectories(layout, cluster, options.from))
  const wallMs = env.clock.wallMs()
  const plan = monitor.planRebuild(archives, { fsid: cluster.fsid, margin: options.margin, wallMs })
  const keyring = restoreKeyring(layout, cluster, archives, plan)
  const epoch = plan.maps.at(-1)?.epoch ?? 0
  await monitor.stageRebuiltStores(env, {
    staging,
    monitors,
    poolSize: cluster.poolSize,
    fsid: cluster.fsid,
    monitorMapEpoch: epoch,
    state: (map) => monitor.rebuiltState(plan, map, wallMs, logMax),
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

/** One damaged directory of many does not stand in the way; that an OSD is in use does. */
async function readArchives(env: Env, directories: readonly string[]) {
  const { readOsdArchive } = await import('@shoal/osd')
  const archives: Archive[] = []
  const unreadable: { directory: string; error: string }[] = []
  for (const directory of directories) {
    try {
      archives.push({ ...(await readOsdArchive(env, directory)), directory })
    } catch (error) {
      if (!isClusterError(error) || error.code === 'EBUSY') throw error
      unreadable.push({ directory, error: error.message })
    }
  }
  return { archives, unreadable }
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
