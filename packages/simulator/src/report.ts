/** A result in words. */
import type { RunResult } from './run-scenario.ts'
import type { Scenario } from './scenario/scenario.ts'

export interface MeasuredResult extends RunResult {
  readonly realMs: number
  readonly cpuMs: number
}

function counts(table: Readonly<Record<string, number>>): string {
  const entries = Object.entries(table).sort(([, a], [, b]) => b - a)
  return entries.length === 0 ? 'none' : entries.map(([name, count]) => `${name} ${count}`).join(', ')
}

export function formatResult(result: MeasuredResult): string {
  const lines = [
    `seed ${result.seed}, scenario ${result.scenario}: ${result.verdict}`,
    `  trace hash   ${result.hash}`,
    `  virtual time ${(result.virtualMs / 1000).toFixed(1)} s in ${(result.realMs / 1000).toFixed(1)} s (${(result.cpuMs / 1000).toFixed(1)} s of CPU), ${result.events} events`,
    `  operations   ${result.operations} (${counts(result.outcomes)})`,
    `  faults       ${counts(result.faults)}${result.skippedFaults > 0 ? `, skipped ${result.skippedFaults}` : ''}`,
  ]
  for (const crash of result.crashes) {
    lines.push(`  crash        ${crash.node} at ${(crash.atMs / 1000).toFixed(3)} s: ${crash.reason}`, crash.details)
  }
  for (const { checker, object, message, details } of result.violations) {
    lines.push(`  violation    ${checker}${object === undefined ? '' : ` ${object}`}: ${message}`)
    if (details !== undefined) lines.push(`    ${JSON.stringify(details)?.slice(0, 2_000)}`)
  }
  if (result.liveness !== undefined) lines.push(`  liveness     ${result.liveness}`)
  if (result.lastLines.length > 0) lines.push('  the last lines:', ...result.lastLines.map((line) => `    ${line}`))
  return `${lines.join('\n')}\n`
}

export function describeScenario(scenario: Scenario): string {
  const { monitors, osds, workloads, durationMs, faults } = scenario
  const load = workloads.map((plan) => `${plan.clients} x ${plan.workload}`).join(', ')
  return [
    `  seed ${scenario.seed}, ${monitors} monitors, ${osds.length} OSDs, ${load}, ${durationMs / 1000} s`,
    ...faults.map(
      ({ atMs, kind, durationMs: lasts, params }) =>
        `  ${(atMs / 1000).toFixed(1)} s ${kind} ${JSON.stringify(params)}${lasts === undefined ? '' : ` for ${lasts / 1000} s`}`,
    ),
  ].join('\n')
}
