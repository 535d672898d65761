/** `shoal block export|import`: images as files, bare or with their snapshots, in the formats of `rbd`. */
import { ClusterError, equalBytes, utf8Encode } from '@shoal/base'
import { type Command, Option } from 'commander'
import { action } from '../../action.ts'
import type { CommandContext } from '../../context.ts'
import { readStream, standard, streamBytes, writeSparse, writeStream } from '../../output/stream-file.ts'
import { formatBytes, parseBytes } from '../../output/units.ts'
import { namedImage, printBeside } from './diff-streams.ts'
import { withProgress } from './with-progress.ts'

type Options = Readonly<Record<string, unknown>>

/** A raw image is written in pieces of this size, and holes in it are at least so long. */
const pieceBytes = 1024 * 1024
const holeBytes = 4096

export function addImageStreamCommands(block: Command): void {
  action(
    block
      .command('export')
      .argument('<image>', 'POOL/IMAGE or POOL/IMAGE@SNAPSHOT')
      .argument('<file>', "a path, or '-'")
      .addOption(
        new Option('--export-format <format>', '1: the bytes alone; 2: with all snapshots, as `rbd` reads it')
          .choices(['1', '2'])
          .default('1'),
      )
      .description('write an image to a file, with holes where it has none of its own'),
    exportCommand,
  )
  action(
    block
      .command('import')
      .argument('<file>', "a path, or '-'")
      .argument('<image>', 'POOL/IMAGE, which must not be there; it appears when all of it is')
      .addOption(
        new Option('--export-format <format>', '1: bytes; 2: with snapshots (default: what it begins with)').choices([
          '1',
          '2',
        ]),
      )
      .option('--object-size <size>', 'a power of two (default: that of the stream, or 4M)')
      .option('--data-pool <pool>', 'keep the data there, as in an erasure-coded pool; POOL keeps the header')
      .description(
        'make an image of a file; another format comes through qemu-img, see docs/mechanisms/block-streams.md',
      ),
    importCommand,
  )
}

async function exportCommand(
  context: CommandContext,
  [text = '', file = '']: readonly string[],
  options: Options,
): Promise<void> {
  const { store, image, snapshot } = await namedImage(context, text)
  const [{ exportContent, exportImage }, { encodeImage, writeRaw }] = await Promise.all([
    import('@shoal/block'),
    import('@shoal/image-streams'),
  ])
  await withProgress('exporting', async (onProgress) => {
    if (options['exportFormat'] === '2') {
      if (snapshot !== undefined) {
        throw new ClusterError('EINVAL', 'format 2 has the image with all its snapshots', {
          hint: `export ${text.slice(0, text.indexOf('@'))}, or leave out --export-format`,
        })
      }
      return writeStream(file, encodeImage(exportImage(store, image, onProgress)))
    }
    const { sizeBytes } = await store.open(snapshot === undefined ? image : `${image}@${snapshot}`)
    const extents = exportContent(store, image, snapshot, onProgress)
    if (file === standard) return writeStream(file, writeRaw(extents, sizeBytes))
    return writeSparse(file, sizeBytes, dataOnly(extents))
  })
  printBeside(context, file, { image: text, file }, () => `${text} exported`)
}

async function* dataOnly<T extends { readonly kind: string }>(
  extents: AsyncIterable<T>,
): AsyncGenerator<Extract<T, { readonly kind: 'data' }>, void, void> {
  for await (const extent of extents) if (extent.kind === 'data') yield extent as Extract<T, { readonly kind: 'data' }>
}

async function importCommand(
  context: CommandContext,
  [file = '', text = '']: readonly string[],
  options: Options,
): Promise<void> {
  const { store, pool, image, snapshot } = await namedImage(context, text)
  if (snapshot !== undefined)
    throw new ClusterError('EINVAL', 'a snapshot cannot be made alone', { hint: 'POOL/IMAGE' })
  const { importContent, importImage } = await import('@shoal/block')
  const { decodeStream, imageBanner, readImage, readRaw } = await import('@shoal/image-streams')
  const [objectSize, dataPool] = [options['objectSize'], options['dataPool']]
  const sizeBytes = await streamBytes(file)
  const { begins, chunks } = await peek(readStream(file), imageBanner.length)
  const withSnapshots =
    options['exportFormat'] === '2' ||
    (options['exportFormat'] === undefined && equalBytes(begins, utf8Encode(imageBanner)))
  const given = {
    objectBytes: objectSize === undefined ? undefined : parseBytes(String(objectSize)),
    dataPool: dataPool === undefined ? undefined : await (await context.client()).pool(String(dataPool)).poolId(),
  }
  const { header, snapshots, skippedMetadata } = await withProgress('importing', (onProgress) =>
    withSnapshots
      ? importImage(store, image, decodeStream(chunks, readImage), { ...given, onProgress })
      : importContent(store, image, readRaw(chunks, pieceBytes, holeBytes), sizeBytes, { ...given, onProgress }),
  )
  context.print({ pool, ...header, skippedMetadata }, () => {
    const of = snapshots === 0 ? '' : ` with ${snapshots} snapshot${snapshots === 1 ? '' : 's'}`
    const left = skippedMetadata.length === 0 ? '' : `\nnot kept: metadata ${skippedMetadata.join(', ')}`
    return `image ${pool}/${image} of ${formatBytes(header.sizeBytes)}${of} imported${left}`
  })
}

/** The first bytes of a stream, as many as there are up to `length`, and the stream from its beginning. */
async function peek(
  chunks: AsyncGenerator<Uint8Array, void, void>,
  length: number,
): Promise<{ readonly begins: Uint8Array; readonly chunks: AsyncGenerator<Uint8Array, void, void> }> {
  const first: Uint8Array[] = []
  let begins = new Uint8Array(0)
  while (begins.length < length) {
    const next = await chunks.next()
    if (next.done === true) break
    first.push(next.value)
    const joined = new Uint8Array(begins.length + next.value.length)
    joined.set(begins)
    joined.set(next.value, begins.length)
    begins = joined
  }
  async function* again(): AsyncGenerator<Uint8Array, void, void> {
    yield* first
    yield* chunks
  }
  return { begins: begins.subarray(0, length), chunks: again() }
}
