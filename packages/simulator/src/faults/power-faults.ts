/** Power that goes away: of one machine, of a rack, of all. Disks keep, drop or tear what was not synced. */
import type { DaemonNode } from '../cluster/daemon-node.ts'
import type { SimCluster } from '../cluster/sim-cluster.ts'
import { drawDaemon, type Fault, monitorNames, pick } from './fault.ts'

function cut(cluster: SimCluster, names: readonly string[]): (() => void) | undefined {
  const nodes = names
    .map((name) => cluster.find(name))
    .filter((node): node is DaemonNode => node?.wanted === true && node.machine.isRunning)
  if (nodes.length === 0) return undefined
  for (const node of nodes) node.powerCut()
  return () => {
    for (const node of nodes) if (node.wanted) node.start()
  }
}

const one: Fault = {
  kind: 'power-cut',
  family: 'power',
  weight: 4,
  durationMs: { min: 100, max: 60_000 },
  draw: (random, plan) => ({ nodes: [drawDaemon(random, plan)] }),
  strike: ({ cluster }, { nodes }) => cut(cluster, nodes as readonly string[]),
}

/** All OSDs of a rack, and the monitors that stand there. */
const rack: Fault = {
  kind: 'power-cut-rack',
  family: 'power',
  weight: 2,
  durationMs: { min: 500, max: 60_000 },
  draw(random, plan) {
    const racks = [...new Set(plan.osds.map((osd) => osd.rack))]
    const chosen = random.below(racks.length)
    const osds = plan.osds.filter((osd) => osd.rack === racks[chosen]).map((osd) => `osd.${osd.id}`)
    const monitors = monitorNames(plan).filter((_, i) => i % racks.length === chosen)
    return { nodes: [...osds, ...monitors] }
  },
  strike: ({ cluster }, { nodes }) => cut(cluster, nodes as readonly string[]),
}

const all: Fault = {
  kind: 'power-cut-all',
  family: 'power',
  weight: 1,
  durationMs: { min: 500, max: 20_000 },
  draw: (random) => ({ order: pick(random, ['together', 'monitors-first']) }),
  strike: ({ cluster }) =>
    cut(
      cluster,
      cluster.daemons.map((node) => node.name),
    ),
}

export const powerFaults: readonly Fault[] = [one, rack, all]
