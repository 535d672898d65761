import { array, type Codec, string, struct, u32, u64, versioned } from '@shoal/base'
import type { MonitorInfo, MonitorMap } from './monitor-map.ts'

export const monitorMapCodec: Codec<MonitorMap> = versioned<MonitorMap>(
  1,
  1,
  'monitor map',
  struct<MonitorMap>({
    fsid: string(),
    epoch: u32(),
    monitors: array(struct<MonitorInfo>({ id: u64(), name: string(), address: string() })),
  }),
)
