/** `shoal pg scrub|deep-scrub|repair|list-inconsistent` and `shoal osd scrub|deep-scrub|repair`: the primaries do it. */
import { ClusterError, isClusterError } from '@shoal/base'
import type { OsdRow } from '@shoal/monitor-client'
import type { Command } from 'commander'
import { action } from '../action.ts'
import type { CommandContext } from '../context.ts'
import { formatTable } from '../output/table.ts'
import { parseOsd } from '../output/units.ts'
import { askOsd, askPrimary } from './ask-osd.ts'

const meanings = {
  scrub: 'compare sizes and attributes of the copies',
  'deep-scrub': 'read all copies, verify their checksums and compare them',
  repair: 'deep-scrub, and replace the copies that are bad',
} as const

const kinds = ['scrub', 'deep-scrub', 'repair'] as const

interface Begun {
  readonly pgs: readonly string[]
}

interface Inconsistent {
  readonly object: { readonly namespace: string; readonly name: string }
  readonly errors: readonly string[]
  readonly proven: boolean
  readonly shards: readonly { readonly osd: number; readonly errors: readonly string[] }[]
}

export function addScrubCommands(pg: Command): void {
  for (const kind of kinds) {
    action(pg.command(kind).argument('<pg>').description(meanings[kind]), async (context, [pgId]) => {
      const begun = (await askWhoeverLeads(context, pgId as string, `pg ${kind}`)) as Begun
      context.print(begun, () => `asked the primary of ${begun.pgs.join(', ')} to ${kind}`)
    })
  }
  action(
    pg
      .command('list-inconsistent')
      .argument('<pg>')
      .description('objects whose copies differ or fail their checksums, as the last scrub found them'),
    async (context, [pgId]) => {
      const answer = (await askPrimary(context, pgId as string, 'pg list-inconsistent')) as {
        readonly inconsistents: readonly Inconsistent[]
        readonly unlisted: number
      }
      context.print(answer, () => {
        if (answer.inconsistents.length === 0) return 'no inconsistent objects'
        const more = answer.unlisted === 0 ? '' : `\nand ${answer.unlisted} more`
        return inconsistentTable(answer.inconsistents) + more
      })
    },
  )
}

export function addOsdScrubCommands(osd: Command): void {
  for (const kind of kinds) {
    action(
      osd.command(kind).argument('<osd>').description(`${meanings[kind]}: of all placement groups that an OSD leads`),
      async (context, [name]) => {
        const found = await findOsd(context, name as string)
        const begun = (await askOsd(context, found, `osd ${kind}`)) as Begun
        context.print(begun, () => `asked ${String(name)} to ${kind} ${begun.pgs.length} placement groups`)
      },
    )
  }
}

const leaderTries = 10
const leaderRetryMs = 300

/** The primary may be another by the time it is asked. */
async function askWhoeverLeads(context: CommandContext, pgId: string, method: string): Promise<unknown> {
  for (let tries = 1; ; tries++) {
    try {
      return await askPrimary(context, pgId, method)
    } catch (error) {
      if (!isClusterError(error, 'EAGAIN') || tries === leaderTries) throw error
    }
    await new Promise((resolve) => setTimeout(resolve, leaderRetryMs))
  }
}

async function findOsd(context: CommandContext, name: string): Promise<OsdRow> {
  const id = parseOsd(name)
  const dump = (await context.command({ prefix: 'osd dump' })).data as { readonly osds: readonly OsdRow[] }
  const osd = dump.osds.find((row) => row.id === id)
  if (osd === undefined) throw new ClusterError('ENOENT', `there is no osd.${id}`, { hint: 'shoal osd tree' })
  if (!osd.up) throw new ClusterError('EAGAIN', `osd.${id} is down`, { hint: `shoal daemon start osd.${id}` })
  return osd
}

function inconsistentTable(rows: readonly Inconsistent[]): string {
  return formatTable(
    [
      { title: 'OBJECT', cell: ({ object }) => (object.namespace === '' ? '' : `${object.namespace}/`) + object.name },
      { title: 'ERRORS', cell: (row) => row.errors.join(',') },
      {
        title: 'SHARDS',
        cell: (row) => row.shards.map(({ osd, errors }) => `osd.${osd}: ${errors.join(',') || 'good'}`).join('; '),
      },
      { title: 'PROVEN', cell: (row) => (row.proven ? 'yes' : 'no') },
    ],
    rows,
  )
}
