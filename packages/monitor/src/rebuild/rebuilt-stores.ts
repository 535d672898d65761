/**
 * The directories of all new monitors at once, so that a crash leaves none of them or a rest that the next attempt
 * completes.
 *
 *     STAGING/mon.a ...    the new stores
 *     STAGING/complete     all of them are whole and durable; from here on the rebuild goes forward only
 *
 * Durable before what: every new store -> `complete` -> each old directory set aside -> the new one in its place ->
 * STAGING removed. A monitor that was put in place and started meanwhile is harmless to go on beside: those still to come
 * are voters of the same membership with an older state, which its leader brings up to date.
 *
 * Invariant 1: what was in a monitor's directory is renamed, never removed.
 */
import { ClusterError, decode, type Env, encode, isClusterError, string, versioned } from '@shoal/base'
import type { MonitorInfo, MonitorMap } from '@shoal/cluster-map'
import { RaftStore } from '../consensus/raft-store.ts'
import { blankState, consensusDirectory, drawMonitorId, makeStoreWith, readIdentity } from '../daemon/monitor-store.ts'
import type { ClusterState } from '../state/cluster-state.ts'

export interface RebuiltMonitor {
  readonly name: string
  readonly address: MonitorInfo['address']
  readonly directory: string
}

export interface RebuiltStoresOptions {
  /** On the same file system as the monitors' directories. */
  readonly staging: string
  readonly monitors: readonly RebuiltMonitor[]
  readonly poolSize: number
  /** The state with this monitor map in it. */
  readonly state: (monitors: MonitorMap) => ClusterState
  readonly fsid: string
  /** Higher than that of every monitor map before: clients keep the newest that they saw. */
  readonly monitorMapEpoch: number
}

const completeCodec = versioned(1, 1, 'rebuilt monitors', string())
const completeFile = (staging: string): string => `${staging}/complete`

/**
 * `absent`: nothing that a monitor could start with. `damaged`: a store that cannot be read. `healthy`: one that can.
 * Rejects with EBUSY when a monitor runs on it.
 */
export async function inspectMonitorStore(env: Env, directory: string): Promise<'absent' | 'damaged' | 'healthy'> {
  if (!(await env.disk.exists(`${directory}/identity`))) return 'absent'
  if (!(await env.disk.exists(consensusDirectory(directory)))) return 'damaged'
  try {
    const { fsid } = await readIdentity(env, directory)
    const store = await env.keyValue.open(consensusDirectory(directory))
    try {
      const { snapshot } = await new RaftStore(store).load()
      if (snapshot === undefined) return 'damaged'
      blankState(fsid).restore(snapshot.data)
      return 'healthy'
    } finally {
      await store.close()
    }
  } catch (error) {
    if (isClusterError(error, 'EBUSY')) throw error
    env.log.warn('a monitor store cannot be read', { directory, error: String(error) })
    return 'damaged'
  }
}

/** Whether an attempt was cut off after its stores were whole: `placeRebuiltStores` completes it. */
export async function rebuildUnderWay(env: Env, staging: string, fsid: string): Promise<boolean> {
  if (!(await env.disk.exists(completeFile(staging)))) return false
  const of = decode(completeCodec, await env.disk.readFile(completeFile(staging)))
  if (of === fsid) return true
  throw new ClusterError('EINVAL', `${staging} holds monitors of cluster ${of}, not ${fsid}`, {
    hint: 'move it out of the way',
  })
}

/** Makes the new stores in the staging directory, from the beginning. */
export async function stageRebuiltStores(env: Env, options: RebuiltStoresOptions): Promise<void> {
  const { staging, fsid, poolSize, monitorMapEpoch: epoch } = options
  await env.disk.remove(staging)
  const members = options.monitors.map(({ name, address }) => ({ id: drawMonitorId(env.random), name, address }))
  const monitors: MonitorMap = { fsid, epoch, monitors: members }
  const state = options.state(monitors)
  for (const { id, name } of members) {
    await makeStoreWith(env, `${staging}/mon.${name}`, { fsid, name, id, monitors, poolSize }, state)
  }
  await env.disk.writeFileAtomic(completeFile(staging), encode(completeCodec, fsid))
}

/** Puts staged stores in place; repeatable. Returns where it has moved what was there before. */
export async function placeRebuiltStores(
  env: Env,
  { staging, monitors }: Pick<RebuiltStoresOptions, 'staging' | 'monitors'>,
): Promise<readonly string[]> {
  const { disk } = env
  const moved: string[] = []
  for (const { name, directory } of monitors) {
    const staged = `${staging}/mon.${name}`
    if (!(await disk.exists(staged))) continue
    const parent = directory.slice(0, directory.lastIndexOf('/'))
    if (await disk.exists(directory)) {
      const aside = await freeName(env, `${directory}.before-rebuild`)
      await disk.rename(directory, aside)
      moved.push(aside)
    }
    await disk.rename(staged, directory)
    await disk.syncDirectory(parent)
  }
  await disk.remove(staging)
  return moved
}

async function freeName(env: Env, wanted: string): Promise<string> {
  for (let n = 1; ; n++) {
    const name = n === 1 ? wanted : `${wanted}-${n}`
    if (!(await env.disk.exists(name))) return name
  }
}
