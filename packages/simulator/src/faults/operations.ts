/** How a patient operator works: asks again while the monitors are away, waits until the cluster is clean. */
import { isClusterError } from '@shoal/base'
import type { CommandReply, HealthReport, MonitorCommand, PgSummary } from '@shoal/monitor-client'
import type { OsdNode } from '../cluster/nodes.ts'
import { withoutScrub } from '../cluster/scrub-all.ts'
import type { SimCluster } from '../cluster/sim-cluster.ts'

export const consent = { yes_i_really_mean_it: true }
const retryMs = 1_000
const patienceMs = 600_000

export function sleep(cluster: SimCluster, ms: number): Promise<void> {
  return new Promise((resolve) => {
    cluster.time.schedule(ms, undefined, resolve)
  })
}

/** Rejects when the command is refused for good, or for too long. */
export async function operate(
  cluster: SimCluster,
  command: MonitorCommand,
  also: readonly string[] = [],
): Promise<CommandReply> {
  const endMs = cluster.time.nowMs + patienceMs
  for (;;) {
    try {
      return await cluster.command(command)
    } catch (error) {
      const passing = !isClusterError(error) || error.retry || also.includes(error.code)
      if (!passing || cluster.time.nowMs > endMs) throw error
    }
    await sleep(cluster, retryMs)
  }
}

/** False when it does not become so in time. */
export async function waitFor(
  cluster: SimCluster,
  condition: () => Promise<boolean> | boolean,
  withinMs: number = patienceMs,
): Promise<boolean> {
  const endMs = cluster.time.nowMs + withinMs
  while (cluster.time.nowMs < endMs) {
    if (await condition()) return true
    await sleep(cluster, retryMs)
  }
  return false
}

/** Every placement group has all its copies. */
export async function isClean(cluster: SimCluster): Promise<boolean> {
  try {
    const { data } = await cluster.command({ prefix: 'status' }, 10_000)
    const { pgMap, health } = data as { readonly pgMap: PgSummary; readonly health: HealthReport }
    const hurt = health.checks.some((check) => check.code.startsWith('PG_') || check.code === 'OBJECT_UNFOUND')
    return !hurt && pgMap.states.every(({ state }) => withoutScrub(state) === 'active+clean')
  } catch {
    return false
  }
}

/** A new disk under the same id; what was on the old one comes from others. */
export async function replaceDisk(cluster: SimCluster, found: OsdNode): Promise<void> {
  if (!found.wanted || found.held) return
  found.wanted = false
  found.held = true
  if (found.isAlive) found.kill()
  found.machine.replaceDisk()
  const { id } = found
  try {
    await operate(cluster, { prefix: 'osd down', ids: [id] })
    await operate(cluster, { prefix: 'osd destroy', id, ...consent }, ['EBUSY'])
  } finally {
    found.held = false
    found.start()
  }
}
