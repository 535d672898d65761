/** `shoal block trash ...`: images that can be had back for a while. */
import type { Command } from 'commander'
import { action } from '../../action.ts'
import { formatTable } from '../../output/table.ts'
import { parseDuration } from '../../output/units.ts'
import { defaultBlockPool, imageStore, parsePoolAndName } from '../pool-io.ts'
import { withProgress } from './with-progress.ts'

export function addTrashCommands(block: Command): void {
  const trash = block.command('trash').description('images that can be had back for a while')
  addMoves(trash)
  addRemovals(trash)
}

function addMoves(trash: Command): void {
  action(
    trash
      .command('mv')
      .argument('<image>', 'POOL/IMAGE')
      .option('--keep <time>', 'not removed before, as in 7d')
      .description('take an image out of sight; its clones, and who has it open, go on with it'),
    async (context, [text = ''], options) => {
      const { pool, name } = parsePoolAndName(text, defaultBlockPool)
      const keepMs = options['keep'] === undefined ? 0 : parseDuration(String(options['keep']))
      const moved = await (await imageStore(context, pool)).trash.move(name, keepMs)
      context.print({ pool, ...moved }, () => `image ${pool}/${name} is in the trash, as ${moved.id}`)
    },
  )
  action(
    trash
      .command('restore')
      .argument('<image>', 'POOL/ID')
      .option('--name <name>', 'another one than it had')
      .description('have an image back'),
    async (context, [text = ''], options) => {
      const { pool, name: id } = parsePoolAndName(text, defaultBlockPool)
      const wanted = options['name'] === undefined ? undefined : String(options['name'])
      const name = await (await imageStore(context, pool)).trash.restore(id, wanted)
      context.print({ pool, id, name }, () => `image ${pool}/${name} is back`)
    },
  )
  action(
    trash.command('ls').argument('[pool]', 'pool', defaultBlockPool).description('what is in the trash'),
    async (context, [pool = defaultBlockPool]) => {
      const images = await (await imageStore(context, pool)).trash.list()
      context.print(images, () =>
        formatTable(
          [
            { title: 'ID', cell: (row) => row.id },
            { title: 'NAME', cell: (row) => row.name },
            { title: 'SINCE', cell: (row) => new Date(row.trashedMs).toISOString() },
            { title: 'KEPT UNTIL', cell: (row) => new Date(row.keepUntilMs).toISOString() },
          ],
          images,
        ),
      )
    },
  )
}

function addRemovals(trash: Command): void {
  action(
    trash
      .command('rm')
      .argument('<image>', 'POOL/ID')
      .option('--force', 'also before its time')
      .description('remove an image and its data for good'),
    async (context, [text = ''], options) => {
      const { pool, name: id } = parsePoolAndName(text, defaultBlockPool)
      const store = await imageStore(context, pool)
      await withProgress('removing', (update) => store.trash.remove(id, options['force'] === true, update))
      context.print({ removed: `${pool}/${id}` }, () => `image ${pool}/${id} removed`)
    },
  )
  action(
    trash
      .command('purge')
      .argument('[pool]', 'pool', defaultBlockPool)
      .description('remove all images whose time is over'),
    async (context, [pool = defaultBlockPool]) => {
      const store = await imageStore(context, pool)
      const kept = await withProgress('removing', (update) => store.trash.purge(update))
      context.print({ pool, kept }, () =>
        kept.length === 0 ? 'done' : `kept, since others need them: ${kept.map(({ name }) => name).join(', ')}`,
      )
    },
  )
}
