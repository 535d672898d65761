/** One monitor on its directory, which `shoal up` (or `shoal mon add`) has made. */
import { MonitorDaemon } from '@shoal/monitor'
import { GrpcMonitorTransport } from '@shoal/monitor-client'
import type { DaemonContext, RunningService } from './context.ts'
import { localLocation } from './location.ts'

export async function runMonitor({ env, layout, name }: DaemonContext): Promise<RunningService> {
  const daemon = await MonitorDaemon.start(env, {
    dataDirectory: layout.dataDirectory(name),
    host: localLocation()['host'] ?? '',
    transport: new GrpcMonitorTransport(env),
    log: env.log,
  })
  return { address: daemon.address, adminAddress: daemon.address, stop: () => daemon.stop() }
}
