/** `shoal object ...`: named objects (Ceph's `rados`). Files larger than one operation travel in pieces. */
import { createReadStream, createWriteStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'
import { ClusterError, isClusterError, utf8Decode, utf8Encode } from '@shoal/base'
import type { PoolHandle } from '@shoal/client'
import type { Command } from 'commander'
import { action } from '../action.ts'
import type { CommandContext } from '../context.ts'
import { asClusterError } from '../output/failure.ts'
import { formatTable } from '../output/table.ts'
import { formatBytes, parseBytes } from '../output/units.ts'
import { addBenchCommand } from './object-bench.ts'
import { addLockCommands } from './object-lock.ts'
import { addSnapCommands, addSnapOptions, handleAt } from './object-snap.ts'
import { addWatchCommands } from './object-watch.ts'
import { addPoolOptions, poolHandle } from './pool-io.ts'

const pieceBytes = 4 * 1024 * 1024

export function addObjectCommands(program: Command): void {
  const object = program.command('object').description('named objects in a pool')
  addDataCommands(object)
  addAttributeCommands(object)
  addOmapCommands(object)
  addSnapCommands(object)
  addBenchCommand(object)
  for (const command of object.commands) addPoolOptions(command)
  addLockCommands(object)
  addWatchCommands(object)
}

type Options = Readonly<Record<string, unknown>>

async function handle(context: CommandContext, options: Options): Promise<PoolHandle> {
  return poolHandle(await context.client(), options)
}

function addDataCommands(object: Command): void {
  action(
    object
      .command('put')
      .argument('<object>')
      .argument('<file>', "a path, or '-'")
      .option('--offset <size>', 'write it into the object from there on, instead of replacing it')
      .description('store a file as an object, replacing it'),
    put,
  )
  action(
    addSnapOptions(
      object
        .command('get')
        .argument('<object>')
        .argument('<file>', "a path, or '-'")
        .description('fetch an object into a file'),
    ),
    get,
  )
  action(
    object.command('rm').argument('<objects...>').description('remove objects'),
    async (context, names, options) => {
      const pool = await handle(context, options)
      for (const name of names) await pool.execute(name, [{ kind: 'remove' }])
      context.print({ removed: names }, () => '')
    },
  )
  action(
    addSnapOptions(object.command('ls').argument('[prefix]').description('names of objects')),
    async (context, [prefix], options) => {
      const pool = await handleAt(context, options)
      const names: string[] = []
      for await (const name of pool.list()) {
        if (prefix !== undefined && !name.startsWith(prefix)) continue
        if (context.options.format === 'json') names.push(name)
        else process.stdout.write(`${name}\n`)
      }
      context.print(names, () => '')
    },
  )
  action(
    addSnapOptions(object.command('stat').argument('<object>').description('size and time of the last change')),
    async (context, [name], options) => {
      const pool = await handleAt(context, options)
      const { results } = await pool.execute(name as string, [{ kind: 'stat' }])
      const stat = results[0]
      if (stat?.kind !== 'stat') throw new ClusterError('EPROTO', 'the OSD answered something else than a stat')
      const row = {
        object: name,
        sizeBytes: stat.sizeBytes,
        modified: new Date(stat.modifiedMs).toISOString(),
        version: stat.version,
      }
      context.print(
        row,
        () => `${options['pool']}/${name} mtime ${row.modified}, size ${row.sizeBytes}, version ${row.version}`,
      )
    },
  )
  action(
    object.command('truncate').argument('<object>').argument('<size>').description('cut or extend an object'),
    async (context, [name, size], options) => {
      const sizeBytes = parseBytes(size as string)
      await (await handle(context, options)).execute(name as string, [{ kind: 'truncate', sizeBytes }])
      context.print({ object: name, sizeBytes }, () => '')
    },
  )
}

/** The first piece replaces the object in one step, unless it has an offset; a larger file is complete only when the command ends. */
async function put(context: CommandContext, [name, file]: readonly string[], options: Options): Promise<void> {
  const { opLimits } = await import('@shoal/wire')
  const pool = await handle(context, options)
  const from = options['offset'] === undefined ? undefined : parseBytes(String(options['offset']))
  let sizeBytes = 0
  for await (const piece of pieces(file as string)) {
    if ((from ?? 0) + sizeBytes + piece.length > opLimits.objectBytesMax) {
      throw new ClusterError(
        'EFBIG',
        `${file} is larger than an object may be (${formatBytes(opLimits.objectBytesMax)})`,
        {
          hint: 'keep large files on a block image',
        },
      )
    }
    const replaces = from === undefined && sizeBytes === 0
    const offset = (from ?? 0) + sizeBytes
    await pool.execute(name as string, [
      replaces ? { kind: 'write-full', data: piece } : { kind: 'write', offset, data: piece },
    ])
    sizeBytes += piece.length
  }
  if (sizeBytes === 0 && from === undefined)
    await pool.execute(name as string, [{ kind: 'write-full', data: new Uint8Array(0) }])
  context.print({ object: name, sizeBytes }, () => '')
}

async function* pieces(file: string): AsyncGenerator<Uint8Array> {
  const stream = file === '-' ? process.stdin : createReadStream(file, { highWaterMark: 1024 * 1024 })
  let gathered: Uint8Array[] = []
  let gatheredBytes = 0
  try {
    for await (const chunk of stream as AsyncIterable<Uint8Array>) {
      gathered.push(chunk)
      gatheredBytes += chunk.length
      if (gatheredBytes < pieceBytes) continue
      yield Buffer.concat(gathered)
      gathered = []
      gatheredBytes = 0
    }
  } catch (cause) {
    throw asClusterError(cause)
  }
  if (gatheredBytes > 0) yield Buffer.concat(gathered)
}

async function get(context: CommandContext, [name, file]: readonly string[], options: Options): Promise<void> {
  const pool = await handleAt(context, options)
  // Asked before the file is opened: a missing object must not empty it.
  const { sizeBytes } = await pool.stat(name as string)
  await pipeline(readPieces(pool, name as string), file === '-' ? process.stdout : createWriteStream(file as string), {
    end: file !== '-',
  })
  // Standard output belongs to the object's bytes.
  if (file !== '-') context.print({ object: name, file, sizeBytes }, () => '')
}

async function* readPieces(pool: PoolHandle, name: string): AsyncGenerator<Uint8Array> {
  for (let offset = 0; ; ) {
    const { results } = await pool.execute(name, [{ kind: 'read', offset, length: pieceBytes }])
    const result = results[0]
    if (result?.kind !== 'data') throw new ClusterError('EPROTO', 'the OSD answered something else than data')
    if (result.data.length > 0) yield result.data
    if (result.data.length < pieceBytes) return
    offset += result.data.length
  }
}

function addAttributeCommands(object: Command): void {
  action(
    object
      .command('setxattr')
      .argument('<object>')
      .argument('<name>')
      .argument('<value>')
      .description('set an attribute'),
    async (context, [name, attribute, value], options) => {
      const ops = [{ kind: 'set-xattr', name: attribute as string, value: utf8Encode(value as string) }] as const
      await (await handle(context, options)).execute(name as string, ops)
      context.print({ object: name, name: attribute, value }, () => '')
    },
  )
  action(
    object.command('getxattr').argument('<object>').argument('<name>').description('read an attribute'),
    async (context, [name, attribute], options) => {
      const { results } = await (await handle(context, options)).execute(name as string, [
        { kind: 'get-xattr', name: attribute as string },
      ])
      const value = results[0]?.kind === 'data' ? results[0].data : new Uint8Array(0)
      context.print({ name: attribute, value: readable(value) }, () => readable(value))
    },
  )
  action(
    object.command('rmxattr').argument('<object>').argument('<name>').description('remove an attribute'),
    async (context, [name, attribute], options) => {
      await (await handle(context, options)).execute(name as string, [
        { kind: 'remove-xattr', name: attribute as string },
      ])
      context.print({ object: name, removed: attribute }, () => '')
    },
  )
  action(
    object.command('listxattr').argument('<object>').description('names of attributes'),
    async (context, [name], options) => {
      const { results } = await (await handle(context, options)).execute(name as string, [{ kind: 'get-xattrs' }])
      const names = results[0]?.kind === 'xattrs' ? [...results[0].xattrs.keys()].sort() : []
      context.print(names, () => names.join('\n'))
    },
  )
}

function addOmapCommands(object: Command): void {
  action(
    object
      .command('setomapval')
      .argument('<object>')
      .argument('<key>')
      .argument('<value>')
      .description('set a key of the ordered map'),
    async (context, [name, key, value], options) => {
      const entries = [{ key: utf8Encode(key as string), value: utf8Encode(value as string) }]
      await (await handle(context, options)).execute(name as string, [{ kind: 'omap-set', entries }])
      context.print({ object: name, key, value }, () => '')
    },
  )
  action(
    object.command('rmomapkey').argument('<object>').argument('<key>').description('remove a key of the ordered map'),
    async (context, [name, key], options) => {
      await (await handle(context, options)).execute(name as string, [
        { kind: 'omap-remove', keys: [utf8Encode(key as string)] },
      ])
      context.print({ object: name, removed: key }, () => '')
    },
  )
  action(
    object.command('listomapvals').argument('<object>').description('the ordered map'),
    async (context, [name], options) => {
      const { opLimits } = await import('@shoal/wire')
      const pool = await handle(context, options)
      const rows: { key: string; value: string }[] = []
      let after: Uint8Array | undefined
      for (;;) {
        const { results } = await pool.execute(name as string, [
          { kind: 'omap-get-range', after, prefix: new Uint8Array(0), limit: opLimits.omapEntriesMax },
        ])
        const page = results[0]
        if (page?.kind !== 'omap') break
        rows.push(...page.entries.map((entry) => ({ key: readable(entry.key), value: readable(entry.value) })))
        after = page.entries.at(-1)?.key
        if (!page.more) break
      }
      context.print(rows, () =>
        rows.length === 0
          ? ''
          : formatTable(
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

/** Text as it is, anything else as hexadecimal digits. */
function readable(bytes: Uint8Array): string {
  try {
    return utf8Decode(bytes)
  } catch (error) {
    if (isClusterError(error)) throw error
    return Buffer.from(bytes).toString('hex')
  }
}
