/**
 * In the end every daemon goes by what the monitors have stored for it. Which value that is is looked up here in words of
 * its own, one by one, and not by the code under test.
 */
import type { ConfigDumpRow, ConfigRow } from '@shoal/monitor-client'
import type { Violation } from '../history.ts'

export interface ConfiguredDaemon {
  readonly name: string
  /** For whom values that reach it can be set, the most precise last: `global`, `osd`, `osd/host:a`, `osd.3`. */
  readonly targets: readonly string[]
  /** What it goes by where nothing is set for it: what it was started with, and defaults. */
  readonly own: Readonly<Record<string, unknown>>
  /** As it shows them. */
  readonly rows: readonly ConfigRow[]
}

export function osdTargets(name: string, { host, rack }: { readonly host: string; readonly rack: string }): string[] {
  const masks = ['', '/root:default', `/rack:${rack}`, `/host:${host}`]
  return [...['global', 'osd'].flatMap((section) => masks.map((mask) => `${section}${mask}`)), name]
}

export function checkConfigInForce(
  stored: readonly ConfigDumpRow[],
  daemons: readonly ConfiguredDaemon[],
): readonly Violation[] {
  const violations: Violation[] = []
  for (const { name: daemon, targets, own, rows } of daemons) {
    for (const row of rows) {
      const wanted = targets
        .map((target) => stored.find(({ who, name }) => who === target && name === row.name))
        .findLast((found) => found !== undefined)
      const value = wanted?.value ?? String(own[row.name])
      const fromWhere = wanted === undefined ? ['default', 'start'] : [wanted.who]
      if (row.value === value && fromWhere.includes(row.source)) continue
      const should = `${value} of ${fromWhere.join(' or ')}`
      const message = `${daemon} goes by ${row.name} = ${row.value} of ${row.source}; it should by ${should}`
      violations.push({ checker: 'config-in-force', message })
    }
  }
  return violations
}
