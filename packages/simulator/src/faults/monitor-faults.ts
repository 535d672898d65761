/** Monitors that come, go, and lose their disks, one at a time. */
import { assert } from '@shoal/base'
import { MonitorDaemon } from '@shoal/monitor'
import type { MonitorStat } from '@shoal/monitor-client'
import { type MonitorNode, monitorDirectory } from '../cluster/nodes.ts'
import type { SimCluster } from '../cluster/sim-cluster.ts'
import { type Fault, monitorNames, nothing, pick } from './fault.ts'
import { operate, sleep, waitFor } from './operations.ts'

/** Makes its store by asking the others, as `shoal mon add` does; again when they were away. */
async function join(cluster: SimCluster, node: MonitorNode): Promise<void> {
  const others = cluster.monitors.filter((one) => one !== node).map((one) => one.address)
  for (let attempt = 0; attempt < 40; attempt++) {
    node.machine.replaceDisk()
    const env = node.machine.start()
    const scope = node.machine.scope
    assert(scope !== undefined, 'the machine runs')
    try {
      const joining = MonitorDaemon.join(env, monitorDirectory, {
        name: node.shortName,
        address: node.address,
        monitors: others,
        transport: cluster.monitorNetwork.transport({ host: node.host, scope }),
      })
      // A process that dies meanwhile never answers.
      const died = node.machine.dead.then(() => Promise.reject(new Error('the process died')))
      await Promise.race([joining, died])
      node.machine.kill()
      node.held = false
      return
    } catch (error) {
      cluster.logs.add('info', node.name, 'joining failed', { error })
      node.machine.kill()
      // Whether the monitors took it in is unknown: begin anew.
      await operate(cluster, { prefix: 'mon rm', name: node.shortName }, ['EBUSY']).catch(nothing)
      await sleep(cluster, 2_000)
    }
  }
  throw new Error(`${node.name} cannot join`)
}

async function inQuorum(cluster: SimCluster, node: MonitorNode): Promise<boolean> {
  try {
    const { data } = await cluster.command({ prefix: 'mon stat' }, 10_000)
    return (data as MonitorStat).quorum.includes(node.shortName)
  } catch {
    return false
  }
}

const diskLoss: Fault = {
  kind: 'monitor-disk-loss',
  family: 'monitors',
  weight: 2,
  draw: (random, plan) => ({ node: pick(random, monitorNames(plan)), downMs: random.below(20_000) }),
  strike({ cluster, budget, background }, { node, downMs }) {
    const found = cluster.monitors.find((one) => one.name === node)
    if (found?.wanted !== true || found.held || cluster.monitors.length < 3 || !budget.replaceMonitor(found.name))
      return undefined
    found.wanted = false
    found.held = true
    if (found.isAlive) found.kill()
    found.machine.replaceDisk()
    background(`${found.name} new disk`, async () => {
      await sleep(cluster, downMs as number)
      await operate(cluster, { prefix: 'mon rm', name: found.shortName }, ['EBUSY'])
      await join(cluster, found)
      found.start()
      if (await waitFor(cluster, () => inQuorum(cluster, found))) budget.monitorReplaced(found.name)
    })
    return nothing
  },
}

const add: Fault = {
  kind: 'monitor-add',
  family: 'monitors',
  weight: 1,
  draw: (random) => ({ name: pick(random, ['w', 'x', 'y', 'z']) }),
  strike({ cluster, budget, background }, { name }) {
    if (cluster.find(`mon.${String(name)}`) !== undefined || cluster.monitors.length >= 7) return undefined
    if (!budget.replaceMonitor(`mon.${String(name)}`)) return undefined
    const node = cluster.addMonitorNode(name as string)
    node.held = true
    background(`${node.name} add`, async () => {
      await join(cluster, node)
      node.start()
      if (await waitFor(cluster, () => inQuorum(cluster, node))) budget.monitorReplaced(node.name)
    })
    return nothing
  },
}

const remove: Fault = {
  kind: 'monitor-remove',
  family: 'monitors',
  weight: 1,
  draw: (random, plan) => ({ node: pick(random, [...monitorNames(plan), 'mon.w', 'mon.x', 'mon.y', 'mon.z']) }),
  strike({ cluster, budget, background }, { node }) {
    const found = cluster.monitors.find((one) => one.name === node)
    if (found === undefined || found.held || cluster.monitors.length <= 3 || !budget.replaceMonitor(found.name))
      return undefined
    background(`${found.name} remove`, async () => {
      try {
        await operate(cluster, { prefix: 'mon rm', name: found.shortName }, ['EBUSY'])
        found.removed = true
        await found.stop()
        cluster.forgetNode(found)
      } finally {
        budget.monitorReplaced(found.name)
      }
    })
    return nothing
  },
}

export const monitorFaults: readonly Fault[] = [diskLoss, add, remove]
