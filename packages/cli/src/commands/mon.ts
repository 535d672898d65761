/** `shoal mon ...`: the monitors and their quorum. */
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
  action(
    mon
      .command('add')
      .argument('[name]', 'the next letter when left out')
      .description('make a new monitor on this machine and start it'),
    async (context, [wanted]) => {
      const { addLocalMonitor } = await import('../local/add-monitor.ts')
      const name = await addLocalMonitor(context, wanted)
      context.print({ name: `mon.${name}` }, () => `mon.${name} runs and joins the quorum once it has caught up`)
    },
  )
  action(
    mon.command('remove').alias('rm').argument('<name>').description('take a monitor out of the quorum, for good'),
    async (context, [name]) => {
      const { removeLocalMonitor } = await import('../local/add-monitor.ts')
      const short = (name as string).replace(/^mon\./, '')
      await removeLocalMonitor(context, short)
      context.print({ removed: `mon.${short}` }, () => `mon.${short} removed`)
    },
  )
}
