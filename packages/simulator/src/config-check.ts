/** Asks everybody what it goes by, until that is what is stored, or for too long. */
import { type ConfigDumpRow, type ConfigRow, defaultsOf, monitorOptions, osdOptions } from '@shoal/monitor-client'
import { type ConfiguredDaemon, checkConfigInForce, osdTargets } from './checkers/config-in-force.ts'
import type { SimCluster } from './cluster/sim-cluster.ts'
import type { Violation } from './history.ts'

const attemptsMax = 30
const attemptMs = 1_000

export async function configViolations(cluster: SimCluster): Promise<readonly Violation[]> {
  for (let attempt = 1; ; attempt++) {
    const { data } = await cluster.settleCommand({ prefix: 'config dump' })
    const violations = checkConfigInForce(data as readonly ConfigDumpRow[], await shown(cluster))
    if (violations.length === 0 || attempt === attemptsMax) return violations
    await cluster.time.advance(attemptMs)
  }
}

async function shown(cluster: SimCluster): Promise<readonly ConfiguredDaemon[]> {
  const daemons: ConfiguredDaemon[] = []
  const { osdSettings, monitorSettings, osds } = cluster.scenario
  const ofOsd = { ...defaultsOf(osdOptions), ...osdSettings }
  const poolSize = { osd_pool_default_size: Math.min(3, osds.length) }
  const ofMonitor = { ...defaultsOf(monitorOptions), ...poolSize, ...monitorSettings }
  const ask = async (address: Parameters<typeof cluster.admin.call>[0]) =>
    (await cluster.time.settle(cluster.admin.call(address, 'config show'))) as readonly ConfigRow[]
  for (const { name, daemon, place } of cluster.osds) {
    if (daemon === undefined) continue
    daemons.push({ name, targets: osdTargets(name, place), own: ofOsd, rows: await ask(daemon.listening.admin) })
  }
  for (const { name, daemon, address } of cluster.monitors) {
    if (daemon === undefined) continue
    daemons.push({ name, targets: ['global', 'mon', name], own: ofMonitor, rows: await ask(address) })
  }
  return daemons
}
