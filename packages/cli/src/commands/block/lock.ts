/** `shoal block lock ...`: who may write to an image (Ceph's `rbd lock`). */
import { ClusterError } from '@shoal/base'
import type { ImageLockHolder } from '@shoal/block'
import type { Command } from 'commander'
import { action } from '../../action.ts'
import type { CommandContext } from '../../context.ts'
import { formatTable } from '../../output/table.ts'
import { defaultBlockPool, imageStore, parsePoolAndName } from '../pool-io.ts'

export function addImageLockCommands(block: Command): void {
  const lock = block.command('lock').description('the lock of an image: one client writes at a time')
  action(
    lock.command('ls').argument('<image>', 'POOL/IMAGE').description('who holds it'),
    async (context, [image = '']) => {
      const { holder, block } = await locate(context, image)
      const rows = holder === undefined ? [] : [holder]
      context.print(rows, () =>
        formatTable(
          [
            { title: 'HOLDER', cell: (row) => `client.${row.client}` },
            { title: 'ID', cell: (row) => row.cookie },
            { title: 'TAKEN', cell: (row) => (block.isAutomatic(row) ? 'to write' : 'by hand') },
            { title: 'DESCRIPTION', cell: (row) => row.description },
          ],
          rows,
        ),
      )
    },
  )
  action(
    lock
      .command('add')
      .argument('<image>', 'POOL/IMAGE')
      .argument('<id>', 'a name for this lock')
      .option('--description <text>', 'for people', '')
      .description('take it by hand: nobody writes until `lock rm`'),
    add,
  )
  action(
    lock
      .command('rm')
      .argument('<image>', 'POOL/IMAGE')
      .argument('<id>', 'as `lock add` named it')
      .description('give back a lock that was taken by hand'),
    async (context, [image = '', id = '']) => {
      const { io, imageId, holder, block } = await locate(context, image)
      if (holder === undefined || holder.cookie !== id || block.isAutomatic(holder)) {
        throw new ClusterError('ENOENT', `${image} has no lock '${id}' that was taken by hand`, {
          hint: `shoal block lock ls ${image}`,
        })
      }
      await block.removeImageLock(io, imageId, holder)
      context.print({ image, removed: id }, () => `${image} is not locked any more`)
    },
  )
  action(
    lock
      .command('break')
      .argument('<image>', 'POOL/IMAGE')
      .description('fence whoever holds it, then take it away; a gateway does so by itself when the holder is dead'),
    breakLock,
  )
}

async function add(
  context: CommandContext,
  [image = '', id = '']: readonly string[],
  options: Readonly<Record<string, unknown>>,
): Promise<void> {
  const { io, imageId, holder, block } = await locate(context, image)
  if (holder !== undefined) throw locked(image, holder)
  if (id === '' || block.isAutomatic({ client: 0, cookie: id, description: '' })) {
    throw new ClusterError('EINVAL', `not a name for a lock: '${id}'`, {
      hint: "any words that do not begin with 'auto '",
    })
  }
  await block.takeImageLock(io, imageId, id, String(options['description']))
  context.print({ image, id }, () => `${image} is locked: shoal block lock rm ${image} '${id}' gives it back`)
}

async function breakLock(context: CommandContext, [image = '']: readonly string[]): Promise<void> {
  const { io, imageId, holder, block, client } = await locate(context, image)
  if (holder === undefined) {
    throw new ClusterError('ENOENT', `nobody holds the lock of ${image}`, { hint: 'nothing is to be done' })
  }
  await block.breakImageLock({ io, fencer: client }, imageId, holder)
  context.print({ image, fenced: holder.client }, () => `client.${holder.client} is fenced, and holds it no more`)
}

function locked(image: string, holder: ImageLockHolder): ClusterError {
  return new ClusterError('EBUSY', `client.${holder.client} holds the lock of ${image}`, {
    hint: `shoal block lock ls ${image}`,
  })
}

async function locate(context: CommandContext, image: string) {
  const { pool, name } = parsePoolAndName(image, defaultBlockPool)
  const [client, store, block] = await Promise.all([
    context.client(),
    imageStore(context, pool),
    import('@shoal/block'),
  ])
  const io = client.pool(pool)
  const { id: imageId } = await store.info(name)
  const holder = await block.readLockHolder(io, imageId)
  return { client, io, imageId, holder, block }
}
