/** Makes a new cluster in a directory: its id, key, the monitors' stores with the first maps, and last `cluster.json`. */
import { randomInt, randomUUID } from 'node:crypto'
import { existsSync, statfsSync } from 'node:fs'
import { address, assert, ClusterError } from '@shoal/base'
import { freePort } from './free-port.ts'
import { createKeyring, loadSecurity } from './keyring.ts'
import type { ClusterFile, ClusterLayout, LocalOsd } from './layout.ts'

export interface CreateOptions {
  readonly host: string
  readonly monitors: number
  readonly osds: number
  /** Pretended hosts over which the OSDs are spread; undefined: all are on this machine. */
  readonly hosts: number | undefined
  readonly poolSize: number
  readonly osdCapacityBytes: number | undefined
  /** The stores of all its OSDs. */
  readonly encrypt: boolean
  readonly ms_auth?: string | undefined
  readonly ms_mode?: string | undefined
}

const monitorPortFirst = 16_789
const nbdPort = 10_809
/** Below this a store has no room for its journal and the metadata of a useful number of objects. */
const osdCapacityBytesMin = 1024 ** 3

export async function createCluster(layout: ClusterLayout, options: CreateOptions): Promise<ClusterFile> {
  if (options.monitors % 2 === 0 && options.monitors > 0) {
    process.stderr.write(`note: ${options.monitors} monitors tolerate no more failures than ${options.monitors - 1}\n`)
  }
  if (options.poolSize > options.osds) {
    throw new ClusterError(
      'EINVAL',
      `${options.poolSize} copies need ${options.poolSize} OSDs, there are ${options.osds}`,
      {
        hint: `--osds ${options.poolSize} or --size ${options.osds}`,
      },
    )
  }
  layout.makeDirectories()
  const fsid = randomUUID()
  const monitors: ClusterFile['monitors'][number][] = []
  for (let i = 0; i < options.monitors; i++) {
    const port = await freePort(options.host, monitorPortFirst + i)
    assert(!monitors.some((other) => other.address.endsWith(`:${port}`)), 'each monitor has a port of its own')
    monitors.push({ name: String.fromCharCode(97 + i), address: `${options.host}:${port}` })
  }
  const capacityBytes = options.osdCapacityBytes ?? defaultCapacityBytes(layout.directory, options.osds)
  if (capacityBytes < osdCapacityBytesMin) {
    throw new ClusterError('ENOSPC', `an OSD needs at least 1 GiB, there is room for ${capacityBytes} bytes each`, {
      hint: 'free some space, or choose another directory with --data',
    })
  }
  const cluster: ClusterFile = {
    version: 1,
    fsid,
    monitors,
    osds: Array.from({ length: options.osds }, (_, id) => ({
      id,
      capacityBytes,
      ...(options.encrypt ? { encrypt: true } : {}),
      ...pretendedHost(id, options),
    })),
    nbdAddress: `${options.host}:${await freePort(options.host, nbdPort)}`,
    poolSize: options.poolSize,
    ms_auth: options.ms_auth ?? 'secret',
    ...(options.ms_mode === undefined ? {} : { ms_mode: options.ms_mode }),
  }
  // One that is there already is of an attempt that came no further, or of the operator's choosing.
  if (!existsSync(layout.keyringFile)) createKeyring(layout.keyringFile)
  loadSecurity({ defaultKeyring: layout.keyringFile, settings: cluster })
  await makeMonitorStores(layout, cluster, (options.hosts ?? 1) < options.poolSize ? 'osd' : 'host')
  layout.write(cluster)
  return cluster
}

/** Neighbours by number share a host: of 12 OSDs on 4 hosts, 0 to 2 are on the first. */
function pretendedHost(id: number, { osds, hosts }: CreateOptions): Pick<LocalOsd, 'location'> {
  return hosts === undefined ? {} : { location: { host: `host-${Math.floor((id * hosts) / osds)}` } }
}

/** A fair share of three quarters of what is free, at most 64 GiB: stores are sparse and take only what is written. */
function defaultCapacityBytes(directory: string, osds: number): number {
  const { bavail, bsize } = statfsSync(directory)
  const share = Math.floor((bavail * bsize * 0.75) / Math.max(1, osds))
  return Math.min(64 * 1024 ** 3, share - (share % 1024 ** 2))
}

async function makeMonitorStores(layout: ClusterLayout, cluster: ClusterFile, failureDomain: string): Promise<void> {
  const [{ createRealEnv }, { MonitorDaemon }] = await Promise.all([import('@shoal/runtime'), import('@shoal/monitor')])
  const env = createRealEnv({ name: 'mkfs', logLevel: 'warn' })
  const createdMs = Date.now()
  const monitors = cluster.monitors.map((one) => ({ ...one, id: randomInt(1, 2 ** 47), address: address(one.address) }))
  await Promise.all(
    cluster.monitors.map((monitor) =>
      MonitorDaemon.mkfs(env, layout.dataDirectory(`mon.${monitor.name}`), {
        fsid: cluster.fsid,
        name: monitor.name,
        monitors,
        poolSize: cluster.poolSize,
        createdMs,
        failureDomain,
      }),
    ),
  )
}
