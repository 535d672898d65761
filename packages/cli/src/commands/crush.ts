/**
 * `shoal crush ...`: the map's hierarchy and rules, and offline what crushtool does. `compile`, `decompile` and `test`
 * take crushtool's flags and print its lines; they need no cluster.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { ClusterError } from '@shoal/base'
import type { Command } from 'commander'
import { action } from '../action.ts'
import type { CommandContext } from '../context.ts'
import { formatTable } from '../output/table.ts'
import { parseInteger, parseOsd } from '../output/units.ts'
import { printCrushTree } from './crush-tree.ts'

function readInput(path: string): Uint8Array {
  try {
    return readFileSync(path === '-' ? 0 : path)
  } catch (cause) {
    throw new ClusterError('ENOENT', `cannot read ${path}: ${(cause as Error).message}`, { cause, hint: '-i FILE' })
  }
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
    async (_context, args, options) => {
      const { crushDecompile, decodeCrushMap } = await import('@shoal/crush')
      const text = crushDecompile(decodeCrushMap(readInput(required(options, 'infn', '-i', args))))
      if (options['outfn'] === undefined) process.stdout.write(text)
      else writeFileSync(String(options['outfn']), text)
    },
  )
}
