/** `shoal pg list-unfound|mark-unfound-lost|force-recovery|...`: what an operator decides about one placement group. */
import { ClusterError } from '@shoal/base'
import type { UnfoundReply } from '@shoal/monitor-client'
import type { Command } from 'commander'
import { action } from '../action.ts'
import { formatTable } from '../output/table.ts'
import { askPrimary } from './ask-primary.ts'

export function addPgRecoveryCommands(pg: Command): void {
  action(
    pg.command('list-unfound').argument('<pg>').description('objects of which no good copy can be reached'),
    async (context, [pgId]) => {
      const list = (await askPrimary(context, pgId as string, 'pg list-unfound')) as UnfoundReply
      context.print(list, () => formatUnfound(list))
    },
  )
  action(
    pg
      .command('mark-unfound-lost')
      .argument('<pg>')
      .argument('<mode>', 'revert: to the older content that is left; delete: they are gone')
      .option('--yes-i-really-mean-it', 'needed: acknowledged writes are given up')
      .description('give up the unfound objects of a placement group'),
    async (context, [pgId, mode], options) => {
      if (options['yesIReallyMeanIt'] !== true) {
        throw new ClusterError('EPERM', `acknowledged writes of ${pgId} would be given up for good`, {
          hint: `shoal pg list-unfound ${pgId}; shoal pg mark-unfound-lost ${pgId} ${mode} --yes-i-really-mean-it`,
        })
      }
      const answer = (await askPrimary(context, pgId as string, 'pg mark-unfound-lost', { mode })) as {
        readonly objects: number
      }
      const did = mode === 'delete' ? 'deleted' : 'reverted, where older content is left'
      context.print(answer, () => `${answer.objects} unfound objects of ${pgId} are ${did}`)
    },
  )
  action(
    pg.command('repeer').argument('<pg>').description('have its members agree anew on what they have'),
    async (context, [pgid]) => context.done(await context.command({ prefix: 'pg repeer', pgid })),
  )
  for (const what of ['recovery', 'backfill'] as const) {
    for (const cancel of [false, true]) {
      const verb = `${cancel ? 'cancel-' : ''}force-${what}`
      action(
        pg
          .command(verb)
          .argument('<pgs...>')
          .description(cancel ? `${what} in its turn again` : `${what} before that of others`),
        async (context, pgIds) => {
          const answers = (await Promise.all(
            pgIds.map((pgId) => askPrimary(context, pgId, `pg ${verb}`)),
          )) as readonly {
            readonly pgId: string
            readonly changed: boolean
          }[]
          const changed = answers.filter((answer) => answer.changed).map(({ pgId }) => pgId)
          context.print(answers, () => (changed.length === 0 ? 'nothing to do' : `${verb}: ${changed.join(', ')}`))
        },
      )
    }
  }
}

function formatUnfound({ objects, mightBeOn }: UnfoundReply): string {
  const table = formatTable(
    [
      { title: 'OBJECT', cell: (row) => (row.namespace === '' ? row.name : `${row.namespace}/${row.name}`) },
      { title: 'NEEDED', cell: (row) => row.need },
    ],
    objects,
  )
  const where =
    mightBeOn.length === 0
      ? 'every OSD that may have had them was asked, or is lost'
      : `may be on ${mightBeOn.map((id) => `osd.${id}`).join(', ')}, not asked`
  return `${table}\n${objects.length} objects; ${where}`
}
