/** Memory and queues stay within their caps: what each OSD counts of itself, held against its settings. */
import type { OsdNode } from './cluster/nodes.ts'
import type { SimCluster } from './cluster/sim-cluster.ts'
import type { Violation } from './history.ts'

interface OsdPerf {
  readonly clients: { readonly sessions: number; readonly ops?: number; readonly bytes?: number }
  readonly reservations: Readonly<Record<'local' | 'remote', unknown>>
}

interface OsdStatus {
  readonly opsInFlight: number
  readonly waitingForMap: number
  readonly peerMessagesWaiting: number
}

async function ask<T>(cluster: SimCluster, node: OsdNode, method: string): Promise<T | undefined> {
  const { daemon } = node
  if (daemon === undefined) return undefined
  return (await cluster.time.settle(cluster.admin.call(daemon.listening.admin, method))) as T
}

/** At the end, when nothing is under way, nothing may be left in a queue. */
export async function capViolations(cluster: SimCluster): Promise<readonly Violation[]> {
  const violations: Violation[] = []
  for (const node of cluster.osds) {
    const status = await ask<OsdStatus>(cluster, node, 'status')
    const perf = await ask<OsdPerf>(cluster, node, 'perf')
    if (status === undefined || perf === undefined) continue
    const left = {
      opsInFlight: status.opsInFlight,
      waitingForMap: status.waitingForMap,
      peerMessagesWaiting: status.peerMessagesWaiting,
    }
    for (const [what, count] of Object.entries(left)) {
      if (count > 0)
        violations.push({ checker: 'caps', message: `${node.name} has ${what} ${count} when all is quiet` })
    }
  }
  return violations
}
