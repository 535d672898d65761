/**
 * `shoal crush ...`: the map's hierarchy and rules, and offline what crushtool does. `compile`, `decompile` and `test`
 * take crushtool's flags and print its lines; they need no cluster.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { ClusterError } from '@shoal/base'
import type { CrushMap } from '@shoal/crush'
import type { OsdTreeNode } from '@shoal/monitor-client'
import type { Command } from 'commander'
import { action } from '../action.ts'
import type { CommandContext } from '../context.ts'
import { parseInteger, parseNumber, parseOsd } from '../output/units.ts'
import { formatTree } from './osd.ts'

type Options = Readonly<Record<string, unknown>>

function readInput(path: string): Uint8Array {
  return readFileSync(path === '-' ? 0 : path)
}

function required(
  options: Readonly<Record<string, unknown>>,
  name: string,
  flag: string,
  args: readonly string[],
): string {
  const value = options[name] ?? args[0]
  if (typeof value !== 'string') throw new ClusterError('EINVAL', `no input file`, { hint: `${flag} FILE` })
  return value
}

export function addCrushCommands(program: Command): void {
  const crush = program.command('crush').description('the CRUSH map: hierarchy, rules, and offline tests')
  addOfflineCommands(crush)
  addMapCommands(crush)
  addRuleCommands(crush)
}

function addOfflineCommands(crush: Command): void {
  action(
    crush
      .command('compile')
      .argument('[file]')
      .option('-i, --infn <file>', 'text map')
      .option('-o, --outfn <file>', 'binary map', 'crushmap')
      .description('make a binary map from text'),
    async (context, args, options) => {
      const { crushCompile, encodeCrushMap } = await import('@shoal/crush')
      const map = crushCompile(new TextDecoder().decode(readInput(required(options, 'infn', '-i', args))))
      const bytes = encodeCrushMap(map)
      writeFileSync(String(options['outfn']), bytes)
      context.print({ file: options['outfn'], bytes: bytes.length }, () => '')
    },
  )
  action(
    crush
      .command('decompile')
      .argument('[file]')
      .option('-i, --infn <file>', 'binary map')
      .option('-o, --outfn <file>', 'text map (default: standard output)')
      .description('print a binary map as text'),
    async (context, args, options) => {
      const { crushDecompile, decodeCrushMap } = await import('@shoal/crush')
      const text = crushDecompile(decodeCrushMap(readInput(required(options, 'infn', '-i', args))))
      if (options['outfn'] === undefined) return context.print({ text }, () => text.trimEnd())
      writeFileSync(String(options['outfn']), text)
      context.print({ file: options['outfn'], bytes: text.length }, () => '')
    },
  )
  action(
    crush
      .command('test')
      .argument('[file]')
      .option('-i, --infn <file>', 'binary or text map')
      .option('--rule <id>', 'only this rule')
      .option('--min-rule <id>', 'rules from here')
      .option('--max-rule <id>', 'rules up to here')
      .option('--num-rep <n>', 'how many to choose')
      .option('--min-rep <n>', 'how many, from here')
      .option('--max-rep <n>', 'how many, up to here')
      .option('--x <n>', 'only this input')
      .option('--min-x <n>', 'inputs from here')
      .option('--max-x <n>', 'inputs up to here')
      .option('--pool-id <id>', 'mix the id of a pool into the inputs')
      .option('--weight <osd-and-weight...>', 'OSD W: reweight a device, 0 to 1; may be given often')
      .option('--show-mappings', 'what each input maps to')
      .option('--show-bad-mappings', 'inputs that map to fewer than wanted')
      .option('--show-statistics', 'how many inputs map to how many')
      .option('--show-utilization', 'how many inputs map to each device in use')
      .option('--show-utilization-all', 'the same for all devices')
      .option('--show-choose-tries', 'how often choosing had to try again')
      .description('map inputs by the rules of a map, as crushtool --test does'),
    testMap,
  )
}

const numberFlags = ['rule', 'minRule', 'maxRule', 'numRep', 'minRep', 'maxRep', 'x', 'minX', 'maxX', 'poolId'] as const
const showFlags = [
  'showMappings',
  'showBadMappings',
  'showStatistics',
  'showUtilization',
  'showUtilizationAll',
  'showChooseTries',
] as const

/** `numRep` -> `--num-rep`. */
function flagOf(name: string): string {
  return `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`
}

async function testMap(context: CommandContext, args: readonly string[], options: Options): Promise<void> {
  const { testCrushMap } = await import('@shoal/crush')
  const map = await readMap(required(options, 'infn', '-i', args))
  const numbers = numberFlags
    .filter((name) => options[name] !== undefined)
    .map((name) => [
      name,
      parseInteger(String(options[name]), flagOf(name), name === 'poolId' ? -1 : Number.MIN_SAFE_INTEGER),
    ])
  const shows = showFlags.map((name) => [name, options[name] === true])
  const lines: string[] = []
  testCrushMap(
    map,
    { ...Object.fromEntries(numbers), ...Object.fromEntries(shows), weights: parseWeights(options['weight']) },
    (line, stream) => {
      if (stream === 'error') process.stderr.write(`${line}\n`)
      else lines.push(line)
      if (lines.length >= 4096 && context.options.format !== 'json')
        process.stdout.write(`${lines.splice(0).join('\n')}\n`)
    },
  )
  context.print({ lines }, () => lines.join('\n'))
}

/** A binary map, or a text map that is compiled first: whichever the file is. */
async function readMap(path: string): Promise<CrushMap> {
  const { crushCompile, decodeCrushMap } = await import('@shoal/crush')
  const bytes = readInput(path)
  const isBinary = bytes.length >= 4 && new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true) === 0x10000
  return isBinary ? decodeCrushMap(bytes) : crushCompile(new TextDecoder().decode(bytes))
}

/** `['3', '0.5', '4', '0']` -> 3: 0.5, 4: 0. */
function parseWeights(words: unknown): ReadonlyMap<number, number> {
  const list = Array.isArray(words) ? words.map(String) : []
  if (list.length % 2 !== 0)
    throw new ClusterError('EINVAL', '--weight takes a device and a weight', { hint: '--weight 3 0.5' })
  const weights = new Map<number, number>()
  for (let at = 0; at < list.length; at += 2) {
    const weight = Number(list[at + 1])
    if (!Number.isFinite(weight))
      throw new ClusterError('EINVAL', `not a weight: ${list[at + 1]}`, { hint: '--weight 3 0.5' })
    weights.set(parseOsd(list[at] as string), weight)
  }
  return weights
}

function addMapCommands(crush: Command): void {
  action(crush.command('tree').description('the hierarchy with its weights'), async (context) => {
    const nodes = (await context.command({ prefix: 'osd tree' })).data as readonly OsdTreeNode[]
    context.print(nodes, () => formatTree(nodes))
  })
  action(crush.command('dump').description('the whole map as JSON'), async (context) => {
    const { data } = await context.command({ prefix: 'osd crush dump' })
    context.print(data, () => JSON.stringify(data, undefined, 2))
  })
  action(
    crush
      .command('getmap')
      .argument('<file>', 'where to write the binary map')
      .description('save the map of the cluster'),
    async (context, [file]) => {
      const { data } = await context.command({ prefix: 'osd getcrushmap' })
      const bytes = Buffer.from((data as { readonly crushmap: string }).crushmap, 'base64')
      writeFileSync(file as string, bytes)
      context.print({ file, bytes: bytes.length }, () => `${bytes.length} bytes`)
    },
  )
  action(
    crush.command('setmap').argument('<file>', 'a binary map').description('replace the map of the cluster'),
    async (context, [file]) => {
      const crushmap = Buffer.from(readInput(file as string)).toString('base64')
      context.done(await context.command({ prefix: 'osd setcrushmap', crushmap }))
    },
  )
  action(
    crush
      .command('add-bucket')
      .argument('<name>')
      .argument('<type>', 'host, rack, ...')
      .description('add an empty bucket'),
    async (context, [name, type]) =>
      context.done(await context.command({ prefix: 'osd crush add-bucket', name, type })),
  )
  action(
    crush
      .command('move')
      .argument('<name>')
      .argument('<location...>', 'TYPE=NAME ...')
      .description('move a bucket or a device'),
    async (context, [name, ...args]) => context.done(await context.command({ prefix: 'osd crush move', name, args })),
  )
  action(
    crush.command('rm').argument('<name>').description('remove an empty bucket or a device from the map'),
    async (context, [name]) => context.done(await context.command({ prefix: 'osd crush rm', name })),
  )
  action(
    crush
      .command('reweight')
      .argument('<name>')
      .argument('<weight>', 'in TiB')
      .description('change the weight of a device'),
    async (context, [name, weight]) =>
      context.done(
        await context.command({
          prefix: 'osd crush reweight',
          name,
          weight: parseNumber(weight as string, 'weight', 0, 10_000),
        }),
      ),
  )
  action(
    crush.command('set-device-class').argument('<class>').argument('<osds...>').description('ssd, hdd, nvme, ...'),
    async (context, [deviceClass, ...ids]) =>
      context.done(
        await context.command({ prefix: 'osd crush set-device-class', class: deviceClass, ids: ids.map(parseOsd) }),
      ),
  )
}

function addRuleCommands(crush: Command): void {
  const rule = crush.command('rule').description('CRUSH rules')
  action(rule.command('ls').description('names of rules'), async (context) => {
    const { data } = await context.command({ prefix: 'osd crush rule ls' })
    const names = (data as readonly { readonly name: string }[]).map(({ name }) => name)
    context.print(names, () => names.join('\n'))
  })
  action(
    rule.command('dump').argument('[name]').description('the steps of rules, as JSON'),
    async (context, [name]) => {
      const { data } = await context.command({ prefix: 'osd crush rule dump', ...(name === undefined ? {} : { name }) })
      context.print(data, () => JSON.stringify(data, undefined, 2))
    },
  )
  action(
    rule
      .command('create-replicated')
      .argument('<name>')
      .argument('<root>')
      .argument('<failure-domain>', 'osd, host, rack, ...')
      .argument('[class]', 'only devices of this class')
      .description('a rule that puts each copy into another failure domain'),
    async (context, [name, root, type, deviceClass]) =>
      context.done(
        await context.command({
          prefix: 'osd crush rule create-replicated',
          name,
          root,
          type,
          ...(deviceClass === undefined ? {} : { class: deviceClass }),
        }),
      ),
  )
  action(
    rule
      .command('create-erasure')
      .argument('<name>')
      .argument('[profile]', 'erasure code profile', 'default')
      .description('a rule for the shards of erasure-coded pools'),
    async (context, [name, profile]) =>
      context.done(
        await context.command({ prefix: 'osd crush rule create-erasure', name, profile: profile ?? 'default' }),
      ),
  )
  action(
    rule.command('rm').argument('<name>').description('remove a rule that no pool uses'),
    async (context, [name]) => context.done(await context.command({ prefix: 'osd crush rule rm', name })),
  )
}
