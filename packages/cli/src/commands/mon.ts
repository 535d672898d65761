/** `shoal mon ...`: the monitors and their quorum. */
import { ClusterError, parseAddress } from '@shoal/base'
import type { MonitorStat } from '@shoal/monitor-client'
import type { Command } from 'commander'
import { action } from '../action.ts'
import { formatPairs } from '../output/table.ts'

export function addMonitorCommands(program: Command): void {
  const mon = program.command('mon').description('monitors')
  action(mon.command('stat').description('who they are and who is in quorum'), async (context) => {
    const stat = (await context.command({ prefix: 'mon stat' })).data as MonitorStat
    context.print(stat, () =>
      formatPairs([
        ['epoch', stat.epoch],
        ['monitors', stat.monitors.map((monitor) => `${monitor.name}=${monitor.address}`).join(', ')],
        ['quorum', stat.quorum.join(', ')],
        ['leader', `${stat.leader ?? 'none'} (term ${stat.term})`],
      ]),
    )
  })
}
