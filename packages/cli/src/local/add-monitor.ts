/** A further monitor on this machine, and the removal of one. */
import { rmSync, writeFileSync } from 'node:fs'
import { address, ClusterError, parseAddress } from '@shoal/base'
import type { CommandContext } from '../context.ts'
import { waitForStart } from './add-osd.ts'
import { spawnDaemon } from './daemon-spec.ts'
import { freePort } from './free-port.ts'
import { readRunFile } from './process-table.ts'
import { stopDaemon } from './supervisor.ts'

/** Its store is made empty; it votes once it has caught up with the others. */
export async function addLocalMonitor(context: CommandContext, wanted: string | undefined): Promise<string> {
  const { layout } = context
  const cluster = layout.read()
  const taken = new Set(cluster.monitors.map((monitor) => monitor.name))
  const name = wanted ?? [...'abcdefghijklmnopqrstuvwxyz'].find((letter) => !taken.has(letter)) ?? ''
  if (name === '' || taken.has(name)) throw new ClusterError('EEXIST', `mon.${name} exists`, { hint: 'shoal mon stat' })
  const host = parseAddress(cluster.monitors[0]?.address ?? '')?.host ?? '127.0.0.1'
  const listen = `${host}:${await freePort(host, 0)}`
  const [{ MonitorDaemon }, { GrpcMonitorTransport }, env] = await Promise.all([
    import('@shoal/monitor'),
    import('@shoal/monitor-client'),
    context.env(),
  ])
  await MonitorDaemon.join(env, layout.dataDirectory(`mon.${name}`), {
    name,
    address: address(listen),
    monitors: context.monitorAddresses(),
    transport: new GrpcMonitorTransport(env),
  })
  layout.write({ ...cluster, monitors: [...cluster.monitors, { name, address: listen }] })
  if (readRunFile(layout, 'up') === undefined) spawnDaemon(layout, { name: `mon.${name}`, kind: 'mon' }).unref()
  await waitForStart(context, `mon.${name}`)
  return name
}

/** The others must have a quorum without it. Its data goes with it. */
export async function removeLocalMonitor(context: CommandContext, name: string): Promise<void> {
  const { layout } = context
  const cluster = layout.read()
  await context.command({ prefix: 'mon rm', name })
  const daemon = `mon.${name}`
  if (!cluster.monitors.some((monitor) => monitor.name === name)) return
  writeFileSync(layout.stoppedFile(daemon), '')
  layout.write({ ...cluster, monitors: cluster.monitors.filter((monitor) => monitor.name !== name) })
  await stopDaemon(layout, daemon)
  rmSync(layout.dataDirectory(daemon), { recursive: true, force: true })
  rmSync(layout.stoppedFile(daemon), { force: true })
}
