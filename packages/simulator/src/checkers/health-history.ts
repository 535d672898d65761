/**
 * The history of health is one story, whoever led when: a check fails before it clears, does not fail twice in between, and
 * what the history leaves open in the end is what fails in the end.
 */
import type { HealthEventRow } from '@shoal/monitor-client'
import type { Violation } from '../history.ts'

/** `whole`: nothing was cut off its beginning. */
export function checkHealthHistory(
  events: readonly HealthEventRow[],
  failing: readonly string[],
  whole: boolean,
): readonly Violation[] {
  const violations: Violation[] = []
  const open = new Map<string, boolean>()
  const wrong = (message: string): void => {
    violations.push({ checker: 'health-history', message })
  }
  for (const { code, event } of events) {
    if (event === 'muted' || event === 'unmuted') continue
    const before = open.get(code) ?? (whole ? false : undefined)
    if (event === 'failed' && before === true) wrong(`${code} failed twice without clearing`)
    if (event !== 'failed' && before === false) wrong(`${code} ${event}, and did not fail before`)
    open.set(code, event !== 'cleared')
  }
  for (const [code, isOpen] of open) if (isOpen && !failing.includes(code)) wrong(`${code} never cleared`)
  for (const code of failing) if (open.get(code) !== true && (whole || open.has(code))) wrong(`${code} never failed`)
  return violations
}
