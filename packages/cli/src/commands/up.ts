/** `shoal up` and `shoal down`: a whole cluster on this machine. `npm start` is `shoal up`. */
import { spawn } from 'node:child_process'
import { openSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { ClusterError } from '@shoal/base'
import type { HealthReport } from '@shoal/monitor-client'
import type { Command } from 'commander'
import { action } from '../action.ts'
import type { CommandContext } from '../context.ts'
import { preload } from '../local/daemon-spec.ts'
import type { ClusterFile } from '../local/layout.ts'
import {
  readRunFile,
  removeRunFile,
  runningDaemons,
  signalDaemon,
  waitForExit,
  writeRunFile,
} from '../local/process-table.ts'
import { patiently, waitForHealth } from '../local/readiness.ts'
import { Supervisor, stopDaemon } from '../local/supervisor.ts'
import { formatBytes, formatDuration, parseBytes, parseInteger } from '../output/units.ts'

const healthTimeoutMs = 120_000

export function addUpCommands(program: Command): void {
  action(
    program
      .command('up')
      .description('run a cluster on this machine until Ctrl-C; the first run creates it')
      .option('--osds <n>', 'OSDs of a new cluster', '3')
      .option('--hosts <n>', 'hosts that its OSDs pretend to be on, for trying out failures (default: this one)')
      .option('--mons <n>', 'monitors of a new cluster', '3')
      .option('--size <n>', 'copies of each object in new pools (default: 3, or as many as there are OSDs)')
      .option(
        '--osd-capacity <size>',
        'capacity of each new OSD, for example 100G (default: a share of the free space)',
      )
      .option('--encrypt', 'encrypt the stores of a new cluster; the monitors keep the keys')
      .option('--bind <host>', 'address to listen on', '127.0.0.1')
      .option('--detach', 'return once the cluster is healthy, leaving it running'),
    async (context, _args, options) => up(context, options),
  )
  action(program.command('down').description('stop the cluster of this directory, keeping its data'), async (context) =>
    down(context),
  )
}

async function up(context: CommandContext, options: Readonly<Record<string, unknown>>): Promise<void> {
  const startedMs = performance.now()
  const { layout } = context
  const other = readRunFile(layout, 'up')
  if (other !== undefined) {
    throw new ClusterError('EBUSY', `the cluster in ${layout.directory} is already run by process ${other.pid}`, {
      hint: 'shoal status, or stop it with `shoal down`',
    })
  }
  if (options['detach'] === true) return upDetached(context)
  layout.makeDirectories()
  writeRunFile(layout, { name: 'up', kind: 'up', address: '', adminAddress: '', dataDirectory: layout.directory })
  const isNew = !layout.exists()
  const cluster = await (isNew ? createFromOptions(context, options) : withSecurity(context))
  const supervisor = new Supervisor(layout)
  supervisor.on('exit', (name, how) => process.stderr.write(`${name} ended (${how}), starting it again\n`))
  supervisor.start()
  const interrupted = stopOnSignals(supervisor)
  try {
    serve(context, cluster, isNew, startedMs).then(
      (health) => tellParent({ health }),
      (error: unknown) => {
        process.stderr.write(`${String(error)}\nStill trying; see: shoal status\n`)
        tellParent({ error: String(error) })
      },
    )
    await interrupted
  } finally {
    await supervisor.stop()
    removeRunFile(layout, 'up')
    process.stderr.write('stopped; the data stays in place for the next start\n')
  }
}

async function createFromOptions(
  context: CommandContext,
  options: Readonly<Record<string, unknown>>,
): Promise<ClusterFile> {
  const { createCluster } = await import('../local/create.ts')
  const text = (name: string): string => String(options[name])
  const osds = parseInteger(text('osds'), '--osds', 1, 64)
  return createCluster(context.layout, {
    host: text('bind'),
    monitors: parseInteger(text('mons'), '--mons', 1, 9),
    osds,
    hosts: options['hosts'] === undefined ? undefined : parseInteger(text('hosts'), '--hosts', 1, osds),
    poolSize: options['size'] === undefined ? Math.min(3, osds) : parseInteger(text('size'), '--size', 1, 10),
    osdCapacityBytes: options['osdCapacity'] === undefined ? undefined : parseBytes(text('osdCapacity')),
    encrypt: options['encrypt'] === true,
    ms_auth: context.options.msAuth,
    ms_mode: context.options.msMode,
  })
}

/** Of a cluster that exists: options that were given hold from now on, for clients too. */
async function withSecurity({ layout, options }: CommandContext): Promise<ClusterFile> {
  const { loadSecurity } = await import('../local/keyring.ts')
  const cluster = layout.read()
  const ms_auth = options.msAuth ?? cluster.ms_auth
  const ms_mode = options.msMode ?? cluster.ms_mode
  const next = { ...cluster, ms_auth, ms_mode }
  loadSecurity({ defaultKeyring: layout.keyringFile, settings: next })
  if (ms_auth !== cluster.ms_auth || ms_mode !== cluster.ms_mode) layout.write(next)
  return next
}

/** Resolves at the first signal to end; a second one stops waiting for clean exits. */
function stopOnSignals(supervisor: Supervisor): Promise<void> {
  return new Promise((resolve) => {
    let signals = 0
    const onSignal = (): void => {
      signals++
      if (signals === 1) {
        process.stderr.write('\nstopping ...\n')
        resolve()
      } else if (signals > 2) {
        supervisor.killAll()
      }
    }
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal)
  })
}

/** A new cluster on a busy machine has pools, too, however long its monitors take to start. A repeated creation makes no second one. */
async function createPools(context: CommandContext, { poolSize }: ClusterFile): Promise<void> {
  for (const [pool, application] of [
    ['block', 'block'],
    ['objects', 'object'],
  ]) {
    const command = { prefix: 'osd pool create', pool, pg_num: 32, size: poolSize, application }
    await patiently(healthTimeoutMs, () => context.command(command))
  }
}

async function serve(
  context: CommandContext,
  cluster: ClusterFile,
  isNew: boolean,
  startedMs: number,
): Promise<HealthReport> {
  if (isNew) await createPools(context, cluster)
  const health = await waitForHealth(context, isNew ? cluster.osds.length : 0, healthTimeoutMs)
  process.stdout.write(`${welcome(context, cluster, health, performance.now() - startedMs)}\n`)
  return health
}

function welcome(context: CommandContext, cluster: ClusterFile, health: HealthReport, tookMs: number): string {
  const capacityBytes = cluster.osds.reduce((sum, osd) => sum + osd.capacityBytes, 0)
  const osdCount = cluster.osds.length
  return [
    `${health.status} after ${formatDuration(tookMs)}: ${cluster.monitors.length} monitors, ${osdCount} OSDs, ${formatBytes(capacityBytes)} raw`,
    ...health.checks.filter((check) => !check.muted).map((check) => `  ${check.code}: ${check.summary}`),
    '',
    `  monitors     ${cluster.monitors.map((monitor) => monitor.address).join(', ')}`,
    `  NBD          nbd://${cluster.nbdAddress}/block/IMAGE`,
    `  data         ${context.layout.directory}`,
    credentialsLine(context, cluster),
    '',
    'Try in another terminal:',
    '  scripts/shoal status',
    '  scripts/shoal block create block/disk --size 10G',
    `  nbdinfo nbd://${cluster.nbdAddress}/block/disk`,
    '',
    'Ctrl-C stops the cluster and keeps its data.',
  ].join('\n')
}

function credentialsLine({ layout }: CommandContext, { ms_auth }: ClusterFile): string {
  if (ms_auth?.startsWith('secret') !== true) return '  credentials  none: every server listens on loopback only'
  return `  keyring      ${layout.keyringFile}: the key to all data; monitors and NBD ask for none`
}

type Outcome = { readonly health: HealthReport } | { readonly error: string }

/** To the command with `--detach` that started this process, if one did. */
function tellParent(outcome: Outcome): void {
  if (process.connected) process.send?.(outcome, () => process.disconnect())
}

/**
 * Starts the same command in the background and waits until that says that the cluster is healthy: only it knows which
 * pools and OSDs a new cluster is still to get, and without them there is nothing that could be unwell.
 */
async function upDetached(context: CommandContext): Promise<void> {
  const { layout } = context
  layout.makeDirectories()
  const log = openSync(layout.logFile('up'), 'a')
  const main = fileURLToPath(new URL('../main.js', import.meta.url))
  const words = [...preload, main, ...process.argv.slice(2).filter((word) => word !== '--detach')]
  const child = spawn(process.execPath, words, { detached: true, stdio: ['ignore', log, log, 'ipc'] })
  const failed = new Promise<never>((_, reject) => {
    child.once('exit', (code) =>
      reject(
        new ClusterError('EIO', `the cluster ended with exit code ${code}`, { hint: `see ${layout.logFile('up')}` }),
      ),
    )
  })
  const told = new Promise<Outcome>((resolve) => child.once('message', (outcome) => resolve(outcome as Outcome)))
  const outcome = await Promise.race([failed, told])
  child.removeAllListeners('exit')
  child.unref()
  if ('error' in outcome) {
    throw new ClusterError('ETIMEDOUT', `the cluster runs and is not healthy: ${outcome.error}`, {
      hint: `shoal status; see ${layout.logFile('up')}; shoal down stops it`,
    })
  }
  const { health } = outcome
  context.print(
    { pid: child.pid, health },
    () => `${health.status}; running as process ${child.pid}, stop it with \`shoal down\``,
  )
}

async function down(context: CommandContext): Promise<void> {
  const { layout } = context
  layout.read()
  const supervisor = readRunFile(layout, 'up')
  if (supervisor !== undefined) {
    signalDaemon(supervisor, 'SIGTERM')
    if (!(await waitForExit(supervisor, 60_000))) {
      throw new ClusterError('ETIMEDOUT', `process ${supervisor.pid} does not end`, {
        hint: `kill -9 ${supervisor.pid}, then shoal down`,
      })
    }
  }
  const left = runningDaemons(layout)
  for (const kind of ['nbd', 'osd', 'mon'] as const) {
    await Promise.all(left.filter((daemon) => daemon.kind === kind).map((daemon) => stopDaemon(layout, daemon.name)))
  }
  context.print({ stopped: true }, () =>
    supervisor === undefined && left.length === 0 ? 'nothing was running' : 'stopped',
  )
}
