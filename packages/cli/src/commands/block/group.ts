/** `shoal block group ...`: images whose snapshots are taken at one moment, named `POOL/GROUP` and `POOL/GROUP@SNAPSHOT`. */
import { ClusterError } from '@shoal/base'
import type { ImageGroups } from '@shoal/block'
import type { Command } from 'commander'
import { action } from '../../action.ts'
import type { CommandContext } from '../../context.ts'
import { formatTable } from '../../output/table.ts'
import { defaultBlockPool, imageStore, parsePoolAndName } from '../pool-io.ts'
import { withProgress } from './with-progress.ts'

export function addGroupCommands(block: Command): void {
  const group = block.command('group').description('images whose snapshots are taken at one moment')
  addGroups(group)
  addMembers(group.command('image').description('the images of a group'))
  addSnapshots(group.command('snap').description('snapshots of a group'))
}

async function imageGroups(context: CommandContext, pool: string): Promise<ImageGroups> {
  const [client, store, { ImageGroups }, env] = await Promise.all([
    context.client(),
    imageStore(context, pool),
    import('@shoal/block'),
    context.env(),
  ])
  return new ImageGroups({ env, io: client.pool(pool), fencer: client, store })
}

interface NamedGroup {
  readonly groups: ImageGroups
  readonly name: string
  /** Empty: none was named. */
  readonly snapshot: string
}

async function namedGroup(context: CommandContext, text: string): Promise<NamedGroup> {
  const { pool, name: spec } = parsePoolAndName(text, defaultBlockPool)
  const [name = '', snapshot = ''] = spec.split('@')
  return { groups: await imageGroups(context, pool), name, snapshot }
}

async function namedSnapshot(context: CommandContext, text: string): Promise<NamedGroup> {
  const named = await namedGroup(context, text)
  if (named.snapshot !== '') return named
  throw new ClusterError('EINVAL', `'${text}' names no snapshot`, { hint: 'POOL/GROUP@SNAPSHOT' })
}

function addGroups(group: Command): void {
  action(
    group.command('create').argument('<group>', 'POOL/GROUP').description('make a group without images'),
    async (context, [text = '']) => {
      const { groups, name } = await namedGroup(context, text)
      await groups.create(name)
      context.print({ created: text }, () => `group ${text} created`)
    },
  )
  action(
    group.command('rm').argument('<group>', 'POOL/GROUP').description('remove a group; its images stay'),
    async (context, [text = '']) => {
      const { groups, name } = await namedGroup(context, text)
      await groups.remove(name)
      context.print({ removed: text }, () => `group ${text} removed`)
    },
  )
  action(
    group.command('ls').argument('[pool]', 'pool', defaultBlockPool).description('groups of a pool'),
    async (context, [pool = defaultBlockPool]) => {
      const names = await (await imageGroups(context, pool)).list()
      context.print(names, () => names.join('\n'))
    },
  )
}

function addMembers(image: Command): void {
  action(
    image
      .command('add')
      .argument('<group>', 'POOL/GROUP')
      .argument('<image>', 'of the same pool')
      .description('add an image'),
    async (context, [text = '', member = '']) => {
      const { groups, name } = await namedGroup(context, text)
      await groups.addImage(name, member)
      context.print({ group: text, added: member }, () => `${member} is in group ${text}`)
    },
  )
  action(
    image
      .command('rm')
      .argument('<group>', 'POOL/GROUP')
      .argument('<image>', 'its name, or its id')
      .description('take an image out; it stays'),
    async (context, [text = '', member = '']) => {
      const { groups, name } = await namedGroup(context, text)
      await groups.removeImage(name, member)
      context.print({ group: text, removed: member }, () => `${member} is in group ${text} no more`)
    },
  )
  action(
    image.command('ls').argument('<group>', 'POOL/GROUP').description('ids and names of the images'),
    async (context, [text = '']) => {
      const { groups, name } = await namedGroup(context, text)
      const { images } = await groups.info(name)
      const names = new Map(
        (await (await imageStore(context, parsePoolAndName(text, defaultBlockPool).pool)).list()).map((one) => [
          one.id,
          one.name,
        ]),
      )
      const rows = images.map((id) => ({ id, name: names.get(id) ?? '' }))
      context.print(rows, () =>
        formatTable(
          [
            { title: 'NAME', cell: (row) => row.name },
            { title: 'ID', cell: (row) => row.id },
          ],
          rows,
        ),
      )
    },
  )
}

function addSnapshots(snap: Command): void {
  action(
    snap
      .command('create')
      .argument('<snapshot>', 'POOL/GROUP@SNAPSHOT')
      .description('all images at one moment: writers wait until each of them has it'),
    async (context, [text = '']) => {
      const { groups, name, snapshot } = await namedSnapshot(context, text)
      const taken = await groups.createSnapshot(name, snapshot)
      context.print(taken, () => `snapshot ${text} of ${taken.images.length} images taken`)
    },
  )
  action(
    snap.command('rm').argument('<snapshot>', 'POOL/GROUP@SNAPSHOT').description('remove it from all images'),
    async (context, [text = '']) => {
      const { groups, name, snapshot } = await namedSnapshot(context, text)
      await groups.removeSnapshot(name, snapshot)
      context.print({ removed: text }, () => `snapshot ${text} removed`)
    },
  )
  action(
    snap
      .command('rollback')
      .argument('<snapshot>', 'POOL/GROUP@SNAPSHOT')
      .description('make all images what they were then; what was written since is lost: detach them first'),
    async (context, [text = '']) => {
      const { groups, name, snapshot } = await namedSnapshot(context, text)
      await withProgress('rolling back', (update) => groups.rollback(name, snapshot, update))
      context.print({ rolledBack: text }, () => `the images are what they were at ${text}`)
    },
  )
  action(
    snap.command('ls').argument('<group>', 'POOL/GROUP').description('snapshots of a group'),
    async (context, [text = '']) => {
      const { groups, name } = await namedGroup(context, text)
      const { snapshots } = await groups.info(name)
      context.print(snapshots, () =>
        formatTable(
          [
            { title: 'NAME', cell: (row) => row.name },
            { title: 'STATE', cell: (row) => row.state },
            { title: 'IMAGES', cell: (row) => row.images.length, align: 'right' },
            { title: 'TAKEN', cell: (row) => new Date(row.createdMs).toISOString() },
            { title: 'IN EACH IMAGE', cell: (row) => `@group.${row.id}` },
          ],
          snapshots,
        ),
      )
    },
  )
}
