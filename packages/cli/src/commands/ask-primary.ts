/** What only the primary of a placement group knows, or may do. */
import { address, ClusterError } from '@shoal/base'
import type { OsdRow, PlacementReply } from '@shoal/monitor-client'
import type { CommandContext } from '../context.ts'

/** Finds the acting primary and asks it. */
export async function askPrimary(
  context: CommandContext,
  pgId: string,
  method: string,
  args: Readonly<Record<string, unknown>> = {},
): Promise<unknown> {
  const mapping = (await context.command({ prefix: 'pg map', pgid: pgId })).data as PlacementReply
  const dump = (await context.command({ prefix: 'osd dump' })).data as { readonly osds: readonly OsdRow[] }
  const primary = dump.osds.find((osd) => osd.id === mapping.actingPrimary && osd.up)
  if (primary?.addresses === undefined) {
    throw new ClusterError('EAGAIN', `${pgId} has no primary now (acting [${mapping.acting.join(',')}])`, {
      hint: 'shoal osd tree, then start one of its OSDs',
    })
  }
  const { callAdmin } = await import('@shoal/monitor-client')
  return callAdmin(
    await context.env(),
    address(primary.addresses.admin),
    method,
    { ...args, pgid: pgId },
    context.timeoutMs,
  )
}
