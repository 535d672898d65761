/** Waits until a cluster serves: all daemons announced, quorum, OSDs up, placement groups clean. */
import { ClusterError } from '@shoal/base'
import type { HealthReport } from '@shoal/monitor-client'
import type { CommandContext } from '../context.ts'

interface Answer {
  readonly health: HealthReport
  readonly osdMap: { readonly up: number }
}

/**
 * Resolves with HEALTH_OK, or with the last answer when the time is over; ETIMEDOUT when there was none at all. The health
 * of a new cluster speaks only of OSDs that the map knows: `osds` is how many there must be, or it is well with the first three.
 */
export async function waitForHealth(context: CommandContext, osds: number, timeoutMs: number): Promise<HealthReport> {
  const deadlineMs = performance.now() + timeoutMs
  let last: HealthReport | undefined
  while (performance.now() < deadlineMs) {
    try {
      const { health, osdMap } = (await context.command({ prefix: 'status' })).data as Answer
      last = health
      if (health.status === 'HEALTH_OK' && osdMap.up >= osds) return health
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
