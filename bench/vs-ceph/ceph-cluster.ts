/**
 * A real Ceph of this machine, from Debian's packages: one monitor, one manager and BlueStore OSDs on sparse files, without
 * authentication, made by hand as Ceph's manual deployment page does.
 */
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { run, until } from './command.ts'
import { imageName, poolName, type Rival, type Shape } from './rival.ts'

const startMs = 120_000
const fsid = '6d1f2b1e-9c38-4a55-9d0b-6f0a4a1f7c11'

export interface CephCluster {
  /** `cache`: the client may acknowledge what it has in memory only, as is Ceph's default. */
  rival(cache: boolean): Rival
}

/** `ending` gets what ends it, before anything of it runs. */
export async function startCeph(shape: Shape, ending: (() => Promise<void>)[]): Promise<CephCluster> {
  const directory = mkdtempSync(join(tmpdir(), 'vs-ceph-'))
  const ports = { v1: await freePort(), v2: await freePort() }
  const cluster = new Ceph(directory, shape, `[v2:127.0.0.1:${ports.v2},v1:127.0.0.1:${ports.v1}]`)
  ending.push(() => cluster.stop())
  await cluster.start()
  return cluster
}

class Ceph implements CephCluster {
  private readonly directory: string
  private readonly shape: Shape
  private readonly monitor: string

  constructor(directory: string, shape: Shape, monitor: string) {
    this.directory = directory
    this.shape = shape
    this.monitor = monitor
  }

  rival(cache: boolean): Rival {
    const conf = this.writeConf(cache ? 'cached' : 'uncached', `rbd_cache = ${cache}\n`)
    return {
      name: cache ? 'ceph, its cache on' : 'ceph',
      engine: ['--ioengine=rbd', '--clientname=admin', `--pool=${poolName}`, `--rbdname=${imageName}`],
      env: { CEPH_CONF: conf },
      pids: async () => {
        const osds = Array.from({ length: this.shape.osds }, (_, id) => this.pid(`osd.${id}`))
        return { all: [this.pid('mon.a'), this.pid('mgr.x'), ...osds], osds }
      },
    }
  }

  async start(): Promise<void> {
    const { directory, shape } = this
    for (const name of ['mon', 'mgr', 'run', 'log']) mkdirSync(join(directory, name))
    const conf = this.writeConf('ceph', '')
    const monmap = join(directory, 'monmap')
    await run('monmaptool', ['--create', '--fsid', fsid, '--addv', 'a', this.monitor, monmap])
    await run('ceph-mon', ['-c', conf, '--mkfs', '-i', 'a', '--monmap', monmap])
    await run('ceph-mon', ['-c', conf, '-i', 'a'])
    await run('ceph-mgr', ['-c', conf, '-i', 'x'])
    for (let id = 0; id < shape.osds; id++) await this.startOsd(conf, id)
    await until('all OSDs of Ceph are up', startMs, async () => {
      const stat = JSON.parse(await this.ceph('osd', 'stat', '--format', 'json')) as { readonly num_up_osds: number }
      return stat.num_up_osds === shape.osds
    })
    await this.ceph('osd', 'pool', 'create', poolName, String(shape.pgNum), String(shape.pgNum), '--autoscale-mode=off')
    await this.ceph('osd', 'pool', 'application', 'enable', poolName, 'rbd')
    await until('all PGs of Ceph are clean', startMs, async () => {
      const stat = JSON.parse(await this.ceph('pg', 'stat', '--format', 'json')) as PgStat
      const states = stat.pg_summary.num_pg_by_state
      return states.length > 0 && states.every(({ name }) => name === 'active+clean')
    })
    await run('rbd', ['-c', conf, 'create', '--size', `${shape.imageMib}M`, `${poolName}/${imageName}`])
  }

  async stop(): Promise<void> {
    const names = ['mon.a', 'mgr.x', ...Array.from({ length: this.shape.osds }, (_, id) => `osd.${id}`)]
    for (const name of names) {
      const pid = this.pidIfAny(name)
      if (pid !== undefined) kill(pid, 'SIGKILL')
    }
    await until('Ceph has ended', startMs, async () => names.every((name) => !isAlive(this.pidIfAny(name))))
    rmSync(this.directory, { recursive: true, force: true })
  }

  private async startOsd(conf: string, id: number): Promise<void> {
    const data = join(this.directory, `osd.${id}`)
    mkdirSync(data)
    writeFileSync(join(data, 'block'), '')
    truncateSync(join(data, 'block'), this.shape.osdGib * 1024 ** 3)
    writeFileSync(join(data, 'type'), 'bluestore\n')
    const uuid = `6d1f2b1e-9c38-4a55-9d0b-6f0a4a1f7d${id.toString(16).padStart(2, '0')}`
    await this.ceph('osd', 'new', uuid)
    await run('ceph-osd', ['-c', conf, '-i', String(id), '--mkfs', '--osd-uuid', uuid])
    await run('ceph-osd', ['-c', conf, '-i', String(id)])
  }

  private ceph(...words: readonly string[]): Promise<string> {
    return run('ceph', ['-c', join(this.directory, 'ceph.conf'), '--connect-timeout', '30', ...words])
  }

  private writeConf(name: string, client: string): string {
    const { directory, shape } = this
    const file = join(directory, `${name}.conf`)
    writeFileSync(
      file,
      `[global]
fsid = ${fsid}
mon_host = ${this.monitor}
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
auth_allow_insecure_global_id_reclaim = true
mon_allow_pool_size_one = true
osd_pool_default_size = ${shape.size}
osd_pool_default_min_size = ${Math.max(1, shape.size - 1)}
osd_crush_chooseleaf_type = 0
osd_memory_target = 2147483648
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
run_dir = ${directory}/run
pid_file = ${directory}/run/$type.$id.pid
admin_socket = ${directory}/run/$cluster-$name.$pid.asok
log_file = ${directory}/log/$name.log
mon_data = ${directory}/mon/$id
mgr_data = ${directory}/mgr
osd_data = ${directory}/osd.$id
[client]
pid_file =
${client}`,
    )
    return file
  }

  private pid(name: string): number {
    const pid = this.pidIfAny(name)
    if (pid === undefined) throw new Error(`${name} of Ceph does not run; its log is in ${this.directory}/log`)
    return pid
  }

  private pidIfAny(name: string): number | undefined {
    try {
      return Number(readFileSync(join(this.directory, 'run', `${name}.pid`), 'utf8'))
    } catch {
      return undefined
    }
  }
}

/** Of loopback; somebody may take it before it is used. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

interface PgStat {
  readonly pg_summary: { readonly num_pg_by_state: readonly { readonly name: string }[] }
}

function isAlive(pid: number | undefined): boolean {
  return pid !== undefined && kill(pid, 0)
}

/** False when there is no such process. */
function kill(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(pid, signal)
    return true
  } catch {
    return false
  }
}
