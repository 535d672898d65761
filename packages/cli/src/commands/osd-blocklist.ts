/** `shoal osd blocklist ...`: client sessions that no OSD does anything for. */
import type { Command } from 'commander'
import { action } from '../action.ts'
import { formatTable } from '../output/table.ts'
import { parseNumber } from '../output/units.ts'

interface Fence {
  readonly session: string
  readonly untilMs: number
}

export function addBlocklistCommands(osd: Command): void {
  const blocklist = osd.command('blocklist').description('fenced client sessions')
  action(blocklist.command('ls').description('who is fenced, and until when'), async (context) => {
    const fences = (await context.command({ prefix: 'osd blocklist ls' })).data as readonly Fence[]
    context.print(fences, () =>
      formatTable(
        [
          { title: 'CLIENT', cell: (fence) => `client.${fence.session}` },
          { title: 'UNTIL', cell: (fence) => new Date(fence.untilMs).toISOString() },
        ],
        fences,
      ),
    )
  })
  action(
    blocklist
      .command('add')
      .argument('<client>', 'as locks name their holders: client.4711')
      .argument('[seconds]', 'for how long (default: 3600)')
      .description('fence a client session: what it sends, or has sent, takes effect no more'),
    async (context, [session, seconds]) =>
      context.done(
        await context.command({
          prefix: 'osd blocklist add',
          session,
          ...(seconds === undefined ? {} : { seconds: parseNumber(seconds, 'seconds', 1, 1e9) }),
        }),
      ),
  )
  action(
    blocklist.command('rm').argument('<client>').description('let a session in again, before its time'),
    async (context, [session]) => context.done(await context.command({ prefix: 'osd blocklist rm', session })),
  )
  action(blocklist.command('clear').description('let all sessions in again'), async (context) =>
    context.done(await context.command({ prefix: 'osd blocklist clear' })),
  )
}
