/**
 * What a monitor's directory holds: `identity` (who it is, and the monitors it knew when it was made) and `consensus/`
 * (log, votes, snapshot). Byte tables: docs/formats/monitor-store.md.
 *
 * `identity` is written last: a directory without it was never finished and may be made again.
 */
import { ClusterError, type Codec, decode, type Env, encode, string, struct, u32, u64, versioned } from '@shoal/base'
import { createOsdMap, type MonitorInfo, type MonitorMap, monitorMapCodec, type OsdMap } from '@shoal/cluster-map'
import { type CrushMap, createReplicatedRule, emptyCrushMap } from '@shoal/crush'
import { ConsensusDriver } from '../consensus/consensus-driver.ts'
import { ClusterState } from '../state/cluster-state.ts'
import { OsdMapHistory } from '../state/osd-map-history.ts'

export interface MonitorIdentity {
  readonly fsid: string
  readonly name: string
  readonly id: number
  /** The monitors as they were when this store was made, itself among them: whom to talk to until the state is known. */
  readonly monitors: MonitorMap
  /** Default size of new pools. */
  readonly poolSize: number
}

const identityCodec: Codec<MonitorIdentity> = versioned(
  1,
  1,
  'monitor identity',
  struct<MonitorIdentity>({ fsid: string(), name: string(), id: u64(), monitors: monitorMapCodec, poolSize: u32() }),
)

export interface MkfsOptions {
  readonly fsid: string
  readonly name: string
  /** The founding monitors; the same list, in the same order, for each of them. */
  readonly monitors: readonly MonitorInfo[]
  /** Default size of new pools; 3 if left out. */
  readonly poolSize?: number
  /** The CRUSH type of which no two copies share one, for the first rule; `host` if left out. */
  readonly failureDomain?: string
  /** The same on all founding monitors; 0 if left out. */
  readonly createdMs?: number
  /** Replaces the initial CRUSH map. */
  readonly crush?: CrushMap
}

export const consensusDirectory = (directory: string): string => `${directory}/consensus`
const identityFile = (directory: string): string => `${directory}/identity`

/** A new id for a voter: never used before, or the votes of another store would count for it. */
export function drawMonitorId(random: Env['random']): number {
  return (random.uint53() % 2 ** 47) + 1
}

/** Makes the store of a founding monitor. Rejects with EEXIST when the directory holds one already. */
export async function makeMonitorStore(env: Env, directory: string, options: MkfsOptions): Promise<void> {
  const self = options.monitors.find((monitor) => monitor.name === options.name)
  if (self === undefined) {
    throw new ClusterError('EINVAL', `mon.${options.name} is not among the monitors of the new cluster`)
  }
  const monitors: MonitorMap = { fsid: options.fsid, epoch: 1, monitors: options.monitors }
  const { fsid, name, poolSize = 3 } = options
  const identity: MonitorIdentity = { fsid, name, id: self.id, monitors, poolSize }
  await makeStoreWith(env, directory, identity, ClusterState.initial(monitors, initialOsdMap(options)))
}

/**
 * Makes a store that begins with this state, as one of the monitors of `identity.monitors`, all of which begin with the
 * same. Rejects with EEXIST when the directory holds a monitor already.
 */
export async function makeStoreWith(
  env: Env,
  directory: string,
  identity: MonitorIdentity,
  state: ClusterState,
): Promise<void> {
  await emptyDirectory(env, directory)
  const voters = identity.monitors.monitors.map((monitor) => monitor.id).sort((a, b) => a - b)
  await ConsensusDriver.initialize(env, consensusDirectory(directory), { voters, learners: [] }, state.snapshot())
  await writeIdentity(env, directory, identity)
}

/** Makes an empty store of a monitor that joins a running cluster: the leader fills it. */
export async function makeJoiningStore(env: Env, directory: string, identity: MonitorIdentity): Promise<void> {
  await emptyDirectory(env, directory)
  await writeIdentity(env, directory, identity)
}

/** Rejects with ENOENT when the directory was never made a monitor's. */
export async function readIdentity(env: Env, directory: string): Promise<MonitorIdentity> {
  if (!(await env.disk.exists(identityFile(directory)))) {
    throw new ClusterError('ENOENT', `${directory} is no monitor's directory`, {
      hint: '`shoal mon add` joins a running cluster; if every monitor is lost, `shoal mon rebuild` makes all from the OSDs',
    })
  }
  return decode(identityCodec, await env.disk.readFile(identityFile(directory)))
}

async function writeIdentity(env: Env, directory: string, identity: MonitorIdentity): Promise<void> {
  await env.disk.writeFileAtomic(identityFile(directory), encode(identityCodec, identity))
}

async function emptyDirectory(env: Env, directory: string): Promise<void> {
  if (await env.disk.exists(identityFile(directory))) {
    throw new ClusterError('EEXIST', `${directory} holds a monitor already`, {
      hint: 'remove the directory if its data may go',
    })
  }
  await makeDurableDirectory(env, directory)
  await env.disk.remove(consensusDirectory(directory))
}

/** With parents. The names of all that are new outlive a power cut, as what is in them will. */
async function makeDurableDirectory(env: Env, directory: string): Promise<void> {
  const grown: string[] = []
  for (let path = directory; !(await env.disk.exists(path)); path = parentOf(path)) grown.unshift(parentOf(path))
  await env.disk.makeDirectory(directory)
  for (const parent of grown) await env.disk.syncDirectory(parent)
}

function parentOf(path: string): string {
  const slash = path.lastIndexOf('/')
  if (slash < 0) return '.'
  return slash === 0 ? '/' : path.slice(0, slash)
}

/** Epoch 1: no OSDs, no pools, a root and one rule. */
export function initialOsdMap(options: Pick<MkfsOptions, 'fsid' | 'createdMs' | 'crush' | 'failureDomain'>): OsdMap {
  const crush =
    options.crush ??
    createReplicatedRule(emptyCrushMap(), {
      name: 'replicated_rule',
      root: 'default',
      failureDomain: options.failureDomain ?? 'host',
    })
  return { ...createOsdMap(options.fsid, crush, options.createdMs ?? 0), epoch: 1 as OsdMap['epoch'] }
}

/** What a monitor holds that has not been told anything. */
export function blankState(fsid: string): ClusterState {
  const nobody: MonitorMap = { fsid, epoch: 0, monitors: [] }
  return new ClusterState(nobody, new OsdMapHistory(createOsdMap(fsid, emptyCrushMap(), 0)), undefined)
}
