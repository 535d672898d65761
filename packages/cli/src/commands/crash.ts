/** `shoal crash ...`: reports of daemons that ended by a bug. */
import type { CrashReport } from '@shoal/monitor-client'
import type { Command } from 'commander'
import { action } from '../action.ts'
import type { CommandContext } from '../context.ts'
import { formatPairs, formatTable } from '../output/table.ts'
import { parseNumber } from '../output/units.ts'

type Row = Omit<CrashReport, 'stack'>

export function addCrashCommands(program: Command): void {
  const crash = program.command('crash').description('daemons that ended by a bug')
  action(crash.command('ls').description('all reports, oldest first'), (context) => list(context, 'crash ls'))
  action(crash.command('ls-new').description('those that nobody has archived'), (context) =>
    list(context, 'crash ls-new'),
  )
  action(crash.command('info').argument('<id>').description('one report, with its stack'), async (context, [id]) => {
    const report = (await context.command({ prefix: 'crash info', id })).data as CrashReport
    context.print(report, () => formatReport(report))
  })
  action(
    crash.command('archive').argument('<id>').description('seen: it is no longer in RECENT_CRASH'),
    async (context, [id]) => context.done(await context.command({ prefix: 'crash archive', id })),
  )
  action(crash.command('archive-all').description('all seen'), async (context) =>
    context.done(await context.command({ prefix: 'crash archive-all' })),
  )
  action(crash.command('rm').argument('<id>').description('remove a report'), async (context, [id]) =>
    context.done(await context.command({ prefix: 'crash rm', id })),
  )
  action(
    crash.command('prune').argument('<days>').description('remove reports that are older'),
    async (context, [days]) =>
      context.done(
        await context.command({ prefix: 'crash prune', keep: parseNumber(days as string, 'days', 0, 36_500) }),
      ),
  )
}

async function list(context: CommandContext, prefix: string): Promise<void> {
  const rows = (await context.command({ prefix })).data as readonly Row[]
  context.print(rows, () =>
    formatTable(
      [
        { title: 'ID', cell: (row) => row.id },
        { title: 'ENTITY', cell: (row) => row.entity },
        { title: 'NEW', cell: (row) => (row.archivedMs === 0 ? '*' : '') },
        { title: 'REASON', cell: (row) => row.reason },
      ],
      rows,
    ),
  )
}

function formatReport(report: CrashReport): string {
  const { id, entity, host, shoalVersion, reason, stack, archivedMs } = report
  const pairs: [string, string][] = [
    ['id', id],
    ['entity', entity],
    ['host', host],
    ['version', shoalVersion],
    ['reason', reason],
    ['archived', archivedMs === 0 ? 'no' : new Date(archivedMs).toISOString()],
  ]
  return `${formatPairs(pairs)}\n${stack}`
}
