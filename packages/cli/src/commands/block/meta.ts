/** `shoal block image-meta ...`: words that people keep with an image. */
import type { Command } from 'commander'
import { action } from '../../action.ts'
import { formatTable } from '../../output/table.ts'
import { defaultBlockPool, imageStore, parsePoolAndName } from '../pool-io.ts'

export function addMetaCommands(block: Command): void {
  const meta = block.command('image-meta').description('words that people keep with an image')
  action(
    meta.command('set').argument('<image>', 'POOL/IMAGE').argument('<key>').argument('<value>').description('keep one'),
    async (context, [text = '', key = '', value = '']) => {
      const { pool, name } = parsePoolAndName(text, defaultBlockPool)
      await (await imageStore(context, pool)).meta.set(name, key, value)
      context.print({ key, value }, () => `${key} of ${pool}/${name} is set`)
    },
  )
  action(
    meta.command('get').argument('<image>', 'POOL/IMAGE').argument('<key>').description('one of them'),
    async (context, [text = '', key = '']) => {
      const { pool, name } = parsePoolAndName(text, defaultBlockPool)
      const value = await (await imageStore(context, pool)).meta.get(name, key)
      context.print({ key, value }, () => value)
    },
  )
  action(
    meta.command('rm').argument('<image>', 'POOL/IMAGE').argument('<key>').description('forget one'),
    async (context, [text = '', key = '']) => {
      const { pool, name } = parsePoolAndName(text, defaultBlockPool)
      await (await imageStore(context, pool)).meta.remove(name, key)
      context.print({ key }, () => `${key} of ${pool}/${name} is removed`)
    },
  )
  action(
    meta.command('ls').argument('<image>', 'POOL/IMAGE').description('all of them'),
    async (context, [text = '']) => {
      const { pool, name } = parsePoolAndName(text, defaultBlockPool)
      const rows = [...(await (await imageStore(context, pool)).meta.list(name))].map(([key, value]) => ({
        key,
        value,
      }))
      context.print(rows, () =>
        formatTable(
          [
            { title: 'KEY', cell: (row) => row.key },
            { title: 'VALUE', cell: (row) => row.value },
          ],
          rows,
        ),
      )
    },
  )
}
