/** `shoal block clone|children|flatten`: images that lie over a snapshot of another; `cp`: those that do not. */
import type { PoolRow } from '@shoal/monitor-client'
import type { Command } from 'commander'
import { action } from '../../action.ts'
import type { CommandContext } from '../../context.ts'
import { formatTable } from '../../output/table.ts'
import { formatBytes, parseBytes } from '../../output/units.ts'
import { defaultBlockPool, imageStore, parsePoolAndName } from '../pool-io.ts'
import { parseSnapshotSpec } from './snapshot-spec.ts'
import { withProgress } from './with-progress.ts'

type Options = Readonly<Record<string, unknown>>

export function addCloneCommands(block: Command): void {
  action(
    block
      .command('clone')
      .argument('<snapshot>', 'POOL/IMAGE@SNAPSHOT')
      .argument('<image>', 'POOL/IMAGE, the clone')
      .option('--object-size <size>', 'a power of two; left out: that of the parent')
      .option('--data-pool <pool>', 'keep the data there, as in an erasure-coded pool; POOL keeps the header')
      .description('make an image that begins as a snapshot, and takes space only where it is written'),
    clone,
  )
  action(
    block
      .command('flatten')
      .argument('<image>', 'POOL/IMAGE')
      .description('give a clone all that it has from its parent; users go on, and so does an interrupted one'),
    async (context, [image = '']) => {
      const { pool, name } = parsePoolAndName(image, defaultBlockPool)
      const store = await imageStore(context, pool)
      await withProgress('copying', (update) => store.clones.flatten(name, update))
      context.print({ flattened: `${pool}/${name}` }, () => `${pool}/${name} depends on no other image any more`)
    },
  )
  action(
    block
      .command('cp')
      .argument('<from>', 'POOL/IMAGE, with its snapshots, or POOL/IMAGE@SNAPSHOT alone')
      .argument('<to>', 'POOL/IMAGE')
      .description('make an image that has the same bytes, and nothing in common'),
    copy,
  )
  action(
    block
      .command('children')
      .argument('<image>', 'POOL/IMAGE, or POOL/IMAGE@SNAPSHOT')
      .description('clones of the snapshots of an image'),
    children,
  )
}

async function clone(
  context: CommandContext,
  [from = '', to = '']: readonly string[],
  options: Options,
): Promise<void> {
  const source = parseSnapshotSpec(from)
  const { pool, name } = parsePoolAndName(to, defaultBlockPool)
  const client = await context.client()
  const store = await imageStore(context, pool)
  const header = await store.clones.create(
    name,
    { pool: client.pool(source.pool), image: source.image, snapshot: source.snapshot },
    {
      ...(options['objectSize'] === undefined ? {} : { objectBytes: parseBytes(String(options['objectSize'])) }),
      ...(options['dataPool'] === undefined
        ? {}
        : { dataPool: await client.pool(String(options['dataPool'])).poolId() }),
    },
  )
  context.print(
    { pool, ...header },
    () => `image ${pool}/${name} of ${formatBytes(header.sizeBytes)} created, a clone of ${source.spec}`,
  )
}

async function copy(context: CommandContext, [from = '', to = '']: readonly string[]): Promise<void> {
  const { copyImage } = await import('@shoal/block')
  const [source, target] = [parsePoolAndName(from, defaultBlockPool), parsePoolAndName(to, defaultBlockPool)]
  const [sources, targets] = [await imageStore(context, source.pool), await imageStore(context, target.pool)]
  const { header, snapshots } = await withProgress('copying', (onProgress) =>
    copyImage(sources, source.name, targets, target.name, { onProgress }),
  )
  context.print(
    { pool: target.pool, ...header, copied: snapshots },
    () => `image ${target.pool}/${target.name} of ${formatBytes(header.sizeBytes)} with ${snapshots} snapshots copied`,
  )
}

async function children(context: CommandContext, [text = '']: readonly string[]): Promise<void> {
  const { pool, name } = parsePoolAndName(text, defaultBlockPool)
  const [image = '', snapshot] = name.split('@')
  const found = await (await imageStore(context, pool)).clones.children(image, snapshot)
  const pools = (await context.command({ prefix: 'osd pool ls' })).data as readonly PoolRow[]
  const rows = found.map((child) => ({ ...child, pool: pools.find(({ id }) => id === child.poolId)?.name ?? '' }))
  context.print(rows, () =>
    formatTable(
      [
        { title: 'CLONE', cell: (row) => `${row.pool}/${row.name}` },
        { title: 'SNAPSHOT', cell: (row) => row.snapshot },
      ],
      rows,
    ),
  )
}
