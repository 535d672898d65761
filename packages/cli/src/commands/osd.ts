/** `shoal osd ...`: OSDs, their weights and flags, and where objects are placed. */

import type { OsdRow, OsdTreeNode, OsdUsageRow, PlacementReply } from '@shoal/monitor-client'
import type { Command } from 'commander'
import { action } from '../action.ts'
import type { CommandContext } from '../context.ts'
import { parseLocation } from '../daemons/location.ts'
import { formatTable } from '../output/table.ts'
import { formatBytes, parseNumber, parseOsd } from '../output/units.ts'
import { addErasureProfileCommands } from './erasure-profile.ts'
import { addBlocklistCommands } from './osd-blocklist.ts'
import { addOsdKeyCommands } from './osd-key.ts'
import { addOsdLifecycleCommands } from './osd-lifecycle.ts'
import { addOsdScrubCommands } from './scrub.ts'

export function addOsdCommands(program: Command): void {
  const osd = program.command('osd').description('object storage daemons')
  addReports(osd)
  addChanges(osd)
  addOsdKeyCommands(osd)
  addOsdLifecycleCommands(osd)
  addBlocklistCommands(osd)
  addOsdScrubCommands(osd)
  addErasureProfileCommands(osd)
}

function addReports(osd: Command): void {
  action(osd.command('ls').description('OSDs'), async (context) => {
    const rows = (await context.command({ prefix: 'osd ls' })).data as readonly OsdRow[]
    context.print(rows, () =>
      formatTable(
        [
          { title: 'ID', cell: (row) => row.id, align: 'right' },
          { title: 'STATE', cell: (row) => `${row.up ? 'up' : 'down'},${row.in ? 'in' : 'out'}` },
          { title: 'REWEIGHT', cell: (row) => row.weight.toFixed(5), align: 'right' },
          { title: 'ADDRESS', cell: (row) => row.addresses?.data },
          { title: 'UUID', cell: (row) => row.uuid },
        ],
        rows,
      ),
    )
  })
  action(osd.command('tree').description('the CRUSH hierarchy with the state of each OSD'), async (context) => {
    const nodes = (await context.command({ prefix: 'osd tree' })).data as readonly OsdTreeNode[]
    context.print(nodes, () => formatTree(nodes))
  })
  action(osd.command('df').description('space used on each OSD'), async (context) => {
    const rows = (await context.command({ prefix: 'osd df' })).data as readonly OsdUsageRow[]
    context.print(rows, () =>
      formatTable(
        [
          { title: 'ID', cell: (row) => row.id, align: 'right' },
          { title: 'STATUS', cell: (row) => row.status },
          { title: 'WEIGHT', cell: (row) => row.crushWeight.toFixed(5), align: 'right' },
          { title: 'REWEIGHT', cell: (row) => row.reweight.toFixed(5), align: 'right' },
          { title: 'SIZE', cell: (row) => formatBytes(row.totalBytes), align: 'right' },
          { title: 'USED', cell: (row) => formatBytes(row.usedBytes), align: 'right' },
          { title: 'META', cell: (row) => formatBytes(row.metadataBytes), align: 'right' },
          { title: 'AVAIL', cell: (row) => formatBytes(row.totalBytes - row.usedBytes), align: 'right' },
          {
            title: '%USE',
            cell: (row) => (row.totalBytes === 0 ? '-' : ((100 * row.usedBytes) / row.totalBytes).toFixed(2)),
            align: 'right',
          },
          { title: 'PGS', cell: (row) => row.pgs, align: 'right' },
          { title: 'PRIMARIES', cell: (row) => row.primaries, align: 'right' },
        ],
        rows,
      ),
    )
  })
  action(
    osd
      .command('map')
      .argument('<pool>')
      .argument('<object>')
      .option('--namespace <name>', 'namespace of the object', '')
      .description('where an object is placed'),
    async (context, [pool, object], options) => {
      const reply = await context.command({ prefix: 'osd map', pool, object, nspace: options['namespace'] })
      const place = reply.data as PlacementReply
      context.print(place, () =>
        [
          `osdmap e${place.epoch} pool '${place.pool}' object '${place.object}' -> pg ${place.pgId}`,
          `up ([${place.up.join(',')}], p${place.upPrimary}) acting ([${place.acting.join(',')}], p${place.actingPrimary})`,
        ].join(' -> '),
      )
    },
  )
}

export function formatTree(nodes: readonly OsdTreeNode[]): string {
  return formatTable(
    [
      { title: 'ID', cell: (node) => node.id, align: 'right' },
      { title: 'CLASS', cell: (node) => node.deviceClass ?? '' },
      { title: 'WEIGHT', cell: (node) => node.crushWeight.toFixed(5), align: 'right' },
      {
        title: 'TYPE NAME',
        cell: (node) => `${'    '.repeat(node.depth)}${node.id >= 0 ? '' : `${node.type} `}${node.name}`,
      },
      { title: 'STATUS', cell: (node) => node.status ?? '' },
      { title: 'REWEIGHT', cell: (node) => node.reweight?.toFixed(5) ?? '', align: 'right' },
      { title: 'PRI-AFF', cell: (node) => node.primaryAffinity?.toFixed(5) ?? '', align: 'right' },
    ],
    nodes,
  )
}

const ratioMeanings = {
  nearfull: 'used share of an OSD from which on health warns',
  backfillfull: 'used share of an OSD from which on nothing is backfilled to it',
  full: 'used share of an OSD from which on clients may not write to it',
} as const

function addChanges(osd: Command): void {
  const onEach = (verb: string, description: string): void => {
    action(osd.command(verb).argument('<osds...>', 'ids').description(description), async (context, ids) =>
      context.done(await context.command({ prefix: `osd ${verb}`, ids: ids.map(parseOsd) })),
    )
  }
  onEach('in', 'place data on it again')
  onEach('out', 'move its data to others')
  onEach('down', 'mark it down; a running one comes back by itself')
  onEach('rm', 'forget OSDs that are down and hold no data')
  action(
    osd
      .command('reweight')
      .argument('<osd>')
      .argument('<weight>', '0 to 1')
      .description('override the share of data, 0 to 1'),
    async (context, [id, weight]) =>
      context.done(
        await context.command({
          prefix: 'osd reweight',
          id: parseOsd(id as string),
          weight: parseNumber(weight as string, 'weight', 0, 1),
        }),
      ),
  )
  action(
    osd
      .command('primary-affinity')
      .argument('<osd>')
      .argument('<weight>', '0 to 1')
      .description('how willingly it is primary'),
    async (context, [id, weight]) =>
      context.done(
        await context.command({
          prefix: 'osd primary-affinity',
          id: parseOsd(id as string),
          weight: parseNumber(weight as string, 'weight', 0, 1),
        }),
      ),
  )
  for (const which of ['nearfull', 'backfillfull', 'full'] as const) {
    action(
      osd.command(`set-${which}-ratio`).argument('<ratio>', '0 to 1').description(ratioMeanings[which]),
      async (context, [ratio]) =>
        context.done(
          await context.command({
            prefix: `osd set-${which}-ratio`,
            ratio: parseNumber(ratio as string, 'ratio', 0, 1),
          }),
        ),
    )
  }
  for (const verb of ['set', 'unset'] as const) {
    action(
      osd
        .command(verb)
        .argument('<flag>', 'noout, nodown, noup, noin, norecover, nobackfill, pause, ...')
        .description(`${verb} a cluster flag`),
      async (context, [flag]) => context.done(await context.command({ prefix: `osd ${verb}`, key: flag })),
    )
  }
  action(
    osd
      .command('add')
      .option('--capacity <size>', 'as in 100G')
      .option('--encrypt', 'encrypt its store; the monitors keep the key')
      .option('--location <places...>', 'where CRUSH has it, as in host=alpha rack=r1 (default: this host)')
      .description('make a new OSD on this machine and start it'),
    addOsd,
  )
  action(
    osd
      .command('pg-upmap-items')
      .argument('<pg>')
      .argument('<pairs...>', 'FROM TO FROM TO ...')
      .description('place copies of a PG elsewhere than CRUSH says'),
    async (context, [pgId, ...pairs]) =>
      context.done(await context.command({ prefix: 'osd pg-upmap-items', pgid: pgId, id: pairs.map(parseOsd) })),
  )
  action(
    osd.command('rm-pg-upmap-items').argument('<pg>').description('let CRUSH place the PG again'),
    async (context, [pgId]) => context.done(await context.command({ prefix: 'osd rm-pg-upmap-items', pgid: pgId })),
  )
  action(
    osd
      .command('pg-upmap-primary')
      .argument('<pg>')
      .argument('<osd>', 'one of its up set')
      .description('make another member the primary of a PG'),
    async (context, [pgId, id]) =>
      context.done(await context.command({ prefix: 'osd pg-upmap-primary', pgid: pgId, id: parseOsd(id as string) })),
  )
  action(
    osd.command('rm-pg-upmap-primary').argument('<pg>').description('let CRUSH say who is the primary again'),
    async (context, [pgId]) => context.done(await context.command({ prefix: 'osd rm-pg-upmap-primary', pgid: pgId })),
  )
}

/** Takes the lowest free id, adds it to the directory's list, and lets the supervisor (or this command) start it. */
async function addOsd(
  context: CommandContext,
  _args: readonly string[],
  options: Readonly<Record<string, unknown>>,
): Promise<void> {
  const { addLocalOsd } = await import('../local/add-osd.ts')
  const { capacity, encrypt, location } = options as {
    readonly capacity?: string
    readonly encrypt?: boolean
    readonly location?: readonly string[]
  }
  const name = await addLocalOsd(context, {
    capacity,
    encrypt: encrypt === true,
    location: location === undefined ? undefined : parseLocation(location),
  })
  context.print({ name }, () => `${name} runs`)
}
