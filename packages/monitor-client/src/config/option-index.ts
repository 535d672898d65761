/** Every option by name, for monitors, which store values for all daemons, and for people. */
import { ClusterError } from '@shoal/base'
import { clientOptions } from './client-options.ts'
import { monitorOptions } from './monitor-options.ts'
import type { Option, OptionSpec } from './option.ts'
import { osdOptions } from './osd-options.ts'

const byName = new Map<string, Option>(
  Object.entries<OptionSpec>({ ...osdOptions, ...monitorOptions, ...clientOptions })
    .map(([name, spec]): [string, Option] => [name, { name, ...spec }])
    .sort(([a], [b]) => (a < b ? -1 : 1)),
)

/** By name. */
export const allOptions: readonly Option[] = [...byName.values()]

export function knownOption(name: string): Option | undefined {
  return byName.get(name)
}

/** Spaces and dashes are as good as underscores. Throws ENOENT with the nearest names for one that nobody knows. */
export function findOption(name: string): Option {
  const option = byName.get(name.trim().replaceAll(/[ -]/g, '_'))
  if (option !== undefined) return option
  const near = nearestTo(name, [...byName.keys()])
  throw new ClusterError('EINVAL', `there is no option '${name}'`, {
    hint: near.length === 0 ? 'shoal config ls' : `did you mean ${near.join(', ')}? All of them: shoal config ls`,
  })
}

const nearMax = 3

/** Names that differ in few letters, or contain the word; nearest first. */
export function nearestTo(word: string, names: readonly string[]): readonly string[] {
  const wanted = word.toLowerCase()
  if (wanted === '') return []
  return names
    .map((name) => ({ name, distance: name.includes(wanted) ? 0.5 : editDistance(wanted, name) }))
    .filter(({ name, distance }) => distance <= Math.max(2, name.length / 3))
    .sort((a, b) => a.distance - b.distance || (a.name < b.name ? -1 : 1))
    .slice(0, nearMax)
    .map(({ name }) => name)
}

/** Insertions, deletions and substitutions from one word to the other (Wagner and Fischer, J. ACM 21, 1974). */
function editDistance(from: string, to: string): number {
  let above = Array.from({ length: to.length + 1 }, (_, column) => column)
  for (let row = 1; row <= from.length; row++) {
    const line = [row]
    for (let column = 1; column <= to.length; column++) {
      const substituted = (above[column - 1] as number) + (from[row - 1] === to[column - 1] ? 0 : 1)
      line.push(Math.min((above[column] as number) + 1, (line[column - 1] as number) + 1, substituted))
    }
    above = line
  }
  return above[to.length] as number
}
