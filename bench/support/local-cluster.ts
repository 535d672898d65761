/** What the benches on real processes share: a cluster of this machine in a temporary directory, and what /proc says of it. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Address } from '../../packages/base/src/index.ts'
import { loadSecurity } from '../../packages/cli/src/local/keyring.ts'
import { ClusterLayout } from '../../packages/cli/src/local/layout.ts'
import { ClusterClient } from '../../packages/client/src/index.ts'
import { GrpcMonitorClient } from '../../packages/monitor-client/src/index.ts'
import { createRealEnv } from '../../packages/runtime/src/index.ts'

const root = new URL('../../', import.meta.url).pathname
export const shoalCommand = join(root, 'scripts', 'shoal')
const startTimeoutMs = 120_000
const clockTicksPerSecond = 100

export interface DaemonRow {
  readonly name: string
  readonly kind: 'mon' | 'osd' | 'nbd'
  readonly pid: number
  readonly address: string
}

export function argument(name: string): string | undefined {
  const at = process.argv.indexOf(name)
  return at < 0 ? undefined : process.argv[at + 1]
}

export function round(value: number, digits: number): number {
  return Number(value.toFixed(digits))
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** Prints the results, and keeps them in results/NAME.json where `--record` is given. */
export function report(name: string, what: Readonly<Record<string, unknown>>, results: readonly object[]): void {
  console.table(results)
  if (!process.argv.includes('--record')) return
  const machine = { cpu: cpus()[0]?.model ?? 'unknown', cores: cpus().length, node: process.version }
  const text = JSON.stringify({ machine, ...what, results }, undefined, 2)
  writeFileSync(new URL(`../results/${name}.json`, import.meta.url), `${text}\n`)
}

export function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / clockTicksPerSecond
}

export function rssMb(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024
}

export class LocalCluster {
  readonly directory: string
  private readonly isOurs: boolean
  private child: ChildProcess | undefined

  private constructor(directory: string, isOurs: boolean) {
    this.directory = directory
    this.isOurs = isOurs
  }

  /** Not started; `remove` it in the end. */
  static temporary(): LocalCluster {
    return new LocalCluster(mkdtempSync(join(tmpdir(), 'shoal-bench-')), true)
  }

  /** One that runs already, and goes on. */
  static running(directory: string): LocalCluster {
    return new LocalCluster(directory, false)
  }

  /** The process that supervises the daemons. */
  get supervisor(): number {
    const run = JSON.parse(readFileSync(join(this.directory, 'run', 'up.json'), 'utf8')) as { readonly pid: number }
    return run.pid
  }

  /** Starts it as a user would; resolves once it says HEALTH_OK, with the time that took. */
  start(command: readonly string[] = [process.execPath, shoalCommand, 'up'], osdCapacity = '4G'): Promise<number> {
    const [program = '', ...words] = command
    const startedMs = performance.now()
    return new Promise((resolve, reject) => {
      const child = spawn(program, [...words, '--data', this.directory, '--osd-capacity', osdCapacity], {
        cwd: root,
        // A process group of its own, as a terminal makes one.
        detached: true,
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      this.child = child
      const said: string[] = []
      const fail = (how: string): void => reject(new Error(`the cluster ${how}:\n${said.join('')}`))
      const timer = setTimeout(() => fail('is not healthy in time'), startTimeoutMs)
      const onText = (chunk: Buffer): void => {
        said.push(chunk.toString())
        if (!chunk.toString().includes('HEALTH_OK')) return
        clearTimeout(timer)
        resolve(performance.now() - startedMs)
      }
      child.stdout.on('data', onText)
      child.stderr.on('data', (chunk: Buffer) => said.push(chunk.toString()))
      child.on('exit', () => fail('ended before it was healthy'))
    })
  }

  /** Ctrl-C. */
  async stop(): Promise<void> {
    const { child } = this
    this.child = undefined
    if (child?.pid === undefined || child.exitCode !== null) return
    const ended = new Promise((resolve) => child.once('exit', resolve))
    process.kill(-child.pid, 'SIGINT')
    await ended
  }

  async remove(): Promise<void> {
    await this.stop()
    if (this.isOurs) rmSync(this.directory, { recursive: true, force: true })
  }

  shoal(...words: readonly string[]): Promise<string> {
    return new Promise((resolve, reject) => {
      const command = [shoalCommand, '--data', this.directory, '--format', 'json', ...words]
      execFile(process.execPath, command, { maxBuffer: 64 * 1024 * 1024 }, (error, stdout) =>
        error === null ? resolve(stdout) : reject(new Error(`shoal ${words.join(' ')}: ${stdout}`, { cause: error })),
      )
    })
  }

  async json<T>(...words: readonly string[]): Promise<T> {
    return JSON.parse(await this.shoal(...words)) as T
  }

  daemons(): Promise<readonly DaemonRow[]> {
    return this.json<readonly DaemonRow[]>('daemon', 'ls')
  }

  async daemon(name: string): Promise<DaemonRow> {
    const found = (await this.daemons()).find((one) => one.name === name)
    if (found === undefined) throw new Error(`there is no ${name}`)
    return found
  }

  /** The supervisor leaves it alone when it ends, until `daemon start`. */
  keepStopped(name: string): void {
    writeFileSync(join(this.directory, 'run', `${name}.stopped`), '')
  }

  async untilHealthy(timeoutMs: number = startTimeoutMs): Promise<void> {
    for (const deadlineMs = performance.now() + timeoutMs; performance.now() < deadlineMs; await pause(100)) {
      const health = await this.json<{ readonly status: string }>('health').catch(() => undefined)
      if (health?.status === 'HEALTH_OK') return
    }
    throw new Error('not healthy in time')
  }

  async connect(): Promise<{ readonly monitor: GrpcMonitorClient; readonly client: ClusterClient }> {
    const env = createRealEnv({ name: 'bench', logLevel: 'error' })
    const monitors = (await this.daemons()).filter((row) => row.kind === 'mon').map((row) => row.address as Address)
    const monitor = new GrpcMonitorClient(env, { monitors })
    await monitor.start()
    const layout = new ClusterLayout(this.directory)
    const security = loadSecurity({ defaultKeyring: layout.keyringFile, settings: layout.read() })
    return { monitor, client: await ClusterClient.connect(env, { monitor, security }) }
  }
}
