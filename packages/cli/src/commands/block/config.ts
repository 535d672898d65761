/** `shoal block config image ...`: settings of one image, limits above all (Ceph's `rbd config image`). */
import { ClusterError } from '@shoal/base'
import type { Command } from 'commander'
import { action } from '../../action.ts'
import type { CommandContext } from '../../context.ts'
import { formatTable } from '../../output/table.ts'
import { parseBytes } from '../../output/units.ts'
import { defaultBlockPool, imageStore, parsePoolAndName } from '../pool-io.ts'

export function addImageConfigCommands(block: Command): void {
  const image = block.command('config').description('settings').command('image').description('of one image')
  action(
    image
      .command('set')
      .argument('<image>', 'POOL/IMAGE')
      .argument('<option>', 'as `ls` names them: qos_iops_limit, qos_write_bps_limit, ...')
      .argument('<value>', 'per second, of each gateway that has the image open; 0: no limit; as in 500 or 20M')
      .description('limit what an image may take; gateways go by it at once'),
    async (context, [name = '', option = '', text = '']) => {
      const { io, imageId, block } = await locate(context, name)
      const value = text === '0' ? 0 : parseBytes(text)
      await block.setImageOption(io, imageId, block.imageOption(option), value)
      context.print({ image: name, [option]: value }, () => `${option} of ${name} is ${value}`)
    },
  )
  action(
    image
      .command('get')
      .argument('<image>', 'POOL/IMAGE')
      .argument('<option>', 'qos_iops_limit, ...')
      .description('one of them'),
    async (context, [name = '', option = '']) => {
      const { io, imageId, block } = await locate(context, name)
      const value = (await block.readImageConfig(io, imageId)).get(block.imageOption(option))
      if (value === undefined) {
        throw new ClusterError('ENOENT', `${option} of ${name} is not set`, {
          hint: `shoal block config image ls ${name}`,
        })
      }
      context.print({ [option]: value }, () => String(value))
    },
  )
  action(
    image
      .command('rm')
      .argument('<image>', 'POOL/IMAGE')
      .argument('<option>', 'qos_iops_limit, ...')
      .description('take a limit back'),
    async (context, [name = '', option = '']) => {
      const { io, imageId, block } = await locate(context, name)
      await block.setImageOption(io, imageId, block.imageOption(option), 0)
      context.print({ image: name, removed: option }, () => `${option} of ${name} is not set any more`)
    },
  )
  action(
    image.command('ls').argument('<image>', 'POOL/IMAGE').description('all options, and what they are set to'),
    async (context, [name = '']) => {
      const { io, imageId, block } = await locate(context, name)
      const config = await block.readImageConfig(io, imageId)
      const rows = block.imageOptions.map((option) => ({ option, value: config.get(option) ?? 0 }))
      context.print(rows, () =>
        formatTable(
          [
            { title: 'OPTION', cell: (row) => row.option },
            { title: 'VALUE', cell: (row) => (row.value === 0 ? '-' : String(row.value)), align: 'right' },
          ],
          rows,
        ),
      )
    },
  )
}

async function locate(context: CommandContext, image: string) {
  const { pool, name } = parsePoolAndName(image, defaultBlockPool)
  const [client, store, block] = await Promise.all([
    context.client(),
    imageStore(context, pool),
    import('@shoal/block'),
  ])
  return { io: client.pool(pool), imageId: (await store.info(name)).id, block }
}
