/** `shoal pool set-quota|get-quota`, and `shoal df` with what quotas leave. */
import type { ClusterUsage, PoolQuotaReply, PoolUsageRow } from '@shoal/monitor-client'
import type { Command } from 'commander'
import { action } from '../action.ts'
import { formatTable } from '../output/table.ts'
import { formatBytes } from '../output/units.ts'

export function addPoolQuotaCommands(pool: Command): void {
  action(
    pool
      .command('set-quota')
      .argument('<pool>')
      .argument('<field>', 'max_bytes or max_objects')
      .argument('<value>', 'as in 10G or 10000; 0 takes it away')
      .description('limit what a pool may hold'),
    async (context, [name, field, value]) =>
      context.done(await context.command({ prefix: 'osd pool set-quota', pool: name, field, val: value })),
  )
  action(
    pool.command('get-quota').argument('<pool>').description('the limits of a pool, and what is used of them'),
    async (context, [name]) => {
      const quota = (await context.command({ prefix: 'osd pool get-quota', pool: name })).data as PoolQuotaReply
      context.print(quota, () => formatQuota(quota))
    },
  )
}

function formatQuota({ name, maxBytes, maxObjects, bytes, objects }: PoolQuotaReply): string {
  const bytesLine = maxBytes === 0 ? 'N/A' : `${formatBytes(maxBytes)}  (now ${formatBytes(bytes)})`
  const objectsLine = maxObjects === 0 ? 'N/A' : `${maxObjects} objects  (now ${objects})`
  return [`quotas for pool '${name}':`, `  max objects: ${objectsLine}`, `  max bytes  : ${bytesLine}`].join('\n')
}

export function addUsageCommand(program: Command): void {
  action(program.command('df').description('what is stored, what can be, and the quotas of pools'), async (context) => {
    const usage = (await context.command({ prefix: 'df' })).data as ClusterUsage
    context.print(usage, () => formatUsage(usage))
  })
}

function formatUsage(usage: ClusterUsage): string {
  const share = usage.totalBytes === 0 ? 0 : (100 * usage.usedBytes) / usage.totalBytes
  return [
    `${formatBytes(usage.totalBytes)} in all, ${formatBytes(usage.usedBytes)} used (${share.toFixed(2)} %), ${formatBytes(usage.availableBytes)} free`,
    '',
    formatTable<PoolUsageRow>(
      [
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
      ],
      usage.pools,
    ),
  ].join('\n')
}
