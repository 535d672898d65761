/** What clients can be set to do, by name. */
import { ClusterError } from '@shoal/base'
import type { Workload } from './history.ts'
import { PlainWorkload } from './plain-workload.ts'
import type { WorkloadPlan } from './scenario/scenario.ts'
import { workloads } from './workloads/index.ts'

const table: Readonly<Record<string, (pool: string) => Workload>> = {
  plain: (pool) => new PlainWorkload(pool),
  ...workloads,
}

export const workloadNames: readonly string[] = Object.keys(table)

export function makeWorkload({ workload, pool }: WorkloadPlan): Workload {
  const make = table[workload]
  if (make === undefined) throw new ClusterError('EINVAL', `there is no workload '${workload}'`)
  return make(pool)
}
