/** `shoal block export-diff|import-diff|merge-diff|diff`: what changed between snapshots, in the formats of `rbd`. */
import { ClusterError } from '@shoal/base'
import type { ImageStore } from '@shoal/block'
import type { Command } from 'commander'
import { action } from '../../action.ts'
import type { CommandContext } from '../../context.ts'
import { readStream, standard, writeStream } from '../../output/stream-file.ts'
import { formatBytes } from '../../output/units.ts'
import { defaultBlockPool, imageStore, parsePoolAndName } from '../pool-io.ts'
import { withProgress } from './with-progress.ts'

type Options = Readonly<Record<string, unknown>>

/** An image, and a snapshot of it if one was named. */
export interface NamedImage {
  readonly store: ImageStore
  readonly pool: string
  readonly image: string
  readonly snapshot: string | undefined
}

/** `POOL/IMAGE` or `POOL/IMAGE@SNAPSHOT`. */
export async function namedImage(context: CommandContext, text: string): Promise<NamedImage> {
  const { pool, name } = parsePoolAndName(text, defaultBlockPool)
  const at = name.indexOf('@')
  const [image, snapshot] = at < 0 ? [name, undefined] : [name.slice(0, at), name.slice(at + 1)]
  return { store: await imageStore(context, pool), pool, image, snapshot }
}

/** Of a command that reads standard input, or writes its stream to standard output: there the result would spoil it. */
export function printBeside(context: CommandContext, path: string, data: unknown, human: () => string): void {
  if (path === standard) process.stderr.write(`${human()}\n`)
  else context.print(data, human)
}

export function addDiffCommands(block: Command): void {
  addExportDiff(block)
  addImportDiff(block)
  addMergeDiff(block)
  addDiff(block)
}

function addExportDiff(block: Command): void {
  action(
    block
      .command('export-diff')
      .argument('<image>', 'POOL/IMAGE@SNAPSHOT; without a snapshot the image as it is')
      .argument('<file>', "a path, or '-'")
      .option('--from-snap <snapshot>', 'only what changed since')
      .option('--whole-object', 'send objects whole of which a byte changed')
      .description('write what changed, in the format of `rbd export-diff`'),
    async (context, [text = '', file = ''], options) => {
      const { store, pool, image, snapshot } = await namedImage(context, text)
      const [{ exportDiff }, { encodeDiff }] = await Promise.all([
        import('@shoal/block'),
        import('@shoal/image-streams'),
      ])
      const from = options['fromSnap'] as string | undefined
      await withProgress('exporting', (onProgress) => {
        const wholeObject = options['wholeObject'] === true
        const records = exportDiff(store, image, { from, to: snapshot, wholeObject, onProgress })
        return writeStream(file, encodeDiff(1, records))
      })
      const exported = { image: `${pool}/${image}`, from: from ?? null, to: snapshot ?? null, file }
      printBeside(
        context,
        file,
        exported,
        () => `diff of ${text} written to ${file === standard ? 'the output' : file}`,
      )
    },
  )
}

function addImportDiff(block: Command): void {
  action(
    block
      .command('import-diff')
      .argument('<file>', "a path, or '-'")
      .argument('<image>', 'POOL/IMAGE; it must be what the diff begins with')
      .option('--force', 'write over an image that was changed since')
      .description('apply a diff and take the snapshot that it leads to; can be run again after an interruption'),
    importDiffCommand,
  )
}

async function importDiffCommand(
  context: CommandContext,
  [file = '', text = '']: readonly string[],
  options: Options,
): Promise<void> {
  const { store, pool, image, snapshot } = await namedImage(context, text)
  if (snapshot !== undefined) {
    throw new ClusterError('EINVAL', 'a snapshot cannot be written', { hint: `import into ${pool}/${image}` })
  }
  const [{ importDiff }, { decodeStream, readDiff }] = await Promise.all([
    import('@shoal/block'),
    import('@shoal/image-streams'),
  ])
  const io = (await context.client()).pool(pool)
  const done = await withProgress('importing', (onProgress) =>
    importDiff({ store, io }, image, decodeStream(readStream(file), readDiff), {
      force: options['force'] === true,
      onProgress,
    }),
  )
  const end = done.to === undefined ? '' : ` and has the snapshot ${done.to}`
  context.print({ image: `${pool}/${image}`, ...done }, () =>
    done.wasComplete
      ? `${pool}/${image} was complete already${end}`
      : `${pool}/${image} has ${formatBytes(done.sizeBytes)}${end}`,
  )
}

function addMergeDiff(block: Command): void {
  action(
    block
      .command('merge-diff')
      .argument('<first>', "a path, or '-'")
      .argument('<second>', 'a path; a diff that begins where the first one ends')
      .argument('<file>', "a path, or '-'")
      .description('make one diff of two that follow each other; needs no cluster'),
    async (context, [first = '', second = '', file = '']) => {
      const { decodeStream, encodeDiff, mergeDiffs, openDiff, readDiff } = await import('@shoal/image-streams')
      const open = (path: string) => openDiff(decodeStream(readStream(path), readDiff))
      const [older, newer] = [await open(first), await open(second)]
      await writeStream(file, encodeDiff(1, mergeDiffs(older, newer)))
      const merged = { from: older.head.from ?? null, to: newer.head.to ?? null, sizeBytes: newer.head.sizeBytes, file }
      printBeside(
        context,
        file,
        merged,
        () => `diff from ${merged.from ?? 'nothing'} to ${merged.to ?? 'the head'} merged`,
      )
    },
  )
}

function addDiff(block: Command): void {
  action(
    block
      .command('diff')
      .argument('<image>', 'POOL/IMAGE@SNAPSHOT; without a snapshot the image as it is')
      .option('--from-snap <snapshot>', 'only what changed since')
      .description('which bytes differ; --format json: offset, length, and whether there is data'),
    async (context, [text = ''], options) => {
      const { store, image, snapshot } = await namedImage(context, text)
      const json = context.options.format === 'json'
      // Line by line: an image may have more of them than fit in memory.
      let separator = json ? '[\n' : 'Offset        Length        Type\n'
      for await (const change of store.diff(image, options['fromSnap'] as string | undefined, snapshot)) {
        const { offset, length, kind } = change
        const line = json
          ? JSON.stringify({ offset, length, exists: kind === 'data' })
          : `${String(offset).padEnd(14)}${String(length).padEnd(14)}${kind}`
        process.stdout.write(`${separator}${line}`)
        separator = json ? ',\n' : '\n'
      }
      if (json) process.stdout.write(separator === '[\n' ? '[]\n' : '\n]\n')
      else process.stdout.write(separator === '\n' ? '\n' : separator)
    },
  )
}
