/** `shoal config ...`: the options of all daemons, kept by the monitors. */
import { hostname, userInfo } from 'node:os'
import { ClusterError } from '@shoal/base'
import type { ConfigDumpRow, ConfigGetRow, ConfigLogRow, ConfigRow, Option } from '@shoal/monitor-client'
import type { Command } from 'commander'
import { action } from '../action.ts'
import { askDaemon } from '../ask-daemon.ts'
import type { CommandContext } from '../context.ts'
import { formatPairs, formatTable } from '../output/table.ts'
import { parseInteger } from '../output/units.ts'

const whom = 'global, osd, mon, client, osd.3, osd/class:ssd, osd/host:NAME'

export function addConfigCommands(program: Command): void {
  const config = program.command('config').description('options of all daemons; daemons go by a new value at once')
  addChanges(config)
  addReports(config)
  action(
    config
      .command('show')
      .argument('<daemon>', 'osd.3, mon.a, nbd.0')
      .argument('[name]', 'one option only')
      .description('ask a daemon which values it goes by, and where each came from'),
    async (context, [daemon, name]) => show(context, daemon as string, name),
  )
}

/** Who did it, for `config log`: nobody checks it. */
function signature(): string {
  return `${userInfo().username}@${hostname()}`.slice(0, 128)
}

function addChanges(config: Command): void {
  action(
    config
      .command('set')
      .argument('<who>', whom)
      .argument('<name>', 'see `config ls`')
      .argument('<value>', 'see `config help NAME`')
      .description('set an option'),
    async (context, [who, name, value]) =>
      context.done(await context.command({ prefix: 'config set', who, name, value, by: signature() })),
  )
  action(
    config
      .command('rm')
      .argument('<who>', 'as it was set')
      .argument('<name>')
      .description('take a value back: the next less precise one counts, or the default'),
    async (context, [who, name]) =>
      context.done(await context.command({ prefix: 'config rm', who, name, by: signature() })),
  )
  action(
    config
      .command('reset')
      .argument('<version>', 'see `config log`')
      .description('make the configuration what it was at a version'),
    async (context, [version]) => {
      const num = parseInteger(version as string, 'the version', 0)
      context.done(await context.command({ prefix: 'config reset', num, by: signature() }))
    },
  )
}

function addReports(config: Command): void {
  action(
    config
      .command('get')
      .argument('<daemon>', 'osd.3')
      .argument('[name]', 'one option; without it all that are set')
      .description('what is stored for a daemon'),
    async (context, [who, name]) => {
      const reply = await context.command({ prefix: 'config get', who, ...(name === undefined ? {} : { name }) })
      context.print(reply.data, () => {
        if (!Array.isArray(reply.data)) return (reply.data as ConfigGetRow).value
        return formatTable<ConfigGetRow>(
          [
            { title: 'NAME', cell: (row) => row.name },
            { title: 'VALUE', cell: (row) => row.value },
            { title: 'SET FOR', cell: (row) => row.source },
          ],
          reply.data as readonly ConfigGetRow[],
        )
      })
    },
  )
  action(config.command('dump').description('all that is stored'), async (context) => {
    const rows = (await context.command({ prefix: 'config dump' })).data as readonly ConfigDumpRow[]
    context.print(rows, () =>
      formatTable(
        [
          { title: 'WHO', cell: (row) => row.section },
          { title: 'MASK', cell: (row) => row.mask || '-' },
          { title: 'LEVEL', cell: (row) => row.level },
          { title: 'OPTION', cell: (row) => row.name },
          { title: 'VALUE', cell: (row) => row.value },
          { title: 'RESTART', cell: (row) => (row.needsRestart ? 'needed' : '-') },
        ],
        rows,
      ),
    )
  })
  action(config.command('ls').description('the names of all options'), async (context) => {
    const names = (await context.command({ prefix: 'config ls' })).data as readonly string[]
    context.print(names, () => names.join('\n'))
  })
  action(config.command('help').argument('<name>').description('what an option means'), async (context, [name]) => {
    const option = (await context.command({ prefix: 'config help', name })).data as Option & { readonly range: string }
    context.print(option, () => formatHelp(option))
  })
  action(
    config.command('log').argument('[n]', 'how many', '10').description('the latest changes, newest first'),
    async (context, [n]) => {
      const num = parseInteger(n ?? '10', 'number of changes', 1, 1_000)
      const rows = (await context.command({ prefix: 'config log', num })).data as readonly ConfigLogRow[]
      context.print(rows, () => rows.map(formatChange).join('\n'))
    },
  )
}

function formatHelp(option: Option & { readonly range: string }): string {
  const changes = { live: 'at once', restart: 'after a restart', fixed: 'cannot be set' }[option.change]
  return `${option.name}: ${option.description}\n${formatPairs([
    ['  value', option.range],
    ['  default', String(option.default)],
    ['  read by', option.services.join(', ')],
    ['  level', option.level],
    ['  in force', changes],
  ])}`
}

function formatChange({ version, wallMs, by, options }: ConfigLogRow): string {
  const head = `--- ${version} --- ${new Date(wallMs).toISOString()}${by === '' ? '' : ` --- ${by}`} ---`
  const lines = options.flatMap(({ who, name, before, after }) => [
    ...(before === undefined ? [] : [`- ${who} ${name} = ${before}`]),
    ...(after === undefined ? [] : [`+ ${who} ${name} = ${after}`]),
  ])
  return [head, ...lines].join('\n')
}

async function show(context: CommandContext, daemon: string, name: string | undefined): Promise<void> {
  const all = (await askDaemon(context, daemon, 'config show')) as readonly ConfigRow[]
  const rows = name === undefined ? all : all.filter((row) => row.name === name)
  if (name !== undefined && rows.length === 0) {
    throw new ClusterError('EINVAL', `${daemon} has no option '${name}'`, { hint: `shoal config show ${daemon}` })
  }
  context.print(rows, () =>
    formatTable(
      [
        { title: 'NAME', cell: (row) => row.name },
        { title: 'VALUE', cell: (row) => row.value },
        { title: 'SOURCE', cell: (row) => row.source },
        { title: 'AFTER RESTART', cell: (row) => row.pending },
        { title: 'IGNORED', cell: (row) => row.ignored },
      ],
      rows,
    ),
  )
}
