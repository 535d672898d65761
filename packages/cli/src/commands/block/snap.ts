/** `shoal block snap ...`: snapshots of images, named `POOL/IMAGE@SNAPSHOT`. */
import type { ImageSnapshots, ImageStore } from '@shoal/block'
import type { Command } from 'commander'
import { action } from '../../action.ts'
import type { CommandContext } from '../../context.ts'
import { formatTable } from '../../output/table.ts'
import { formatBytes, parseInteger } from '../../output/units.ts'
import { defaultBlockPool, imageStore, parsePoolAndName } from '../pool-io.ts'
import { parseSnapshotSpec, type SnapshotSpec } from './snapshot-spec.ts'
import { withProgress } from './with-progress.ts'

interface NamedSnapshot extends SnapshotSpec {
  readonly store: ImageStore
}

async function namedSnapshot(context: CommandContext, text: string): Promise<NamedSnapshot> {
  const spec = parseSnapshotSpec(text)
  return { ...spec, store: await imageStore(context, spec.pool) }
}

export function addBlockSnapCommands(block: Command): void {
  const snap = block.command('snap').description('snapshots of images')
  addOfOne(snap)
  addOfImage(snap)
}

/** What is done to one snapshot and only tells that it is done. */
const simple: readonly {
  readonly name: string
  readonly description: string
  readonly done: string
  readonly run: (snapshots: ImageSnapshots, image: string, snapshot: string) => Promise<unknown>
}[] = [
  {
    name: 'create',
    description: 'take a snapshot; what is acknowledged before is in it, and later writes leave it as it is',
    done: 'created',
    run: (snapshots, image, snapshot) => snapshots.create(image, snapshot),
  },
  {
    name: 'rm',
    description: 'remove a snapshot, whether it has clones or not; its space comes back in the background',
    done: 'removed',
    run: (snapshots, image, snapshot) => snapshots.remove(image, snapshot),
  },
  {
    name: 'protect',
    description: 'refuse to remove a snapshot until that is taken back',
    done: 'protected',
    run: (snapshots, image, snapshot) => snapshots.protect(image, snapshot, true),
  },
  {
    name: 'unprotect',
    description: 'let a snapshot be removed again',
    done: 'not protected any more',
    run: (snapshots, image, snapshot) => snapshots.protect(image, snapshot, false),
  },
]

function addOfOne(snap: Command): void {
  for (const { name, description, done, run } of simple) {
    action(
      snap.command(name).argument('<snapshot>', 'POOL/IMAGE@SNAPSHOT').description(description),
      async (context, [text = '']) => {
        const { store, image, snapshot, spec } = await namedSnapshot(context, text)
        await run(store.snapshots, image, snapshot)
        context.print({ snapshot: spec }, () => `snapshot ${spec} ${done}`)
      },
    )
  }
  action(
    snap
      .command('rollback')
      .argument('<snapshot>', 'POOL/IMAGE@SNAPSHOT')
      .description(
        'make an image what it was at a snapshot; nobody can use it meanwhile, and what was written since is lost',
      ),
    rollback,
  )
  action(
    snap
      .command('rename')
      .argument('<snapshot>', 'POOL/IMAGE@SNAPSHOT')
      .argument('<name>', 'the new name of the snapshot alone')
      .description('give a snapshot another name'),
    async (context, [text = '', to = '']) => {
      const { store, image, snapshot, spec } = await namedSnapshot(context, text)
      await store.snapshots.rename(image, snapshot, to)
      context.print({ snapshot: spec, name: to }, () => `snapshot ${spec} is named ${to} now`)
    },
  )
}

async function rollback(context: CommandContext, [text = '']: readonly string[]): Promise<void> {
  const { store, image, snapshot, spec, pool } = await namedSnapshot(context, text)
  const header = await withProgress('rolling back', (update) => store.rollback(image, snapshot, update))
  context.print({ pool, ...header }, () => `image ${pool}/${image} is what it was at ${spec}`)
}

function addOfImage(snap: Command): void {
  action(
    snap.command('ls').argument('<image>', 'POOL/IMAGE').description('snapshots of an image'),
    async (context, [image = '']) => {
      const { pool, name } = parsePoolAndName(image, defaultBlockPool)
      const snapshots = await (await imageStore(context, pool)).snapshots.list(name)
      context.print(snapshots, () =>
        formatTable(
          [
            { title: 'ID', cell: (row) => row.id, align: 'right' },
            { title: 'NAME', cell: (row) => row.name },
            { title: 'SIZE', cell: (row) => formatBytes(row.sizeBytes), align: 'right' },
            { title: 'KIND', cell: (row) => row.kind },
            { title: 'PROTECTED', cell: (row) => (row.protected ? 'yes' : '') },
            { title: 'CREATED', cell: (row) => new Date(row.createdMs).toISOString() },
          ],
          snapshots,
        ),
      )
    },
  )
  action(
    snap
      .command('purge')
      .argument('<image>', 'POOL/IMAGE')
      .description('remove all snapshots of an image that people took and did not protect'),
    async (context, [image = '']) => {
      const { pool, name } = parsePoolAndName(image, defaultBlockPool)
      const store = await imageStore(context, pool)
      const kept = await withProgress('removing', (update) => store.snapshots.purge(name, update))
      context.print({ image: `${pool}/${name}`, kept }, () =>
        kept.length === 0 ? `the snapshots of ${pool}/${name} are removed` : `protected, and kept: ${kept.join(', ')}`,
      )
    },
  )
  action(
    snap
      .command('limit')
      .argument('<image>', 'POOL/IMAGE')
      .argument('<count>', 'from 1 to 512')
      .description('how many snapshots an image may have'),
    async (context, [image = '', count = '']) => {
      const { pool, name } = parsePoolAndName(image, defaultBlockPool)
      const limit = parseInteger(count, 'count', 1)
      await (await imageStore(context, pool)).snapshots.setLimit(name, limit)
      context.print({ image: `${pool}/${name}`, limit }, () => `${pool}/${name} may have ${limit} snapshots`)
    },
  )
}
