/**
 * What the leader writes down of health: in the cluster log and in the history, each check that begins to fail, changes its
 * severity, or clears; and the end of mutes.
 *
 * Invariant 1: what is failing is part of the replicated state: a new leader goes on where its predecessor was, and a check
 *              that cleared meanwhile is told to have cleared.
 */
import type { HealthCheck, HealthReport } from '@shoal/monitor-client'
import type { Operations } from '../state/operations.ts'
import type { ProposalDraft } from '../state/proposal-draft.ts'
import { whyUnmuted } from './health-report.ts'

type Known = ReadonlyMap<string, { readonly severity: HealthCheck['severity'] }>

export interface HealthChanges {
  readonly failed: readonly HealthCheck[]
  /** Of another severity than before. */
  readonly changed: readonly HealthCheck[]
  readonly cleared: readonly string[]
  readonly unmuted: readonly { readonly code: string; readonly why: string }[]
}

/** Undefined when there is nothing to write down. */
export function healthChanges(
  { checks, mutes }: HealthReport,
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

/** In the log always; in the history where the cluster has one. */
export function writeHealth(
  draft: ProposalDraft,
  changes: HealthChanges,
  report: HealthReport,
  operations: Operations | undefined,
): void {
  const { wallMs } = draft
  for (const { code, severity, summary } of [...changes.failed, ...changes.changed]) {
    draft.log(severity === 'error' ? 'error' : 'warn', `health check failed: ${summary} (${code})`)
  }
  for (const code of changes.cleared) draft.log('info', `health check cleared: ${code}`)
  if (changes.cleared.length > 0 && report.status === 'HEALTH_OK') draft.log('info', 'cluster is healthy')
  if (operations === undefined) return
  const { failing, mutes } = draft.operations.value
  // The changes were found before this draft was made: another that told the same may have been applied since.
  for (const { code, severity, summary } of changes.failed) {
    if (failing.has(code)) continue
    draft.operations.setFailing({ code, sinceMs: wallMs, severity, summary })
    draft.operations.addHealthEvent({ wallMs, code, event: 'failed', severity, summary })
  }
  for (const { code, severity, summary } of changes.changed) {
    if (failing.get(code)?.severity === severity) continue
    draft.operations.setFailing({ code, sinceMs: failing.get(code)?.sinceMs ?? wallMs, severity, summary })
    const event = severity === 'error' ? 'worsened' : 'eased'
    draft.operations.addHealthEvent({ wallMs, code, event, severity, summary })
  }
  for (const code of changes.cleared) {
    if (!failing.has(code)) continue
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
