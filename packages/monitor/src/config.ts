/** Settings of the monitors: their options, with defaults and what a monitor is started with. */
import { checkedSettings, defaultsOf, type MonitorSettings, monitorOptions } from '@shoal/monitor-client'

export type { MonitorSettings } from '@shoal/monitor-client'

export const defaultSettings: MonitorSettings = defaultsOf(monitorOptions)

/** The defaults with some settings replaced. Throws EINVAL for an unknown name or a value of the wrong kind. */
export function settingsWith(overrides: Partial<MonitorSettings>): MonitorSettings {
  return checkedSettings(monitorOptions, overrides)
}
