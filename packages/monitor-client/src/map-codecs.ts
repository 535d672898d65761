/** The bytes of maps as they travel in map updates: the versioned codecs of cluster-map. */
import { decode } from '@shoal/base'
import {
  applyIncremental,
  type MonitorMap,
  monitorMapCodec,
  type OsdMap,
  type OsdMapIncremental,
  osdMapCodec,
  osdMapIncrementalCodec,
} from '@shoal/cluster-map'

export const decodeMonitorMap = (bytes: Uint8Array): MonitorMap => decode(monitorMapCodec, bytes)
export const decodeOsdMap = (bytes: Uint8Array): OsdMap => decode(osdMapCodec, bytes)
export const decodeOsdMapIncremental = (bytes: Uint8Array): OsdMapIncremental => decode(osdMapIncrementalCodec, bytes)
export const applyOsdMapIncremental = (map: OsdMap, incremental: OsdMapIncremental): OsdMap =>
  applyIncremental(map, incremental)
