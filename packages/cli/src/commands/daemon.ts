/** `shoal daemon ...`: the processes of this machine's cluster, and what each daemon says of itself. */
import { createReadStream, existsSync, readFileSync, rmSync, statSync, watchFile, writeFileSync } from 'node:fs'
import { address, ClusterError } from '@shoal/base'
import type { Command } from 'commander'
import { action } from '../action.ts'
import type { CommandContext } from '../context.ts'
import { waitForStart } from '../local/add-osd.ts'
import { daemonSpecs, findSpec, spawnDaemon } from '../local/daemon-spec.ts'
import { readRunFile } from '../local/process-table.ts'
import { stopDaemon } from '../local/supervisor.ts'
import { formatPairs, formatTable } from '../output/table.ts'
import { formatBytes, formatDuration, parseInteger } from '../output/units.ts'

export function addDaemonCommands(program: Command): void {
  const daemon = program.command('daemon').description('the processes of the cluster on this machine')
  action(daemon.command('ls').description('daemons, their state, process and addresses'), list)
  action(
    daemon.command('start').argument('<name>').description('start a stopped daemon: mon.a, osd.0, nbd.0'),
    async (context, [name]) => start(context, name as string),
  )
  action(
    daemon.command('stop').argument('<name>').description('stop a daemon and keep it stopped'),
    async (context, [name]) => stop(context, name as string),
  )
  action(
    daemon
      .command('logs')
      .argument('<name>')
      .option('-n, --lines <n>', 'how many lines', '50')
      .option('-f, --follow', 'go on as the log grows')
      .description('the end of what a daemon logged'),
    async (context, [name], options) => logs(context, name as string, options),
  )
  action(
    daemon.command('perf').argument('<name>').description('counters and latency histograms of a running daemon'),
    async (context, [name]) => {
      const counters = await callDaemon(context, name as string, 'perf')
      context.print(counters, () => formatPerf(counters as PerfReport))
    },
  )
  action(
    daemon
      .command('ops')
      .argument('<name>')
      .description('operations in flight and recent slow ones, with the time of each stage'),
    async (context, [name]) => {
      const operations = await callDaemon(context, name as string, 'ops')
      context.print(operations, () => JSON.stringify(operations, undefined, 2))
    },
  )
}

interface PerfReport {
  readonly [name: string]: unknown
}

interface SchedulerReport {
  readonly profile: string
  readonly classes: Readonly<
    Record<
      string,
      {
        readonly waiting: number
        readonly admitted: number
        readonly costBytes: number
        readonly passedBytes: number
        readonly waitUs: { readonly p50: number; readonly p99: number }
      }
    >
  >
}

interface Histogram {
  readonly name: string
  readonly count: number
  readonly mean: number
  readonly p50: number
  readonly p99: number
  readonly max: number
}

/** Counters as pairs, then histograms as a table, whatever groups the daemon sorts them into. */
function formatPerf(report: PerfReport): string {
  const counters: [string, string | number][] = []
  const histograms: Histogram[] = []
  const add = (group: PerfReport): void => {
    for (const [name, value] of Object.entries(group)) {
      if (typeof value !== 'object' || value === null) counters.push([name, String(value)])
      else if ('p99' in value) histograms.push({ ...(value as Omit<Histogram, 'name'>), name })
      else add(value as PerfReport)
    }
  }
  const { scheduler, ...rest } = report
  add(rest)
  const number = (value: number): string =>
    value >= 100 ? Math.round(value).toString() : Number(value.toFixed(2)).toString()
  const column = (title: string, of: (row: Histogram) => number) =>
    ({ title, cell: (row: Histogram) => number(of(row)), align: 'right' }) as const
  const table = formatTable(
    [
      { title: 'HISTOGRAM', cell: (row) => row.name },
      column('COUNT', (row) => row.count),
      column('MEAN', (row) => row.mean),
      column('P50', (row) => row.p50),
      column('P99', (row) => row.p99),
      column('MAX', (row) => row.max),
    ],
    histograms,
  )
  const line = scheduler === undefined ? '' : formatScheduler(scheduler as SchedulerReport)
  return [formatPairs(counters), line, histograms.length === 0 ? '' : table].filter((part) => part !== '').join('\n\n')
}

/** Who waits for the disk of an OSD. */
function formatScheduler({ profile, classes }: SchedulerReport): string {
  const rows = Object.entries(classes).map(([name, row]) => ({ name, ...row }))
  type Row = (typeof rows)[number]
  const column = (title: string, of: (row: Row) => string) => ({ title, cell: of, align: 'right' }) as const
  const table = formatTable<Row>(
    [
      { title: 'CLASS', cell: ({ name }) => name },
      column('WAITING', ({ waiting }) => String(waiting)),
      column('WAITED', ({ admitted }) => String(admitted)),
      column('P50 WAIT us', ({ waitUs }) => String(Math.round(waitUs.p50))),
      column('P99 WAIT us', ({ waitUs }) => String(Math.round(waitUs.p99))),
      column('COST', ({ costBytes }) => formatBytes(costBytes)),
      column('PASSED BY', ({ passedBytes }) => formatBytes(passedBytes)),
    ],
    rows,
  )
  return `${formatPairs([['osd_mclock_profile', profile]])}\n${table}`
}

/** Asks a daemon on this machine over its admin endpoint. */
async function callDaemon(
  context: CommandContext,
  name: string,
  method: string,
  input: Readonly<Record<string, unknown>> = {},
): Promise<unknown> {
  const run = readRunFile(context.layout, findSpec(context.layout.read(), name).name)
  if (run === undefined || run.adminAddress === '') {
    throw new ClusterError('ECONNREFUSED', `${name} is not running`, { hint: `shoal daemon start ${name}` })
  }
  const { callAdmin } = await import('@shoal/monitor-client')
  return callAdmin(await context.env(), address(run.adminAddress), method, input, context.timeoutMs)
}

function list(context: CommandContext): void {
  const { layout } = context
  const rows = daemonSpecs(layout.read()).map((spec) => {
    const run = readRunFile(layout, spec.name)
    return {
      name: spec.name,
      kind: spec.kind,
      state: run === undefined ? 'stopped' : run.address === '' ? 'starting' : 'running',
      pid: run?.pid,
      address: run?.address ?? '',
      adminAddress: run?.adminAddress ?? '',
      dataDirectory: layout.dataDirectory(spec.name),
      uptimeMs: run === undefined ? 0 : Date.now() - run.startedMs,
    }
  })
  context.print(rows, () =>
    formatTable(
      [
        { title: 'NAME', cell: (row) => row.name },
        { title: 'STATE', cell: (row) => row.state },
        { title: 'PID', cell: (row) => row.pid, align: 'right' },
        { title: 'ADDRESS', cell: (row) => row.address },
        { title: 'UPTIME', cell: (row) => (row.uptimeMs === 0 ? '-' : formatDuration(row.uptimeMs)), align: 'right' },
        { title: 'DATA', cell: (row) => row.dataDirectory },
      ],
      rows,
    ),
  )
}

async function start(context: CommandContext, name: string): Promise<void> {
  const { layout } = context
  const spec = findSpec(layout.read(), name)
  rmSync(layout.stoppedFile(name), { force: true })
  // With a supervisor the missing file is the request; without one this command is the init system.
  if (readRunFile(layout, 'up') === undefined && readRunFile(layout, name) === undefined)
    spawnDaemon(layout, spec).unref()
  const run = await waitForStart(context, name)
  context.print(run, () => `${name} runs as process ${run.pid} on ${run.address}`)
}

async function stop(context: CommandContext, name: string): Promise<void> {
  const { layout } = context
  findSpec(layout.read(), name)
  writeFileSync(layout.stoppedFile(name), '')
  const wasRunning = readRunFile(layout, name) !== undefined
  const clean = await stopDaemon(layout, name)
  context.print({ name, wasRunning, clean }, () =>
    wasRunning ? `${name} ${clean ? 'stopped' : 'had to be killed'}` : `${name} was not running`,
  )
}

async function logs(context: CommandContext, name: string, options: Readonly<Record<string, unknown>>): Promise<void> {
  if (name !== 'up') findSpec(context.layout.read(), name)
  const file = context.layout.logFile(name)
  if (!existsSync(file))
    throw new ClusterError('ENOENT', `${name} has logged nothing yet`, { hint: `shoal daemon start ${name}` })
  const lines = readFileSync(file, 'utf8')
    .trimEnd()
    .split('\n')
    .slice(-parseInteger(String(options['lines']), '--lines', 1))
  context.print(lines, () => lines.join('\n'))
  if (options['follow'] !== true) return
  let position = statSync(file).size
  await new Promise<never>(() => {
    watchFile(file, { interval: 200 }, ({ size }) => {
      if (size > position)
        createReadStream(file, { start: position, end: size - 1 }).pipe(process.stdout, { end: false })
      position = size
    })
  })
}
