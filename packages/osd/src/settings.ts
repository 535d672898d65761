/** Settings of an OSD: its options, with defaults and what it is started with. */
import { checkedSettings, defaultsOf, type OsdSettings, osdOptions } from '@shoal/monitor-client'

export type { OsdSettings } from '@shoal/monitor-client'

export const defaultOsdSettings: OsdSettings = defaultsOf(osdOptions)

/** The defaults with some settings replaced. EINVAL for an unknown name or a value of the wrong kind. */
export function osdSettingsWith(overrides: Partial<OsdSettings>): OsdSettings {
  return checkedSettings(osdOptions, overrides)
}
