/** Tells the monitors, some time after the start, of the crashes that this daemon left behind. */
import { GrpcMonitorClient, postCrashes } from '@shoal/monitor-client'
import { type DaemonContext, monitorAddresses } from './context.ts'

const timeoutMs = 60_000
const againMs = 60_000
/** What cannot be told by then waits for the next start. */
const attemptsMax = 10

export function reportCrashes(context: DaemonContext, attempt = 1): void {
  const { env } = context
  report(context).catch((error: unknown) => {
    env.log.warn('no word of crashes to the monitors', { error })
    if (attempt < attemptsMax) env.timers.after(againMs, () => reportCrashes(context, attempt + 1))
  })
}

async function report({ env, cluster, layout, name }: DaemonContext): Promise<void> {
  const directory = layout.crashDirectory
  if (!(await env.disk.exists(directory))) return
  const monitor = new GrpcMonitorClient(env, {
    monitors: monitorAddresses(cluster),
    entity: `client.${name}-crashes`,
    startTimeoutMs: timeoutMs,
  })
  try {
    await monitor.start()
    await postCrashes(env, directory, name, monitor)
  } finally {
    await monitor.close()
  }
}
