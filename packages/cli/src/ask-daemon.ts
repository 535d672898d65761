/** Calls to the admin endpoint of a daemon, wherever it runs. */
import { type Address, address, ClusterError } from '@shoal/base'
import type { CommandContext } from './context.ts'
import { readRunFile } from './local/process-table.ts'

/** `osd.3`, `mon.a`, or any daemon of this machine. Rejects with what the daemon answers, or ECONNREFUSED. */
export async function askDaemon(
  context: CommandContext,
  name: string,
  method: string,
  input: Readonly<Record<string, unknown>> = {},
): Promise<unknown> {
  const to = await adminAddress(context, name)
  const { callAdmin } = await import('@shoal/monitor-client')
  return callAdmin(await context.env(), to, method, input, context.timeoutMs)
}

/** The maps know monitors and OSDs; others are known where they run. */
async function adminAddress(context: CommandContext, name: string): Promise<Address> {
  const monitor = await context.monitor()
  if (name.startsWith('mon.')) {
    const found = monitor.monitorMap?.monitors.find((one) => `mon.${one.name}` === name)
    if (found !== undefined) return found.address
  } else if (name.startsWith('osd.')) {
    const found = [...(monitor.osdMap?.osds.values() ?? [])].find((osd) => `osd.${osd.id}` === name)
    if (found?.up === true && found.addresses !== undefined) return found.addresses.admin
    if (found !== undefined) {
      throw new ClusterError('ECONNREFUSED', `${name} is down`, { hint: `shoal daemon start ${name}` })
    }
  } else if (context.layout.exists()) {
    const run = readRunFile(context.layout, name.replace(/^client\./, ''))
    if (run !== undefined && run.adminAddress !== '') return address(run.adminAddress)
  }
  throw new ClusterError('ENOENT', `no daemon ${name} is known to run`, { hint: 'shoal daemon ls; shoal osd ls' })
}
