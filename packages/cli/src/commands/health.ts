/** `shoal health ...`: what is wrong, what was, and what nobody wants to hear of for now. */
import { ClusterError } from '@shoal/base'
import type { HealthEventRow, HealthReport } from '@shoal/monitor-client'
import type { Command } from 'commander'
import { action } from '../action.ts'
import type { CommandContext } from '../context.ts'
import { formatTable } from '../output/table.ts'
import { parseInteger } from '../output/units.ts'

export function addHealthCommands(program: Command): void {
  const health = program
    .command('health')
    .argument('[detail]', '`detail` for every affected daemon and how to mend it')
    .description('what is wrong, if anything')
  action(health, async (context, [detail]) => {
    if (detail !== undefined) throw new ClusterError('EINVAL', `health ${detail}?`, { hint: 'shoal health detail' })
    await show(context, false)
  })
  action(
    health.command('detail').description('every affected daemon, what is muted, and how to mend it'),
    async (context) => show(context, true),
  )
  action(
    health
      .command('mute')
      .argument('<code>', 'for instance OSD_DOWN')
      .argument('[ttl]', 'for how long: 30m, 4h, 2d')
      .option('--sticky', 'also if it clears and fails again, or becomes worse')
      .description('do not count a check in the status'),
    async (context, [code, ttl], options) =>
      context.done(
        await context.command({
          prefix: 'health mute',
          code,
          sticky: options['sticky'] === true,
          ...(ttl === undefined ? {} : { ttl }),
        }),
      ),
  )
  action(
    health.command('unmute').argument('[code]', 'all when left out').description('count a check again'),
    async (context, [code]) =>
      context.done(await context.command({ prefix: 'health unmute', ...(code === undefined ? {} : { code }) })),
  )
  action(
    health
      .command('history')
      .argument('[n]', 'how many', '50')
      .option('--code <code>', 'of one check only')
      .description('which checks failed and cleared of late, oldest first'),
    async (context, [n], { code }) => {
      const num = parseInteger(n ?? '50', 'number of events', 1, 1_000)
      const command = { prefix: 'health history', num, ...(code === undefined ? {} : { code }) }
      const rows = (await context.command(command)).data as readonly HealthEventRow[]
      context.print(rows, () =>
        formatTable(
          [
            { title: 'TIME', cell: (row) => new Date(row.wallMs).toISOString() },
            { title: 'CHECK', cell: (row) => row.code },
            { title: 'EVENT', cell: (row) => row.event },
            { title: 'SEVERITY', cell: (row) => row.severity },
            { title: 'SUMMARY', cell: (row) => row.summary },
          ],
          rows,
        ),
      )
    },
  )
}

async function show(context: CommandContext, detail: boolean): Promise<void> {
  const health = (await context.command({ prefix: 'health' })).data as HealthReport
  context.print(health, () => formatHealth(health, detail))
}

/** `HEALTH_OK (muted: OSD_DOWN)` */
export function formatHealthStatus({ status, checks }: HealthReport): string {
  const muted = checks.filter((check) => check.muted).map((check) => check.code)
  return muted.length === 0 ? status : `${status} (muted: ${muted.join(' ')})`
}

function formatHealth(health: HealthReport, detail: boolean): string {
  const lines: string[] = [formatHealthStatus(health)]
  for (const check of health.checks) {
    if (check.muted && !detail) continue
    const muted = check.muted ? '(MUTED) ' : ''
    lines.push(`${muted}[${check.severity === 'error' ? 'ERR' : 'WRN'}] ${check.code}: ${check.summary}`)
    if (!detail) continue
    lines.push(...check.detail.map((line) => `    ${line}`))
    if (check.mend !== '') lines.push(`    mend: ${check.mend}`)
  }
  if (detail) {
    for (const mute of health.mutes) {
      const until = mute.untilMs === 0 ? '' : ` until ${new Date(mute.untilMs).toISOString()}`
      lines.push(`muted: ${mute.code}${until}${mute.sticky ? ', sticky' : ''}`)
    }
  }
  return lines.join('\n')
}
