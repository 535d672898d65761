/** Snapshots of objects: what `--snap` means, `shoal object rollback|listsnaps`, `shoal pool mksnap|rmsnap|lssnap`. */
import type { PoolHandle } from '@shoal/client'
import type { PoolSnapshotRow } from '@shoal/monitor-client'
import type { ObjectSnaps } from '@shoal/wire'
import type { Command } from 'commander'
import { action } from '../action.ts'
import type { CommandContext } from '../context.ts'
import { formatTable } from '../output/table.ts'
import { parseInteger } from '../output/units.ts'
import { poolHandle } from './pool-io.ts'

type Options = Readonly<Record<string, unknown>>

/** Ceph's `rados -s NAME` and `--snapid ID`. */
export function addSnapOptions(command: Command): Command {
  return command
    .option('-s, --snap <name>', 'as of this snapshot of the pool')
    .option('--snapid <id>', 'as of this snapshot, by its id')
}

/** The pool, or the pool as it was at the snapshot that the options name. */
export async function handleAt(context: CommandContext, options: Options): Promise<PoolHandle> {
  const pool = poolHandle(await context.client(), options)
  if (options['snapid'] !== undefined) return pool.at(parseInteger(String(options['snapid']), '--snapid', 1))
  return options['snap'] === undefined ? pool : pool.at(await pool.snapshotId(String(options['snap'])))
}

/** A name, or with --snapid an id. */
async function snapIdOf(pool: PoolHandle, snap: string, options: Options): Promise<number> {
  return options['snapid'] === true ? parseInteger(snap, 'snapshot', 1) : pool.snapshotId(snap)
}

export function addSnapCommands(object: Command): void {
  action(
    object
      .command('rollback')
      .argument('<object>')
      .argument('<snapshot>')
      .option('--snapid', 'the snapshot is given by its id')
      .description('make an object what it was at a snapshot; one that was not there then is removed'),
    async (context, [name = '', snap = ''], options) => {
      const pool = poolHandle(await context.client(), options)
      await pool.rollback(name, await snapIdOf(pool, snap, options))
      context.print({ object: name, snapshot: snap }, () => `rolled back ${name} to snapshot ${snap}`)
    },
  )
  action(
    object.command('listsnaps').argument('<object>').description('the clones of an object'),
    async (context, [name = ''], options) => {
      const snaps = await poolHandle(await context.client(), options).listSnaps(name)
      context.print(snaps, () => cloneTable(snaps))
    },
  )
}

interface CloneRow {
  readonly id: string
  readonly snaps: string
  readonly sizeBytes: number
  readonly overlap: string
}

function cloneTable({ clones, headBytes }: ObjectSnaps): string {
  const rows: CloneRow[] = clones.map(({ id, snaps, sizeBytes, overlap }) => ({
    id: String(id),
    snaps: snaps.join(','),
    sizeBytes,
    overlap: `[${overlap.map(({ offset, length }) => `${offset}~${length}`).join(',')}]`,
  }))
  if (headBytes !== undefined) rows.push({ id: 'head', snaps: '-', sizeBytes: headBytes, overlap: '' })
  return formatTable(
    [
      { title: 'CLONEID', cell: (row) => row.id },
      { title: 'SNAPS', cell: (row) => row.snaps },
      { title: 'SIZE', cell: (row) => row.sizeBytes, align: 'right' },
      { title: 'OVERLAP', cell: (row) => row.overlap },
    ],
    rows,
  )
}

export function addPoolSnapCommands(pool: Command): void {
  const command = (name: string): Command => pool.command(name).argument('<pool>')
  action(
    command('mksnap').argument('<snapshot>').description('take a snapshot of all objects of a pool'),
    async (context, [name, snap]) =>
      context.done(await context.command({ prefix: 'osd pool mksnap', pool: name, snap })),
  )
  action(
    command('rmsnap').argument('<snapshot>').description('remove a snapshot; its space comes back by and by'),
    async (context, [name, snap]) =>
      context.done(await context.command({ prefix: 'osd pool rmsnap', pool: name, snap })),
  )
  action(command('lssnap').description('snapshots of a pool'), async (context, [name]) => {
    const { data } = await context.command({ prefix: 'osd pool lssnap', pool: name })
    const rows = data as readonly PoolSnapshotRow[]
    context.print(rows, () =>
      formatTable(
        [
          { title: 'ID', cell: (row) => row.id, align: 'right' },
          { title: 'NAME', cell: (row) => row.name },
          { title: 'CREATED', cell: (row) => new Date(row.createdMs).toISOString() },
        ],
        rows,
      ),
    )
  })
}
