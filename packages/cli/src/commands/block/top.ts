/** `shoal block top`: which images a gateway is busy with (Ceph's `rbd perf image iotop`): the difference of two looks at its counters. */
import type { ExportSummary } from '@shoal/gateway-nbd'
import type { Command } from 'commander'
import { action } from '../../action.ts'
import { askDaemon } from '../../ask-daemon.ts'
import type { CommandContext } from '../../context.ts'
import { formatTable } from '../../output/table.ts'
import { formatBytes, parseNumber } from '../../output/units.ts'

interface ImageLoad {
  readonly image: string
  readonly connections: number
  readonly readsPerSecond: number
  readonly writesPerSecond: number
  readonly readBytesPerSecond: number
  readonly writtenBytesPerSecond: number
  /** Of all its requests in this time. */
  readonly latencyMsMean: number
}

export function addImageTopCommand(block: Command): void {
  action(
    block
      .command('top')
      .option('--gateway <daemon>', 'of this machine, as `daemon ls` names it', 'nbd.0')
      .option('--seconds <n>', 'between the two looks', '1')
      .description('what the images that a gateway exports do at the moment, the busiest first'),
    async (context, _, options) => {
      const seconds = parseNumber(String(options['seconds']), 'seconds', 0.1, 3_600)
      const rows = await measure(context, String(options['gateway']), seconds)
      context.print(rows, () =>
        formatTable(
          [
            { title: 'IMAGE', cell: (row) => row.image },
            { title: 'CLIENTS', cell: (row) => row.connections, align: 'right' },
            { title: 'READS/S', cell: (row) => row.readsPerSecond.toFixed(0), align: 'right' },
            { title: 'WRITES/S', cell: (row) => row.writesPerSecond.toFixed(0), align: 'right' },
            { title: 'READ', cell: (row) => `${formatBytes(row.readBytesPerSecond)}/s`, align: 'right' },
            { title: 'WRITTEN', cell: (row) => `${formatBytes(row.writtenBytesPerSecond)}/s`, align: 'right' },
            { title: 'LATENCY', cell: (row) => `${row.latencyMsMean.toFixed(2)} ms`, align: 'right' },
          ],
          rows,
        ),
      )
    },
  )
}

type Exports = Readonly<Record<string, ExportSummary>>

async function measure(context: CommandContext, gateway: string, seconds: number): Promise<readonly ImageLoad[]> {
  const look = async (): Promise<Exports> =>
    ((await askDaemon(context, gateway, 'perf')) as { readonly exports: Exports }).exports
  const before = await look()
  const startedMs = performance.now()
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000))
  const after = await look()
  const elapsedSeconds = (performance.now() - startedMs) / 1000
  return Object.entries(after)
    .map(([image, now]) => loadOf(image, before[image], now, elapsedSeconds))
    .sort((a, b) => b.readsPerSecond + b.writesPerSecond - a.readsPerSecond - a.writesPerSecond)
}

/** An export that was closed and opened meanwhile counts from zero. */
function loadOf(image: string, before: ExportSummary | undefined, now: ExportSummary, seconds: number): ImageLoad {
  const difference = (field: 'ops' | 'bytes' | 'latencyMs', ...commands: readonly string[]): number =>
    commands.reduce((sum, name) => {
      const [then, at] = [before?.commands[name]?.[field] ?? 0, now.commands[name]?.[field] ?? 0]
      return sum + (at >= then ? at - then : at)
    }, 0)
  const all = Object.keys(now.commands)
  const requests = difference('ops', ...all)
  return {
    image,
    connections: now.connections,
    readsPerSecond: difference('ops', 'read') / seconds,
    writesPerSecond: difference('ops', 'write') / seconds,
    readBytesPerSecond: difference('bytes', 'read') / seconds,
    writtenBytesPerSecond: difference('bytes', 'write') / seconds,
    latencyMsMean: requests === 0 ? 0 : difference('latencyMs', ...all) / requests,
  }
}
