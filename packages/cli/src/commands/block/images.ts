/** `shoal block create|resize|rename|rm|ls|info|du`: images as a whole. */
import type { ImageHeader, ImageStore } from '@shoal/block'
import type { Command } from 'commander'
import { action } from '../../action.ts'
import type { CommandContext } from '../../context.ts'
import { formatPairs, formatTable } from '../../output/table.ts'
import { formatBytes, parseBytes } from '../../output/units.ts'
import { defaultBlockPool, imageStore, parsePoolAndName } from '../pool-io.ts'
import { withProgress } from './with-progress.ts'

export function addImageCommands(block: Command): void {
  addChanges(block)
  addReports(block)
}

function addChanges(block: Command): void {
  action(
    block
      .command('create')
      .argument('<image>', 'POOL/IMAGE')
      .requiredOption('--size <size>', 'as in 10G')
      .option('--object-size <size>', 'a power of two', '4M')
      .option('--data-pool <pool>', 'keep the data there, as in an erasure-coded pool; POOL keeps the header')
      .description('make an image; it takes space only as it is written'),
    async (context, [image], options) => {
      const { pool, name } = parsePoolAndName(image as string, defaultBlockPool)
      const store = await imageStore(context, pool)
      const dataPool =
        options['dataPool'] === undefined
          ? undefined
          : await (await context.client()).pool(String(options['dataPool'])).poolId()
      const header = await store.create(
        name,
        parseBytes(String(options['size'])),
        parseBytes(String(options['objectSize'])),
        dataPool,
      )
      context.print({ pool, ...header }, () => `image ${pool}/${name} of ${formatBytes(header.sizeBytes)} created`)
    },
  )
  action(
    block
      .command('resize')
      .argument('<image>', 'POOL/IMAGE')
      .requiredOption('--size <size>', 'as in 20G')
      .option('--allow-shrink', 'the bytes beyond the new size are lost')
      .description('change the size of an image; a shrink waits some seconds for those who use it'),
    resize,
  )
  action(
    block
      .command('rename')
      .argument('<image>', 'POOL/IMAGE')
      .argument('<name>', 'the new name alone, or in the same pool')
      .description('give an image another name; who uses it goes on'),
    rename,
  )
  action(
    block
      .command('rm')
      .argument('<image>', 'POOL/IMAGE')
      .description('remove an image and its data; can be run again after an interruption'),
    async (context, [image]) => {
      const { pool, name } = parsePoolAndName(image as string, defaultBlockPool)
      const store = await imageStore(context, pool)
      await withProgress('removing', (update) => store.remove(name, update))
      context.print({ removed: `${pool}/${name}` }, () => `image ${pool}/${name} removed`)
    },
  )
}

async function rename(context: CommandContext, [image = '', to = '']: readonly string[]): Promise<void> {
  const { ClusterError } = await import('@shoal/base')
  const { pool, name } = parsePoolAndName(image, defaultBlockPool)
  const target = parsePoolAndName(to, pool)
  if (target.pool !== pool) {
    throw new ClusterError('EINVAL', `${image} cannot go to another pool`, {
      hint: `shoal block export ${image} - | shoal block import - ${to}`,
    })
  }
  await (await imageStore(context, pool)).rename(name, target.name)
  context.print({ pool, name: target.name }, () => `image ${pool}/${name} is named ${target.name} now`)
}

async function resize(
  context: CommandContext,
  [image]: readonly string[],
  options: Readonly<Record<string, unknown>>,
): Promise<void> {
  const { ClusterError } = await import('@shoal/base')
  const { pool, name } = parsePoolAndName(image as string, defaultBlockPool)
  const store = await imageStore(context, pool)
  const sizeBytes = parseBytes(String(options['size']))
  const current = await store.info(name)
  if (sizeBytes < current.sizeBytes && options['allowShrink'] !== true) {
    throw new ClusterError(
      'EINVAL',
      `${pool}/${name} has ${formatBytes(current.sizeBytes)}: a smaller size loses what lies beyond`,
      {
        hint: 'add --allow-shrink if that is meant',
      },
    )
  }
  const header = await withProgress('resizing', (update) => store.resize(name, sizeBytes, update))
  context.print(
    { pool, ...header },
    () =>
      `image ${pool}/${name} has ${formatBytes(header.sizeBytes)}; attached clients see that when they connect again`,
  )
}

/** A clone that is just being made, and one whose maker died, has a name already. */
async function infoIfThere(store: ImageStore, name: string): Promise<readonly ImageHeader[]> {
  const { isClusterError } = await import('@shoal/base')
  try {
    return [await store.info(name)]
  } catch (error) {
    if (isClusterError(error, 'ENOENT')) return []
    throw error
  }
}

/** Those that an older client may not know. */
function featuresOf({ dataPool, snapshots, parent, compatibleFeatures }: ImageHeader): readonly string[] {
  return [
    ...(dataPool === undefined ? [] : ['data-pool']),
    ...(snapshots === undefined ? [] : ['snapshots']),
    ...(parent === undefined ? [] : ['parent']),
    ...(compatibleFeatures === 0 ? [] : ['was-shrunk']),
  ]
}

function parentPairs({ parent }: ImageHeader): readonly (readonly [string, string])[] {
  if (parent === undefined || parent.state === 'left') return []
  const { poolId, imageId, snapId, overlapBytes } = parent
  return [
    ['parent', `image ${imageId} of pool ${poolId}, at its snapshot ${snapId}, under ${formatBytes(overlapBytes)}`],
  ]
}

function addReports(block: Command): void {
  action(
    block.command('ls').argument('[pool]', 'pool', defaultBlockPool).description('images of a pool'),
    async (context, [pool]) => {
      const store = await imageStore(context, pool ?? defaultBlockPool)
      const images = (await Promise.all((await store.list()).map((image) => infoIfThere(store, image.name)))).flat()
      context.print(images, () =>
        formatTable(
          [
            { title: 'NAME', cell: (row) => row.name },
            { title: 'SIZE', cell: (row) => formatBytes(row.sizeBytes), align: 'right' },
            { title: 'OBJECT', cell: (row) => formatBytes(row.objectBytes), align: 'right' },
            { title: 'ID', cell: (row) => row.id },
          ],
          images,
        ),
      )
    },
  )
  action(block.command('info').argument('<image>', 'POOL/IMAGE').description('one image'), async (context, [image]) => {
    const { pool, name } = parsePoolAndName(image as string, defaultBlockPool)
    const header = await (await imageStore(context, pool)).info(name)
    context.print({ pool, ...header }, () =>
      formatPairs([
        ['name', `${pool}/${name}`],
        ['id', header.id],
        ['size', `${formatBytes(header.sizeBytes)} in ${Math.ceil(header.sizeBytes / header.objectBytes)} objects`],
        ['object size', formatBytes(header.objectBytes)],
        ['created', new Date(header.createdMs).toISOString()],
        ['snapshots', String(header.snapshots?.entries.length ?? 0)],
        ['features', featuresOf(header).join(', ') || 'none'],
        ...parentPairs(header),
        ...(header.removing ? ([['state', 'being removed']] as const) : []),
      ]),
    )
  })
  action(
    block.command('du').argument('<image>', 'POOL/IMAGE').description('space that an image takes, before copies'),
    async (context, [image]) => {
      const { pool, name } = parsePoolAndName(image as string, defaultBlockPool)
      const store = await imageStore(context, pool)
      const usage = await withProgress('measuring', (update) => store.usage(name, update))
      context.print({ pool, ...usage }, () =>
        formatTable(
          [
            { title: 'NAME', cell: (row) => row.name },
            { title: 'PROVISIONED', cell: (row) => formatBytes(row.sizeBytes), align: 'right' },
            { title: 'USED', cell: (row) => formatBytes(row.usedBytes), align: 'right' },
            { title: 'OBJECTS', cell: (row) => row.objects, align: 'right' },
            { title: 'SNAPSHOTS', cell: (row) => formatBytes(row.snapshotBytes), align: 'right' },
          ],
          [usage],
        ),
      )
    },
  )
}
