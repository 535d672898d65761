/** `shoal mon ...`: the monitors and their quorum. */
import type { MonitorStat } from '@shoal/monitor-client'
import type { Command } from 'commander'
import { action } from '../action.ts'
import type { RebuildReport } from '../local/rebuild-monitors.ts'
import { formatPairs, formatTable } from '../output/table.ts'
import { parseInteger } from '../output/units.ts'
import { namedKeyBackup, withPassphrase } from './osd-key.ts'

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
  action(
    withPassphrase(mon.command('rebuild'))
      .option('--from <directories...>', "directories of OSDs (default: those of the cluster's directory)")
      .option('--force', 'set healthy monitors aside, too')
      .option(
        '--key-backup <file>',
        'of `shoal osd key backup`: opens encrypted OSDs and gives the monitors their keys',
      )
      .option('--epoch-margin <n>', 'epochs and pool ids to pass over: more than the lost monitors went on by', '256')
      .description('make all monitors anew from what the OSDs know; for when every one of them is lost'),
    async (context, _args, options) => {
      const { rebuildMonitors } = await import('../local/rebuild-monitors.ts')
      const report = await rebuildMonitors(context.layout, {
        from: options['from'] as readonly string[] | undefined,
        force: options['force'] === true,
        keyBackup: await namedKeyBackup(options),
        margin: parseInteger(String(options['epochMargin']), '--epoch-margin', 1, 100_000),
      })
      context.print(report, () => formatRebuild(report))
    },
  )
}

function formatRebuild(report: RebuildReport): string {
  const { completed, monitors, moved, osds = [], missing = [], unreadable = [], storeKeys = [] } = report
  const notes = [
    ...moved.map((directory) => `what was there before: ${directory}`),
    ...unreadable.map(({ directory, error }) => `not read: ${directory}: ${error}`),
    ...missing.map(
      (osd) => `osd.${osd} is in the map, its directory was not read: what only it knew is not in the map`,
    ),
    ...(storeKeys.length > 0 ? [`keys of encrypted stores are back from the backup: ${storeKeys.length}`] : []),
    ...(report.keyring === 'restored' ? ['the keyring was lost as well: it is back from a copy'] : []),
    ...(report.keyring === 'differs' ? ['the OSDs hold another key than the keyring: the keyring was kept'] : []),
    'not recovered: the configuration (shoal config), mutes, crash reports, the cluster log,',
    'and what was changed in the last moments and reached no OSD',
    'see: shoal pool ls, shoal osd blocklist ls. Start the cluster: shoal up',
  ]
  if (completed) return [`${monitors.join(', ')} put in place: an earlier rebuild is complete`, ...notes].join('\n')
  const table = formatTable(
    [
      { title: 'OSD', cell: (row) => `osd.${row.osd}` },
      { title: 'NEWEST MAP', cell: (row) => row.newestEpoch, align: 'right' },
      { title: 'STATE', cell: (row) => row.fate },
      { title: 'DIRECTORY', cell: (row) => row.directory },
    ],
    osds,
  )
  const made = `${monitors.join(', ')} made from map ${report.newestEpoch}; the cluster goes on with ${report.epoch}, ${report.pools} pools`
  return [table, '', made, ...notes].join('\n')
}
