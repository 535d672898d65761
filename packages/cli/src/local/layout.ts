/**
 * A cluster's directory on this machine: what is in it and where.
 *
 *     DIR/cluster.json     who belongs to the cluster (written once, replaced atomically when it changes)
 *     DIR/keyring          the key that its daemons and clients share; clusters of earlier versions have none
 *     DIR/mon.a, DIR/osd.0 the data of each daemon
 *     DIR/crash/ID         what a daemon left behind that ended by a bug; DIR/crash/posted/ID once the monitors know
 *     DIR/log/NAME.log     what each daemon logged
 *     DIR/run/NAME.json    a running daemon: pid, addresses; NAME.stopped: an operator wants it stopped
 */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ClusterError } from '@shoal/base'
import { z } from 'zod'

export interface LocalOsd {
  readonly id: number
  readonly capacityBytes: number
  /** Its store is encrypted when it is made. */
  readonly encrypt?: boolean | undefined
  /** Where CRUSH has it, by bucket type: `host`, `rack`, ...; this machine's name where nothing is said. */
  readonly location?: Readonly<Record<string, string>> | undefined
}

export interface ClusterFile {
  readonly version: 1
  readonly fsid: string
  readonly monitors: readonly { readonly name: string; readonly address: string }[]
  readonly osds: readonly LocalOsd[]
  readonly nbdAddress: string
  /** Copies of each object in the pools that `up` makes. */
  readonly poolSize: number
  /** How daemons and clients prove themselves (`secret`, `none`) and talk (`crc`, `secure`), in order of preference. */
  readonly ms_auth?: string | undefined
  readonly ms_mode?: string | undefined
}

const clusterSchema: z.ZodType<ClusterFile> = z.object({
  version: z.literal(1),
  fsid: z.string().min(1),
  monitors: z.array(z.object({ name: z.string(), address: z.string() })).min(1),
  osds: z.array(
    z.object({
      id: z.number().int(),
      capacityBytes: z.number().int(),
      encrypt: z.boolean().optional(),
      location: z.record(z.string(), z.string()).optional(),
    }),
  ),
  nbdAddress: z.string(),
  poolSize: z.number().int(),
  ms_auth: z.string().optional(),
  ms_mode: z.string().optional(),
})

export const checkoutRoot: string = resolve(dirname(fileURLToPath(import.meta.url)), '..', '..', '..', '..')

/** The directory that a command without `--data` means: `SHOAL_DATA`, the nearest `.shoal` upwards, the checkout's. */
export function defaultDataDirectory(): string {
  const named = process.env['SHOAL_DATA']
  if (named !== undefined && named !== '') return resolve(named)
  for (let directory = process.cwd(); ; directory = dirname(directory)) {
    const candidate = join(directory, '.shoal')
    if (existsSync(join(candidate, 'cluster.json'))) return candidate
    if (directory === dirname(directory)) return join(checkoutRoot, '.shoal')
  }
}

export class ClusterLayout {
  readonly directory: string

  constructor(directory: string) {
    this.directory = resolve(directory)
  }

  get clusterFile(): string {
    return join(this.directory, 'cluster.json')
  }

  get keyringFile(): string {
    return join(this.directory, 'keyring')
  }

  get crashDirectory(): string {
    return join(this.directory, 'crash')
  }

  get runDirectory(): string {
    return join(this.directory, 'run')
  }

  dataDirectory(daemon: string): string {
    return join(this.directory, daemon)
  }

  logFile(daemon: string): string {
    return join(this.directory, 'log', `${daemon}.log`)
  }

  runFile(daemon: string): string {
    return join(this.runDirectory, `${daemon}.json`)
  }

  /** Present while an operator wants the daemon stopped. */
  stoppedFile(daemon: string): string {
    return join(this.runDirectory, `${daemon}.stopped`)
  }

  exists(): boolean {
    return existsSync(this.clusterFile)
  }

  makeDirectories(): void {
    mkdirSync(this.runDirectory, { recursive: true })
    mkdirSync(join(this.directory, 'log'), { recursive: true })
  }

  read(): ClusterFile {
    let text: string
    try {
      text = readFileSync(this.clusterFile, 'utf8')
    } catch (cause) {
      throw new ClusterError('ENOENT', `there is no cluster in ${this.directory}`, {
        cause,
        hint: 'run `npm start` (or `shoal up`), or name the cluster with --data DIR or --monitors HOST:PORT,...',
      })
    }
    try {
      return clusterSchema.parse(JSON.parse(text))
    } catch (cause) {
      throw new ClusterError('EINVAL', `${this.clusterFile} is not a cluster description: ${String(cause)}`, {
        cause,
        hint: 'restore it from a backup; it holds the cluster id and the addresses of the monitors',
      })
    }
  }

  write(cluster: ClusterFile): void {
    const temporary = `${this.clusterFile}.new`
    writeFileSync(temporary, `${JSON.stringify(cluster, undefined, 2)}\n`, { flush: true })
    renameSync(temporary, this.clusterFile)
  }
}
