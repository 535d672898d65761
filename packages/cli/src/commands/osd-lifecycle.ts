/** `shoal osd ok-to-stop|safe-to-destroy|drain|destroy|lost|replace`: taking an OSD out of service, for a while or for good. */
import { isClusterError } from '@shoal/base'
import type { CommandReply, DrainReply, OsdUsageRow } from '@shoal/monitor-client'
import type { Command } from 'commander'
import { action } from '../action.ts'
import type { CommandContext } from '../context.ts'
import { Progress } from '../output/progress.ts'
import { parseOsd } from '../output/units.ts'

const pollMs = 1_000

export function addOsdLifecycleCommands(osd: Command): void {
  for (const [verb, description] of [
    ['ok-to-stop', 'whether every placement group would go on without these OSDs'],
    ['safe-to-destroy', 'whether these OSDs hold nothing that is needed any more'],
  ] as const) {
    action(osd.command(verb).argument('<osds...>', 'ids').description(description), async (context, ids) =>
      context.done(await context.command({ prefix: `osd ${verb}`, ids: ids.map(parseOsd) })),
    )
  }
  action(
    osd
      .command('drain')
      .argument('<osds...>', 'ids')
      .option('--no-wait', 'return at once')
      .description('move everything to other OSDs, and wait until these may be destroyed'),
    drain,
  )
  for (const [verb, description] of [
    ['destroy', 'its data is gone: the id may take a new disk'],
    ['lost', 'its data will not come back: go on without it, though the newest writes may be on it alone'],
  ] as const) {
    action(
      osd.command(verb).argument('<osd>').option('--yes-i-really-mean-it', 'needed').description(description),
      async (context, [id], options) =>
        context.done(
          await context.command({
            prefix: `osd ${verb}`,
            id: parseOsd(id as string),
            sure: options['yesIReallyMeanIt'] === true,
          }),
        ),
    )
  }
  action(
    osd
      .command('replace')
      .argument('<osd>', 'one of this machine')
      .option('--capacity <size>', 'of the new disk, as in 100G')
      .option('--yes-i-really-mean-it', 'needed: what it stores is removed')
      .description('an empty disk under the same id: only what belongs on it is copied back'),
    async (context, [id], options) => {
      const { replaceLocalOsd } = await import('../local/replace-osd.ts')
      const capacity = options['capacity']
      const name = await replaceLocalOsd(context, parseOsd(id as string), {
        capacity: typeof capacity === 'string' ? capacity : undefined,
        sure: options['yesIReallyMeanIt'] === true,
      })
      context.print({ name }, () => `${name} runs on an empty disk; shoal status shows what comes back`)
    },
  )
}

async function drain(
  context: CommandContext,
  args: readonly string[],
  options: Readonly<Record<string, unknown>>,
): Promise<void> {
  const ids = args.map(parseOsd)
  const reply = await context.command({ prefix: 'osd drain', ids })
  if (options['wait'] === false) return context.done(reply)
  process.stderr.write(`${reply.status}\n`)
  const { drained } = reply.data as DrainReply
  const safe = await untilSafe(
    context,
    drained.map(({ id }) => id),
  )
  context.print(safe.data, () => safe.status)
}

/** However long it takes: data moves at the pace of disks. Ctrl-C ends the waiting, not the draining. */
async function untilSafe(context: CommandContext, ids: readonly number[]): Promise<CommandReply> {
  const most = await pgsOn(context, ids)
  const progress = new Progress(`draining ${ids.map((id) => `osd.${id}`).join(', ')}`, most)
  for (;;) {
    try {
      const reply = await context.command({ prefix: 'osd safe-to-destroy', ids })
      progress.end()
      return reply
    } catch (error) {
      if (!isClusterError(error) || (error.code !== 'EBUSY' && error.code !== 'EAGAIN')) throw error
    }
    const left = await pgsOn(context, ids)
    progress.update(Math.max(0, most - left), `${left} PGs`)
    await new Promise((resolve) => setTimeout(resolve, pollMs))
  }
}

async function pgsOn(context: CommandContext, ids: readonly number[]): Promise<number> {
  const rows = (await context.command({ prefix: 'osd df' })).data as readonly OsdUsageRow[]
  return rows.filter((row) => ids.includes(row.id)).reduce((sum, row) => sum + row.pgs, 0)
}
