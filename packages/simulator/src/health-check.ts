/** Looks at the history of health until it tells what is, or for too long: the leader writes it once a second. */
import type { HealthEventRow } from '@shoal/monitor-client'
import { checkHealthHistory } from './checkers/health-history.ts'
import type { SimCluster } from './cluster/sim-cluster.ts'
import type { Violation } from './history.ts'

const historyMax = 1_000
const attemptsMax = 30
const attemptMs = 1_000

export async function healthHistoryViolations(cluster: SimCluster): Promise<readonly Violation[]> {
  for (let attempt = 1; ; attempt++) {
    const { data } = await cluster.settleCommand({ prefix: 'health history', num: historyMax })
    const events = data as readonly HealthEventRow[]
    const failing = (await cluster.health())?.checks.map((check) => check.code) ?? []
    const violations = checkHealthHistory(events, failing, events.length < historyMax)
    if (violations.length === 0 || attempt === attemptsMax) return violations
    await cluster.time.advance(attemptMs)
  }
}
