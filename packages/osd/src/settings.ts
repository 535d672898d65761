/** Settings of an OSD: its options, with defaults. */
import { defaultsOf, type OsdSettings, osdOptions } from '@shoal/monitor-client'

export type { OsdSettings } from '@shoal/monitor-client'

export const defaultOsdSettings: OsdSettings = defaultsOf(osdOptions)
