/** `shoal pg ...`: placement groups, their states, and what one primary says of its own. */
import type { PgRow, PgSummary } from '@shoal/monitor-client'
import type { Command } from 'commander'
import { action } from '../action.ts'
import { formatTable } from '../output/table.ts'
import { formatBytes } from '../output/units.ts'
import { askPrimary } from './ask-primary.ts'
import { addPgRecoveryCommands } from './pg-recovery.ts'

export function addPgCommands(program: Command): void {
  const pg = program.command('pg').description('placement groups')
  action(
    pg
      .command('ls')
      .argument('[states...]', 'only those that have all these states')
      .option('--pool <pool>', 'only of this pool')
      .description('placement groups'),
    async (context, states, options) => {
      const rows = (
        await context.command({
          prefix: 'pg ls',
          ...(states.length === 0 ? {} : { states: [...states] }),
          ...(options['pool'] === undefined ? {} : { pool: options['pool'] }),
        })
      ).data as readonly PgRow[]
      context.print(rows, () => pgTable(rows))
    },
  )
  action(pg.command('stat').description('how many are in which state'), async (context) => {
    const summary = (await context.command({ prefix: 'pg stat' })).data as PgSummary
    context.print(summary, () => {
      const states = summary.states.map(({ state, count }) => `${count} ${state}`).join(', ')
      return `${summary.pgs} pgs: ${states}; ${summary.objects} objects, ${formatBytes(summary.bytes)}`
    })
  })
  action(
    pg.command('query').argument('<pg>').description('everything the primary knows of one placement group, as JSON'),
    async (context, [pgId]) => {
      const answer = await askPrimary(context, pgId as string, 'pg query')
      context.print(answer, () => JSON.stringify(answer, undefined, 2))
    },
  )
  addPgRecoveryCommands(pg)
}

function pgTable(rows: readonly PgRow[]): string {
  return formatTable(
    [
      { title: 'PG', cell: (row) => row.pgId },
      { title: 'OBJECTS', cell: (row) => row.objects, align: 'right' },
      { title: 'BYTES', cell: (row) => formatBytes(row.bytes), align: 'right' },
      { title: 'DEGRADED', cell: (row) => row.degradedCopies, align: 'right' },
      { title: 'MISPLACED', cell: (row) => row.misplacedCopies, align: 'right' },
      { title: 'UNFOUND', cell: (row) => row.unfoundObjects, align: 'right' },
      { title: 'VERSION', cell: (row) => row.version },
      { title: 'UP', cell: (row) => `[${row.up.join(',')}]` },
      { title: 'ACTING', cell: (row) => `[${row.acting.join(',')}]` },
      { title: 'STATE', cell: (row) => row.state },
    ],
    rows,
  )
}
