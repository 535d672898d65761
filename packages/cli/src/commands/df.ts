/** `shoal df [detail]`: what is stored, what can be, and what quotas leave and compression saves. */
import { ClusterError } from '@shoal/base'
import type { ClusterUsage, PoolUsageRow } from '@shoal/monitor-client'
import type { Command } from 'commander'
import { action } from '../action.ts'
import { type Column, formatTable } from '../output/table.ts'
import { formatBytes } from '../output/units.ts'

export function addUsageCommand(program: Command): void {
  action(
    program
      .command('df')
      .argument('[detail]', '`detail` for what compression saves')
      .description('what is stored, what can be, and the quotas of pools'),
    async (context, [detail]) => {
      if (detail !== undefined && detail !== 'detail')
        throw new ClusterError('EINVAL', `df ${detail}?`, { hint: 'shoal df detail' })
      const usage = (await context.command({ prefix: 'df' })).data as ClusterUsage
      context.print(usage, () => formatUsage(usage, detail === 'detail'))
    },
  )
}

const poolColumns: readonly Column<PoolUsageRow>[] = [
  { title: 'POOL', cell: (row) => row.name },
  { title: 'ID', cell: (row) => row.id, align: 'right' },
  { title: 'PGS', cell: (row) => row.pgNum, align: 'right' },
  { title: 'OBJECTS', cell: (row) => row.objects, align: 'right' },
  { title: 'STORED', cell: (row) => formatBytes(row.bytes), align: 'right' },
  { title: 'USED', cell: (row) => formatBytes(row.usedBytes), align: 'right' },
  { title: 'MAX AVAIL', cell: (row) => formatBytes(row.availableBytes), align: 'right' },
  {
    title: 'QUOTA OBJECTS',
    cell: (row) => (row.quotaMaxObjects === 0 ? 'N/A' : row.quotaMaxObjects),
    align: 'right',
  },
  {
    title: 'QUOTA BYTES',
    cell: (row) => (row.quotaMaxBytes === 0 ? 'N/A' : formatBytes(row.quotaMaxBytes)),
    align: 'right',
  },
]

const compressionColumns: readonly Column<PoolUsageRow>[] = [
  { title: 'UNDER COMPR', cell: ({ compression }) => formatBytes(compression.originalBytes), align: 'right' },
  { title: 'COMPRESSED', cell: ({ compression }) => formatBytes(compression.compressedBytes), align: 'right' },
  { title: 'USED COMPR', cell: ({ compression }) => formatBytes(compression.allocatedBytes), align: 'right' },
  { title: 'COMPR OPS', cell: ({ compression }) => compression.operations, align: 'right' },
]

function formatUsage(usage: ClusterUsage, detail: boolean): string {
  const share = usage.totalBytes === 0 ? 0 : (100 * usage.usedBytes) / usage.totalBytes
  return [
    `${formatBytes(usage.totalBytes)} in all, ${formatBytes(usage.usedBytes)} used (${share.toFixed(2)} %), ${formatBytes(usage.availableBytes)} free`,
    '',
    formatTable(detail ? [...poolColumns, ...compressionColumns] : poolColumns, usage.pools),
  ].join('\n')
}
