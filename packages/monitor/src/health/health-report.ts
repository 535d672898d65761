/** Runs the table of checks over a view of the cluster. */
import type { HealthCheck, HealthMuteRow, HealthReport, HealthStatus } from '@shoal/monitor-client'
import type { ClusterView } from '../commands/command.ts'
import { clusterChecks } from './cluster-checks.ts'
import { dataChecks } from './data-checks.ts'

const table = [...clusterChecks, ...dataChecks]

/** Every code there is. */
export const healthCodes: readonly string[] = table.map((row) => row.code)

/** Errors first, then in the order of the table. What is muted is there, and does not count in the status. */
export function healthReport(view: ClusterView): HealthReport {
  const { operations, wallMs } = view
  const checks: HealthCheck[] = []
  for (const { code, check } of table) {
    const finding = check(view)
    if (finding === undefined) continue
    const count = finding.count ?? Math.max(1, finding.detail.length)
    const mute = operations.mutes.get(code)
    const muted = mute !== undefined && whyUnmuted(mute, { ...finding, count }, wallMs) === undefined
    checks.push({ code, ...finding, count, muted })
  }
  checks.sort((a, b) => Number(b.severity === 'error') - Number(a.severity === 'error'))
  return { status: statusOf(checks), checks, mutes: [...operations.mutes.values()] }
}

/**
 * Why a mute is over, as in Ceph: its time has come, or, unless it is sticky, the check has cleared, has become an error, or
 * looks at more than it did. Undefined while it holds.
 */
export function whyUnmuted(
  mute: HealthMuteRow,
  check: Pick<HealthCheck, 'severity' | 'count'> | undefined,
  wallMs: number,
): string | undefined {
  if (mute.untilMs > 0 && wallMs >= mute.untilMs) return 'its time is over'
  if (mute.sticky) return undefined
  if (check === undefined) return 'the check cleared'
  if (check.severity === 'error' && mute.severity !== 'error') return 'the check became an error'
  return check.count > mute.count ? `the check went from ${mute.count} to ${check.count}` : undefined
}

function statusOf(checks: readonly HealthCheck[]): HealthStatus {
  const heard = checks.filter((check) => !check.muted)
  if (heard.some((check) => check.severity === 'error')) return 'HEALTH_ERR'
  return heard.length > 0 ? 'HEALTH_WARN' : 'HEALTH_OK'
}
