/** A real cluster for a test: processes of the built checkout on free ports, in a directory of its own. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export const shoal = join(import.meta.dirname, '..', '..', '..', '..', 'scripts', 'shoal')

export interface Outcome {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export interface DaemonRow {
  readonly name: string
  readonly kind: 'mon' | 'osd' | 'nbd'
  readonly state: 'running' | 'starting' | 'stopped'
  readonly pid: number
  readonly address: string
  readonly adminAddress: string
  readonly dataDirectory: string
}

export interface Health {
  readonly status: string
  readonly checks: readonly { readonly code: string; readonly summary: string }[]
}

const healthyTimeoutMs = 90_000

export function sha(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

export class TestCluster {
  readonly directory: string
  private readonly options: readonly string[]
  private up: ChildProcess | undefined
  private output = ''
  private files = 0

  private constructor(directory: string, options: readonly string[]) {
    this.directory = directory
    this.options = options
  }

  /** Started and healthy. Always `destroy` it. */
  static async create(options: readonly string[] = []): Promise<TestCluster> {
    const cluster = new TestCluster(await mkdtemp(join(tmpdir(), 'shoal-e2e-')), options)
    try {
      await cluster.start()
      return cluster
    } catch (error) {
      await cluster.destroy()
      throw error
    }
  }

  /** Resolves once the cluster answers, well or not: one that is full is not. */
  async startUnhealthy(): Promise<void> {
    const started = this.start()
    const ended = started.then(
      () => undefined,
      (error: unknown) => error,
    )
    await this.until('the cluster answers', async () => {
      const { code, stdout } = await this.run('--format', 'json', '--timeout', '5', 'status')
      if (code !== 0) return false
      const { osdMap, pgMap } = JSON.parse(stdout) as {
        osdMap: { osds: number; up: number }
        pgMap: { states: readonly { state: string }[] }
      }
      return osdMap.up === osdMap.osds && pgMap.states.every(({ state }) => state === 'active+clean')
    })
    // It may wait for its health as long as it likes.
    void ended
  }

  /** `options` in place of those of `create`. */
  async start(options: readonly string[] = this.options): Promise<void> {
    this.output = ''
    const up = spawn(process.execPath, [shoal, 'up', '--data', this.directory, '--osd-capacity', '4G', ...options], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.up = up
    const healthy = new Promise<void>((resolve, reject) => {
      const onText = (text: Buffer): void => {
        this.output += text.toString()
        if (this.output.includes('HEALTH_OK')) resolve()
      }
      up.stdout?.on('data', onText)
      up.stderr?.on('data', onText)
      up.once('exit', (code) => reject(new Error(`shoal up ended with ${code}:\n${this.output}`)))
      setTimeout(() => reject(new Error(`not healthy in time:\n${this.output}`)), healthyTimeoutMs).unref()
    })
    await healthy
  }

  /** Ctrl-C: a clean end of every process. */
  async stop(): Promise<void> {
    const up = this.up
    if (up === undefined || up.exitCode !== null) return
    up.kill('SIGINT')
    await once(up, 'exit')
  }

  /** What a power cut does to processes: every one of them is killed at the same time. */
  async powerCut(): Promise<void> {
    const daemons = await this.daemons()
    const ended = once(this.up as ChildProcess, 'exit')
    this.up?.kill('SIGKILL')
    for (const { pid, state } of daemons) if (state !== 'stopped') process.kill(pid, 'SIGKILL')
    await ended
  }

  /** Ends every process by its pid and removes the directory. */
  async destroy(): Promise<void> {
    this.up?.kill('SIGKILL')
    const daemons = await this.daemons().catch(() => [])
    for (const { pid, state } of daemons) {
      if (state === 'stopped') continue
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // It ended by itself meanwhile.
      }
    }
    await rm(this.directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
  }

  run(...args: readonly string[]): Promise<Outcome> {
    return new Promise((resolve) => {
      execFile(
        process.execPath,
        [shoal, '--data', this.directory, ...args],
        { maxBuffer: 64 * 1024 * 1024 },
        (error, stdout, stderr) => resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr }),
      )
    })
  }

  /** Output of a command that must succeed. */
  async ok(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(...args)
    if (code !== 0) throw new Error(`shoal ${args.join(' ')} ended with ${code}: ${stderr}${stdout}`)
    return stdout
  }

  async json<T>(...args: readonly string[]): Promise<T> {
    return JSON.parse(await this.ok('--format', 'json', ...args)) as T
  }

  /** Stores an object by the command, in pool `objects` unless options say otherwise; the hash of its bytes. */
  async put(name: string, bytes: Uint8Array, ...options: readonly string[]): Promise<string> {
    await this.withFile(bytes, (file) => this.ok('object', 'put', name, file, ...options))
    return sha(bytes)
  }

  /** The same, for a write that may be refused. */
  tryPut(name: string, bytes: Uint8Array, ...options: readonly string[]): Promise<Outcome> {
    return this.withFile(bytes, (file) => this.run('object', 'put', name, file, ...options))
  }

  /** Reads an object by the command; the hash of its bytes. */
  hashOf(name: string, ...options: readonly string[]): Promise<string> {
    return this.withFile(undefined, async (file) => {
      await this.ok('object', 'get', name, file, ...options)
      return sha(await readFile(file))
    })
  }

  private async withFile<T>(bytes: Uint8Array | undefined, use: (file: string) => Promise<T>): Promise<T> {
    const file = join(this.directory, `object-${++this.files}.tmp`)
    if (bytes !== undefined) await writeFile(file, bytes)
    try {
      return await use(file)
    } finally {
      await rm(file, { force: true })
    }
  }

  daemons(): Promise<readonly DaemonRow[]> {
    return this.json<readonly DaemonRow[]>('daemon', 'ls')
  }

  async daemon(name: string): Promise<DaemonRow> {
    const found = (await this.daemons()).find((one) => one.name === name)
    if (found === undefined) throw new Error(`no daemon ${name}`)
    return found
  }

  async signal(name: string, signal: NodeJS.Signals): Promise<void> {
    process.kill((await this.daemon(name)).pid, signal)
  }

  /** Kill -9, and nobody starts it again: its machine is gone. Until `daemon start`. */
  async killForGood(name: string): Promise<void> {
    const { pid } = await this.daemon(name)
    await writeFile(join(this.directory, 'run', `${name}.stopped`), '')
    process.kill(pid, 'SIGKILL')
  }

  health(): Promise<Health> {
    return this.json<Health>('health')
  }

  /** Resolves once health is OK; fails with the last answer after the time. */
  async untilHealthy(timeoutMs: number = healthyTimeoutMs): Promise<void> {
    const deadlineMs = Date.now() + timeoutMs
    for (;;) {
      const { code, stdout } = await this.run('--format', 'json', '--timeout', '10', 'health')
      if (code === 0 && (JSON.parse(stdout) as Health).status === 'HEALTH_OK') return
      if (Date.now() > deadlineMs) throw new Error(`not healthy in time: ${stdout}`)
      await new Promise((resolve) => setTimeout(resolve, 250))
    }
  }

  /** Resolves once the condition holds of the present state; fails after the time. */
  async until(what: string, condition: () => Promise<boolean>, timeoutMs = 60_000): Promise<void> {
    const deadlineMs = Date.now() + timeoutMs
    while (!(await condition())) {
      if (Date.now() > deadlineMs) throw new Error(`not in time: ${what}`)
      await new Promise((resolve) => setTimeout(resolve, 250))
    }
  }
}
