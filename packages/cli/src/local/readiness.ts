/** Waits until a cluster serves: all daemons announced, quorum, OSDs up, placement groups clean. */
import { ClusterError } from '@shoal/base'
import type { HealthReport } from '@shoal/monitor-client'
import type { CommandContext } from '../context.ts'

const pauseMs = 50

/** Repeats what fails because monitors are still starting or electing, until the time is over: then it fails with that. */
export async function patiently<T>(timeoutMs: number, work: () => Promise<T>): Promise<T> {
  const deadlineMs = performance.now() + timeoutMs
  for (;;) {
    try {
      return await work()
    } catch (error) {
      if (!isPassing(error) || performance.now() > deadlineMs) throw error
    }
    await pause()
  }
}

function isPassing(error: unknown): boolean {
  return error instanceof ClusterError && (error.retry || error.code === 'ENOQUORUM' || error.code === 'ETIMEDOUT')
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, pauseMs))
}

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
      if (!isPassing(error)) throw error
    }
    await pause()
  }
  if (last === undefined)
    throw new ClusterError('ETIMEDOUT', 'the monitors did not answer in time', {
      hint: 'shoal daemon ls; shoal daemon logs mon.a',
    })
  return last
}
