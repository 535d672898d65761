/** What an operator looks at first: `status`, `log`; and `fsck` for a store that is not in use. */
import { join } from 'node:path'
import { ClusterError } from '@shoal/base'
import type { ClusterStatus } from '@shoal/monitor-client'
import type { Command } from 'commander'
import { action } from '../action.ts'
import type { CommandContext } from '../context.ts'
import { findSpec } from '../local/daemon-spec.ts'
import { readRunFile } from '../local/process-table.ts'
import { Progress } from '../output/progress.ts'
import { formatBytes, parseInteger } from '../output/units.ts'
import { storeKeyFor, withPassphrase } from './osd-key.ts'

interface LogEntry {
  readonly wallMs: number
  readonly from: string
  readonly level: string
  readonly message: string
}

export function addClusterCommands(program: Command): void {
  action(program.command('status').alias('-s').description('the state of the whole cluster'), async (context) => {
    const { formatStatus } = await import('./status.ts')
    const reply = await context.command({ prefix: 'status' })
    context.print(reply.data, () => formatStatus(reply.data as ClusterStatus))
  })
  action(
    program
      .command('log')
      .argument('[words...]', '`last [N]`, or text to add to the log')
      .description('the cluster log'),
    log,
  )
  action(
    withPassphrase(program.command('fsck').argument('<osd>', 'osd.0'))
      .option('--key-backup <file>', 'take the key of an encrypted store from a backup (default: from the monitors)')
      .option('--deep', 'verify the checksum of every block')
      .option('--repair', 'mend what can be mended without other copies')
      .description('prove the store of an OSD that is not running'),
    fsck,
  )
}

async function log(context: CommandContext, words: readonly string[]): Promise<void> {
  if (words.length > 0 && words[0] !== 'last') {
    context.done(await context.command({ prefix: 'log', logtext: words.join(' ') }))
    return
  }
  const entries = (
    await context.command({ prefix: 'log last', num: parseInteger(words[1] ?? '20', 'number of entries', 1, 10_000) })
  ).data as readonly LogEntry[]
  context.print(entries, () =>
    entries
      .map(
        (entry) =>
          `${new Date(entry.wallMs).toISOString()} ${entry.from} [${entry.level.toUpperCase()}] ${entry.message}`,
      )
      .join('\n'),
  )
}

async function fsck(
  context: CommandContext,
  [name]: readonly string[],
  options: Readonly<Record<string, unknown>>,
): Promise<void> {
  const spec = findSpec(context.layout.read(), name as string)
  if (spec.kind !== 'osd')
    throw new ClusterError('EINVAL', `${spec.name} has no object store`, { hint: 'shoal fsck osd.0' })
  if (readRunFile(context.layout, spec.name) !== undefined) {
    throw new ClusterError('EBUSY', `${spec.name} is running`, {
      hint: `shoal daemon stop ${spec.name}, then fsck, then start it`,
    })
  }
  const { fsckObjectStore, inspectStore } = await import('@shoal/object-store')
  const dataDirectory = context.layout.dataDirectory(spec.name)
  const directory = join(dataDirectory, 'store')
  const env = await context.env()
  const { encrypted } = await inspectStore(env, directory).catch(() => ({ encrypted: false }))
  let storeKey: Uint8Array | undefined
  if (encrypted) {
    const { readOsdUuid } = await import('@shoal/osd')
    storeKey = await storeKeyFor(context, await readOsdUuid(env, dataDirectory), options)
  }
  const progress = new Progress('checking', 1)
  const report = await fsckObjectStore(env, directory, {
    storeKey,
    deep: options['deep'] === true,
    repair: options['repair'] === true,
    onProgress: (fraction: number) => progress.update(fraction),
  })
  progress.end()
  context.print(report, () =>
    [
      ...report.findings.map((finding) => `${finding.severity} ${finding.code}: ${finding.message}`),
      `${report.objects} objects, ${formatBytes(report.bytes)} checked: ${report.findings.length === 0 ? 'clean' : `${report.findings.length} findings`}`,
    ].join('\n'),
  )
  if (report.findings.some((finding) => finding.severity === 'error')) process.exitCode = 1
}
