/** `shoal pool set-quota|get-quota`. */
import type { PoolQuotaReply } from '@shoal/monitor-client'
import type { Command } from 'commander'
import { action } from '../action.ts'
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
