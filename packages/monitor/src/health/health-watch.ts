/**
 * What the leader writes down of health: in the cluster log and in the history, each check that begins to fail, changes its
 * severity, or clears; and the end of mutes.
 *
 * Invariant 1: what is failing is part of the replicated state: a new leader goes on where its predecessor was, and a check
 *              that cleared meanwhile is told to have cleared.
 * Invariant 2: what has changed is found against the state that the proposal is made for. (Counter-example: a leader finds
 *              that a check failed, loses its lead before that is decided, leads again and finds it a second time; the
 *              first is applied meanwhile, and the history tells of two failures without an end between.)
 */
import type { HealthCheck, HealthReport } from '@shoal/monitor-client'
import type { ProposalDraft } from '../state/proposal-draft.ts'
import { whyUnmuted } from './health-report.ts'

type Known = ReadonlyMap<string, { readonly severity: HealthCheck['severity'] }>

interface HealthChanges {
  readonly failed: readonly HealthCheck[]
  /** Of another severity than before. */
  readonly changed: readonly HealthCheck[]
  readonly cleared: readonly string[]
  readonly unmuted: readonly { readonly code: string; readonly why: string }[]
}

/** Undefined when there is nothing to write down. */
export function healthChanges(
  { checks, mutes }: Pick<HealthReport, 'checks' | 'mutes'>,
  known: Known,
  wallMs: number,
): HealthChanges | undefined {
  const failing = new Map(checks.map((check) => [check.code, check]))
  const changes: HealthChanges = {
    failed: checks.filter(({ code }) => !known.has(code)),
    changed: checks.filter(({ code, severity }) => known.has(code) && known.get(code)?.severity !== severity),
    cleared: [...known.keys()].filter((code) => !failing.has(code)),
    unmuted: mutes.flatMap((mute) => {
      const why = whyUnmuted(mute, failing.get(mute.code), wallMs)
      return why === undefined ? [] : [{ code: mute.code, why }]
    }),
  }
  return Object.values<readonly unknown[]>(changes as never).every((list) => list.length === 0) ? undefined : changes
}

/**
 * Invariant 2. In the log always; in the history where the cluster has one. `memory`: what the leader itself saw failing
 * before, in a cluster that keeps no history.
 */
export function writeHealth(draft: ProposalDraft, report: HealthReport, memory: Known | undefined): void {
  const { wallMs } = draft
  const { failing, mutes } = draft.operations.value
  const changes = healthChanges({ checks: report.checks, mutes: [...mutes.values()] }, memory ?? failing, wallMs)
  if (changes === undefined) return
  for (const { code, severity, summary } of [...changes.failed, ...changes.changed]) {
    draft.log(severity === 'error' ? 'error' : 'warn', `health check failed: ${summary} (${code})`)
  }
  for (const code of changes.cleared) draft.log('info', `health check cleared: ${code}`)
  if (changes.cleared.length > 0 && report.status === 'HEALTH_OK') draft.log('info', 'cluster is healthy')
  if (memory !== undefined) return
  for (const { code, severity, summary } of changes.failed) {
    draft.operations.setFailing({ code, sinceMs: wallMs, severity, summary })
    draft.operations.addHealthEvent({ wallMs, code, event: 'failed', severity, summary })
  }
  for (const { code, severity, summary } of changes.changed) {
    draft.operations.setFailing({ code, sinceMs: failing.get(code)?.sinceMs ?? wallMs, severity, summary })
    const event = severity === 'error' ? 'worsened' : 'eased'
    draft.operations.addHealthEvent({ wallMs, code, event, severity, summary })
  }
  for (const code of changes.cleared) {
    const { severity = 'warning', summary = '' } = failing.get(code) ?? {}
    draft.operations.setCleared(code)
    draft.operations.addHealthEvent({ wallMs, code, event: 'cleared', severity, summary })
  }
  for (const { code, why } of changes.unmuted) {
    const mute = mutes.get(code)
    if (mute === undefined) continue
    draft.operations.unmute(code)
    draft.operations.addHealthEvent({ wallMs, code, event: 'unmuted', severity: mute.severity, summary: why })
    draft.log('info', `health check ${code} is no longer muted: ${why}`)
  }
}
