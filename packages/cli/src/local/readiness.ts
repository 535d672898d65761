/** Waits until a cluster serves: all daemons announced, quorum, OSDs up, placement groups clean. */
import { ClusterError } from '@shoal/base'
import type { HealthReport } from '@shoal/monitor-client'
import type { CommandContext } from '../context.ts'

/** The present health, as `shoal health` gives it. */
async function fetchHealth(context: CommandContext): Promise<HealthReport> {
  return (await context.command({ prefix: 'health' })).data as HealthReport
}

/** Resolves with HEALTH_OK, or with the last answer when the time is over; ETIMEDOUT when there was none at all. */
export async function waitForHealth(context: CommandContext, timeoutMs: number): Promise<HealthReport> {
  const deadlineMs = performance.now() + timeoutMs
  let last: HealthReport | undefined
  while (performance.now() < deadlineMs) {
    try {
      last = await fetchHealth(context)
      if (last.status === 'HEALTH_OK') return last
    } catch (error) {
      if (!(error instanceof ClusterError && (error.retry || error.code === 'ENOQUORUM' || error.code === 'ETIMEDOUT')))
        throw error
    }
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  if (last === undefined)
    throw new ClusterError('ETIMEDOUT', 'the monitors did not answer in time', {
      hint: 'shoal daemon ls; shoal daemon logs mon.a',
    })
  return last
}
