/** All commands by prefix. */
import { assert, ClusterError } from '@shoal/base'
import { balancerCommands } from './balancer.ts'
import { blocklistCommands } from './blocklist.ts'
import { clusterCommands } from './cluster.ts'
import type { Command } from './command.ts'
import { configCommands } from './config.ts'
import { configKeyCommands } from './config-keys.ts'
import { crashCommands } from './crash.ts'
import { crushCommands } from './crush.ts'
import { erasureProfileCommands } from './erasure-profiles.ts'
import { healthCommands } from './health.ts'
import { osdChanges } from './osd-changes.ts'
import { osdReports } from './osd-reports.ts'
import { osdSafetyCommands } from './osd-safety.ts'
import { pgCommands } from './pgs.ts'
import { placementExceptions } from './placement-exceptions.ts'
import { poolQuotaCommands } from './pool-quotas.ts'
import { poolCommands } from './pools.ts'
import { snapshotCommands } from './snapshots.ts'

const all = [
  ...clusterCommands,
  ...configCommands,
  ...healthCommands,
  ...crashCommands,
  ...osdReports,
  ...osdChanges,
  ...placementExceptions,
  ...balancerCommands,
  ...osdSafetyCommands,
  ...blocklistCommands,
  ...poolCommands,
  ...poolQuotaCommands,
  ...snapshotCommands,
  ...crushCommands,
  ...erasureProfileCommands,
  ...pgCommands,
  ...configKeyCommands,
]

const table = new Map<string, Command>(all.map((command) => [command.prefix, command]))
assert(table.size === all.length, 'a command prefix comes once')

export function findCommand(prefix: string): Command {
  const command = table.get(prefix)
  if (command !== undefined) return command
  const [first = ''] = prefix.split(' ')
  const near = [...table.keys()].filter((known) => known.startsWith(first)).slice(0, 40)
  throw new ClusterError('EINVAL', `there is no command '${prefix}'`, {
    hint: near.length === 0 ? 'shoal --help' : `known: ${near.join(', ')}`,
  })
}
