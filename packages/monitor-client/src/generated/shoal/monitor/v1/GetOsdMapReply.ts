// Original file: ../../protos/monitor.proto

import type { Failure as _shoal_monitor_v1_Failure, Failure__Output as _shoal_monitor_v1_Failure__Output } from '../../../shoal/monitor/v1/Failure.ts';

export interface GetOsdMapReply {
  'osdMap'?: (Buffer | Uint8Array | string);
  'failure'?: (_shoal_monitor_v1_Failure | null);
}

export interface GetOsdMapReply__Output {
  'osdMap': (Buffer);
  'failure': (_shoal_monitor_v1_Failure__Output | null);
}
