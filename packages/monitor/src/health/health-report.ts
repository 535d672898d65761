/** Runs the table of checks over a view of the cluster. */
import type { HealthCheck, HealthReport, HealthStatus } from '@shoal/monitor-client'
import type { ClusterView } from '../commands/command.ts'
import { clusterChecks } from './cluster-checks.ts'
import { dataChecks } from './data-checks.ts'

/** Errors first, then in the order of the table. */
export function healthReport(view: ClusterView): HealthReport {
  const checks: HealthCheck[] = []
  for (const { code, check } of [...clusterChecks, ...dataChecks]) {
    const finding = check(view)
    if (finding !== undefined) checks.push({ code, ...finding })
  }
  checks.sort((a, b) => Number(b.severity === 'error') - Number(a.severity === 'error'))
  return { status: statusOf(checks), checks }
}

function statusOf(checks: readonly HealthCheck[]): HealthStatus {
  if (checks.some((check) => check.severity === 'error')) return 'HEALTH_ERR'
  return checks.length > 0 ? 'HEALTH_WARN' : 'HEALTH_OK'
}
