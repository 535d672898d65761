/** The tree of commands. Each file in `commands/` adds one branch. */
import { Command, InvalidArgumentError, Option } from 'commander'
import { addAuthCommands } from './commands/auth.ts'
import { addBalancerCommands } from './commands/balancer.ts'
import { addBlockCommands } from './commands/block/index.ts'
import { addClusterCommands } from './commands/cluster.ts'
import { addConfigCommands } from './commands/config.ts'
import { addConfigKeyCommands } from './commands/config-key.ts'
import { addCrashCommands } from './commands/crash.ts'
import { addCrushCommands } from './commands/crush.ts'
import { addDaemonCommands } from './commands/daemon.ts'
import { addUsageCommand } from './commands/df.ts'
import { addHealthCommands } from './commands/health.ts'
import { addMonitorCommands } from './commands/mon.ts'
import { addNbdCommands } from './commands/nbd.ts'
import { addObjectCommands } from './commands/object.ts'
import { addOsdCommands } from './commands/osd.ts'
import { addPgCommands } from './commands/pg.ts'
import { addPoolCommands } from './commands/pool.ts'
import { addTellCommand } from './commands/tell.ts'
import { addUpCommands } from './commands/up.ts'
import { programVersion } from './version.ts'

function seconds(text: string): number {
  const value = Number(text)
  if (!(value > 0 && value <= 3600)) throw new InvalidArgumentError('a number of seconds up to 3600')
  return value
}

export function buildProgram(): Command {
  const program = new Command('shoal')
    // Before any subcommand is made: they inherit it. Usage errors reach `main` instead of ending the process.
    .exitOverride()
    .description('A distributed storage cluster: objects, block devices and shared files out of one pool of disks')
    .version(programVersion)
    .option('--data <dir>', 'directory of a cluster on this machine (default: $SHOAL_DATA, then the nearest .shoal)')
    .option('--monitors <addresses>', 'monitors of the cluster, HOST:PORT,... (default: as in the directory)')
    .option('--keyring <file>', "the cluster's key (default: $SHOAL_KEYRING, then `keyring` in the directory)")
    .option(
      '--ms-auth <words>',
      'how to prove oneself to OSDs, preferred first: secret, none (default: as the cluster)',
    )
    .option('--ms-mode <words>', 'how to talk to OSDs, preferred first: crc, secure (default: as the cluster)')
    .addOption(
      new Option('--format <format>', 'for people or for machines').choices(['table', 'json']).default('table'),
    )
    .option('--timeout <seconds>', 'how long to wait for the cluster', seconds, 30)
    .option('--verbose', 'log what happens, with stack traces')
    .showHelpAfterError('(add --help for the usage)')
    .configureHelp({ showGlobalOptions: true, sortSubcommands: true })
  for (const add of [
    addUpCommands,
    addClusterCommands,
    addHealthCommands,
    addConfigCommands,
    addCrashCommands,
    addUsageCommand,
    addDaemonCommands,
    addTellCommand,
    addAuthCommands,
    addMonitorCommands,
    addConfigKeyCommands,
    addOsdCommands,
    addCrushCommands,
    addPoolCommands,
    addPgCommands,
    addBalancerCommands,
    addObjectCommands,
    addBlockCommands,
    addNbdCommands,
  ]) {
    add(program)
  }
  return program
}
