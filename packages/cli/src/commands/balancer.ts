/** `shoal balancer ...`: placement groups and their primaries spread evenly over the OSDs. */

import type { BalancerStatus, PoolBalanceRow } from '@shoal/monitor-client'
import type { Command } from 'commander'
import { action } from '../action.ts'
import { formatPairs, formatTable } from '../output/table.ts'

export function addBalancerCommands(program: Command): void {
  const balancer = program.command('balancer').description('spreads placement groups evenly, a few at a time')
  action(balancer.command('status').description('whether it works, and what it waits for'), async (context) => {
    const status = (await context.command({ prefix: 'balancer status' })).data as BalancerStatus
    context.print(status, () =>
      formatPairs([
        ['active:', status.active ? 'yes' : 'no'],
        ['mode:', status.mode],
        ['state:', status.state ?? 'unknown'],
        ['waits for:', status.why === undefined || status.why === '' ? '-' : status.why],
        ['last plan:', lastPlan(status)],
        ['exceptions:', `${status.exceptions} placement groups`],
        ['primaries:', primariesOf(status)],
      ]),
    )
  })
  action(
    balancer.command('eval').description('how evenly the copies and the primaries of each pool lie'),
    async (context) => {
      const rows = (await context.command({ prefix: 'balancer eval' })).data as readonly PoolBalanceRow[]
      context.print(rows, () =>
        formatTable(
          [
            { title: 'POOL', cell: (row) => row.name },
            { title: 'OSDS', cell: (row) => row.osds, align: 'right' },
            { title: 'FEWEST PGS', cell: (row) => row.least, align: 'right' },
            { title: 'MOST PGS', cell: (row) => row.most, align: 'right' },
            { title: 'MAX DEVIATION', cell: (row) => row.deviationMax.toFixed(2), align: 'right' },
            { title: 'RMS DEVIATION', cell: (row) => row.deviationRms.toFixed(2), align: 'right' },
            { title: 'FEWEST PRIMARIES', cell: ({ primaries }) => primaries?.least ?? '-', align: 'right' },
            { title: 'MOST PRIMARIES', cell: ({ primaries }) => primaries?.most ?? '-', align: 'right' },
            { title: 'READ SCORE', cell: ({ primaries }) => primaries?.score.toFixed(2) ?? '-', align: 'right' },
          ],
          rows,
        ),
      )
    },
  )
  for (const word of ['on', 'off'] as const) {
    action(balancer.command(word).description(`turn it ${word}`), async (context) =>
      context.done(await context.command({ prefix: `balancer ${word}` })),
    )
  }
  action(
    balancer
      .command('mode')
      .argument('<mode>', 'upmap (copies), read (primaries), upmap-read (both), or none for off')
      .description('what it evens out'),
    async (context, [mode]) => context.done(await context.command({ prefix: 'balancer mode', mode })),
  )
}

function primariesOf({ primaryExceptions, primaryDeviationMax }: BalancerStatus): string {
  return `${primaryExceptions} by exception, at most ${primaryDeviationMax.toFixed(2)} from even in a pool`
}

function lastPlan({ lastPlanAgeSeconds, lastChanges }: BalancerStatus): string {
  if (lastPlanAgeSeconds === undefined) return '-'
  return `${lastPlanAgeSeconds} s ago, ${lastChanges} changes`
}
