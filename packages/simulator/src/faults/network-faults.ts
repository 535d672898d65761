/** The network: resets, delays, slow links, partitions of every kind. */

import type { Prng } from '@shoal/base'
import type { SimCluster } from '../cluster/sim-cluster.ts'
import type { Scenario } from '../scenario/scenario.ts'
import { between, drawDaemon, type Fault, nothing, pick } from './fault.ts'

type Plan = Omit<Scenario, 'faults'>

function hostOf(cluster: SimCluster, name: unknown): string | undefined {
  return cluster.find(String(name))?.host
}

function allHosts(cluster: SimCluster): readonly string[] {
  return [...cluster.daemons, ...cluster.clients].map((node) => node.host)
}

const shortly = { min: 500, max: 20_000 }
const forLong = { min: 2_000, max: 90_000 }

/** One to a third of all daemons. */
function drawGroup(random: Prng, plan: Plan): readonly string[] {
  const count = 1 + random.below(Math.max(1, Math.floor((plan.osds.length + plan.monitors) / 3)))
  const group = new Set<string>()
  while (group.size < count) group.add(drawDaemon(random, plan))
  return [...group]
}

/** Ways that are blocked by somebody, so that two partitions of the same hosts do not heal each other. */
function block(cluster: SimCluster, ways: readonly (readonly [from: string, to: string])[]): () => void {
  for (const [from, to] of ways) cluster.network.partition(from, to, { oneWay: true })
  return () => {
    for (const [from, to] of ways) cluster.network.healWay(from, to)
  }
}

const resetConnections: Fault = {
  kind: 'reset-connections',
  family: 'network',
  weight: 2,
  draw: (random, plan) => ({ a: random.below(4) === 0 ? '' : drawDaemon(random, plan), b: '' }),
  strike({ cluster }, { a }) {
    cluster.network.resetConnections(hostOf(cluster, a))
    return nothing
  },
}

const flakyConnections: Fault = {
  kind: 'flaky-connections',
  family: 'network',
  weight: 2,
  durationMs: shortly,
  draw: (random) => ({ probability: 0.0002 * 10 ** (1.5 * random.fraction()) }),
  strike({ cluster }, { probability }) {
    const { faults } = cluster.network
    faults.resetProbability = probability as number
    return () => {
      faults.resetProbability = 0
    }
  },
}

const delays: Fault = {
  kind: 'delays',
  family: 'network',
  weight: 2,
  durationMs: shortly,
  draw: (random) => ({ delayMsMax: between(random, 5, 400) }),
  strike({ cluster }, { delayMsMax }) {
    const { faults } = cluster.network
    faults.delayMsMax = delayMsMax as number
    return () => {
      faults.delayMsMax = cluster.scenario.network.delayMs.max
    }
  },
}

const slowLinks: Fault = {
  kind: 'slow-links',
  family: 'network',
  weight: 2,
  durationMs: forLong,
  draw: (random, plan) => ({
    node: drawDaemon(random, plan),
    extraMs: between(random, 5, 1_500),
    oneWay: random.below(2),
  }),
  strike({ cluster }, { node, extraMs, oneWay }) {
    const host = hostOf(cluster, node)
    if (host === undefined) return undefined
    const set = (ms: number): void => {
      for (const other of allHosts(cluster)) {
        if (other === host) continue
        cluster.network.setExtraDelay(host, other, ms)
        if (oneWay !== 1) cluster.network.setExtraDelay(other, host, ms)
      }
    }
    set(extraMs as number)
    return () => set(0)
  },
}

const partition: Fault = {
  kind: 'partition',
  family: 'network',
  weight: 3,
  durationMs: forLong,
  draw: (random, plan) => ({ group: drawGroup(random, plan), way: pick(random, ['both', 'both', 'in', 'out']) }),
  strike({ cluster }, { group, way }) {
    const inside = (group as readonly string[]).flatMap((name) => hostOf(cluster, name) ?? [])
    const outside = allHosts(cluster).filter((host) => !inside.includes(host))
    const ways: (readonly [string, string])[] = []
    for (const a of inside) {
      for (const b of outside) {
        if (way !== 'in') ways.push([a, b])
        if (way !== 'out') ways.push([b, a])
      }
    }
    return block(cluster, ways)
  },
}

const partialPartition: Fault = {
  kind: 'partial-partition',
  family: 'network',
  weight: 3,
  durationMs: forLong,
  draw: (random, plan) => ({ a: drawDaemon(random, plan), b: drawDaemon(random, plan), oneWay: random.below(2) }),
  strike({ cluster }, { a, b, oneWay }) {
    const [from, to] = [hostOf(cluster, a), hostOf(cluster, b)]
    if (from === undefined || to === undefined || from === to) return undefined
    return block(
      cluster,
      oneWay === 1
        ? [[from, to]]
        : [
            [from, to],
            [to, from],
          ],
    )
  },
}

/** OSDs that see each other but no monitor, or the other way round. */
const withoutMonitors: Fault = {
  kind: 'cut-from-monitors',
  family: 'network',
  weight: 2,
  durationMs: forLong,
  draw: (random, plan) => ({ group: drawGroup(random, plan).filter((name) => name.startsWith('osd.')) }),
  strike({ cluster }, { group }) {
    const osds = (group as readonly string[]).flatMap((name) => hostOf(cluster, name) ?? [])
    if (osds.length === 0) return undefined
    const ways = osds.flatMap((osd) =>
      cluster.monitors.flatMap(({ host }) => [[osd, host] as const, [host, osd] as const]),
    )
    return block(cluster, ways)
  },
}

/** Clients that learn of no new map, and go on with the one they have. */
const clientsWithoutMonitors: Fault = {
  kind: 'clients-with-old-maps',
  family: 'network',
  weight: 2,
  durationMs: forLong,
  draw(random, plan) {
    const clients = plan.workloads.reduce((sum, one) => sum + one.clients, 0)
    return { clients: Array.from({ length: clients }, (_, at) => at).filter(() => random.below(2) === 0) }
  },
  strike({ cluster }, { clients }) {
    const hosts = (clients as readonly number[]).flatMap((at) => cluster.clients[at]?.host ?? [])
    if (hosts.length === 0) return undefined
    const ways = hosts.flatMap((client) =>
      cluster.monitors.flatMap(({ host }) => [[client, host] as const, [host, client] as const]),
    )
    return block(cluster, ways)
  },
}

export const networkFaults: readonly Fault[] = [
  resetConnections,
  flakyConnections,
  delays,
  slowLinks,
  partition,
  partialPartition,
  withoutMonitors,
  clientsWithoutMonitors,
]
