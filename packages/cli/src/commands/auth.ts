/** `shoal auth ...`: the key that daemons and clients of the cluster share. */
import { ClusterError } from '@shoal/base'
import type { Command } from 'commander'
import { action } from '../action.ts'
import type { CommandContext } from '../context.ts'
import { runningDaemons } from '../local/process-table.ts'

export function addAuthCommands(program: Command): void {
  const auth = program.command('auth').description('the key that daemons and clients share')
  action(
    auth.command('create').description('make the key of a cluster that has none yet; the cluster must be stopped'),
    create,
  )
}

/** Daemons that run would go on without it, and refuse every client that finds it. */
async function create(context: CommandContext): Promise<void> {
  const { layout } = context
  const cluster = layout.read()
  if (runningDaemons(layout).length > 0) {
    throw new ClusterError('EBUSY', 'the cluster runs', { hint: 'shoal down; shoal auth create; shoal up' })
  }
  const { createKeyring } = await import('../local/keyring.ts')
  createKeyring(layout.keyringFile)
  layout.write({ ...cluster, ms_auth: 'secret' })
  context.print(
    { keyring: layout.keyringFile },
    () => `${layout.keyringFile}: daemons and clients prove from now on that they know it`,
  )
}
